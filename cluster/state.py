"""What the one-machine stack remembers between commands: its folder, its secrets, what it started.

Everything lives under one folder, `$LATENTACT_HOME` or `~/.latentact-zoo`:

    state.json       identity of this stack, port base, started processes
    secrets.json     S3 key pair of the object store                        (0600)
    ray_token        token of the Ray head                                  (0600)
    store_certificate.pem   what the object store's parts know each other by (0600)
    stack.env        the environment of every tool, `set -a; . stack.env`   (0600)
    autoscaling.yaml what Ray's autoscaler goes by in a rehearsal of a fleet (0600)
    store/ mlflow.db data of the object store and of the MLflow server
    logs/            one file a server
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

MIN_FREE_BYTES = 2 * 1024**3

# A Unix socket's path may have 103 bytes on macOS (107 on Linux), and Ray puts
# "/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store" below its folder.
_RAY_FOLDER_MAX_CHARS = 36


class StackError(RuntimeError):
    """The stack cannot do what was asked; the message says why and what to do next."""


@dataclass(frozen=True, kw_only=True)
class ProcessRecord:
    """A started process. The start time tells it from a later process with a recycled pid."""

    pid: int
    started_s: float  # seconds since the epoch, as psutil reports it


@dataclass(frozen=True, kw_only=True)
class FleetSize:
    """How far the rehearsal of a fleet grows: from no worker node to `nodes` of `node_cpus` CPUs each.

    A node without work goes after `idle_timeout_s`.
    """

    nodes: int
    node_cpus: int
    idle_timeout_s: float

    def __str__(self) -> str:
        return f"0 to {self.nodes} nodes of {self.node_cpus} CPU, each until it had no work for {self.idle_timeout_s:g} s"


@dataclass(kw_only=True)
class StackState:
    """The content of state.json."""

    stack_id: str
    port_base: int
    processes: dict[str, ProcessRecord] = field(default_factory=dict)
    # None: the head trains itself, with this machine's cores.
    fleet: FleetSize | None = None


@dataclass(frozen=True)
class StackFolder:
    """Paths below the state folder, and the reading and writing of the small files in it."""

    path: Path

    @classmethod
    def from_environment(cls) -> "StackFolder":
        home = os.environ.get("LATENTACT_HOME") or str(Path.home() / ".latentact-zoo")
        return cls(Path(home).expanduser().absolute())

    @property
    def state_file(self) -> Path:
        return self.path / "state.json"

    @property
    def environment_file(self) -> Path:
        return self.path / "stack.env"

    @property
    def autoscaling_file(self) -> Path:
        return self.path / "autoscaling.yaml"

    @property
    def token_file(self) -> Path:
        return self.path / "ray_token"

    @property
    def store(self) -> Path:
        return self.path / "store"

    @property
    def database(self) -> Path:
        return self.path / "mlflow.db"

    @property
    def world_data(self) -> Path:
        """Where `make sweep` puts the embedded data set."""
        return self.path / "data" / "world"

    @property
    def ray(self) -> Path:
        """Ray's folder: below the state folder where its socket paths fit, else a short one named after it."""
        inside = self.path / "ray"
        if len(str(inside)) <= _RAY_FOLDER_MAX_CHARS:
            return inside
        name = hashlib.sha256(str(self.path).encode()).hexdigest()[:8]
        return Path("/tmp") / f"latentact-ray-{name}"

    def log(self, server: str) -> Path:
        return self.path / "logs" / f"{server}.log"

    def prepare(self) -> None:
        """Make the folders, readable by their owner alone. Raises StackError where that is not possible."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o700)
            for folder in (self.store, self.path / "logs"):
                folder.mkdir(exist_ok=True)
            self.ray.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StackError(
                f"cannot write the state folder {self.path}: {error.strerror}; "
                "set LATENTACT_HOME to a folder of yours"
            ) from error
        if self.ray.stat().st_uid != os.getuid():
            raise StackError(f"{self.ray} belongs to another user; set LATENTACT_HOME to a shorter path")

    def check_space(self) -> None:
        """Raises StackError when less than 2 GB are free under the state folder."""
        free = shutil.disk_usage(self.path).free
        if free < MIN_FREE_BYTES:
            raise StackError(
                f"only {free / 1e9:.1f} GB are free under {self.path}, the stack wants {MIN_FREE_BYTES / 1e9:.1f}: "
                "free some space or set LATENTACT_HOME to a folder on a larger disk"
            )

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the stack for one command, so that two `up` at once do not both start it."""
        with open(self.path / "lock", "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StackError(
                    f"another command is starting or stopping the stack in {self.path}; try again when it is done"
                ) from None
            yield

    def read_state(self) -> StackState | None:
        """The remembered state, or None before the first `up`. Raises StackError when it is damaged."""
        try:
            fields = json.loads(self.state_file.read_text())
            processes = {name: ProcessRecord(**record) for name, record in fields["processes"].items()}
            fleet = fields.get("fleet")  # which files of before do not have
            return StackState(
                stack_id=fields["stack_id"],
                port_base=int(fields["port_base"]),
                processes=processes,
                fleet=None if fleet is None else FleetSize(**fleet),
            )
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise StackError(
                f"{self.state_file} is damaged ({error!r}): end the servers in it by hand, then delete the file"
            ) from error

    def write_state(self, state: StackState) -> None:
        self.write_private(self.state_file, json.dumps(asdict(state), indent=1) + "\n")

    def s3_keys(self) -> tuple[str, str]:
        """Access key and secret key of the object store, made at the first call."""
        file = self.path / "secrets.json"
        if not file.exists():
            keys = {"access_key": secrets.token_hex(10), "secret_key": secrets.token_urlsafe(30)}
            self.write_private(file, json.dumps(keys) + "\n")
        try:
            keys = json.loads(file.read_text())
            return keys["access_key"], keys["secret_key"]
        except (ValueError, KeyError) as error:
            raise StackError(f"{file} is damaged: delete it, `up` makes a new key pair") from error

    def ensure_token(self) -> None:
        """Make the Ray token at the first call."""
        if not self.token_file.exists():
            self.write_private(self.token_file, secrets.token_hex(32))

    @staticmethod
    def write_private(file: Path, text: str) -> None:
        """Write a 0600 file whole or not at all: mkstemp's files are 0600, and a rename is atomic."""
        descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(text)
        os.replace(temporary, file)
