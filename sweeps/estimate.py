"""What a plan will cost before anything is trained: `--dry-run`. Nothing is started, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from statistics import fmean

from sweeps.capacity import Workers
from sweeps.ledger import TrialRecord
from sweeps.plan import Plan, SweepPlan
from sweeps.planned import is_known, planned_trials
from sweeps.points import Params
from sweeps.rungs import REDUCTION, asha_rungs
from sweeps.timings import PastTrial, Span, Timings

# So many ended trials say how many epochs early stopping leaves.
_ENOUGH = 3
_NOTHING = Span()


@dataclass
class SettingEstimate:
    """Of one setting. Spans are seconds of trials (each on all its workers); None: something was never timed.

    `naive` is every trial from scratch with all its epochs; `reusing` what is left of it, as trials and stages exist or
    are shared; `stopping` that with early stopping.
    """

    setting: str
    trials: int = 0
    ended: int = 0  # in this sweep
    reused: int = 0  # finished by others
    codebooks: int = 0  # that the trials left stand on
    on_shelf: int = 0  # of those
    epochs: int = 0  # of the predictor that are left, at most
    naive: Span | None = _NOTHING
    reusing: Span | None = _NOTHING
    stopping: Span | None = _NOTHING
    longest_s: float = 0.0  # of the trials left, as expected


@dataclass(frozen=True)
class Estimate:
    """Of a whole plan, `slots` of whose trials run at once."""

    settings: tuple[SettingEstimate, ...]
    slots: int
    workers: Workers
    device: str
    usd_per_hour: float | None
    timed: int  # trials that the seconds come from
    kept: float  # share of the search's predictor epochs that early stopping is taken to leave
    measured: bool  # whether this sweep's own trials said so
    exact: bool  # whether the points are those that the search will try

    def total(self, kind: str) -> Span | None:
        """Seconds of trials of all settings; `kind` is "naive", "reusing" or "stopping"."""
        return _sum(getattr(setting, kind) for setting in self.settings)

    def worker_hours(self, span: Span) -> Span:
        """Hours of workers that trials hold for so many seconds."""
        least, most = self.workers.least / 3600, self.workers.most / 3600
        return span.times(least, (least + most) / 2, most)

    def wall_s(self) -> Span | None:
        """Seconds on the cluster; never less than its longest trial takes."""
        total = self.total("stopping")
        if total is None:
            return None
        longest = max((setting.longest_s for setting in self.settings), default=0.0)
        each = [total.least / self.slots, total.mean / self.slots, total.most / self.slots]
        return Span(each[0], *(max(longest, seconds) for seconds in each[1:]))


def estimate(
    plan: Plan,
    settings: dict[str, dict[str, TrialRecord]],
    *,
    identities: Callable[[str, Params], str],
    stages: Callable[[str, Params], dict[str, str]],
    shelf: Collection[str],
    history: Iterable[PastTrial],
    usd_per_hour: float | None,
    slots: int,
    device: str,
    retry_failed: bool = False,
) -> Estimate:
    """Count and price what is left of a plan.

    `settings` are its records from the ledger. `identities` gives a trial's identity (by setting and params), `stages`
    those of its codebook and indexer by stage, and `shelf` holds the ones that are trained. `history` comes from
    `sweeps.timings.past_trials`.
    """
    history = list(history)
    own = [
        PastTrial(trial, plan.config(trial.setting, **trial.params))
        for trials in settings.values()
        for trial in trials.values()
        if trial.status in ("finished", "stopped")
    ]
    timings = Timings([*own, *history], [a.field for a in plan.axes] if isinstance(plan, SweepPlan) else [])
    elsewhere = {p.trial.identity: p.trial.epochs for p in history if p.trial.status == "finished"}
    kept, measured = _kept_share(plan, own)
    trained = set(shelf)
    made = []
    for setting in plan.settings:
        records = settings.get(setting, {})
        found = SettingEstimate(setting)
        codebooks: set[str] = set()
        for phase, params in planned_trials(plan, records.values()):
            config, identity = plan.config(setting, **params), identities(setting, params)
            spans = {stage: timings.span(stage, config) for stage in config.stages}
            whole = _sum(spans.values())
            found.trials += 1
            found.naive = _plus(found.naive, whole)
            record = records.get(identity)
            if record is not None and record.has_ended(retry_failed=retry_failed):
                found.ended += 1
                continue
            if elsewhere.get(identity, 0) >= config.epochs:
                found.reused += 1
                continue
            found.epochs += config.epochs
            stands_on = stages(setting, params)
            if "codebook" in stands_on:
                codebooks.add(stands_on["codebook"])
            missing = {stage: name for stage, name in stands_on.items() if name not in trained}
            trained |= set(missing.values())
            shared, predictor = _sum(spans[stage] for stage in missing), spans["predictor"]
            found.reusing = _plus(found.reusing, _plus(shared, predictor))
            if predictor is not None and phase == "search":
                predictor = predictor.times(kept, kept, 1.0)  # perhaps none is stopped
            found.stopping = _plus(found.stopping, _plus(shared, predictor))
            found.longest_s = max(found.longest_s, whole.mean if whole else 0.0)
        found.codebooks, found.on_shelf = len(codebooks), len(codebooks & set(shelf))
        made.append(found)
    return Estimate(
        settings=tuple(made),
        slots=slots,
        workers=Workers.parse(str(plan.workers)),
        device=device,
        usd_per_hour=usd_per_hour,
        timed=len(timings.used),
        kept=kept,
        measured=measured,
        exact=all(is_known(plan, settings.get(s, {}).values()) for s in plan.settings),
    )


def _kept_share(plan: Plan, own: list[PastTrial]) -> tuple[float, bool]:
    """The share of a search's predictor epochs that early stopping leaves, and whether that was measured.

    Measured on the search's own trials where some have ended. Else ASHA is taken to let one in three pass each rung,
    as it does with many trials, and the other methods, which promise no share, to stop nothing.
    """
    if not isinstance(plan, SweepPlan) or plan.stopping == "none":
        return 1.0, False
    shares = [min(1.0, p.trial.epochs / p.config.epochs) for p in own if p.trial.phase == "search"]
    if len(shares) >= _ENOUGH:
        return fmean(shares), True
    if plan.stopping != "asha" or plan.epochs < 2:
        return 1.0, False
    trained, share, before = 0.0, 1.0, 0
    for epoch in [*asha_rungs(plan.epochs), plan.epochs]:
        trained, share, before = trained + share * (epoch - before), share / REDUCTION, epoch
    return trained / plan.epochs, False


def _plus(one: Span | None, other: Span | None) -> Span | None:
    return None if one is None or other is None else one + other


def _sum(spans: Iterable[Span | None]) -> Span | None:
    total: Span | None = _NOTHING
    for span in spans:
        total = _plus(total, span)
    return total
