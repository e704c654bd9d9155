"""The card of a published model: its tables say what metrics.json holds, short enough to be read."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from sweeps.card import show, write_card
from trainables.hand import FINGERS
from trainables.trial_config import TrialConfig


def interval(value: float) -> dict[str, Any]:
    return {"estimate": value, "low": value - 0.5, "high": value + 0.5, "groups": 3, "clips": 9}


def summary(fingers: bool, shift: float) -> dict[str, Any]:
    metrics = {"mpjpe_cm": interval(4.0 + shift), "jerk_m_per_s3": interval(90 + shift)}
    metrics["contact_f1"] = interval(0.75)
    if fingers:
        metrics |= {f"contact_f1_{f}": interval(i + shift) for i, f in enumerate(FINGERS)}
        metrics["contact_f1_pinky"] = {"estimate": None, "low": None, "high": None, "groups": 0, "clips": 0}
    metrics["contact_ap"] = interval(0.8)
    return {"group": "object", "groups": 3, "clips": 9, "metrics": metrics}


def card(fingers: bool = True, **fields: Any) -> str:
    config = TrialConfig(setting="objects", **fields)
    plan: Any = SimpleNamespace(
        data_name="world", data_digest="d1", protocol="first", config=lambda setting, **params: config
    )
    best: Any = SimpleNamespace(identity="abc", params={"codes": 256}, epochs=6)
    metrics = {
        "val": summary(fingers, 0.25),
        "test": summary(fingers, 0.0),
        "hand": "standin-1",
        "trivial": {"predictor": "mean trajectory", "test": interval(6), "difference": interval(-2)},
        "example": {"text": "lift the cup", "contact_point": None},
    }
    return write_card("latentact-world-objects", plan, "objects", best, metrics)


def test_every_figure_stands_once_in_its_table() -> None:
    text = card()
    lines = text.splitlines()
    assert "| mpjpe_cm | 4.25 (3.75 to 4.75) | 4.00 (3.50 to 4.50) |" in lines
    assert "| contact_ap | 0.80 (0.30 to 1.30) | 0.80 (0.30 to 1.30) |" in lines
    assert "| index | 1.25 (0.75 to 1.75) | 1.00 (0.50 to 1.50) |" in lines
    assert "| pinky | unknown | unknown |" in lines
    assert "contact_f1_" not in text  # a finger's figure is in the fingers' table alone
    heading = lines.index("| contact F1 by finger | val | test |")
    assert [line.split()[1] for line in lines[heading + 2 : heading + 2 + len(FINGERS)]] == list(FINGERS)
    assert lines[heading - 1] == "" and lines[heading + 2 + len(FINGERS)] == ""  # Markdown needs both
    assert len(lines) < 60


def test_evaluations_without_fingers_make_a_card_without_their_table() -> None:
    text = card(fingers=False)
    assert "by finger" not in text and "contact_ap" in text
    assert "\n\n\n" not in text


def test_inputs_and_origin_are_named() -> None:
    assert "image by `conv`, text by `words`" in card() and "Training began" not in card()
    text = card(image_encoder="deit", text_encoder="minilm", hand_free=True, start_from="0123456789abcdef")
    assert "image by `deit` from which the hand was removed, text by `minilm`" in text
    assert "Weights of deit and minilm are not part of the bundle" in text
    assert "Training began from the model with tensors `0123456789abcdef`" in text


def test_show() -> None:
    assert show(interval(4)) == "4.00 (3.50 to 4.50)"
    assert show(interval(-1), sign="+") == "-1.00 (-1.50 to -0.50)"
    assert show({"estimate": 2.0, "low": None, "high": None}) == "2.00 (no interval)"
