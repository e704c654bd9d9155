"""FPHA's 45 actions and the object of each, by the names of its folders.

The list is that of the data set's action_object_info.txt and of Figures 3 and 4 of the paper (Garcia-Hernando et al.,
CVPR 2018, "First-Person Hand Action Benchmark"). Its README says that some folders are named otherwise than in the
paper: "dish soap" is liquid_soap, "read paper" read_letter, "use spray" use_flash.
"""

from __future__ import annotations

from dataclasses import dataclass

_OBJECT_OF = {
    "charge_cell_phone": "cell charger", "clean_glasses": "glasses", "close_juice_bottle": "juice bottle",
    "close_liquid_soap": "liquid soap", "close_milk": "milk", "close_peanut_butter": "peanut butter",
    "drink_mug": "mug", "flip_pages": "book", "flip_sponge": "sponge", "give_card": "card", "give_coin": "coin",
    "handshake": "hand", "high_five": "hand", "light_candle": "match", "open_juice_bottle": "juice bottle",
    "open_letter": "letter", "open_liquid_soap": "liquid soap", "open_milk": "milk",
    "open_peanut_butter": "peanut butter", "open_soda_can": "soda can", "open_wallet": "wallet",
    "pour_juice_bottle": "juice bottle", "pour_liquid_soap": "liquid soap", "pour_milk": "milk",
    "pour_wine": "wine bottle", "prick": "fork", "put_salt": "salt", "put_sugar": "spoon", "put_tea_bag": "tea bag",
    "read_letter": "paper", "receive_coin": "coin", "scoop_spoon": "spoon", "scratch_sponge": "sponge",
    "sprinkle": "spoon", "squeeze_paper": "paper", "squeeze_sponge": "sponge", "stir": "spoon",
    "take_letter_from_enveloppe": "letter", "tear_paper": "paper", "toast_wine": "wine glass",
    "unfold_glasses": "glasses", "use_calculator": "calculator", "use_flash": "spray", "wash_sponge": "sponge",
    "write": "pen",
}  # fmt: skip
# Where a folder's words would mislead a text encoder.
_TEXT_OF = {"take_letter_from_enveloppe": "take letter from envelope", "use_flash": "use spray"}
# Folder names of objects with a model and with poses (README, "Object pose data").
MODELLED = {
    "juice bottle": "juice_bottle", "liquid soap": "liquid_soap", "milk": "milk", "salt": "salt"
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Label:
    """action: what is held out, the folder's words. text: what a text encoder reads."""

    action: str
    object: str
    text: str


LABELS = {
    folder: Label(
        action=folder.replace("_", " "),
        object=name,
        text=_TEXT_OF.get(folder, folder.replace("_", " ")),
    )
    for folder, name in _OBJECT_OF.items()
}
assert len(LABELS) == 45
