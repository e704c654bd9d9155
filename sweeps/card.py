"""The card of a published model: what it is, how good, made how, and what it must not be taken for."""

from __future__ import annotations

from typing import Any

from sweeps.ledger import TrialRecord
from sweeps.plan import SweepPlan
from trainables.frozen_encoders import IMAGE_WIDTHS, TEXT_WIDTHS
from trainables.hand import FINGERS

_CARD = """\
# {name}

Predicts how a hand moves and touches over the next second, from one RGB image, an action text and one 3D contact
point (LatentAct, CVPR 2025; reimplemented).

- Data: {plan.data_name}, digest `{plan.data_digest}`, setting `{setting}`; held-out groups: {test[group]}.
- Contact point: protocol `{plan.protocol}`{look_ahead}.
- Inputs: image by `{config.image_encoder}`{hand_free}, text by `{config.text_encoder}`, contact by
  `{config.contact_encoder}`; mode `{config.mode}`.{frozen}
- Trial `{best.identity}`: {params}; {best.epochs} predictor epochs, of which validation chose the best.{tuned}
- {hand}

## Figures

End to end: codes come from the indexer. 95% intervals resample held-out groups, and clips within them. Validation
selected this model; test ({test[groups]} groups, {test[clips]} clips) was read once.

| metric | val | test |
| --- | --- | --- |
{rows}
{fingers}
On test, the {trivial[predictor]} of the training clips has {rival} cm; this model minus that: {difference} cm.

## Use

    zoo.load("{name}@champion").predict(image="frame.png", text="{example[text]}")

A research model: no figure here speaks for safety near people or machines.
"""


def write_card(name: str, plan: SweepPlan, setting: str, best: TrialRecord, metrics: dict[str, Any]) -> str:
    """Markdown for `card.md`; a pure function of the trial and its figures, so that a bundle keeps its digest."""
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
    config = plan.config(setting, **best.params)
    frozen = [
        name for name in (config.image_encoder, config.text_encoder) if name in IMAGE_WIDTHS | TEXT_WIDTHS
    ]
    return _CARD.format(
        name=name,
        config=config,
        hand_free=" from which the hand was removed" if config.hand_free else "",
        frozen=f"\n  Weights of {' and '.join(frozen)} are not part of the bundle; `config.json` names their digests."
        if frozen
        else "",
        tuned=f"\n  Training began from the model with tensors `{config.start_from}`."
        if config.start_from
        else "",
        plan=plan,
        setting=setting,
        best=best,
        test=test,
        trivial=metrics["trivial"],
        example=metrics["example"],
        params=", ".join(f"{key} {value}" for key, value in best.params.items()),
        look_ahead=" (the window's first contact: a declared look ahead)" if plan.protocol == "goal" else "",
        hand=hand,
        rows="\n".join(rows),
        fingers="\n".join(fingers),
        rival=show(metrics["trivial"]["test"]),
        difference=show(metrics["trivial"]["difference"], sign="+"),
    )


def show(interval: dict[str, Any], sign: str = "") -> str:
    """An interval in words: `4.21 (3.90 to 4.60)`."""
    number = f"{sign}.2f"
    if interval["estimate"] is None:
        return "unknown"
    if interval["low"] is None or interval["high"] is None:
        return f"{interval['estimate']:{number}} (no interval)"
    return f"{interval['estimate']:{number}} ({interval['low']:{number}} to {interval['high']:{number}})"
