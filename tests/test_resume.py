"""Training resumes bit for bit after every epoch of every stage, whatever is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_clips import tiny_clips
from tests.tiny_trials import Recorder, Stopped, checkpoint, tiny, train
from trainables.clips import Clips
from trainables.trial import train_trial

VARIANTS: dict[str, dict[str, Any]] = {
    "latentact": {},
    "transformer": {"method": "transformer", "vertex_weight": 1.0},
    "diffusion": {"method": "diffusion"},
    "diffusion-codebook": {"method": "diffusion-codebook"},
    "cosine": {"schedule": "cosine", "true_codes": 0.25},
    "frozen indexer": {"code_weight": 0.0, "indexer_dropout": 0.1},
    "told every frame": {"told": "frame", "protocol": "goal"},
    "interpolate": {"mode": "interpolate"},
    "shared codebook, points": {"shared_codebook": True, "contact_encoder": "points"},
    "true codes": {"without": "indexer"},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Clips:
    return tiny_clips(tmp_path_factory.mktemp("data") / "tiny", clips=16)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=list(VARIANTS))
def test_resume_is_bit_for_bit(clips: Clips, changes: dict[str, Any], tmp_path: Path) -> None:
    """From the checkpoint of each epoch the next one comes out, to the last bit of optimiser and quantizer.

    So by induction a trial that was interrupted anywhere, any number of times, ends as one that was not.
    """
    config = tiny(**changes)
    model, whole = train(config, clips, tmp_path / "whole")
    count = len(whole.reports)
    assert count == 2 * len(config.stages)
    for n in range(count - 1):
        folder = tmp_path / f"from-{n}"
        recorder = Recorder(folder, stop_after=1)
        with pytest.raises(Stopped):
            train_trial(config, clips, report=recorder, resume_from=tmp_path / "whole" / f"{n}")
        assert recorder.reports == [whole.reports[n + 1]]
        tensors, record = checkpoint(folder / "0")
        expected_tensors, expected_record = checkpoint(tmp_path / "whole" / f"{n + 1}")
        assert record == expected_record
        assert tensors.keys() == expected_tensors.keys()
        for name, value in expected_tensors.items():
            assert torch.equal(tensors[name], value), (n, name)
    recorder = Recorder()
    again = train_trial(config, clips, report=recorder, resume_from=tmp_path / "whole" / f"{count - 1}")
    assert recorder.reports == []
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_a_checkpoint_holds_what_the_next_epoch_needs(clips: Clips, tmp_path: Path) -> None:
    """The test above can fail: without a moment of the optimiser or the quantizer's sums another epoch comes out."""
    from safetensors.torch import save_file

    config = tiny(indexer_epochs=1, epochs=1)
    train(config, clips, tmp_path / "whole")
    tensors, _ = checkpoint(tmp_path / "whole" / "0")
    expected, _ = checkpoint(tmp_path / "whole" / "1")
    for lost in ("codebook.adamw.0.exp_avg", "codebook.module.quantizer.sums_QKD"):
        damaged = {
            name: torch.zeros_like(value) if name == lost else value for name, value in tensors.items()
        }
        save_file(damaged, tmp_path / "whole" / "0" / "trial.safetensors")
        recorder = Recorder(tmp_path / lost, stop_after=1)
        with pytest.raises(Stopped):
            train_trial(config, clips, report=recorder, resume_from=tmp_path / "whole" / "0")
        found, _ = checkpoint(tmp_path / lost / "0")
        assert any(not torch.equal(found[name], value) for name, value in expected.items())
