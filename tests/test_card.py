"""The card of a published model: its tables say what metrics.json holds, and its metadata where the model comes from."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from sweeps.card import Chosen, show, write_card
from sweeps.ledger import Ledger, TrialRecord
from sweeps.origin import origin
from tests.shown_sweep import CODE, Driver
from trainables.code_digest import code_digest
from trainables.hand import FINGERS
from trainables.trial_config import TrialConfig
from zoo import contents, model_card
from zoo.errors import BundleError

NAME = "latentact-world-objects"
MADE: dict[str, Any] = {
    "seeds": {"model": 1, "compared": [0, 1]},
    "code": {"package": "0.1.0", "trainables": "c0de", "torch": "2.13.0"},
    "hardware": {"device": "cuda", "workers": "2", "nodes": 1, "evaluated_on": {"gpu": "NVIDIA H200"}},
    "training_cost": {"seconds": {"codebook": 61.5, "predictor": 120.0}, "gpu_hours": 0.1, "gpu_hours_of_search": 2.5, "usd": 0.12},
    "test_reads": 1,
    "sweep": "codebook-size-world",
    "trial": "abc",
    "codebook": "b00c",
}  # fmt: skip


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


def card(
    fingers: bool = True, *, hand: str = "standin-1", data: str = "world", text: str = "lift the cup",
    pictures: tuple[str, ...] = (), made: dict[str, Any] = MADE, **fields: Any,
) -> str:  # fmt: skip
    config = TrialConfig(setting="objects", **fields)
    plan: Any = SimpleNamespace(
        data_name=data, data_digest="d1", protocol="first", config=lambda setting, **params: config
    )
    best: Any = SimpleNamespace(identity="abc", params={"codes": 256}, epochs=6)
    metrics = {
        "val": summary(fingers, 0.25),
        "test": summary(fingers, 0.0),
        "hand": hand,
        "trivial": {"predictor": "mean trajectory", "test": interval(6), "difference": interval(-2)},
        "example": {"text": text, "contact_point": None},
    }
    chosen = Chosen(name=NAME, plan=plan, setting="objects", best=best, metrics=metrics, made=made)
    return write_card(chosen, pictures)


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
    assert len(model_card.body(text).splitlines()) < 60


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
    assert (
        "cuda (NVIDIA H200), 2 workers, for codebook 62 s, predictor 120 s; 0.1 GPU hours, 0.12 USD" in text
    )
    assert "of sweep `codebook-size-world`, on codebook `b00c`" in text and "was read once." in text
    assert "was read 2 times." in card(made={**MADE, "test_reads": 2})
    assert "![learning curve](figures/learning_curve.svg)" in card(pictures=("figures/learning_curve.svg",))


def test_the_metadata_is_complete_and_yaml_too() -> None:
    text = card()
    found = model_card.metadata(text)
    assert model_card.missing(text) == [] and found.keys() >= model_card.FIELDS.keys()
    assert found == yaml.safe_load(text.split("---\n")[1])
    assert found["metrics"] == {"val_mpjpe_cm": 4.25, "val_contact_f1": 0.75, "test_mpjpe_cm": 4.0, "test_contact_f1": 0.75}  # fmt: skip
    assert (found["license"], found["hand"], found["seeds"]) == ("apache-2.0", "standin-1", MADE["seeds"])
    with_mano = model_card.metadata(card(hand="mano", data="dexycb"))
    assert with_mano["license"] == "other" and "dexycb and of MANO" in with_mano["license_name"]
    assert "not part of this bundle" in with_mano["mano"] and "MANO_PATH" in with_mano["mano"]
    assert model_card.body(text).startswith(f"# {NAME}\n")


@pytest.mark.parametrize("field", model_card.FIELDS)
def test_what_a_card_lacks_is_named(field: str) -> None:
    found = model_card.metadata(card())
    for empty in (None, "", [], {}):
        assert model_card.missing(model_card.write({**found, field: empty}, "# x\n")) == [field]
    del found[field]
    assert model_card.missing(model_card.write(found, "# x\n")) == [field]


def test_cards_without_readable_metadata() -> None:
    everything = list(model_card.FIELDS)
    for text in ("# an older card\n", "", "---\nsetting: objects\n---\n", '---\nsetting: "a"\nno end\n'):
        assert model_card.missing(text) == everything
    with pytest.raises(BundleError, match=r"Line 3 of card\.md"):
        model_card.metadata('---\nmode: "forecast"\nsetting: objects\n---\n')
    with pytest.raises(BundleError, match="Line 3"):
        model_card.metadata("---\nwindow: 1\nwindow: 2\n---\n")


def test_a_text_of_the_data_set_cannot_act() -> None:
    """It stands in the card, which is rendered and printed."""
    text = card(text='lift <script>alert(1)</script> `rm`\x1b[2J\u202e")')
    contents.check_markdown(text.encode(), "card.md")
    assert 'text="lift scriptalert(1)/script rm[2J)"' in text


def test_show() -> None:
    assert show(interval(4)) == "4.00 (3.50 to 4.50)"
    assert show(interval(-1), sign="+") == "-1.00 (-1.50 to -0.50)"
    assert show({"estimate": 2.0, "low": None, "high": None}) == "2.00 (no interval)"


@pytest.fixture
def driver(tmp_path: Path) -> Driver:
    driver = Driver(tmp_path / "store", None)
    driver.ledger.note("session", slots=2, device="cuda", workers="1", nodes=3, usd_per_hour=3600.0)
    return driver


def told(driver: Driver, best: TrialRecord, trials: list[TrialRecord], **metrics: Any) -> dict[str, Any]:
    ledger = Ledger(driver.store, driver.plan.name)
    ledger.read_histories([best])
    return origin(driver.plan, ledger, driver.store, best, trials, metrics)


def test_origin_is_what_the_ledger_says(driver: Driver) -> None:
    """The same of a trial that has just ended and of one that is read again."""
    for trial in (best := driver.start(256), other := driver.start(512)):
        driver.report(
            trial, [{"stage": "predictor", "epoch": 1, "loss": 1.0, "mpjpe_cm": 4.0, "contact_f1": 0.5}]
        )
        trial.began_s = 4e9  # after every session's note
        driver.end(trial)
    made = told(driver, best, [best, other], hardware={"gpu": "NVIDIA H200"}, test_reads=2)
    assert made["code"] == {
        "package": made["code"]["package"],
        "trainables": code_digest(),
        "torch": "2.13.0",
    }
    assert code_digest().startswith(CODE)
    assert made["hardware"] == {
        "device": "cuda",
        "workers": "1",
        "nodes": 3,
        "evaluated_on": {"gpu": "NVIDIA H200"},
    }
    assert made["training_cost"]["seconds"] == {"codebook": 2.0, "indexer": 1.0, "predictor": 3.0}
    assert made["training_cost"]["usd"] == 6.0
    assert made["training_cost"]["gpu_hours_of_search"] == 0.0036
    assert (made["test_reads"], made["sweep"], made["trial"]) == (2, "mine", best.identity)
    assert made["codebook"] == "c" * 16 and made["seeds"] == {"model": 0, "compared": [0]}
    read = Ledger(driver.store, "mine").read(lambda setting, params: 1)[0]["objects"]
    again = told(
        driver, read[best.identity], list(read.values()), hardware={"gpu": "NVIDIA H200"}, test_reads=2
    )
    assert json.dumps(again) == json.dumps(made)


def test_origin_of_shared_and_foreign_trainings(driver: Driver, tmp_path: Path) -> None:
    """A codebook that another trial trained, seeds, more workers, a trial that another sweep had trained."""
    first, best = driver.start(256), driver.start(512)
    for trial in (first, best):
        driver.report(
            trial, [{"stage": "predictor", "epoch": 1, "loss": 1.0, "mpjpe_cm": 4.0, "contact_f1": 0.5}]
        )
        driver.end(trial)
    best.stage_seconds = {"predictor": 3.0}
    seeded = replace(best, identity="seeded", params={**best.params, "seed": 7})
    driver.plan = replace(driver.plan, workers="1:4")
    made = told(driver, best, [first, best, seeded])
    assert made["training_cost"]["seconds"] == {"codebook": 2.0, "predictor": 3.0}
    assert made["training_cost"]["core_hours"] == [0.0014, 0.0056]  # began before the session with GPUs
    assert made["seeds"] == {"model": 0, "compared": [0, 7]}
    assert "evaluated_on" not in made["hardware"] and "usd" not in made["training_cost"]
    Ledger(driver.store, "theirs", "d").note("session", slots=1, device="cuda", workers="1", usd_per_hour=1.0)
    foreign = told(driver, replace(best, sweep="theirs", codebook=""), [best])
    assert foreign["trained_by"] == "theirs" and foreign["sweep"] == "mine" and foreign["codebook"] == "none"
    assert foreign["hardware"]["device"] == "cuda" and "usd" in foreign["training_cost"]
