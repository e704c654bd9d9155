"""The files beside a setting's parent run in MLflow, made again: a search's report and its model's card with the gallery,
a comparison's tables."""

from __future__ import annotations

from collections.abc import Mapping

from sweeps.comparison_plan import ComparisonPlan
from sweeps.ledger import Ledger
from sweeps.mlflow_runs import SweepRuns
from sweeps.plan import Plan, SweepPlan
from sweeps.trial_record import TrialRecord
from zoo.bundle import verify
from zoo.card_html import folder_html
from zoo.errors import ZooError
from zoo.pulling import pull
from zoo.store import Store

REPORT, TABLE, CARD = "report.html", "comparison.md", "card.html"


def write_files(
    runs: SweepRuns,
    plan: Plan,
    ledger: Ledger,
    settings: Mapping[str, Mapping[str, TrialRecord]],
    models: Mapping[str, str],
) -> int:
    """Write them where these settings' runs lack them; returns how many were written.

    models: setting -> `name@version` that its best trial was published as.
    """
    return _write_tables(runs, plan, ledger, settings) + sum(
        _write_card(runs, ledger.store, setting, reference) for setting, reference in models.items()
    )


def _write_card(runs: SweepRuns, store: Store, setting: str, reference: str) -> int:
    if runs.has_file(setting, CARD):
        return 0
    try:
        folder = pull(reference, store=store)
        verify(folder)
        page = folder_html(folder, reference)
    except ZooError:
        return 0  # collected since, or not to be had now
    runs.log_files(setting, {CARD: page})
    return 1


def _write_tables(
    runs: SweepRuns, plan: Plan, ledger: Ledger, settings: Mapping[str, Mapping[str, TrialRecord]]
) -> int:
    first = TABLE if isinstance(plan, ComparisonPlan) else REPORT
    lacking = [setting for setting in settings if not runs.has_file(setting, first)]
    if not lacking:
        return 0
    if isinstance(plan, ComparisonPlan):
        made = {s: _tables(plan, ledger.store, s, list(settings[s].values())) for s in lacking}
    else:
        from sweeps.report import view_of, write_report

        assert isinstance(plan, SweepPlan)
        page = write_report(view_of(ledger, plan))
        made = {setting: {REPORT: page} for setting in lacking}
    for setting, files in made.items():
        runs.log_files(setting, files)
    return sum(map(len, made.values()))


def _tables(plan: ComparisonPlan, store: Store, setting: str, trials: list[TrialRecord]) -> dict[str, str]:
    """From the readings of test that the store keeps; what was never read is missing in them."""
    # These know how to read test, and import torch for it.
    from sweeps.comparison_table import compare, untrained_keys
    from sweeps.comparison_text import files
    from sweeps.readings import kept, trial_key

    keys = [trial_key(trial.identity, trial.epochs) for trial in trials if trial.status == "finished"]
    keys += [key for name in plan.untrained for key in untrained_keys(plan, setting, name)]
    found = {key: kept(store, key) for key in keys}
    readings = {key: reading for key, reading in found.items() if reading is not None}
    return files(compare(plan, setting, trials, readings), trials, readings)
