"""The gate: may a candidate replace the champion? A pure function of two bundles' config.json and
metrics.json.

Both were scored on the same `gate` clips. The candidate must be better by a paired test: held-out groups are
resampled and clips within them, and the standard error of the mean difference is used with a t quantile of
(groups - 1) degrees of freedom, because the plain bootstrap is far too sure of itself where groups are few
(Cameron, Gelbach and Miller 2008, Bootstrap-based improvements for inference with clustered errors).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from zoo.errors import BundleError

RESAMPLES = 2000
CONFIDENCE = 0.95
MIN_GROUPS = 2
COMPARABLE = ("data_digest", "setting", "mode", "window", "protocol", "metric_version")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The outcome, in a sentence and in figures (None where nothing was compared)."""

    passed: bool
    sentence: str
    clips: int = 0
    groups: int = 0
    difference_cm: float | None = None  # candidate - champion, mean over windows; negative is better
    low_cm: float | None = None
    high_cm: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_clips(metrics: dict[str, Any]) -> None:
    """Raise BundleError if metrics.json has a `gate` part with malformed clips. Having none is no error
    here.
    """
    if "gate" in metrics:
        _clips(metrics)


def decide(
    candidate: tuple[dict[str, Any], dict[str, Any]],
    champion: tuple[dict[str, Any], dict[str, Any]] | None,
    *,
    seed: int = 0,
) -> Verdict:
    """Compare two models, each given as (config, metrics); without a champion, check that the candidate is
    complete.

    A champion is replaced only where the interval of the paired difference in MPJPE (cm) lies below zero.
    Deterministic for a seed. Raises BundleError for malformed metrics.
    """
    if missing := _missing(*candidate):
        return Verdict(
            passed=False, sentence=f"The candidate's bundle lacks {', '.join(missing)}: publish it whole."
        )
    clips = _clips(candidate[1])
    groups = len({clip["group"] for clip in clips.values()})
    if champion is None:
        return Verdict(
            passed=True,
            clips=len(clips),
            groups=groups,
            sentence="There was no champion, and the bundle is complete.",
        )
    ours, theirs = _conditions(*candidate), _conditions(*champion)
    for field in COMPARABLE:
        if ours[field] != theirs[field]:
            return Verdict(
                passed=False,
                sentence=f"The two cannot be compared: {field} is {ours[field]} for the candidate and {theirs[field]} "
                "for the champion. Train the candidate under the champion's conditions.",
            )
    rivals = _clips(champion[1])
    if {clip: entry["group"] for clip, entry in clips.items()} != {
        k: entry["group"] for k, entry in rivals.items()
    }:
        return Verdict(
            passed=False, sentence="The two were not scored on the same gate clips: score both again."
        )
    if groups < MIN_GROUPS:
        return Verdict(
            passed=False, clips=len(clips), groups=groups,
            sentence=f"The gate part has {groups} held-out group; a comparison that generalises needs {MIN_GROUPS}.",
        )  # fmt: skip
    order = sorted(clips)
    weight = np.array([clips[clip]["windows"] for clip in order], float)
    change_cm = np.array([clips[clip]["mpjpe_cm"] - rivals[clip]["mpjpe_cm"] for clip in order])
    mean, low, high = paired_interval(change_cm, weight, [clips[clip]["group"] for clip in order], seed=seed)
    passed = high < 0
    return Verdict(
        passed=passed, clips=len(order), groups=groups, difference_cm=mean, low_cm=low, high_cm=high,
        sentence=f"Candidate minus champion: {mean:+.3f} cm MPJPE, {CONFIDENCE:.0%} interval [{low:+.3f}, {high:+.3f}], "
        f"{groups} held-out groups, {len(order)} clips: {'better' if passed else 'not shown to be better'}.",
    )  # fmt: skip


def paired_interval(
    change_N: np.ndarray,
    weight_N: np.ndarray,
    group_N: list[str],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[float, float, float]:
    """Weighted mean of per-clip changes with its interval by a two-stage cluster bootstrap.

    change_N: (N,) candidate - champion of each clip; weight_N: (N,) windows of each clip; group_N: N group
    names, at least two different. Returns (mean, low, high) in the unit of `change_N`.
    """
    from scipy.special import stdtrit

    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(np.array(group_N) == group) for group in sorted(set(group_N))]
    count = len(members)
    draws_RG = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    times_RN = np.zeros((resamples, len(change_N)))  # how often each clip is in each replicate
    for draws_R, clips in zip(draws_RG.T, members, strict=True):
        times_RN[:, clips] = rng.multinomial(draws_R * len(clips), np.full(len(clips), 1 / len(clips)))
    means = times_RN @ (weight_N * change_N) / (times_RN @ weight_N)
    mean = float(np.average(change_N, weights=weight_N))
    # The bootstrap divides by the number of groups where an estimate of variance divides by one less.
    error = float(means.std()) * math.sqrt(count / (count - 1))
    reach = float(stdtrit(count - 1, 0.5 + CONFIDENCE / 2)) * error
    return mean, mean - reach, mean + reach


def _conditions(config: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    return {field: config["model"].get(field, metrics.get(field)) for field in COMPARABLE}


def _missing(config: dict[str, Any], metrics: dict[str, Any]) -> list[str]:
    conditions = _conditions(config, metrics)
    lacking = [field for field in COMPARABLE if conditions[field] is None]
    return lacking + ([] if metrics.get("gate") else ["gate.clips in metrics.json"])


def _clips(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Clip name -> {"group", "mpjpe_cm", "windows"}, checked."""
    found: dict[str, dict[str, Any]] = {}
    try:
        for entry in metrics["gate"]["clips"]:
            error_cm, windows = float(entry["mpjpe_cm"]), int(entry["windows"])
            if not math.isfinite(error_cm) or error_cm < 0 or windows < 1 or str(entry["clip"]) in found:
                raise ValueError(
                    f"clip {entry['clip']} has mpjpe_cm {error_cm}, windows {windows}, or comes twice"
                )
            found[str(entry["clip"])] = {
                "group": str(entry["group"]),
                "mpjpe_cm": error_cm,
                "windows": windows,
            }
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(
            f"metrics.json, field gate.clips: {error!r}. Each clip needs clip, group, mpjpe_cm and windows."
        ) from error
    if not found:
        raise BundleError("metrics.json, field gate.clips is empty: score the model on the gate part.")
    return found
