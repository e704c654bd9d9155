"""Offer hostile bundles at every door they can come through:

    python tests/hostile_run.py COUNT SEED FOLDER PART PARTS

Runs in a process of its own: memory is limited, and an audit hook watches. While a door is open nothing may be run,
compiled, imported from a place that is not this installation's, sent to another machine, or written outside of the
cache. Prints JSON: how many of each kind were refused as they should be, what was not, and the peak of memory.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import resource
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import hostile_bundles
from hostile_archives import archive_of
from hostile_bundles import HONEST, NAME, Hostile
from hostile_content import CANARY

import zoo
from zoo import bundle, flavor
from zoo.store import Store, open_store

MEMORY_BYTES = 1 << 30
RUNNING = ("os.system", "os.exec", "os.fork", "os.posix_spawn", "os.spawn", "subprocess.Popen", "pickle.find_class", "exec",
           "compile", "import", "marshal.loads", "ctypes.dlopen", "socket.connect", "pty.spawn", "code.__new__")  # fmt: skip
# Event -> which of its arguments is the open folder that its paths are relative to.
WRITING = {"os.rename": 2, "os.mkdir": 2, "os.link": 2, "os.symlink": 2, "os.remove": 1, "os.rmdir": 1, "os.chmod": 2,
           "os.utime": 3, "os.truncate": None}  # fmt: skip


class Watch:
    """What the audit hook saw while a door was open that must not be."""

    def __init__(self) -> None:
        self.open_door = False
        self.writable: tuple[str, ...] = ()
        self.seen: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.open_door:
            return
        if event in RUNNING or event.startswith("ctypes."):
            self.seen.append(f"{event} {arguments!r:.300}")
        for path in _written(event, arguments):
            if not path.startswith(self.writable):
                self.seen.append(f"{event} of {path}")


def _written(event: str, arguments: tuple[Any, ...]) -> list[str]:
    """Real paths of what an event writes to, makes, moves or removes."""
    if event == "open":
        _path, mode, flags = arguments
        written = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) if isinstance(flags, int) else False
        if not (written or (isinstance(mode, str) and set(mode) & set("wax+"))):
            return []
    elif event not in WRITING:
        return []
    paths = [path for path in arguments[:2] if isinstance(path, str | bytes | os.PathLike)]
    if event == "open":
        return [os.path.realpath(os.fsdecode(path)) for path in paths[:1]]
    place = WRITING[event]
    opened = arguments[place] if place is not None else -1
    inside = os.readlink(f"/proc/self/fd/{opened}") if opened > 2 else ""
    return [os.path.realpath(os.path.join(inside, os.fsdecode(path))) for path in paths]


def offer(hostile: Hostile, door: str, place: Path, watch: Watch | None = None) -> str:
    """What is wrong with the answer at one door; empty where the bundle was refused as it should be."""
    home = place / "home"
    home.mkdir(parents=True)
    os.environ["LATENTACT_HOME"] = str(home)
    store: Store = open_store(f"file://{place}/zoo")
    if door == "pull":
        for key, data in hostile.objects().items():
            if "/../" not in key and "//" not in key:
                path = place / "zoo" / key
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
    elif door == "import":
        (place / "archive.tar").write_bytes(
            archive_of(hostile) if hostile.archive is None else hostile.archive
        )
    else:
        hostile.write(place / "folder", sealed=door == "load")
    if watch:
        # Threads of a pull that failed may still end what they were at, in the cache.
        writable = (home / "cache", place / "zoo") if door == "import" else (home / "cache",)
        watch.writable = tuple(os.path.realpath(path) for path in writable)
        watch.open_door = True
    try:
        if door == "publish":
            zoo.publish(NAME, place / "folder", store=store)
        elif door == "pull":
            zoo.pull(f"{NAME}@1", store=store)
        elif door == "import":
            zoo.import_archive(place / "archive.tar", store=store)
        else:
            flavor._load_pyfunc(str(place / "folder"))
    except Exception as error:  # noqa: BLE001 (whatever it is, the caller learns of it)
        found = error
    else:
        return "it was accepted"
    finally:
        if watch:
            watch.open_door = False
    if door != "pull" and zoo.ls(store=store):
        return "the zoo has a version of it"
    return judged(hostile, door, found)


def judged(hostile: Hostile, door: str, error: Exception) -> str:
    """What is wrong with an error; empty for the right class, and a sentence that names what is wrong."""
    expected = hostile.doors()[door]
    if type(error) is not expected:
        return f"{type(error).__name__} and not {expected.__name__}: {error}"[:400]
    naming = hostile.naming
    if door == "import":  # an archive knows blobs and manifests by their digests
        naming = "blobs/" if hostile.stored else naming.replace("manifest.json", "manifest")
    if naming not in str(error) or str(error)[-1] != "." or len(str(error)) > 700:
        return f"the sentence does not name {naming!r}, or is none: {error}"[:400]
    return ""


def bundles(count: int, seed: int, part: int = 0, parts: int = 1) -> Iterator[tuple[str, int, Hostile]]:
    """(kind, number, bundle) of every `parts`-th of `count` bundles, no two of them equal, the kinds in turn.

    Each has a generator of its own, so that it can be made again.
    """
    kinds = hostile_bundles.kinds()
    seen: set[str] = set()
    for number in itertools.count():
        for kind, make in kinds.items():
            made = make(random.Random(f"{seed}-{kind}-{number}"))
            if len(seen) == count:
                return
            if (mark := made.fingerprint()) not in seen:
                if len(seen) % parts == part:
                    yield kind, number, made
                seen.add(mark)


def main(count: int, seed: int, folder: Path, part: int, parts: int) -> dict[str, Any]:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    os.environ[CANARY] = str(folder / "canary")
    os.environ["MLFLOW_TRACKING_URI"] = ""
    _warm_up(folder / "honest")
    watch = Watch()
    counts: Counter[str] = Counter()
    doors: Counter[str] = Counter()
    failures: list[str] = []
    for kind, number, hostile in bundles(count, seed, part, parts):
        counts[kind] += 1
        for door in hostile.doors():
            place = folder / "now"
            problem = offer(hostile, door, place, watch)
            problem = problem or "; ".join(watch.seen)
            if problem or (folder / "canary").exists():
                failures.append(f"{kind} {number} at {door}: {problem or 'THE PAYLOAD RAN'}")
            watch.seen.clear()
            (folder / "canary").unlink(missing_ok=True)
            doors[door] += 1
            shutil.rmtree(place)
    left = sorted(path.name for path in folder.iterdir())
    return {"kinds": counts, "doors": doors, "failures": failures, "left": left, "peak_mib": _peak_mib()}


def _peak_mib() -> int:
    """Of this program alone: what getrusage says begins with the peak of the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10


def _warm_up(place: Path) -> None:
    """An honest bundle through every door but the last step: it is accepted, and all modules are imported."""
    os.environ["LATENTACT_HOME"] = str(place / "home")
    store = open_store(f"file://{place}/zoo")
    hostile = Hostile({}, "")
    hostile.write(place / "folder", sealed=False)
    assert zoo.publish(NAME, place / "folder", store=store).version == 1
    pulled = zoo.pull(f"{NAME}@1", store=store)
    assert {path.name for path in pulled.iterdir()} == {*HONEST, "manifest.json"}
    bundle.verify(pulled)
    import encodings.idna
    import encodings.latin_1
    import encodings.raw_unicode_escape
    import encodings.unicode_escape
    import encodings.utf_16  # noqa: F401
    from xml.parsers import expat  # noqa: F401

    for kind, _, made in bundles(len(hostile_bundles.kinds()), 10**6):  # error paths import too
        for door in made.doors():
            offer(made, door, place / f"{kind}-{door}")
    shutil.rmtree(place)
    Path(os.environ[CANARY]).unlink(missing_ok=True)


if __name__ == "__main__":
    json.dump(
        main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])),
        sys.stdout,
    )
