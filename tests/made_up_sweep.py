"""A made-up sweep for reports: records as trained trials leave them, with stops, failures, repeats and sessions."""

from __future__ import annotations

import hashlib
import itertools
from typing import Any

import numpy as np

from sweeps.ledger import TrialRecord
from sweeps.plan import SweepPlan
from sweeps.report_view import SweepView
from sweeps.selection import rank, words
from sweeps.space import OBJECTIVES, Axis

AXES = (
    Axis("codes", "choice", choices=(128, 256, 512, 1024)),
    Axis("decoder_depth", "choice", choices=(1, 2, 3, 4)),
)
MPJPE, PARAMETERS = OBJECTIVES["mpjpe_cm"], OBJECTIVES["parameters"]
SETTINGS = ("actions", "objects", "scenes", "tasks")
EPOCHS, BEGAN_S = 8, 1_772_359_200.0
DIGEST = "d1" * 32
PLAN = {
    "data": "world",
    "data_digest": DIGEST,
    "split": ",".join(SETTINGS),
    "epochs": EPOCHS,
    "seeds": 3,
    "seed": 0,
    "workers": "1",
    "protocol": "first",
    "code": "c0de" * 4,
    "torch": "2.9.0",
    "space": {"codes": "128,256,512,1024", "decoder_depth": "1,2,3,4"},
    "search": "tpe",
    "objectives": ["mpjpe_cm", "parameters"],
    "stopping": "asha",
    "trials": 16,
    "finalists": 4,
}


def identity(*parts: Any) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def trial(
    setting: str = "objects", codes: int = 256, decoder_depth: int = 2, seed: int = 0, **changes: Any
) -> TrialRecord:
    """A finished trial on its own codebook."""
    params = {"codes": codes, "decoder_depth": decoder_depth, "seed": seed}
    record = TrialRecord(
        identity(setting, params),
        setting,
        "search",
        params,
        attempts=1,
        status="finished",
        epochs=EPOCHS,
        metrics={"mpjpe_cm": 5.0, "contact_f1": 0.6, "parameters": 1_000_000.0, "latency_ms": 4.0},
        curve=[(epoch, 5.0 + 2.0 / epoch) for epoch in range(1, EPOCHS + 1)],
        seconds=30.0,
        stage_seconds={"codebook": 10.0, "indexer": 4.0, "predictor": 16.0},
        codebook=identity(setting, codes, seed),
        sweep="made-up",
    )
    for name, value in changes.items():
        setattr(record, name, value)
    return record


def with_figures(record: TrialRecord, **figures: float) -> TrialRecord:
    record.metrics = {**record.metrics, **figures}
    return record


def session(at: float, **facts: Any) -> dict[str, Any]:
    return {"kind": "session", "at_s": BEGAN_S + at, "slots": 2, "device": "cuda", "workers": "1", **facts}


def view(trials: list[TrialRecord], **changes: Any) -> SweepView:
    """A sweep of these trials, in the settings they name."""
    settings: dict[str, list[TrialRecord]] = {}
    for record in trials:
        settings.setdefault(record.setting, []).append(record)
    made: dict[str, Any] = {
        "name": "made-up",
        "plan": PLAN,
        "axes": AXES,
        "objectives": (MPJPE, PARAMETERS),
        "settings": settings,
        "reports": {},
        "notes": [],
    }
    return SweepView(**{**made, **changes})


def made_up_plan(**changes: Any) -> SweepPlan:
    """The plan of a made-up sweep, with what is to be different in it."""
    made: dict[str, Any] = {
        "name": "made-up",
        "data": "s3://bucket/world",
        "data_name": "world",
        "data_digest": DIGEST,
        "settings": SETTINGS,
        "axes": AXES,
        "objectives": (MPJPE, PARAMETERS),
        "trials": 16,
        "epochs": EPOCHS,
        "seeds": 3,
        "seed": 0,
        "workers": "1",
        "protocol": "first",
    }
    return SweepPlan(**{**made, **changes})


def made_up_sweep(axes: tuple[Axis, ...] = AXES, slots: int = 2) -> SweepView:
    """Every pair of values, stopped early where it is hopeless, the best repeated over seeds, in two sessions."""
    rng = np.random.default_rng(0)
    trials: list[TrialRecord] = []
    shelf: dict[str, str] = {}
    free_s = [BEGAN_S + 12.0] * slots
    names = [axis.field for axis in axes]
    points = list(itertools.product(*(axis.choices for axis in axes)))
    half = len(SETTINGS) * len(points) // 2
    for number, (setting, point) in enumerate(itertools.product(SETTINGS, rng.permutation(points).tolist())):
        params = {**dict(zip(names, point, strict=True)), "seed": 0}
        if number == half:
            free_s = [max(free_s) + 7200.0] * slots  # the driver was away for two hours
        place = int(np.argmin(free_s))
        record = _train(rng, setting, params, shelf, free_s[place], number)
        record.slot = str(place)
        free_s[place] = record.ended_s + 0.6
        trials.append(record)
    reports = {}
    for setting in SETTINGS[:-1]:  # the last is still without a verdict
        own = [t for t in trials if t.setting == setting]
        for configuration in rank(own)[:3]:
            for seed in (1, 2):
                params = {**configuration.params, "seed": seed}
                place = int(np.argmin(free_s))
                record = _train(rng, setting, params, shelf, free_s[place], 1)
                record.slot, record.phase = str(place), "repeat"
                free_s[place] = record.ended_s + 0.6
                trials.append(record)
                own.append(record)
        reports[setting] = _report(own, rng)
    facts = {"slots": slots, "device": "cpu", "workers": "1", "usd_per_hour": 0.12, "nodes": 1}
    command = "sweeps/codebook_size.py --data s3://bucket/world --split all --seeds 3"
    second = min(t.began_s for t in trials[half:])
    notes = [
        {**facts, "kind": "session", "session": "a", "at_s": BEGAN_S, "command": command},
        {"kind": "stop", "session": "a", "at_s": second - 7100.0, "reason": "asked to stop"},
        {**facts, "kind": "session", "session": "b", "at_s": second - 9.0, "command": command},
    ]
    return view(trials, reports=reports, notes=notes, axes=axes)


