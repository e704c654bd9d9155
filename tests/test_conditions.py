"""What networks are told: unknown inputs are learned stand-ins, and fast computations equal plain ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainables.conditions import Conditions, ConditionsConfig
from trainables.contact_encoder import (
    CHUNK,
    CONTACT_ENCODERS,
    VolumeEncoder,
    axis_gaussians,
    contact_volume,
    first_convolution,
)
from trainables.decoder import Project
from trainables.image_encoder import IMAGE_ENCODERS
from trainables.text_encoder import TEXT_ENCODERS, buckets
from trainables.windows import Inputs

BOX_23 = torch.tensor([[-0.2, -0.1, 0.3], [0.2, 0.1, 0.7]])
KINDS = [
    *itertools.product(IMAGE_ENCODERS, TEXT_ENCODERS, ["points"]),
    ("conv", "words", "volume"),
]


def conditions(
    image: str = "conv", text: str = "words", contact: str = "points", given: int = 2
) -> Conditions:
    torch.manual_seed(0)
    config = ConditionsConfig(
        given=given, width=16, image_encoder=image, text_encoder=text, contact_encoder=contact
    )
    return Conditions(config)


def some_inputs(of: Conditions, given: int = 2, seed: int = 0) -> Inputs:
    """Eight windows of random inputs, all of them known."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    pixels = torch.randint(0, 255, (8, given, 64, 64, 3), generator=generator).to(torch.uint8)
    return Inputs(
        texts=["push left", "lift the mug", "open a drawer", "turn it"],
        text_B=torch.randint(0, 4, (8,), generator=generator),
        text_BF=None if of.text.words is not None else F.normalize(random(8, of.text.width), dim=-1),
        text_known_B=torch.ones(8, dtype=torch.bool),
        image_BSX=pixels if of.image.from_pixels else random(8, given, of.image.width),
        image_known_BS=torch.ones(8, given, dtype=torch.bool),
        point_BS3=random(8, given, 3) * 0.1,
        point_known_BS=torch.ones(8, given, dtype=torch.bool),
    )


# Input -> the fields that hold its content, and the slices of the features that speak of it, with two frames given.
def content_of(of: Conditions) -> dict[str, tuple[tuple[str, ...], list[slice]]]:
    text, image, frame = of.text.width, of.image.width, of.of_a_frame
    starts = [text, text + frame]
    return {
        "text_known_B": (("text_B", "text_BF"), [slice(0, text)]),
        "image_known_BS": (("image_BSX",), [slice(s, s + image) for s in starts]),
        "point_known_BS": (("point_BS3",), [slice(s + image, s + frame) for s in starts]),
    }


