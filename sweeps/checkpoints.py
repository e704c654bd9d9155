"""What is kept of trained trials in the store, and the removal of the rest, with the ledger's knowledge.

A trial's last checkpoint holds its best model, and beside it what training would go on from, which is several times as
large. Policies:

    last        both, of every trial: a longer budget continues each of them
    best        of finished trials the model alone
    finalists   the models of finalists, repeats and published trials, and nothing of the others

Trials are shared: equal ones are trained once over all sweeps of a store. So a trial loses what every sweep that has it
can spare. A sweep says so by a note with its policy when it has ended; one without a note needs everything. What is not
finished, stopped or failed is never touched, nor what a living driver holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

from pyarrow import fs

from sweeps.claims import Claims
from sweeps.ledger import Ledger, TrialRecord
from sweeps.selection import finalists
from trainables.checkpoints import Checkpoints
from trainables.clip_folder import Folder, explained, open_folder
from trainables.model_folder import MODEL_FILES

Policy = Literal["last", "best", "finalists"]
# What can be spared of a trial, least first.
_LEVELS = ("", "resume", "all")
_NOTE = "checkpoints"
_AT_ONCE = 16


@dataclass
class Swept:
    """What was removed."""

    trials: int = 0
    files: int = 0
    bytes: int = 0


@dataclass
class _Trial:
    """One trial as all sweeps that have it see it."""

    level: str  # what all can spare, of _LEVELS
    recorded: set[str]  # names of the checkpoint folders that the ledger knows


def sweep_checkpoints(
    ledger: Ledger,
    claims: Claims,
    settings: Mapping[str, Mapping[str, TrialRecord]],
    reports: Mapping[str, Mapping[str, Any]],
    *,
    policy: Policy,
    finalists: int,
) -> Swept:
    """Remove what the policy does not keep of this sweep's trials; call it at a sweep's end, and as often as wanted.

    `settings` and `reports` are what `ledger.read` gives, `finalists` how many configurations of a setting are
    repeated. Checkpoints that later ones have replaced go whatever the policy. The ledger is told before a file is
    removed, so that a sweep that was cut off here is finished by the next one, and nobody looks for what is gone.

    Raises:
        StoreError, ClipsError: the store does not answer; what is removed until then is in the ledger.
    """
    ledger.note(_NOTE, policy=policy)
    trials: dict[str, _Trial] = {}
    for record, level in _spared(settings, reports, policy, finalists):
        if record.status != "unfinished":
            trials[record.identity] = _Trial(level, _names(record))
    plan = ledger.plan_record()
    for name in Ledger.names(ledger.store):
        if name != ledger.sweep:
            _ask(Ledger(ledger.store, name), trials, plan)
    place = open_folder(f"{ledger.store.url}/trials")
    done = Swept()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for files in pool.map(lambda item: _sweep(ledger, claims, place, *item), trials.items()):
            done.trials += bool(files)
            done.files += len(files)
            done.bytes += sum(files.values())
    return done


def _spared(
    settings: Mapping[str, Mapping[str, TrialRecord]],
    reports: Mapping[str, Mapping[str, Any]],
    policy: str,
    count: int,
) -> Iterable[tuple[TrialRecord, str]]:
    """Every trial of a sweep with what that sweep can spare of it."""
    for setting, trials in settings.items():
        # As long as one is unfinished, nobody knows who the finalists are.
        over = all(trial.status != "unfinished" for trial in trials.values())
        kept = {
            t.identity for configuration in finalists(trials.values(), count) for t in configuration.trials
        }
        kept |= {trial.identity for trial in trials.values() if trial.phase != "search"}
        kept.add(reports.get(setting, {}).get("identity", ""))
        for trial in trials.values():
            level = "resume" if policy != "last" and trial.status == "finished" else ""
            if policy == "finalists" and over and trial.identity not in kept:
                level = "all"
            yield trial, level


def _ask(other: Ledger, trials: dict[str, _Trial], plan: Mapping[str, Any] | None) -> None:
    """Let another sweep say what it can spare of the trials that it has too."""
    theirs = other.plan_record()
    if theirs is None or (plan and theirs.get("data_digest") != plan.get("data_digest")):
        return  # a trial's identity holds its data
    settings, reports = other.read(lambda setting, params: theirs.get("epochs", 0))
    policy = next((note["policy"] for note in reversed(other.notes()) if note["kind"] == _NOTE), "last")
    for record, level in _spared(settings, reports, policy, theirs.get("finalists", 0)):
        if (trial := trials.get(record.identity)) is not None:
            trial.level = min(trial.level, level, key=_LEVELS.index)
            trial.recorded |= _names(record)


def _names(record: TrialRecord) -> set[str]:
    return {record.checkpoint.rstrip("/").rpartition("/")[2]} - {""}


def _sweep(ledger: Ledger, claims: Claims, place: Folder, identity: str, trial: _Trial) -> dict[str, int]:
    """Remove what is spared of one trial, unless somebody holds it; the files with their bytes."""
    if not _doomed(place, identity, trial) or claims.take("trial", identity) is not None:
        return {}
    try:
        files = _doomed(place, identity, trial)  # as it is now that nobody trains it
        if files and trial.level:
            ledger.swept(identity, "all" if trial.level == "all" else "resume")
        for name in files:
            ledger.store.delete(f"trials/{identity}/{name}")
        if place.is_local:  # where a folder is more than the names in it
            for folder in {name.rpartition("/")[0] for name in files}:
                with suppress(OSError):  # it is not empty
                    os.removedirs(f"{place.path}/{identity}/{folder}")
        return files
    finally:
        claims.release("trial", identity)


def _doomed(place: Folder, identity: str, trial: _Trial) -> dict[str, int]:
    """The files (below the trial's folder) that go, with their bytes."""
    top = f"{place.path}/{identity}"
    with explained(place, identity):
        infos = place.system.get_file_info(fs.FileSelector(top, recursive=True, allow_not_found=True))
    files = {
        info.path.removeprefix(f"{top}/"): info.size or 0 for info in infos if info.type == fs.FileType.File
    }
    folders = sorted({name.partition("/")[0] for name in files if name.startswith("checkpoint_")})
    latest = Checkpoints(f"{place.url}/{identity}").latest() or (folders or [""])[-1]
    if trial.recorded and latest not in trial.recorded:
        return {}  # somebody has gone on since the ledger was read
    if trial.level == "all":
        return files
    kept = trial.recorded | {latest}

    def stays(name: str) -> bool:
        folder, _, file = name.rpartition("/")
        if folder in folders and folder not in kept:
            return False
        return trial.level == "" or folder not in folders or file in MODEL_FILES

    return {name: size for name, size in files.items() if not stays(name)}