def _train(
    rng: np.random.Generator,
    setting: str,
    params: dict[str, Any],
    shelf: dict[str, str],
    began_s: float,
    number: int,
) -> TrialRecord:
    codes, depth = int(params.get("codes", 256)), int(params.get("decoder_depth", 1))
    hopeless = 0.35 * abs(np.log2(codes / 512)) + 0.12 * (depth - 2) ** 2
    last = 4.6 + 0.3 * SETTINGS.index(setting) + hopeless * 0.5 + rng.normal(0, 0.03)
    history: list[dict[str, Any]] = []
    stages: dict[str, float] = {}
    book = identity("book", setting, codes, params["seed"])
    own = shelf.setdefault(book, setting + str(params)) == setting + str(params)
    for stage, epochs, each in (("codebook", 8, 1.2), ("indexer", 2, 0.8)):
        if stage == "codebook" and not own:
            continue
        stages[stage] = epochs * each
        for epoch in range(1, epochs + 1):
            entry = {
                "stage": stage,
                "epoch": epoch,
                "epochs": epochs,
                "loss": 0.4 / epoch**0.6 + rng.normal(0, 0.01),
            }
            if stage == "codebook":
                entry |= {
                    "val_loss": 0.5 / epoch**0.5,
                    "codebook_perplexity": codes * 0.55 * (1 - np.exp(-epoch / 2)),
                    "live_codes": 0.9 - 0.5 * codes / 2048 * np.exp(-epoch / 4),
                    "reconstruction_mpjpe_cm": 1.1 + 2.5 / epoch - codes / 4096,
                }
            history.append(
                {name: v if isinstance(v, str | int) else round(float(v), 5) for name, v in entry.items()}
            )
    done = EPOCHS if hopeless < 0.55 or params["seed"] else 2 if hopeless > 0.9 else 5
    curve = [
        (e, round(float(last + 2.2 * e**-0.9 - 0.3 + rng.normal(0, 0.04)), 4)) for e in range(1, done + 1)
    ]
    status = "finished" if done == EPOCHS else "stopped"
    reason = "out of memory once, finished alone" if number % 23 == 5 else ""
    if number % 19 == 18:
        status, reason = "failed", "ValueError: the loss is NaN in epoch 3 of the predictor"
    stages["predictor"] = done * (1.1 + 0.25 * depth)
    history += [
        {"stage": "predictor", "epoch": e, "epochs": EPOCHS, "loss": round(v / 9, 4)} for e, v in curve
    ]
    best = min(value for _, value in curve)
    seconds = sum(stages.values()) + float(rng.uniform(0.5, 2.0))
    return trial(
        setting,
        identity=identity(setting, params, number),
        params=params,
        status=status,
        epochs=done,
        curve=curve,
        reason=reason,
        history=history,
        codebook=book,
        stage_seconds={name: round(value, 3) for name, value in stages.items()},
        seconds=round(seconds, 3),
        began_s=began_s,
        ended_s=began_s + seconds,
        metrics={
            "mpjpe_cm": best,
            "contact_f1": round(float(0.82 - 0.05 * best + rng.normal(0, 0.006)), 4),
            "contact_precision": 0.61,
            "contact_recall": 0.57,
            "parameters": float(400_000 + codes * 128 + depth * 310_000),
            "latency_ms": round(2.1 + 1.4 * depth + float(rng.uniform(0, 0.2)), 2),
            "peak_memory_mb": 410.0 + depth * 12,
        },
    )


def _report(trials: list[TrialRecord], rng: np.random.Generator) -> dict[str, Any]:
    ranked = rank(trials)
    best, second = ranked[0], ranked[1]
    intervals = {}
    for record in (t for configuration in ranked[:8] for t in configuration.trials):
        half = float(rng.uniform(0.2, 0.45))
        intervals[record.identity] = {
            "estimate": record.mpjpe_cm,
            "low": record.mpjpe_cm - half,
            "high": record.mpjpe_cm + half,
            "groups": 12,
            "clips": 48,
        }
    difference = {
        "estimate": second.mpjpe_cm - best.mpjpe_cm,
        "low": -0.02,
        "high": 0.11,
        "groups": 12,
        "clips": 48,
    }
    return {
        "hand": "stand-in",
        "val": intervals,
        "verdict": {
            "winner": best.key,
            "best": best.key,
            "tied": [best.key, second.key],
            "figures": {},
            "tests": [
                {
                    "configuration": words(second.params),
                    "mpjpe_cm": second.mpjpe_cm,
                    "difference": difference,
                    "p": 0.21,
                    "p_corrected": 0.42,
                    "worse": False,
                }
            ],
            "reason": f"{words(best.params)} is chosen: the best, not significantly better than {words(second.params)}.",
        },
        "lines": ["Registered:  latentact-world-objects@1, champion. first version"],
    }
