"""The runs of one sweep in MLflow: a parent run a setting, a child run a trial, under `latentact-<data>`.

What is written here is written once: runs are found by their tags, and a figure that a run has is not logged again. So
a sweep that goes on, one that MLflow has lost a part of, and one that is made again from the ledger
(sweeps/mlflow_view.py) all end in the same runs. No text leaves without `redacted`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sweeps import mlflow_entries as entries
from sweeps.mlflow_client import client_of
from sweeps.mlflow_entries import Figure, Heading
from sweeps.redacted import redacted
from sweeps.trial_record import TrialRecord, numbers


@dataclass
class _Run:
    """A run as far as it is known here. `seen` is what was logged, by name and step; None: MLflow has to be asked."""

    id: str
    params: set[str] = field(default_factory=set)
    tags: set[str] = field(default_factory=set)  # that an earlier end of the trial has left
    logged: list[str] = field(default_factory=list)  # names of figures
    seen: dict[tuple[str, int], float] | None = None
    before: dict[str, int] = field(default_factory=dict)  # stage -> epochs of the stages before it
    was: str = ""  # the state it was found in; a new one has none


class SweepRuns:
    """Reads and writes the runs of one sweep at `uri`. Every method may raise whatever MLflow raises."""

    def __init__(self, uri: str, heading: Heading) -> None:
        self.uri, self.heading = uri, heading
        self._runs: dict[str, _Run] = {}
        self._index: dict[str, tuple[str, str]] | None = None  # key -> run id, what it says of itself

    def connect(self) -> None:
        """Reach MLflow, and make the experiment where there is none."""
        self._client = client_of(self.uri)
        name = redacted(f"latentact-{self.heading.data_name}")
        found = self._client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        self._experiment = found.experiment_id if found else self._client.create_experiment(name)

    def index(self) -> None:
        """Look at all runs of the sweep at once; from here on nobody else may add to them."""
        self._index, token = {}, None
        while True:
            page = self._client.search_runs(
                [self._experiment], self._filter(), max_results=1000, page_token=token
            )
            for run in page:
                said = f"{run.info.status} {run.data.tags.get(entries.WRITTEN, '')}"
                self._index.setdefault(run.data.tags.get("latentact.key", ""), (run.info.run_id, said))
            if not (token := page.token):
                return

    def is_whole(self, trial: TrialRecord) -> bool:
        """Whether a trial's run was complete when `index` looked; while a trial is unfinished that is its driver's care."""
        said = (self._index or {}).get(trial.identity, ("", ""))[1]
        if trial.status == "unfinished":
            return bool(said)
        return said == f"{entries.STATES[trial.status]} {entries.written_mark(trial)}"

    def open_setting(self, setting: str, *, began_s: float = 0.0) -> str:
        """Find or make the parent run of a setting, once; `began_s` is when it began (Unix time), 0.0: now.

        Returns the state it was found in; "" of a new one, which is RUNNING.
        """
        if setting in self._runs:
            return self._runs[setting].was
        name = f"{setting} {self.heading.sweep}"
        run = self._find_or_make(setting, name, {"latentact.setting": setting}, began_s)
        self._log(run, params=self.heading.params)
        return run.was

    def open_trial(self, trial: TrialRecord, config: Mapping[str, Any]) -> str:
        """The same for a trial's run below its setting's; writes down its configuration."""
        if trial.identity in self._runs:
            return self._runs[trial.identity].was
        self.open_setting(trial.setting)
        tags = {
            "mlflow.parentRunId": self._runs[trial.setting].id,
            "latentact.identity": trial.identity,
            "latentact.setting": trial.setting,
            "latentact.phase": trial.phase,
        }
        name = " ".join(f"{key}={value}" for key, value in trial.params.items())
        run = self._find_or_make(trial.identity, name, tags, trial.began_s)
        run.before = entries.stages_before(config)
        more = {"workers": self.heading.workers, "data_digest": self.heading.data_digest}
        self._log(run, params={**more, **config, **trial.params})
        return run.was

    def show_state(self, key: str, state: str) -> None:
        """RUNNING, or SCHEDULED for what somebody goes on with later."""
        self._client.update_run(self._runs[key].id, status=state)
        self._runs[key].was = state

    def log_epochs(self, identity: str, told: Iterable[Mapping[str, Any]]) -> None:
        """Figures of epochs, each in the form of an entry of a TrialRecord's history."""
        run = self._runs[identity]
        self._log(
            run, figures=[figure for entry in told for figure in entries.epoch_figures(entry, run.before)]
        )

    def end_trial(self, trial: TrialRecord) -> None:
        """Complete an opened trial's run from its record, close it with what became of it, and let go of it."""
        run = self._runs[trial.identity]
        figures = [
            *entries.history_figures(trial, run.before),
            *entries.last_figures(trial, self.heading.workers),
        ]
        tags = entries.last_tags(trial)
        for key in run.tags - tags.keys():
            self._client.delete_tag(run.id, key)
        self._log(run, figures=figures, tags=tags)
        state = entries.STATES[trial.status]
        if trial.status == "unfinished":
            self.show_state(trial.identity, state)
        else:
            ended_ms = entries.milliseconds(trial.ended_s)
            self._client.set_terminated(run.id, status=state, end_time=ended_ms)
        # The last thing that is written: who reads it knows that the rest is there.
        self._client.set_tag(run.id, entries.WRITTEN, entries.written_mark(trial))
        del self._runs[trial.identity]

    def summarise(self, setting: str, metrics: Mapping[str, float], tags: Mapping[str, str]) -> None:
        """Figures and tags of a setting's parent run; a figure that has changed since is logged once more."""
        now_ms = entries.milliseconds(0.0)
        figures = [
            (entries.valid_name(name), value, 0, now_ms) for name, value in numbers(dict(metrics)).items()
        ]
        self._log(self._runs[setting], figures=figures, tags=tags)

    def end_setting(self, setting: str, *, ended_s: float = 0.0) -> None:
        ended_ms = entries.milliseconds(ended_s)
        self._client.set_terminated(self._runs[setting].id, status="FINISHED", end_time=ended_ms)

    def has_file(self, setting: str, path: str) -> bool:
        """Whether such a text lies at the top of a setting's parent run."""
        return path in {file.path for file in self._client.list_artifacts(self._runs[setting].id)}

    def log_files(self, setting: str, files: Mapping[str, str]) -> None:
        """Texts that lie beside a setting's parent run, by path."""
        for path, text in files.items():
            self._client.log_text(self._runs[setting].id, redacted(text), redacted(path))

    def run_id(self, key: str) -> str | None:
        """The run of a trial or of a setting; None where MLflow has none."""
        return self._runs[key].id if key in self._runs else self._find(key)

    def address(self, run_id: str) -> str:
        """The web page of a run."""
        return f"{redacted(self.uri)}/#/experiments/{self._experiment}/runs/{run_id}"

    def _filter(self, key: str | None = None) -> str:
        ours = f"tags.`latentact.sweep` = '{self.heading.sweep}'"
        return f"{ours} and tags.`latentact.key` = '{key}'" if key else ours

    def _find(self, key: str) -> str | None:
        if self._index is not None:
            return self._index[key][0] if key in self._index else None
        runs = self._client.search_runs(
            [self._experiment], self._filter(key), max_results=10, order_by=["attributes.start_time ASC"]
        )
        # A request that was sent again because its answer was lost has made a run twice.
        for other in runs[1:]:
            self._client.delete_run(other.info.run_id)
        return runs[0].info.run_id if runs else None

    def _find_or_make(self, key: str, name: str, tags: Mapping[str, str], began_s: float) -> _Run:
        if found := self._find(key):
            run = self._client.get_run(found)
            has_data = bool(run.inputs and run.inputs.dataset_inputs)
            tags_left = run.data.tags.keys() & set(entries.LAST_TAGS)
            made = _Run(found, set(run.data.params), tags_left, list(run.data.metrics))
            made.was = run.info.status
        else:
            tags = {
                **self.heading.tags,
                **tags,
                "latentact.sweep": self.heading.sweep,
                "latentact.key": key,
                "latentact.data_digest": self.heading.data_digest,
            }
            run = self._client.create_run(
                self._experiment,
                start_time=entries.milliseconds(began_s),
                run_name=redacted(name),
                tags=entries.texts(tags, entries.TAG_LENGTH),
            )
            has_data = False
            made = _Run(run.info.run_id, seen={})
        if not has_data:
            self._client.log_inputs(made.id, [entries.data_set(self.heading)])
        self._runs[key] = made
        return made

    def _log(
        self,
        run: _Run,
        params: Mapping[str, Any] | None = None,
        figures: Iterable[Figure] = (),
        tags: Mapping[str, str] | None = None,
    ) -> None:
        """What the run does not have yet, in as few requests as MLflow allows."""
        from mlflow.entities import Metric, Param, RunTag

        new = self._unseen(run, list(figures))
        new_params = {
            key: value
            for key, value in entries.texts(params or {}, entries.PARAM_LENGTH).items()
            if key not in run.params  # MLflow lets none change
        }
        new_tags = [
            RunTag(key, value) for key, value in entries.texts(tags or {}, entries.TAG_LENGTH).items()
        ]
        metrics = [Metric(name, value, at_ms, step) for name, value, step, at_ms in new]
        params_list = [Param(key, value) for key, value in new_params.items()]
        self._client.log_batch(run.id, metrics=metrics, params=params_list, tags=new_tags)
        run.params |= new_params.keys()
        assert run.seen is not None or not new
        if run.seen is not None:
            run.seen |= {(name, step): value for name, value, step, _ in new}

    def _unseen(self, run: _Run, figures: list[Figure]) -> list[Figure]:
        """The figures that the run does not have; one whose value at its step has changed is new."""
        if figures and run.seen is None:
            run.seen = {}
            for name in run.logged:
                history = self._client.get_metric_history(run.id, name)
                for metric in sorted(history, key=lambda metric: metric.timestamp):
                    run.seen[name, metric.step] = metric.value
        seen = run.seen or {}
        return [figure for figure in figures if seen.get((figure[0], figure[2])) != figure[1]]
