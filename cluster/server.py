"""One server of the one-machine stack: how it is started, and how it shows that it works."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from cluster import process
from cluster.state import ProcessRecord, StackError, StackFolder, StackState

_POLL_S = 0.1


class NotReady(Exception):
    """The server does not answer as it should, or not yet; the message says what it did instead."""


@dataclass(frozen=True, kw_only=True)
class Server:
    name: str
    address: str  # what a person is told
    command: Callable[[], list[str]]  # raises StackError where its program is missing
    environment: dict[str, str]
    ports: list[int]
    check: Callable[[], None]  # raises NotReady
    start_timeout_s: float
    stop_patience_s: float  # between TERM and KILL

    def member(self, state: StackState) -> str:
        """The mark of its processes."""
        return f"{state.stack_id}:{self.name}"

    def start(self, folder: StackFolder, state: StackState) -> ProcessRecord:
        """Start it, after ending what a dead one may have left behind."""
        return process.start(
            self.command(),
            member=self.member(state),
            environment=self.environment,
            log=folder.log(self.name),
        )

    def wait_ready(self, folder: StackFolder, record: ProcessRecord) -> None:
        """Returns once it works. Raises StackError when it dies or takes too long, with its last words."""
        deadline = time.monotonic() + self.start_timeout_s
        while True:
            alive = process.is_alive(record)
            try:
                self.check()
                if alive:
                    return
            except NotReady as error:
                reason = str(error)
            log = folder.log(self.name)
            if not alive:
                raise StackError(f"the {self.name} server died, {log} ends with\n{process.log_tail(log)}")
            if time.monotonic() > deadline:
                raise StackError(
                    f"the {self.name} server did not answer within {self.start_timeout_s:.0f} s ({reason}); "
                    f"it still runs, `up` again waits for it, `down` ends it; {log} ends with\n{process.log_tail(log)}"
                )
            time.sleep(_POLL_S)

    def is_ready(self) -> bool:
        try:
            self.check()
            return True
        except NotReady:
            return False