@pytest.mark.parametrize("kinds", KINDS, ids="+".join)
@pytest.mark.parametrize("known", ["text_known_B", "image_known_BS", "point_known_BS"])
def test_unknown_inputs_hide_what_stands_in_their_place(kinds: tuple[str, str, str], known: str) -> None:
    """Of the even windows one input is unknown (of the last frame only, where frames have it)."""
    network = conditions(*kinds)
    given, other = some_inputs(network), some_inputs(network, seed=1)
    contents, slices = content_of(network)[known]
    flags = getattr(given, known).clone()
    (flags if flags.dim() == 1 else flags[:, -1])[::2] = False
    hidden = replace(given, **{known: flags})
    swapped = replace(hidden, **{name: getattr(other, name) for name in contents})
    with torch.no_grad():
        plain, unknown, exchanged = (network(inputs) for inputs in (given, hidden, swapped))
    part = slices[-1]
    assert torch.equal(unknown[::2, part], exchanged[::2, part])
    assert torch.equal(unknown[0, part], unknown[2, part])
    torch.testing.assert_close(unknown[1::2], plain[1::2], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(unknown[::2, part], plain[::2, part], atol=1e-3)
    assert not torch.allclose(exchanged[1::2, part], plain[1::2, part], atol=1e-3)
    outside = torch.ones(plain.shape[1], dtype=torch.bool)
    outside[part] = False
    torch.testing.assert_close(unknown[::2, outside], plain[::2, outside], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kinds", [("conv", "words", "volume"), ("deit", "clip", "points")], ids="+".join)
def test_with_nothing_known_all_windows_are_told_the_same(kinds: tuple[str, str, str]) -> None:
    network = conditions(*kinds)
    given = some_inputs(network)
    names = ("text_known_B", "image_known_BS", "point_known_BS")
    nothing = replace(given, **{name: torch.zeros_like(getattr(given, name)) for name in names})
    told = network(nothing)
    assert torch.equal(told, told[:1].expand_as(told)) and told.shape == (8, network.width)
    # The stand-ins are learned: the gradient reaches them and, as nothing is known, nothing else.
    told.square().sum().backward()
    moved = {n for n, p in network.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}
    assert moved == {"text.unknown", "image.unknown", "contact.unknown"}


def test_each_frame_stands_in_its_own_place() -> None:
    network = conditions()
    given = some_inputs(network)
    text_B1F, frames_BSF = network.each_frame(given)
    torch.testing.assert_close(network(given), torch.cat([text_B1F[:, 0], frames_BSF.flatten(1)], dim=-1))
    swapped = replace(given, image_BSX=given.image_BSX.flip(1), point_BS3=given.point_BS3.flip(1))
    torch.testing.assert_close(network.each_frame(swapped)[1], frames_BSF.flip(1), atol=1e-5, rtol=1e-5)


def test_a_point_outside_the_box_leaves_an_empty_volume() -> None:
    box_23 = torch.tensor([[-0.1] * 3, [0.1] * 3])
    inside, outside = contact_volume(torch.tensor([[0.0, 0.02, 0.1], [5.0, 5.0, 5.0]]), box_23)
    assert inside.max() > 0.5 and outside.max() < 1e-6
    x, y, z = (int(i) for i in torch.unravel_index(inside.argmax(), inside.shape))
    assert (x, y, z) in {(7, 9, 15), (8, 9, 15)}


def some_points(count: int) -> Tensor:
    """Points (N,3) float64 in and about the box."""
    share = torch.rand(count, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 1.2 - 0.1
    box_23 = BOX_23.double()
    return box_23[0] + share * (box_23[1] - box_23[0])


def gradients(of: Callable[[], Tensor], parameters: list[nn.Parameter]) -> list[Tensor]:
    out = of()
    weight = torch.randn(out.shape, generator=torch.Generator().manual_seed(1), dtype=out.dtype)
    return list(torch.autograd.grad((out * weight).sum(), parameters))


def test_the_first_convolution_is_conv3d_of_the_volume() -> None:
    torch.manual_seed(0)
    conv, points = nn.Conv3d(1, 4, 3, padding=1, bias=False).double(), some_points(6)
    volume = contact_volume(points, BOX_23.double())[:, None]
    axes = axis_gaussians(points, BOX_23.double())
    expected, found = conv(volume), first_convolution(axes, conv.weight)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    one, other = (
        gradients(f, [conv.weight])
        for f in (lambda: conv(volume), lambda: first_convolution(axes, conv.weight))
    )
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_the_volume_encoder_is_the_plain_network() -> None:
    """Convolution, ReLU, pooling, in that order, over volumes that are really made; more of them than fit one chunk."""
    torch.manual_seed(0)
    encoder, box_23 = VolumeEncoder().double(), BOX_23.double()
    with torch.no_grad():  # a fresh network's output hardly depends on the point
        for layer in encoder.layers:
            layer.weight.mul_(3)
    points = some_points(CHUNK + 5)

    def plain() -> Tensor:
        x = contact_volume(points, box_23)[:, None]
        for i, layer in enumerate([encoder.first, *encoder.layers]):
            x = layer(F.max_pool3d(x, 2) if i else x).relu()
        return x.flatten(1)

    expected = plain()
    assert expected.shape == (CHUNK + 5, 16) and expected.std(0).max() > 1e-2
    torch.testing.assert_close(encoder(points, box_23), expected, atol=1e-6, rtol=0)
    parameters = list(encoder.parameters())
    ours, theirs = gradients(lambda: encoder(points, box_23), parameters), gradients(plain, parameters)
    assert min(gradient.abs().max() for gradient in theirs) > 1e-6
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", CONTACT_ENCODERS)
def test_the_point_itself_is_told_too(kind: str) -> None:
    """Beside the encoder's 16 features, normalised by the training points: where it is in a volume is known to a voxel."""
    encoder = conditions(contact=kind).contact
    points = some_points(50).float()
    encoder.fit(points)
    feature = encoder(points, torch.ones(50, dtype=torch.bool))[:, -3:]
    torch.testing.assert_close(feature.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(feature.std(0), torch.ones(3), atol=1e-5, rtol=0)
    assert ((points > encoder.box_23[0]) & (points < encoder.box_23[1])).all()


def test_project_is_a_linear_layer_over_features_side_by_side() -> None:
    torch.manual_seed(0)
    project, linear = Project((3, 5, 2), 7), nn.Linear(10, 7)
    told = (torch.randn(4, 1, 3), torch.randn(4, 6, 5), torch.randn(4, 1, 2))
    with torch.no_grad():
        linear.weight.copy_(torch.cat([part.weight for part in project.parts], dim=1))
        linear.bias.copy_(project.parts[0].bias)
    expected = linear(torch.cat([x.expand(4, 6, -1) for x in told], dim=-1))
    torch.testing.assert_close(project(told), expected)
    assert [part.bias is None for part in project.parts] == [False, True, True]
    assert project((told[0], told[0][..., :1].expand(4, 1, 5), told[2])).shape == (4, 1, 7)


def test_texts_share_the_buckets_of_their_words() -> None:
    shared = set(buckets("push the mug")) & set(buckets("Push the bowl"))
    assert set(buckets("push")) <= shared
    assert buckets("") == () and 0 not in buckets("push the mug")
