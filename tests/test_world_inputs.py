"""Each of text, image and contact point is worth something to a model trained on the procedural world."""

import pytest

from tests.benchmarks.world_inputs import INPUTS, other_clip, worth_of_inputs
from trainables.clips import read_clips
from trainables.splits import setting_group
from trainables.trial import part_windows, train_trial
from trainables.trial_config import TrialConfig
from trainables.world import make_world

CONFIG = TrialConfig(setting="objects", codebook_epochs=2, indexer_epochs=3, epochs=6)


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world") / "world"
    make_world(folder, clips=240, seed=1)
    return read_clips(folder)


def test_partners_are_other_clips(clips):
    windows = part_windows(CONFIG, clips, "val")
    partner_N = other_clip(windows)
    assert (windows.clip_N[partner_N] != windows.clip_N).all()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_exchanging_any_input_worsens_the_forecast(clips):
    model = train_trial(CONFIG, clips, report=lambda metrics, save: None)
    scores = worth_of_inputs(model, part_windows(CONFIG, clips, "test"), setting_group(clips, CONFIG.setting))
    right = scores["none"].means()["mpjpe_cm"]
    for title in INPUTS:
        assert scores[title].means()["mpjpe_cm"] > right, title
