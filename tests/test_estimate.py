"""What a plan will cost, told before anything is trained."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest

from sweeps.comparison_plan import ComparisonPlan
from sweeps.errors import SweepError
from sweeps.estimate import Estimate, estimate
from sweeps.estimate_table import print_estimate
from sweeps.ledger import TrialRecord
from sweeps.plan import Plan, SweepPlan
from sweeps.planned import planned_trials
from sweeps.prices import NO_LIMIT, Budget, describe_cost, usd_per_hour
from sweeps.space import Axis
from sweeps.timings import PastTrial, past_trials
from tests.kept_sweeps import put
from trainables.trial_config import stage_identities, trial_identity
from zoo.store import open_store

DIGEST = "d" * 64
CODES, DEPTH = Axis("codes", "choice", choices=(128, 256)), Axis("decoder_depth", "choice", choices=(1, 2))
PLANNED: dict[str, Any] = {
    "data": "",
    "data_name": "world",
    "data_digest": DIGEST,
    "seed": 0,
    "workers": "1",
    "protocol": "first",
}


def plan(**changes: Any) -> SweepPlan:
    """Four configurations of 8 + 2 + 8 epochs on one setting, nothing stopped."""
    fields = {
        **PLANNED,
        "settings": ("objects",),
        "axes": (CODES, DEPTH),
        "search": "grid",
        "stopping": "none",
        "trials": 4,
        "epochs": 8,
        "seeds": 1,
    }
    return SweepPlan(**{**fields, **changes})


def identity(plan: Plan, setting: str, params: dict[str, Any]) -> str:
    return trial_identity(plan.config(setting, **params), DIGEST, workers=plan.workers, device="cpu")


def stages(plan: Plan, setting: str, params: dict[str, Any]) -> dict[str, str]:
    return stage_identities(plan.config(setting, **params), DIGEST, workers=plan.workers, device="cpu")


def trained(
    plan: Plan, codes: int, depth: int, *, setting: str = "objects", status: str = "finished", epochs: int = 8,
    seconds: tuple[float, float, float] = (80.0, 20.0, 40.0), **changes: Any,
) -> TrialRecord:  # fmt: skip
    """A trial that took so many seconds for codebook, indexer and predictor (0: the stage came from the shelf)."""
    params = {"codes": codes, "decoder_depth": depth, "seed": 0}
    record = TrialRecord(identity(plan, setting, params), setting, "search", params)
    record.status, record.epochs, record.seconds = status, epochs, sum(seconds)  # type: ignore[assignment]
    record.stage_seconds = {
        s: t for s, t in zip(("codebook", "indexer", "predictor"), seconds, strict=True) if t
    }
    record.metrics = {"mpjpe_cm": 5.0 + codes / 1000 + depth}
    for name, value in changes.items():
        setattr(record, name, value)
    return record


def past(plan: Plan, *records: TrialRecord) -> list[PastTrial]:
    return [PastTrial(record, plan.config(record.setting, **record.params)) for record in records]


def price(
    plan: Plan,
    own: list[TrialRecord] = [],  # noqa: B006
    *,
    shelf: set[str] = frozenset(),  # type: ignore[assignment]
    history: list[PastTrial] = [],  # noqa: B006
    usd: float | None = None,
    slots: int = 2,
    **options: Any,
) -> Estimate:
    settings: dict[str, dict[str, TrialRecord]] = {}
    for record in own:
        settings.setdefault(record.setting, {})[record.identity] = record
    return estimate(
        plan,
        settings,
        identities=lambda setting, params: identity(plan, setting, params),
        stages=lambda setting, params: stages(plan, setting, params),
        shelf=shelf,
        history=history,
        usd_per_hour=usd,
        slots=slots,
        device="cpu",
        **options,
    )


def test_stages_that_trials_share_are_paid_once() -> None:
    made = price(plan(), history=past(plan(), trained(plan(), 128, 1)))
    (objects,) = made.settings
    assert (objects.trials, objects.ended, objects.codebooks, objects.on_shelf) == (4, 0, 2, 0)
    assert objects.epochs == 32 - 8  # one of the four was trained by the other sweep
    assert objects.reused == 1
    # Four times all stages; with reuse two codebooks and two indexers, for 256 codes and for one of 128.
    assert objects.naive is not None and objects.naive.mean == pytest.approx(4 * 140)
    assert objects.reusing is not None and objects.reusing.mean == pytest.approx(2 * 100 + 3 * 40)
    assert objects.stopping == objects.reusing


def test_what_lies_on_the_shelf_is_not_paid_for() -> None:
    there = stages(plan(), "objects", {"codes": 128, "decoder_depth": 1, "seed": 0})
    made = price(plan(), shelf=set(there.values()), history=past(plan(), trained(plan(), 128, 1)))
    (objects,) = made.settings
    assert (objects.codebooks, objects.on_shelf) == (2, 1)
    assert objects.reusing is not None and objects.reusing.mean == pytest.approx(100 + 3 * 40)


def test_own_trials_that_ended_are_not_wanted_again() -> None:
    sweep = plan()
    own = [
        trained(sweep, 128, 1),
        trained(sweep, 128, 2, status="stopped", epochs=2, seconds=(0, 0, 10)),
        trained(sweep, 256, 1, status="failed", epochs=0, seconds=(0, 0, 0)),
    ]
    assert price(sweep, own).settings[0].ended == 3
    again = price(sweep, own, retry_failed=True).settings[0]
    assert (again.ended, again.epochs, again.codebooks) == (2, 16, 1)


def test_seconds_scale_with_epochs_and_keep_their_range() -> None:
    longer = plan(epochs=16)
    history = past(
        plan(),
        trained(plan(), 128, 1, seconds=(80, 20, 40)),
        trained(plan(), 128, 2, seconds=(0, 0, 80)),
    )
    made = price(longer, history=history, slots=1)
    (objects,) = made.settings
    # Two of the four were timed themselves; the two of 256 codes are priced like any of the others.
    assert objects.reused == 0  # 8 epochs are no 16
    span = objects.naive
    assert span is not None
    predictors = (80 + 160 + 2 * 80, 80 + 160 + 2 * 120, 80 + 160 + 2 * 160)
    assert (span.least, span.mean, span.most) == pytest.approx([4 * 100 + seconds for seconds in predictors])
    assert made.timed == 2


def test_a_fixed_field_that_changes_what_an_epoch_takes_makes_a_trial_useless_for_timing() -> None:
    wide = plan(fixed=(("width", 512),))
    history = past(plan(), trained(plan(), 128, 1))
    assert price(wide, history=history).total("stopping") is None
    assert price(plan(fixed=(("dropout", 0.3),)), history=history).total("stopping") is not None


def test_another_setting_serves_where_this_one_was_never_timed() -> None:
    both = plan(settings=("objects", "actions"))
    slow = trained(both, 128, 1, setting="actions", seconds=(80, 20, 400))
    made = price(both, history=past(both, trained(both, 128, 1), slow))
    objects, actions = made.settings
    assert objects.naive is not None and objects.naive.mean == pytest.approx(4 * 140)
    assert actions.naive is not None and actions.naive.mean == pytest.approx(4 * 500)
    alone = price(both, history=past(both, trained(both, 128, 1))).settings[1]
    assert alone.naive is not None and alone.naive.mean == pytest.approx(4 * 140)


def test_wall_time_is_no_less_than_the_longest_trial() -> None:
    history = past(plan(), trained(plan(), 128, 1))
    assert (wall := price(plan(), history=history, slots=1).wall_s()) and wall.mean == pytest.approx(320)
    assert (wall := price(plan(), history=history, slots=2).wall_s()) and wall.mean == pytest.approx(160)
    assert (wall := price(plan(), history=history, slots=100).wall_s()) and wall.mean == pytest.approx(140)


def test_early_stopping_is_what_it_was_here_or_what_asha_does_with_many() -> None:
    asha = plan(stopping="asha")
    history = past(plan(), trained(plan(), 128, 1))
    promised = price(asha, history=history)
    # All train 2 epochs, a third 6, a ninth 8.
    assert promised.kept == pytest.approx((2 + 4 / 3 + 2 / 9) / 8) and not promised.measured
    objects = promised.settings[0]
    assert objects.stopping is not None and objects.reusing is not None
    assert objects.stopping.mean == pytest.approx(200 + promised.kept * 120)
    assert objects.stopping.most == objects.reusing.most  # perhaps none is stopped
    own = [
        trained(asha, 128, 1),
        trained(asha, 128, 2, status="stopped", epochs=2, seconds=(0, 0, 10)),
        trained(asha, 256, 1, status="stopped", epochs=2, seconds=(80, 20, 10)),
    ]
    measured = price(asha, own)
    assert measured.kept == pytest.approx((8 + 2 + 2) / 24) and measured.measured
    assert price(plan(stopping="pareto"), history=history).kept == 1.0


def test_repeats_of_finalists_are_counted_with_codebooks_of_their_own() -> None:
    seeded = plan(seeds=4, finalists=4)
    made = price(seeded, history=past(plan(), trained(plan(), 128, 1)))
    # A second seed for all four, two more for the better half.
    assert made.settings[0].trials == 4 + 4 + 2 * 2
    # Seed 1 for both sizes; what the halving leaves of them for seeds 2 and 3.
    assert made.settings[0].codebooks > 2 + 1


def test_planned_points_are_those_begun_and_fresh_ones() -> None:
    own = [trained(plan(), 256, 2), trained(plan(), 256, 1, status="unfinished")]
    points = [tuple(params.values()) for _, params in planned_trials(plan(), own)]
    assert points[:2] == [(256, 2, 0), (256, 1, 0)]
    assert sorted(points) == sorted((*point, 0) for point in itertools.product((128, 256), (1, 2)))
    wide = plan(axes=(Axis("codes", "int", 128, 1024, log=True), DEPTH), search="tpe", trials=40)
    drawn = [tuple(params.values()) for _, params in planned_trials(wide, [])]
    assert len(set(drawn)) == len(drawn) == 40


def test_whether_the_points_are_those_of_the_search_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    wide = plan(axes=(Axis("codes", "int", 128, 1024, log=True), DEPTH), search="tpe", trials=5)
    print_estimate(wide, price(wide))
    assert "evenly spread ones stand for them" in capsys.readouterr().out
    print_estimate(plan(), price(plan()))
    assert "stand for them" not in capsys.readouterr().out


def test_a_comparison_is_priced_contender_by_contender() -> None:
    contenders = {"latentact": {}, "transformer": {"method": "transformer"}}
    rivals = ComparisonPlan(
        **PLANNED, settings=("objects",), epochs=8, seeds=2, kind="baselines", contenders=contenders
    )
    params = {"contender": "transformer", "seed": 0}
    other = TrialRecord(identity(rivals, "objects", params), "objects", "comparison", params)
    other.status, other.epochs, other.stage_seconds = "finished", 18, {"predictor": 90.0}
    made = price(rivals, history=past(plan(), trained(plan(), 256, 1)))
    assert made.total("stopping") is None  # the transformer was never timed
    made = price(rivals, [other], history=past(plan(), trained(plan(), 256, 1)))
    (objects,) = made.settings
    assert (objects.trials, objects.ended) == (4, 1)
    # It is another sweep's very trial, found by its identity.
    assert objects.reused == 1
    assert objects.reusing is not None and objects.reusing.mean == pytest.approx(140 + 90)


def test_the_table_names_hours_time_cost_and_where_they_come_from(capsys: pytest.CaptureFixture[str]) -> None:
    sweep = plan(name="mine", settings=("objects", "actions"))
    history = past(plan(), trained(plan(), 128, 1, seconds=(3600, 0, 3600)))
    history += past(plan(), trained(plan(), 128, 2, seconds=(0, 36, 7200)))
    print_estimate(sweep, price(sweep, history=history, usd=2.0))
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 100
    assert "mine: what is left to train, core hours" in said
    assert "epochs of 2 trials on this data" in said and "2 trials at once" in said
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in said.splitlines() if "|" in line]
    # 1 + 0.01 + (1 to 2) hours a trial. Two of the four of objects were timed themselves.
    assert ["objects", "4", "0", "2", "1", "16", "10.04", "4.01", "4.01 (3.01-5.01)"] in cells, said
    assert ["actions", "4", "0", "0", "2", "32", "10.04", "8.02", "8.02 (7.02-9.02)"] in cells, said
    assert ["all", "", "", "", "", "", "20.08", "12.03", "12.03 (10.03-14.03)"] in cells, said
    assert "24.06 (20.06-28.06) USD at 2 an hour of a worker; 40.16 USD from scratch" in said


def test_nothing_is_invented_where_nothing_was_timed(capsys: pytest.CaptureFixture[str]) -> None:
    print_estimate(plan(), price(plan()))
    said = capsys.readouterr().out
    assert "no trial like these was ever timed on this data: run one first" in said
    assert "Cost:     unknown" in said and re.search(r"\| objects \| +4 \| +0 \|.*\? \|", said)


def test_past_trials_are_those_of_other_sweeps_on_the_same_data_and_device(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}")

    def keep(sweep: Plan, *records: TrialRecord, device: str = "cpu") -> None:
        put(store, sweep.name, *records, plan=sweep.record(), device=device, workers=sweep.workers)

    other = plan(name="other", fixed=(("batch", 64), ("codebook_epochs", 4)))
    keep(other, trained(other, 128, 1), trained(other, 128, 2, status="unfinished"))
    keep(plan(name="mine"), trained(plan(), 256, 1))
    keep(plan(name="elsewhere", data_digest="e" * 64), trained(plan(), 256, 2))
    keep(plan(name="on-gpus"), trained(plan(), 256, 2), device="cuda")
    keep(plan(name="on-two", workers="2"), trained(plan(workers="2"), 256, 2))
    rivals = {"latentact": {}, "transformer": {"method": "transformer"}}
    compared = ComparisonPlan(
        **PLANNED, settings=("objects",), epochs=8, seeds=1, kind="b", name="b", contenders=rivals
    )
    params = {"contender": "transformer", "seed": 0}
    record = TrialRecord(identity(compared, "objects", params), "objects", "comparison", params)
    record.status, record.epochs, record.stage_seconds = "finished", 18, {"predictor": 90.0}
    keep(compared, record)

    found = past_trials(store, plan(name="mine"), "cpu")
    assert {(p.config.method, p.config.batch, p.config.codebook_epochs) for p in found} == {
        ("latentact", 64, 4),
        ("transformer", 32, 8),
    }
    # Read back, they are worth as much as they were.
    made = price(plan(fixed=(("batch", 64),)), history=found)
    assert made.settings[0].naive is not None and made.settings[0].naive.mean == pytest.approx(
        4 * (160 + 20 + 40)
    )


def test_a_price_is_given_or_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENTACT_USD_PER_HOUR", raising=False)
    assert usd_per_hour(None) is None
    monkeypatch.setenv("LATENTACT_USD_PER_HOUR", "1.5")
    assert usd_per_hour(None) == 1.5 and usd_per_hour(2.0) == 2.0
    for wrong in ("cheap", "-1", "nan", "inf"):
        monkeypatch.setenv("LATENTACT_USD_PER_HOUR", wrong)
        with pytest.raises(SweepError, match="LATENTACT_USD_PER_HOUR is"):
            usd_per_hour(None)
    with pytest.raises(SweepError, match="--usd-per-hour is -2"):
        usd_per_hour(-2.0)
    assert describe_cost(5400, "cuda", 2.0) == "1.50 GPU hours, 3.00 USD"
    assert describe_cost(5400, "cpu", None) == "1.50 core hours"


def test_a_budget_says_which_limit_was_reached() -> None:
    assert NO_LIMIT.spent(1e9) is None
    hours = Budget(gpu_hours=2.0)
    assert hours.spent(7199) is None
    assert (said := hours.spent(7236)) and "--budget-gpu-hours 2 is used up" in said and "2.01 hours" in said
    usd = Budget(gpu_hours=100.0, usd=5.0, usd_per_hour=2.0)
    assert usd.spent(8999) is None
    assert (said := usd.spent(9000)) and "--budget-usd 5 is used up" in said and "5.00 USD" in said


@pytest.mark.parametrize(
    ("limits", "says"),
    [
        ({"gpu_hours": 0.0}, "--budget-gpu-hours 0: give a number above zero"),
        ({"usd": float("nan")}, "--budget-usd nan"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused(limits: dict[str, Any], says: str) -> None:
    with pytest.raises(SweepError, match=says):
        Budget(**limits)
