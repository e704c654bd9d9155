"""The gate: may a candidate replace the champion? A pure function of two bundles' config.json and metrics.json.

Both were scored on the same `gate` clips. The candidate must be better by a paired test over held-out groups, and by
enough to be worth a change.

The interval is that of a two-stage cluster bootstrap (groups are resampled, and clips within them) with infinitely
many replicates: its variance has a closed form. A t quantile of (groups - 1) degrees of freedom goes with it, because
the plain bootstrap is far too sure of itself where groups are few (Cameron, Gelbach and Miller 2008, Bootstrap-based
improvements for inference with clustered errors).

Every candidate that is compared with the same champion is a look at the same data, and of many that are no better one
would pass by luck. The k-th look may therefore err with chance alpha_k = 0.05 / (k (k + 1)) only, which sums to 0.05
over all k: alpha-spending (Tian and Ramdas 2021, Online control of the familywise error rate), valid however the
candidates depend on each other. The first look is a 95 % interval. `zoo.gate_looks` counts.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from zoo.errors import BundleError
from zoo.student_t import quantile

ALPHA = 0.05  # chance that, of all candidates no better than a champion, any replaces it
MIN_EFFECT = 0.01  # of the champion's MPJPE: less is not worth the change to those who use it
MIN_GROUPS = 2
COMPARABLE = ("data_digest", "setting", "mode", "window", "protocol", "metric_version")
HAND = "hand"  # joints of two hand models are not the same points; bundles without one are not refused for it

Figures = tuple[dict[str, Any], dict[str, Any]]  # config.json and metrics.json of a bundle


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
    champion_cm: float | None = None
    min_effect_cm: float | None = None  # how much better it had to be
    look: int | None = None  # the how-manieth candidate that was compared with this champion
    confidence: float | None = None  # of the interval, two-sided

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def check_clips(metrics: dict[str, Any]) -> None:
    """Raise BundleError if metrics.json has a `gate` part with malformed clips. Having none is no error
    here.
    """
    if "gate" in metrics:
        _clips(metrics)


def alpha(look: int) -> float:
    """The chance to err that the `look`-th comparison with one champion may have, one-sided."""
    return ALPHA / (look * (look + 1))


def decide(
    candidate: Figures,
    champion: Figures | None,
    *,
    look: int = 1,
    min_effect_cm: float | None = None,
    lacking: Sequence[str] = (),
) -> Verdict:
    """Compare two models; without a champion, check that the candidate is complete.

    `look` is the candidate's place among those that were compared with this champion, from 1. `min_effect_cm` is how
    much better it must be, by default MIN_EFFECT of the champion's MPJPE. `lacking` names what the candidate's card
    does not say. Raises BundleError for malformed metrics.
    """
    if (refused := refusal(candidate, champion, lacking=lacking)) is not None:
        return refused
    clips = _clips(candidate[1])
    groups = len({clip["group"] for clip in clips.values()})
    if champion is None:
        return Verdict(
            passed=True, clips=len(clips), groups=groups,
            sentence="There was no champion, and the bundle is complete.",
        )  # fmt: skip
    rivals, order = _clips(champion[1]), sorted(clips)
    weight = [float(clips[clip]["windows"]) for clip in order]
    champion_cm = _mean([rivals[clip]["mpjpe_cm"] for clip in order], weight)
    if min_effect_cm is None:
        min_effect_cm = MIN_EFFECT * champion_cm
    change_cm = [clips[clip]["mpjpe_cm"] - rivals[clip]["mpjpe_cm"] for clip in order]
    confidence = 1 - 2 * alpha(look)
    mean, low, high = paired_interval(change_cm, weight, [clips[clip]["group"] for clip in order], confidence)
    better, enough = high < 0, -mean >= min_effect_cm
    if better and enough:
        outcome = f"better, by the {min_effect_cm:.3f} cm that a change asks for"
    elif better:
        outcome = f"better, but by less than the {min_effect_cm:.3f} cm that a change asks for"
    else:
        outcome = "not shown to be better"
    return Verdict(
        passed=better and enough, clips=len(order), groups=groups, difference_cm=mean, low_cm=low, high_cm=high,
        champion_cm=champion_cm, min_effect_cm=min_effect_cm, look=look, confidence=confidence,
        sentence=f"Candidate minus champion: {mean:+.3f} cm MPJPE, {percent(confidence)} interval [{low:+.3f}, "
        f"{high:+.3f}], {groups} held-out groups, {len(order)} clips, look {look} at this champion: {outcome}.",
    )  # fmt: skip


def refusal(candidate: Figures, champion: Figures | None, *, lacking: Sequence[str] = ()) -> Verdict | None:
    """Why the two cannot be compared at all, or None. It looks at no error of either."""

    def refused(sentence: str) -> Verdict:
        return Verdict(passed=False, sentence=sentence)

    if missing := _missing(*candidate):
        return refused(f"The candidate's bundle lacks {', '.join(missing)}: publish it whole.")
    if lacking:
        return refused(
            f"The candidate's card.md does not say its {', '.join(lacking)}: add that to the block at its top, and "
            "publish it again."
        )
    if champion is None:
        return None
    if missing := _missing(*champion):
        return refused(f"The champion's bundle lacks {', '.join(missing)}, so that nothing compares with it.")
    ours, theirs = _conditions(*candidate), _conditions(*champion)
    for field in (*COMPARABLE, HAND):
        if ours[field] != theirs[field]:
            return refused(
                f"The two cannot be compared: {field} is {ours[field]} for the candidate and {theirs[field]} for the "
                "champion. Train the candidate under the champion's conditions."
            )
    groups = {clip: entry["group"] for clip, entry in _clips(candidate[1]).items()}
    if groups != {clip: entry["group"] for clip, entry in _clips(champion[1]).items()}:
        return refused("The two were not scored on the same gate clips: score both again.")
    if (count := len(set(groups.values()))) < MIN_GROUPS:
        return refused(
            f"The gate part has {count} held-out group; a comparison that generalises needs {MIN_GROUPS}."
        )
    return None


def paired_interval(
    change_N: Sequence[float],
    weight_N: Sequence[float],
    group_N: Sequence[str],
    confidence: float = 1 - ALPHA,
) -> tuple[float, float, float]:
    """Weighted mean of per-clip changes with its interval.

    change_N: candidate - champion of each clip; weight_N: windows of each clip; group_N: group names, at least two
    different. Returns (mean, low, high) in the unit of `change_N`.
    """
    mean, total = _mean(change_N, weight_N), math.fsum(weight_N)
    # What each clip adds to the mean's error; the weighted mean is a ratio, and this its linear part.
    members: dict[str, list[float]] = defaultdict(list)
    for change, weight, group in zip(change_N, weight_N, group_N, strict=True):
        members[group].append(weight * (change - mean) / total)
    sums = {group: math.fsum(parts) for group, parts in members.items()}
    between = math.fsum(part**2 for part in sums.values())
    within = math.fsum(
        (part - sums[group] / len(parts)) ** 2 for group, parts in members.items() for part in parts
    )
    count = len(members)
    # The bootstrap divides by the number of groups where an estimate of variance divides by one less.
    error = math.sqrt((between + within) * count / (count - 1))
    reach = quantile((1 - confidence) / 2, count - 1) * error
    return mean, mean - reach, mean + reach


def percent(confidence: float) -> str:
    """A confidence for readers: 95%, 98.3%, 99.99%."""
    digits = max(0, math.ceil(-math.log10(1 - confidence)) - 1)
    return f"{100 * confidence:.{digits}f}".removesuffix(".0") + "%"


def _mean(values: Sequence[float], weights: Sequence[float]) -> float:
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / math.fsum(weights)


def _conditions(config: dict[str, Any], metrics: dict[str, Any]) -> dict[str, Any]:
    return {field: config["model"].get(field, metrics.get(field)) for field in (*COMPARABLE, HAND)}


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
