"""A parent run's files in MLflow, and a sweep that goes on where MLflow does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from test_sweep_plan import plan

from sweeps.tracking import Tracking

pytest.importorskip("mlflow")


def test_files_lie_beside_a_settings_parent_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)  # artefacts of a server-less MLflow lie where it is used
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    texts = {"comparison.md": "| a |\n", "errors/no-text.json": "[]"}
    for _ in range(2):  # the second time as a resumed comparison: the same run
        tracking = Tracking(uri, plan(), {})
        tracking.setting("objects")
        tracking.artefacts("objects", texts)
        tracking.summarised("objects", {"test_mpjpe_cm/no_text": 8.5}, {"latentact.kind": "ablations"})
        address = tracking.address("objects")
        tracking.close()
    client = MlflowClient(tracking_uri=uri)
    experiment = client.get_experiment_by_name("latentact-world")
    (run,) = client.search_runs([experiment.experiment_id])
    assert address is not None and run.info.run_id in address
    assert run.data.metrics["test_mpjpe_cm/no_text"] == 8.5
    assert run.data.tags["latentact.kind"] == "ablations" and run.info.status == "FINISHED"
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {"comparison.md", "errors"}
    kept = client.download_artifacts(run.info.run_id, "comparison.md", str(tmp_path))
    assert Path(kept).read_text() == texts["comparison.md"]


def test_without_mlflow_nothing_is_kept_and_nothing_fails(capsys: pytest.CaptureFixture[str]) -> None:
    tracking = Tracking(None, plan(), {})
    tracking.setting("objects")
    tracking.artefacts("objects", {"comparison.md": ""})
    assert tracking.address("objects") is None
    tracking.close()
    assert "Warning" not in capsys.readouterr().err
