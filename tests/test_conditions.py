"""What networks are told: unknown inputs are learned stand-ins."""

import torch

from trainables.conditions import Conditions
from trainables.contact_encoder import contact_volume
from trainables.text_encoder import buckets
from trainables.windows import Inputs


def inputs(**changes: object) -> Inputs:
    fields: dict[str, object] = {
        "texts": ["push left", "lift the mug"],
        "text_B": torch.arange(8) % 2,
        "image_BHW3": torch.randint(0, 255, (8, 64, 64, 3), dtype=torch.uint8),
        "image_known_B": torch.ones(8, dtype=torch.bool),
        "point_B3": torch.randn(8, 3) * 0.1,
        "point_known_B": torch.ones(8, dtype=torch.bool),
    }
    return Inputs(**{**fields, **changes})  # type: ignore[arg-type]


def test_unknown_inputs_hide_what_stands_in_their_place() -> None:
    conditions, given = Conditions(16), inputs()
    nothing = torch.zeros(8, dtype=torch.bool)
    unknown = inputs(image_known_B=nothing, point_known_B=nothing, image_BHW3=given.image_BHW3)
    other = inputs(image_known_B=nothing, point_known_B=nothing)
    torch.testing.assert_close(conditions(unknown), conditions(other))
    assert not torch.allclose(conditions(given)[:, 16:], conditions(unknown)[:, 16:])


def test_a_point_outside_the_box_leaves_an_empty_volume() -> None:
    box_23 = torch.tensor([[-0.1] * 3, [0.1] * 3])
    inside, outside = contact_volume(torch.tensor([[0.0, 0.02, 0.1], [5.0, 5.0, 5.0]]), box_23)
    assert inside.max() > 0.5 and outside.max() < 1e-6
    x, y, z = (int(i) for i in torch.unravel_index(inside.argmax(), inside.shape))
    assert (x, y, z) in {(7, 9, 15), (8, 9, 15)}


def test_texts_share_the_buckets_of_their_words() -> None:
    shared = set(buckets("push the mug")) & set(buckets("Push the bowl"))
    assert set(buckets("push")) <= shared
    assert buckets("") == () and 0 not in buckets("push the mug")
