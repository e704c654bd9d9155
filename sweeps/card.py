"""The card of a published model: what it is, how good, made how, and what it must not be taken for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from sweeps.ledger import TrialRecord
from sweeps.plan import SweepPlan
from trainables.frozen_encoders import IMAGE_WIDTHS, TEXT_WIDTHS
from trainables.hand import FINGERS
from trainables.trial_config import TrialConfig
from zoo import model_card

_METHOD = "LatentAct (Prakash et al., CVPR 2025), reimplemented"
_CARD = """\
# {name}

Predicts how a hand moves and touches over the next second, from one RGB image, an action text and one 3D contact \
point (LatentAct, CVPR 2025; reimplemented).

- Data: {plan.data_name}, digest `{plan.data_digest}`, setting `{setting}`; held-out groups: {test[group]}.
- Contact point: protocol `{plan.protocol}`{look_ahead}.
- Inputs: image by `{config.image_encoder}`{hand_free}, text by `{config.text_encoder}`, contact by \
`{config.contact_encoder}`; mode `{config.mode}`.{frozen}
- Trial `{best.identity}` of sweep `{made[sweep]}`, on codebook `{made[codebook]}`: {params}; {best.epochs} predictor \
epochs, of which validation chose the best.{tuned}
- Trained on {hardware}, for {cost}.
- {hand}

## Figures

End to end: codes come from the indexer. 95% intervals resample held-out groups, and clips within them. Validation \
selected this model; test ({test[groups]} groups, {test[clips]} clips) was read {reads}.

| metric | val | test |
| --- | --- | --- |
{rows}
{fingers}
On test, the {trivial[predictor]} of the training clips has {rival} cm; this model minus that: {difference} cm.
{pictures}{gallery}
## Use

    zoo.load("{name}@champion").predict(image="frame.png", text="{example}")

A research model: no figure here speaks for safety near people or machines.
"""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The best trial of a setting under the name that it is published by, and what its bundle says about it."""

    name: str
    plan: SweepPlan
    setting: str
    best: TrialRecord
    metrics: dict[str, Any]  # what `sweeps.assess.examine` found
    made: dict[str, Any]  # what `sweeps.origin` says

    @property
    def config(self) -> TrialConfig:
        return self.plan.config(self.setting, **self.best.params)


def write_card(chosen: Chosen, pictures: Sequence[str] = ()) -> str:
    """Metadata and Markdown for `card.md`; a pure function of the trial and its figures, so that a bundle keeps its
    digest. `pictures` are paths in the bundle.
    """
    return model_card.write(_metadata(chosen), _body(chosen, pictures))


def _metadata(chosen: Chosen) -> dict[str, Any]:
    plan, config, metrics = chosen.plan, chosen.config, chosen.metrics
    estimates = {
        f"{part}_{metric}": metrics[part]["metrics"][metric]["estimate"]
        for part in ("val", "test")
        for metric in ("mpjpe_cm", "contact_f1")
    }
    return {
        **_licence(plan.data_name, metrics["hand"]),
        "library_name": "latentact-zoo",
        "tags": ["latentact", "hand-motion", "contact", chosen.setting],
        "model_name": chosen.name,
        "method": _METHOD,
        "data": plan.data_name,
        "data_digest": plan.data_digest,
        "setting": chosen.setting,
        "mode": config.mode,
        "protocol": plan.protocol,
        "window": config.window,
        "hand": metrics["hand"],
        "mano": _mano(metrics["hand"]),
        **chosen.made,
        "metrics": {metric: round(value, 4) for metric, value in estimates.items() if value is not None},
    }


def _licence(data_name: str, hand: str) -> dict[str, str]:
    """Weights made from the project's own made-up data are the project's; of others' data nothing is known here."""
    if data_name == "world" and hand != "mano":
        return {"license": "apache-2.0"}
    mano = " and of MANO" if hand == "mano" else ""
    return {"license": "other", "license_name": f"as the licences of the data set {data_name}{mano} allow"}


def _mano(hand: str) -> str:
    if hand == "mano":
        return "needed to load it, from MANO_PATH; licensed, and not part of this bundle"
    return "not needed, and not part of this bundle: made with the project's stand-in hand"


