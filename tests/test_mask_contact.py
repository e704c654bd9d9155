"""Contact from masks: the depth buffer against ray casting, the rule on plain shapes and on real grasps."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from tests.benchmarks.mask_contact import Seen, released_rule, score, seen_grasps
from trainables.clip_format import VERTICES
from trainables.depth_buffer import project, render_depth
from trainables.hand import load_hand
from trainables.mask_contact import frame_contact, mask_contacts
from trainables.recording import Contact

MATRIX = np.array([[685.88, 0.0, 448.0], [0.0, 685.88, 252.0], [0.0, 0.0, 1.0]])
SIZE = (504, 896)


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return load_hand().faces.numpy()


@pytest.fixture(scope="module")
def seen() -> list[Seen]:
    return seen_grasps(every=5)


@pytest.fixture(scope="module")
def flat_hand() -> np.ndarray:
    """A flat hand half a metre away, its back to the camera, fingers upwards, (778, 3)."""
    rest = load_hand().v_template.double().numpy()
    fingers, thumb, palm = (np.array(axis, dtype=float) for axis in ((-1, 0, 0), (0, 0, 1), (0, -1, 0)))
    turn = np.stack(
        [thumb * -1, fingers * -1, palm]
    )  # rows: camera x, y, z of rest axes; the palm faces away
    assert np.isclose(np.linalg.det(turn), 1)
    points = (rest - rest.mean(0)) @ turn.T
    return points + [0, 0, 0.5]


# --- the depth buffer ------------------------------------------------------------------------------------


def test_both_layers_are_those_of_ray_casting(flat_hand: np.ndarray, faces: np.ndarray) -> None:
    matrix, size = np.array([[100.0, 0, 40], [0, 110.0, 30], [0, 0, 1]]), (60, 80)
    buffer = render_depth(flat_hand, faces, matrix, size, margin_px=3)
    rows, columns = np.mgrid[: size[0], : size[1]]
    rays = np.stack([(columns - 40) / 100, (rows - 30) / 110, np.ones(size)], -1).reshape(-1, 3)
    first, last = np.full(len(rays), np.inf), np.full(len(rays), -np.inf)
    for corners in flat_hand[faces]:  # ray * depth = mixture of the corners
        weight = np.linalg.solve(corners.T, rays.T)
        depth = 1 / weight.sum(0)
        hit = (weight * depth >= -1e-9).all(0) & (depth > 0)
        first[hit], last[hit] = np.minimum(first[hit], depth[hit]), np.maximum(last[hit], depth[hit])
    height, width = buffer.mask.shape
    window = (slice(buffer.top, buffer.top + height), slice(buffer.left, buffer.left + width))
    inside = np.isfinite(first).reshape(size)
    assert inside.sum() > 300
    assert inside.sum() == inside[window].sum()  # the window holds all of it
    np.testing.assert_array_equal(buffer.mask, inside[window])
    np.testing.assert_allclose(buffer.first_m, first.reshape(size)[window], atol=1e-12)
    np.testing.assert_allclose(buffer.last_m, last.reshape(size)[window], atol=1e-12)


def test_a_tilted_square_has_its_closed_form() -> None:
    corners = np.array([[-0.1, -0.1, 0.4], [0.1, -0.1, 0.8], [0.1, 0.1, 0.8], [-0.1, 0.1, 0.4]])
    buffer = render_depth(corners, np.array([[0, 1, 2], [0, 2, 3]]), MATRIX, SIZE)
    rows, columns = np.nonzero(buffer.mask)
    x = (columns + buffer.left - 448) / 685.88
    np.testing.assert_allclose(
        buffer.first_m[rows, columns], 0.6 / (1 - 2 * x), rtol=1e-12
    )  # z = 0.6 + 2 x z
    np.testing.assert_array_equal(buffer.first_m, np.where(buffer.mask, buffer.last_m, np.inf))


def test_nothing_is_drawn_behind_the_camera_or_beside_the_picture(
    flat_hand: np.ndarray, faces: np.ndarray
) -> None:
    for away in ([0, 0, -1.0], [3.0, 0, 0], [-3.0, 0, 0], [0, 2.0, 0], [0, -2.0, 0]):
        assert not render_depth(flat_hand + away, faces, MATRIX, SIZE).mask.any()
    half = render_depth(flat_hand - [0.33, 0, 0], faces, MATRIX, SIZE, margin_px=12)
    assert half.mask.any() and half.left == 0
    assert np.isnan(project(np.array([0.0, 0.0, -1.0]), MATRIX)).all()


# --- the rule --------------------------------------------------------------------------------------------


def _square(row: int, column: int, half: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[max(row - half, 0) : row + half, max(column - half, 0) : column + half] = True
    return mask


def test_unknown_and_apart(flat_hand: np.ndarray, faces: np.ndarray) -> None:
    hidden = np.zeros(SIZE, dtype=bool)
    apart = _square(40, 850, 30)
    found = mask_contacts(np.stack([flat_hand] * 3), faces, [None, hidden, apart], MATRIX)
    assert isinstance(found, Contact)
    assert found.bits.shape == (3, VERTICES) and not found.bits.any()
    assert found.known.tolist() == [False, False, True]  # seen apart from the hand: it does not touch
    assert np.isnan(found.point_m).all()
    lost = mask_contacts(np.full((1, 778, 3), np.nan), faces, [apart], MATRIX)
    assert not lost.known.any() and not lost.bits.any()
    behind = mask_contacts(flat_hand[None] - [0, 0, 2.0], faces, [apart], MATRIX)
    assert not behind.known.any()
    none = mask_contacts(np.zeros((0, 778, 3)), faces, [], MATRIX)
    assert none.bits.shape == (0, VERTICES)
    with pytest.raises(ValueError):
        mask_contacts(flat_hand[None], faces, [], MATRIX)


def test_an_object_in_front_touches_the_side_that_it_hides(flat_hand: np.ndarray, faces: np.ndarray) -> None:
    """A square over the middle of the back of the hand: only vertices of the near surface, under it or around it."""
    centre = project(flat_hand[load_hand().finger_V.numpy() == 5].mean(0), MATRIX)
    mask = _square(round(centre[1]), round(centre[0]), 20)
    touching = frame_contact(flat_hand, faces, mask, MATRIX)
    assert touching is not None and touching.sum() > 5
    pixels = project(flat_hand, MATRIX)
    away = np.abs(pixels - centre).max(1)
    assert (away[touching] < 20 + 10 + 2).all()
    buffer = render_depth(flat_hand, faces, MATRIX, SIZE)
    column, row = np.rint(pixels[touching]).astype(int).T
    near = flat_hand[touching, 2] - buffer.first_m[row - buffer.top, column - buffer.left]
    assert np.median(near) < 0.004  # the back of the hand, not the palm behind it
    point = mask_contacts(flat_hand[None], faces, [mask], MATRIX).point_m[0]
    np.testing.assert_allclose(point, flat_hand[touching].mean(0))


def test_a_hand_in_front_is_unknown_or_touches_with_its_far_side(
    flat_hand: np.ndarray, faces: np.ndarray
) -> None:
    """A plate behind the hand is seen all around it."""
    hand = render_depth(flat_hand, faces, MATRIX, SIZE)
    outline = np.zeros(SIZE, dtype=bool)
    height, width = hand.mask.shape
    outline[hand.top : hand.top + height, hand.left : hand.left + width] = hand.mask
    plate = _square(252, 448, 240) & ~outline
    assert frame_contact(flat_hand, faces, plate, MATRIX) is None
    touching = frame_contact(flat_hand, faces, plate, MATRIX, bordering_touches=True)
    assert touching is not None and touching.any()
    released = released_rule(flat_hand, faces, plate, MATRIX)
    assert (released & touching).sum() == touching.sum()
    middle_m = np.median(flat_hand[:, 2])
    far, near = flat_hand[:, 2] > middle_m + 0.003, flat_hand[:, 2] < middle_m - 0.003
    assert touching[far].sum() > 4 * touching[near].sum()
    assert released[near].sum() > released[far].sum() / 3  # without depth both sides count


def test_no_vertex_behind_the_camera_touches(flat_hand: np.ndarray, faces: np.ndarray) -> None:
    near = (flat_hand - [0, 0, 0.5]) @ np.array([[1, 0, 0], [0, 0, -1.0], [0, 1, 0]]) + [0, 0.02, 0.03]
    assert (near[:, 2] < 0).any() and (near[:, 2] > 0.02).any()
    touching = frame_contact(near, faces, np.ones(SIZE, dtype=bool), MATRIX)
    assert touching is not None and not touching[near[:, 2] <= 0].any()


# --- against geometry ------------------------------------------------------------------------------------


def test_depth_order_beats_the_rule_without_it_on_real_grasps(seen: list[Seen]) -> None:
    """Contact by signed distance (5 mm) of fitted hands and posed meshes, object masks drawn against the hand. Frames
    that the rule calls unknown count as untouched, for the rule and against it."""
    truth = np.stack([one.bits for one in seen])
    ours = [frame_contact(one.vertices_m, one.faces, one.mask, one.matrix) for one in seen]
    bits = np.stack([np.zeros(VERTICES, dtype=bool) if one is None else one for one in ours])
    released = np.stack([released_rule(one.vertices_m, one.faces, one.mask, one.matrix) for one in seen])
    assert truth.any(1).sum() > 10
    assert score(bits, truth).f1 > score(released, truth).f1 + 0.02
    assert score(bits, truth).precision > score(released, truth).precision + 0.05
    known = np.array([one is not None for one in ours])
    assert known.mean() > 0.3
    assert score(bits[known], truth[known]).f1 > score(released[known], truth[known]).f1


def test_what_is_seen_apart_does_not_touch(seen: list[Seen]) -> None:
    """The release's "unknown" of an empty region is knowledge."""
    hands = [render_depth(one.vertices_m, one.faces, one.matrix, one.mask.shape) for one in seen]
    apart = []
    for one, hand in zip(seen, hands, strict=True):
        outline = np.zeros_like(one.mask)
        height, width = hand.mask.shape
        outline[hand.top : hand.top + height, hand.left : hand.left + width] = hand.mask
        grown = [ndimage.binary_dilation(mask, iterations=2) for mask in (outline, one.mask)]
        apart.append(one.mask.any() and not (grown[0] & grown[1]).any())
    assert sum(apart) > 3
    touched = [one.bits.any() for one, is_apart in zip(seen, apart, strict=True) if is_apart]
    assert np.mean(touched) < 0.1
