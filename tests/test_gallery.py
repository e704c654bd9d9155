"""The gallery: chosen by the rule, true to the evaluation, and in a bundle only where nobody else's rights are in it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sweeps.gallery import choose, is_ours
from tests.card_bundles import Made, make
from trainables.clip_errors import ClipErrors
from trainables.metrics import precision_recall_f1
from zoo import contents, refusals
from zoo.errors import ContentRefused, GalleryError
from zoo.gallery import clips_from_data, embedded_clips, read_gallery


@pytest.fixture(scope="module")
def held(made: Made) -> dict[str, Any]:
    """The record of a gallery that holds its motion."""
    return made.gallery(made.as_ours)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return make(tmp_path_factory.mktemp("gallery"))


def errors(means: dict[str, float | None]) -> ClipErrors:
    """Clips of two windows with these means; None: no window with a known error."""
    totals = [[0.0, 0.0] if mean is None else [2 * mean, 2.0] for mean in means.values()]
    return ClipErrors(
        group="object", groups=["a"] * len(means), clip_ids=list(means), contact_threshold=0.5,
        totals={"mpjpe_cm": np.array(totals)}, counts_C3=np.zeros((len(means), 3)),
        finger_counts_CF3=np.zeros((len(means), 0, 3)),
    )  # fmt: skip


def test_best_median_and_worst_are_these_and_the_rest_is_drawn_by_the_seed() -> None:
    known = {f"c{i:02}": float((7 * i) % 31) for i in range(31)}
    found = choose(errors({"unknown": None, **known}), "data objects")
    by_role = {role: clip for clip, roles in found.items() for role in roles if role != "random"}
    assert {role: known[clip] for role, clip in by_role.items()} == {
        "best": 0.0,
        "median": 15.0,
        "worst": 30.0,
    }
    drawn = [clip for clip, roles in found.items() if roles == ["random"]]
    assert len(found) == 6 and len(drawn) == 3 and "unknown" not in found
    # The same for another model of these data, whose errors are others.
    other = choose(errors({clip: 31 - value for clip, value in known.items()}), "data objects")
    assert [clip for clip, roles in other.items() if roles == ["random"]] == drawn
    draws = {tuple(choose(errors(known), f"data {seed}")) for seed in range(20)}
    assert len(draws) > 10


def test_few_clips_take_several_places_and_none_are_no_error() -> None:
    assert choose(errors({"a": 1.0}), "s") == {"a": ["best", "median", "worst"]}
    assert choose(errors({"b": 2.0, "a": 1.0}), "s") == {"a": ["best", "median"], "b": ["worst"]}
    assert choose(errors({"a": None}), "s") == {}


def test_figures_are_those_of_the_evaluation_and_motion_is_what_was_scored(
    made: Made, held: dict[str, Any]
) -> None:
    windows, scores = made.test_part(made.as_ours)
    per_clip = scores.per_clip()
    gallery = read_gallery(json.dumps(held).encode())
    assert (gallery.clips, gallery.groups, gallery.setting) == (8, 1, "objects") and gallery.is_embedded
    drawn = embedded_clips(gallery, made.model.hand)
    assert len(drawn) == len(gallery.shown) == 6
    for entry, clip in zip(gallery.shown, drawn, strict=True):
        place = per_clip.clip_ids.index(entry.clip)
        total, count = per_clip.totals["mpjpe_cm"][place]
        assert entry.clip_mpjpe_cm == pytest.approx(total / count, abs=1e-4) and entry.windows == count
        f1 = precision_recall_f1(*per_clip.counts_C3[place])[2]
        assert entry.clip_contact_f1 == pytest.approx(f1, abs=1e-4)
        assert entry.group == "object7" == per_clip.groups[place]
        # The joints that are drawn have the error that the table says.
        assert clip.joint_error_cm is not None
        assert clip.joint_error_cm.mean() == pytest.approx(entry.window_mpjpe_cm, abs=0.01)
        mine = scores.clip_W == made.clips.clip_ids.index(entry.clip)
        off = np.abs(scores.metrics["mpjpe_cm"][mine] - total / count)
        assert abs(entry.window_mpjpe_cm - total / count) == pytest.approx(off.min(), abs=1e-3)
        assert clip.photo is not None and clip.photo.startswith(b"\x89PNG") and clip.camera_K is not None
        assert clip.vertices_m.shape == (windows.length, 778, 3)


def test_other_peoples_data_and_mano_leave_names_and_figures_alone(made: Made) -> None:
    assert is_ours(made.as_ours)
    for clips in (made.clips, replace(made.as_ours, hand="mano")):
        assert not is_ours(clips)
    record = made.metrics["gallery"]
    assert len(record["shown"]) == 6 and all(entry["motion"] is None for entry in record["shown"])
    named = {**record["shown"][0]}
    assert set(named) == {
        "roles", "clip", "group", "text", "start", "windows", "clip_mpjpe_cm", "clip_contact_f1", "window_mpjpe_cm",
        "motion",
    }  # fmt: skip
    gallery = read_gallery(json.dumps(record).encode())
    assert not gallery.is_embedded


def test_the_same_gallery_is_made_again_from_the_data(made: Made, held: dict[str, Any]) -> None:
    named = read_gallery(json.dumps(made.metrics["gallery"]).encode())
    there = embedded_clips(read_gallery(json.dumps(held).encode()), made.model.hand)
    told: list[str] = []
    again = clips_from_data(named, made.model, str(made.data), inputs=made.metrics["inputs"], say=told.append)
    assert len(told) == 6 and "predicting 1 of 6: best" in told[0]
    for one, other in zip(again, there, strict=True):
        assert (one.title, one.figures, one.text, one.photo) == (
            other.title,
            other.figures,
            other.text,
            other.photo,
        )
        np.testing.assert_allclose(one.vertices_m, other.vertices_m, atol=1e-4)
        np.testing.assert_allclose(one.truth_joints_m, other.truth_joints_m, atol=1e-4)  # type: ignore[arg-type]
        np.testing.assert_allclose(one.contact_probability, other.contact_probability, atol=0.003)


def test_other_data_and_another_hand_are_refused(made: Made, tmp_path: Path) -> None:
    named = read_gallery(json.dumps(made.metrics["gallery"]).encode())
    other = replace(named, data_digest="0" * 64)
    with pytest.raises(GalleryError, match="give the data set that the model was tested on"):
        clips_from_data(other, made.model, str(made.data), inputs={})
    lost = replace(named, shown=(replace(named.shown[0], clip="gone"),))
    with pytest.raises(GalleryError, match="has no clip 'gone'"):
        clips_from_data(lost, made.model, str(made.data), inputs={})
    with pytest.raises(GalleryError, match="set MANO_PATH"):
        embedded_clips(replace(named, hand="mano"), made.model.hand)


def _in_motion(change: Callable[[dict[str, Any]], object]) -> Callable[[dict[str, Any]], object]:
    return lambda record: change(record["shown"][0]["motion"])


SPOILT: dict[str, Callable[[dict[str, Any]], object]] = {
    "another schema": lambda r: r.update(schema=2),
    "no list": lambda r: r.update(shown={}),
    "too many": lambda r: r.update(shown=r["shown"] * 10),
    "a window of a year": lambda r: r.update(window=10**9),
    "a number as text": lambda r: r["shown"][0].update(clip_mpjpe_cm="0"),
    "a long name": lambda r: r["shown"][0].update(clip="x" * 2000),
    "roles": lambda r: r["shown"][0].update(roles=[]),
    "a negative start": lambda r: r["shown"][0].update(start=-1),
    "a missing pose": _in_motion(lambda m: m["predicted"].pop("hand_pose_T45")),
    "frames that are missing": _in_motion(lambda m: m["predicted"]["wrist_T3"].pop()),
    "ragged rows": _in_motion(lambda m: m["predicted"]["wrist_T3"][0].pop()),
    "numbers beyond a hand": _in_motion(lambda m: m["predicted"].update(betas_10=[1e38] * 10)),
    "contact of another size": _in_motion(lambda m: m.update(contact_255="AAAA")),
    "no base64": _in_motion(lambda m: m.update(contact_255="!")),
    "a threshold of two": _in_motion(lambda m: m.update(contact_threshold=2.0)),
    "a picture that is none": _in_motion(lambda m: m.update(picture_png="PHN2Zz4=")),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_spoilt_gallery_is_refused_in_a_sentence(made: Made, held: dict[str, Any], what: str) -> None:
    record = json.loads(json.dumps(held))
    SPOILT[what](record)
    with pytest.raises(ContentRefused, match=r"gallery\.json.*(publish the model again|write it again)"):
        embedded_clips(read_gallery(json.dumps(record).encode()), made.model.hand)


def test_a_bundle_may_hold_it_and_it_is_small(made: Made, tmp_path: Path) -> None:
    folder = made.bundle(tmp_path / "bundle", ours=True)
    refusals.check_file(folder / "gallery.json", "gallery.json")
    assert (folder / "gallery.json").stat().st_size < 300_000
    assert "gallery" not in json.loads((folder / "metrics.json").read_text())
    text = (folder / "card.md").read_text()
    contents.check_markdown(text.encode(), "card.md")
    assert "`gallery.json` names 6 of the 8 test clips" in text and "shows how they were predicted" in text
    apart = (made.bundle(tmp_path / "apart", ours=False) / "card.md").read_text()
    assert "Their motion and pictures are not in the bundle" in apart and "--data CLIPS" in apart
