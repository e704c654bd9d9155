"""Whether a model was trained on the clips that it is to be evaluated on: figures on those would flatter it.

Equal digests are the same data. A data set that was imported or rewritten again has another digest and the same
recordings: then the clips of the model's gate part, which a bundle names, are found in it, each in its group.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sweeps.errors import SweepError
from trainables.splits import part_clips

if TYPE_CHECKING:
    from sweeps.opened_model import OpenedModel
    from trainables.clip_set import Clips


def overlap_notes(opened: OpenedModel, clips: Clips, split: str | None, part: str) -> list[str]:
    """What is to be said about the model's own training data; nothing where the data are others.

    Raises:
        SweepError: clips that the model was trained on may be among those asked for.
    """
    config = opened.model.config
    same, again = clips.digest == config.data_digest, _same_recordings(opened, clips)
    if not (same or again):
        if clips.name != config.data:
            return []
        return [
            (
                f"The model was trained on another version of {clips.name!r} (digest {config.data_digest[:12]}, here "
                f"{clips.digest[:12]}): make sure that none of its training clips is among these."
            )
        ]
    what = (
        f"{opened.reference} was trained on {'these data' if same else 'the same recordings, imported again'}"
    )
    remedy = f"Give --split {config.setting} --part test for the part that it never saw, or other data."
    if split != config.setting or part not in ("test", "val"):
        asked = f"--split {split} --part {part}" if split else "all clips"
        raise SweepError(
            f"{what} ({clips.name}, setting {config.setting}): {asked} would hold clips of its training, which "
            f"flatter it. {remedy}"
        )
    if not same and not _same_parts(opened, clips, split):
        raise SweepError(
            f"{what}, but the parts of setting {split} are other ones now: its {part} part may hold clips of the model's "
            "training. Evaluate on the data set it was trained on, or on other data."
        )
    notes = [f"{what}: this is its own {part} part, and no other data set."]
    if part == "val":
        notes.append(
            "Validation chose this model, its epoch and its contact threshold: these figures flatter it."
        )
    return notes


def _gate(opened: OpenedModel) -> dict[str, str]:
    """Clip -> held-out group of the model's gate part; empty beside a checkpoint."""
    rows: list[dict[str, Any]] = opened.metrics.get("gate", {}).get("clips", [])
    return {row["clip"]: row["group"] for row in rows}


def _same_recordings(opened: OpenedModel, clips: Clips) -> bool:
    """Whether most clips of the gate part are here, by name and group: of other recordings hardly one is."""
    gate, column = _gate(opened), opened.metrics.get("test", {}).get("group", "")
    groups = dict(zip(clips.clip_ids, clips.groups.get(column, []), strict=False))
    return bool(gate) and 2 * sum(groups.get(clip) == group for clip, group in gate.items()) >= len(gate)


def _same_parts(opened: OpenedModel, clips: Clips, setting: str) -> bool:
    """Whether the model's gate clips are in the gate part here too, and so, as good as surely, all parts the same."""
    here = {clips.clip_ids[i] for i in part_clips(clips, setting, "gate").tolist()}
    return set(_gate(opened)) <= here
