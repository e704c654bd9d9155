"""Kill publishing, promoting, pulling, collecting and importing at a random moment, look at what is left, and do it again.

Most victims are forked from a server process that has everything imported, so that the kill hits the work and not
the imports; every eighth is a whole `python -m zoo ...`. After each kill the store and the cache are read without
the zoo's code (tests/zoo_inspector.py); then the same command must succeed, and its result is looked at.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from tests.zoo_bundles import write_bundle
from tests.zoo_inspector import Inspector, look_at_cache
from zoo.store import open_store

NAME, FAR = "latentact-world-objects", "latentact-far-objects"
WHOLE_EVERY = 8
WEIGHTS = (1 << 15, 1 << 19, 6 << 20)  # floats: a request, a request of 2 MB, an upload in parts
PRELOAD = [
    "tests.zoo_kills", "zoo.publishing", "zoo.promotion", "zoo.pulling", "zoo.collecting", "zoo.archive", "zoo.importing", "zoo.registry",
    "zoo.s3", "zoo.files", "click",
]  # fmt: skip
MODULES = {
    "publish": "publishing",
    "promote": "promotion",
    "pull": "pulling",
    "gc": "collecting",
    "import_archive": "importing",
}
KINDS = ("publish", "promote", "pull", "gc", "import")


@dataclass(frozen=True)
class Command:
    """One and the same thing to do, as a call and as words on the command line."""

    kind: str
    function: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    words: tuple[str, ...]


@dataclass
class Figures:
    """What the kills came to."""

    kills: Counter[str] = field(default_factory=Counter)  # by kind
    whole: int = 0  # of them, whole `python -m zoo` processes
    too_late: int = 0  # the victim was done before the kill; not counted
    remains: Counter[str] = field(
        default_factory=Counter
    )  # what kills left for the next command to deal with
    versions: int = 0
    blobs: int = 0


class Range:
    """A store, a cache and a random generator to shoot in."""

    def __init__(self, url: str, folder: Path, seed: int) -> None:
        self._url, self._folder, self._random = url, folder, random.Random(seed)
        os.environ["LATENTACT_ZOO"], os.environ["LATENTACT_HOME"] = url, str(folder / "home")
        self._environment = {k: v for k, v in os.environ.items() if k.startswith(("LATENTACT_", "AWS_"))}
        self._cache = folder / "home" / "cache"
        self._store = open_store(url)
        self._inspector = Inspector(self._store)
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOAD)
        self._takes_s: dict[tuple[str, bool], float] = {}
        self._made = 0
        self._seen: dict[
            str, dict[int, dict[str, Any]]
        ] = {}  # model -> number -> record, when last looked at

    def shoot(
        self, kills: int, kinds: tuple[str, ...], said: Callable[[str], None] = lambda line: None
    ) -> Figures:
        """Kill `kills` commands of these kinds, in turn, and assert after each that all is well."""
        figures = Figures()
        for _ in range(4):
            self._finish(self._command("publish"))
        self._look()
        while (count := figures.kills.total()) < kills:
            command = self._command(kinds[count % len(kinds)])
            whole = (count + 1) % WHOLE_EVERY == 0
            if not self._kill(command, whole):
                figures.too_late += 1
                self._takes_s[command.kind, whole] *= 0.8  # it was measured on a busier machine
                self._look()
                continue
            figures.kills[command.kind] += 1
            figures.whole += whole
            self._look()
            figures.remains.update(self._remains())
            self._finish(command)
            self._look()
            if (count + 1) % 10 == 0:
                said(f"{count + 1} kills, {figures.too_late} came too late")
        self._inspector.forget()
        self._finish(self._command("gc"))
        figures.versions, figures.blobs = self._look(), look_at_cache(self._cache)
        return figures

    def _kill(self, command: Command, whole: bool) -> bool:
        """Start a command and kill it; whether it was still running."""
        kind = (command.kind, whole)
        if kind not in self._takes_s:  # how long it takes, undisturbed
            began = time.monotonic()
            self._finish(self._command(command.kind), whole)
            self._takes_s[kind] = time.monotonic() - began
        wait_s = self._random.uniform(0, 0.9 * self._takes_s[kind])
        if whole:
            process = subprocess.Popen(
                [sys.executable, "-m", "zoo", *command.words], stdout=DEVNULL, stderr=DEVNULL
            )
            time.sleep(wait_s)
            process.kill()
            return process.wait() == -9
        child = self._context.Process(target=call, args=(command, self._environment))
        child.start()
        time.sleep(wait_s)
        child.kill()
        child.join()
        killed = child.exitcode == -9
        assert killed or child.exitcode == 0, f"{command} failed before it was killed"
        return killed

    def _finish(self, command: Command, whole: bool = False) -> None:
        """The command completes, and has done what it is for."""
        if whole:
            subprocess.run([sys.executable, "-m", "zoo", *command.words], check=True, stdout=DEVNULL)
        else:
            child = self._context.Process(target=call, args=(command, self._environment))
            child.start()
            child.join()
            assert child.exitcode == 0, f"{command} does not complete"
        if command.kind == "gc":
            assert not [*self._under("publishing"), *self._under("collecting")], "gc left marks"
            assert not self._unnumbered(), "gc left files"

    def _command(self, kind: str) -> Command:
        """The next command of a kind, with what it needs in place."""
        numbers = [n for n, record in self._seen.get(NAME, {}).items() if not record.get("collected")]
        if kind == "publish":
            folder = self._bundle("world")
            return Command(kind, "publish", (NAME, str(folder)), {}, ("publish", str(folder), NAME))
        if kind == "promote":
            reference = f"{NAME}@{self._random.choice(numbers[-3:])}"
            return Command(
                kind,
                "promote",
                (reference,),
                {"force": "a kill"},
                ("promote", reference, "--force", "a kill"),
            )
        if kind == "pull":
            shutil.rmtree(self._cache / "versions", ignore_errors=True)
            if self._random.random() < 0.5:
                shutil.rmtree(self._cache / "blobs", ignore_errors=True)
            reference = f"{NAME}@{self._random.choice(numbers)}"
            return Command(kind, "pull", (reference,), {}, ("pull", reference))
        if kind == "import":
            archive = self._archive()
            return Command(kind, "import_archive", (str(archive),), {}, ("import", str(archive)))
        self._leave_unfinished()
        return Command(
            kind, "gc", (), {"delete": True, "grace_s": 0.0, "keep_last": 3},
            ("gc", "--delete", "--grace", "0s", "--keep-last", "3"),
        )  # fmt: skip

    def _bundle(self, data: str) -> Path:
        self._made += 1
        folder = write_bundle(self._folder / f"{data}-{self._made}", seed=self._made, data=data)
        floats = np.random.default_rng(self._made).random(self._random.choice(WEIGHTS), dtype=np.float32)
        save_file({"weight": floats}, folder / "model.safetensors")
        return folder

    def _archive(self) -> Path:
        """An archive of a version that this store does not have, exported from a store of files."""
        from zoo import archive, publishing

        elsewhere = open_store(f"file://{self._folder}/elsewhere")
        published = publishing.publish(FAR, self._bundle("far"), store=elsewhere)
        path = self._folder / f"{self._made}.tar"
        archive.export_archive(f"{FAR}@{published.version}", path, store=elsewhere)
        return path

    def _leave_unfinished(self) -> None:
        """A publisher that died when some of its files were there."""
        from zoo import bundle, holding, layout

        folder = self._bundle("world")
        digest = bundle.make_manifest(folder).digest
        holding.begin_grace(self._store, NAME, digest)
        for path in ("config.json", "metrics.json", "model.safetensors"):
            self._store.put(f"{layout.version_folder(NAME, digest)}/{path}", folder / path)

    def _look(self) -> int:
        """All is well in the store and in the cache; how many versions there are."""
        models = [key.split("/")[1] for key in self._store.list("models/", deep=False)]
        look_at_cache(self._cache)
        self._seen = {model: self._inspector.look(model, gaps=model == FAR) for model in models}
        return sum(len(records) for records in self._seen.values())

    def _remains(self) -> list[str]:
        found = ["hold"] * len(self._under("publishing")) + ["tombstone"] * len(self._under("collecting"))
        found += ["files without a number"] * bool(self._unnumbered())
        return found + ["partial download"] * bool(list((self._cache / "partial").glob("*/*.data")))

    def _under(self, folder: str) -> list[str]:
        return [key for name in (NAME, FAR) for key in self._store.list(f"models/{name}/{folder}/")]

    def _unnumbered(self) -> list[str]:
        top = f"models/{NAME}/versions/"
        numbered = {
            record["digest"] for record in self._inspector.look(NAME).values() if not record.get("collected")
        }
        return [key for key in self._store.list(top) if key.removeprefix(top).split("/")[0] not in numbered]


def call(command: Command, environment: dict[str, str]) -> None:
    """What a victim does; the server that it was forked from may have started in another environment."""
    import importlib

    os.environ.update(environment)
    module = importlib.import_module(f"zoo.{MODULES[command.function]}")
    getattr(module, command.function)(*command.arguments, **command.options)