def _body(chosen: Chosen, pictures: Sequence[str]) -> str:
    plan, best, config, metrics, made = chosen.plan, chosen.best, chosen.config, chosen.metrics, chosen.made
    val, test = metrics["val"], metrics["test"]
    by_finger = {f"contact_f1_{finger}": finger for finger in FINGERS}
    rows = [
        f"| {m} | {show(val['metrics'][m])} | {show(test['metrics'][m])} |"
        for m in test["metrics"]
        if m not in by_finger
    ]
    fingers = [
        f"| {finger} | {show(val['metrics'][m])} | {show(test['metrics'][m])} |"
        for m, finger in by_finger.items()
        if m in test["metrics"]
    ]
    if fingers:  # evaluations made before contact was counted by finger have none
        fingers = ["", "| contact F1 by finger | val | test |", "| --- | --- | --- |", *fingers, ""]
    if metrics["hand"] == "mano":
        hand = "Made with MANO, which is licensed and not part of this bundle: loading reads it from `MANO_PATH`."
    else:
        hand = (
            f"Made with the project's stand-in hand ({metrics['hand']}): figures do not carry over to MANO."
        )
    frozen = [
        name for name in (config.image_encoder, config.text_encoder) if name in IMAGE_WIDTHS | TEXT_WIDTHS
    ]
    shown = [f"![{PurePosixPath(path).stem.replace('_', ' ')}]({path})" for path in pictures]
    return _CARD.format(
        name=chosen.name,
        config=config,
        hand_free=" from which the hand was removed" if config.hand_free else "",
        frozen=f"\n  Weights of {' and '.join(frozen)} are not part of the bundle; `config.json` names their digests."
        if frozen
        else "",
        tuned=f"\n  Training began from the model with tensors `{config.start_from}`."
        if config.start_from
        else "",
        plan=plan,
        setting=chosen.setting,
        best=best,
        test=test,
        made=made,
        trivial=metrics["trivial"],
        example=_harmless(metrics["example"]["text"]),
        params=", ".join(f"{key} {value}" for key, value in best.params.items()),
        look_ahead=" (the window's first contact: a declared look ahead)" if plan.protocol == "goal" else "",
        hardware=_hardware(made["hardware"]),
        cost=_cost(made["training_cost"]),
        reads="once" if made["test_reads"] == 1 else f"{made['test_reads']} times",
        hand=hand,
        rows="\n".join(rows),
        fingers="\n".join(fingers),
        pictures="\n" + "\n".join(shown) + "\n" if shown else "",
        gallery=_gallery(chosen),
        rival=show(metrics["trivial"]["test"]),
        difference=show(metrics["trivial"]["difference"], sign="+"),
    )


def _gallery(chosen: Chosen) -> str:
    """Which test clips the bundle names, whether they are in it, and how to look at them."""
    found = chosen.metrics.get("gallery")
    if not found or not found["shown"]:
        return ""
    command = f"zoo card {chosen.name} --html FILE"
    clips = (
        f"`gallery.json` names {len(found['shown'])} of the {found['clips']} test clips: best, median, worst, and others "
        "drawn by a seed"
    )
    if all(entry["motion"] for entry in found["shown"]):
        return f"\n{clips}. `{command}` shows how they were predicted.\n"
    mano = " and a hand derived from MANO" if found["hand"] == "mano" else ""
    return (
        f"\n{clips}. Their motion and pictures are not in the bundle, as they would be those of {found['data']}{mano}: "
        f"`{command} --data CLIPS` draws them where the data are.\n"
    )


def _hardware(hardware: dict[str, Any]) -> str:
    """`cuda (NVIDIA H200), 2 workers`."""
    machine = hardware.get("evaluated_on", {})
    named = machine.get("gpu") or machine.get("processor")
    workers = f"{hardware['workers']} worker{'' if hardware['workers'] == '1' else 's'}"
    return f"{hardware['device']}{f' ({named})' if named else ''}, {workers}"


def _cost(cost: dict[str, Any]) -> str:
    """`codebook 12 s, predictor 40 s; 0.01 core hours, 0.02 USD`."""
    stages = ", ".join(f"{stage} {seconds:.0f} s" for stage, seconds in cost["seconds"].items())
    spent = [
        f"{_range(cost[unit])} {words}"
        for unit, words in (("gpu_hours", "GPU hours"), ("core_hours", "core hours"), ("usd", "USD"))
        if unit in cost
    ]
    return f"{stages}; {', '.join(spent)}" if stages else ", ".join(spent)


def _range(value: float | list[float]) -> str:
    return " to ".join(f"{one:g}" for one in value) if isinstance(value, list) else f"{value:g}"


def _harmless(text: str) -> str:
    """A text of the data set as it may stand in a card: printable, and neither HTML nor the end of a string."""
    return "".join(character for character in text if character.isprintable() and character not in '<>"`')


def show(interval: dict[str, Any], sign: str = "") -> str:
    """An interval in words: `4.21 (3.90 to 4.60)`."""
    number = f"{sign}.2f"
    if interval["estimate"] is None:
        return "unknown"
    if interval["low"] is None or interval["high"] is None:
        return f"{interval['estimate']:{number}} (no interval)"
    return f"{interval['estimate']:{number}} ({interval['low']:{number}} to {interval['high']:{number}})"
