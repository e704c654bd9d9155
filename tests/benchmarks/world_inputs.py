"""Does a model trained on the procedural world use its text, its image and its contact point?

    python -m trainables.prepare world /tmp/world
    python -m tests.benchmarks.world_inputs /tmp/world

For each setting one model is trained at the default size; then one input at a time is exchanged between the test
clips, and the rise of MPJPE is the worth of that input. About two minutes a setting on one core.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import click
import torch
from torch import Tensor

from trainables.clips import Clips, read_clips
from trainables.evaluate import evaluate
from trainables.evaluation import Evaluation
from trainables.latentact import LatentAct, Prediction
from trainables.splits import setting_group
from trainables.trial import part_windows, train_trial
from trainables.trial_config import TrialConfig
from trainables.windows import Batch, Windows

INPUTS = {
    "text": ("text_B", "text_BF"),
    "image": ("image_BSX", "image_known_BS"),
    "contact point": ("point_BS3", "point_known_BS"),
}


def other_clip(windows: Windows, seed: int = 0) -> Tensor:
    """For each window a window of another clip, (N,): the clips trade places in a random cycle."""
    clips = windows.clip_N.unique()
    order = clips[torch.randperm(len(clips), generator=torch.Generator().manual_seed(seed))]
    partner = dict(zip(order.tolist(), order.roll(1).tolist(), strict=True))
    rows = {clip: (windows.clip_N == clip).nonzero()[:, 0] for clip in clips.tolist()}
    chosen = []
    for row, clip in enumerate(windows.clip_N.tolist()):
        theirs = rows[partner[clip]]
        chosen.append(theirs[(row - int(rows[clip][0])) % len(theirs)])
    return torch.stack(chosen)


def exchange(windows: Windows, names: tuple[str, ...]) -> Callable[[Batch], Batch]:
    """A function that gives a batch of `windows` the fields `names` of other clips' windows."""
    partner_N = other_clip(windows)
    row_of = {
        key: i for i, key in enumerate(zip(windows.clip_N.tolist(), windows.start_N.tolist(), strict=True))
    }

    def exchanged(batch: Batch) -> Batch:
        rows = [row_of[key] for key in zip(batch.clip_B.tolist(), batch.start_B.tolist(), strict=True)]
        theirs = windows.gather(partner_N[rows])
        return dataclasses.replace(batch, **{name: getattr(theirs, name) for name in names})

    return exchanged


def worth_of_inputs(model: LatentAct, windows: Windows, group: str) -> dict[str, Evaluation]:
    """Evaluations with all inputs right ("none") and with each exchanged."""
    scores = {"none": evaluate(model.forecast, windows, group)}
    for title, names in INPUTS.items():
        exchanged = exchange(windows, names)

        def predict(batch: Batch, exchanged: Callable[[Batch], Batch] = exchanged) -> Prediction:
            return model.forecast(exchanged(batch))

        scores[title] = evaluate(predict, windows, group)
    return scores


def report(clips: Clips, settings: list[str], **budget: int) -> str:
    lines = [
        "| setting | all inputs right, MPJPE cm | " + " | ".join(f"{t} exchanged" for t in INPUTS) + " |"
    ]
    lines.append("| --- " * (2 + len(INPUTS)) + "|")
    for setting in settings:
        config = TrialConfig(setting=setting, **budget)
        model = train_trial(config, clips, report=lambda metrics, save: None)
        scores = worth_of_inputs(model, part_windows(config, clips, "test"), setting_group(clips, setting))
        right = scores["none"].interval("mpjpe_cm")
        cells = [setting, f"{right.estimate:.2f} [{right.low:.2f}, {right.high:.2f}]"]
        for title in INPUTS:
            rise = scores[title].difference(scores["none"], "mpjpe_cm")
            cells.append(f"{rise.estimate:+.2f} [{rise.low:+.2f}, {rise.high:+.2f}]")
        lines.append("| " + " | ".join(cells) + " |")
        click.echo(lines[-1])
    return "\n".join(lines)


@click.command(help=__doc__)
@click.argument("data")
@click.option("--settings", default="objects,actions,tasks,scenes", show_default=True)
def main(data: str, settings: str) -> None:
    torch.set_num_threads(1)
    clips = read_clips(data)
    click.echo(report(clips, settings.split(",")))


if __name__ == "__main__":
    main()
