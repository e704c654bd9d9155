"""Reads a zoo without the zoo's own code, and says what is wrong with it. It sees a store's objects and a cache's files."""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from zoo.store import Store

DIGEST = re.compile(r"[0-9a-f]{64}")


class Inspector:
    """Looks at a store again and again. The bytes of a version are read once, until `forget`; that its objects are
    there is looked at each time.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._read: dict[str, dict[str, str]] = {}  # folder of a version -> path -> sha256

    def forget(self) -> None:
        self._read = {}

    def look(self, folder: str, *, gaps: bool = False) -> dict[int, dict[str, Any]]:
        """The version records of one model (its folder under models/), after asserting that all is well with it:
        numbers without a gap (imports may leave `gaps`), one for each digest; every numbered version whole; every alias on a version that is
        there; its history without a gap.
        """
        there: dict[str, set[str]] = defaultdict(set)
        for key in self._store.list(f"models/{folder}/"):
            kind, _, rest = key.removeprefix(f"models/{folder}/").partition("/")
            there[kind].add(rest)
        records = {
            int(name.removesuffix(".json")): self._json(f"models/{folder}/numbers/{name}")
            for name in there["numbers"]
        }
        assert gaps or sorted(records) == list(range(1, len(records) + 1)), (
            f"{folder}: numbers {sorted(records)}"
        )
        assert len({record["digest"] for record in records.values()}) == len(records), (
            "a digest has two numbers"
        )
        for number, record in records.items():
            assert record["number"] == number
            if not record.get("collected"):
                self._check_version(folder, record["digest"], there["versions"])
        for name in there["aliases"]:
            state = self._json(f"models/{folder}/aliases/{name}")
            record = records[state["number"]]
            assert record["digest"] == state["digest"] and not record.get("collected"), (
                f"{name} is on nothing"
            )
            self._check_history(folder, name.removesuffix(".json"), state, there["log"])
        return records

    def history(self, folder: str, alias: str) -> list[dict[str, Any]]:
        """The states of an alias, the present one included."""
        keys = [key for key in self._store.list(f"models/{folder}/log/") if f"/log/{alias}-" in key]
        states = {key: self._json(key) for key in sorted(keys)}
        state = self._json(f"models/{folder}/aliases/{alias}.json")
        states[f"models/{folder}/log/{alias}-{state['sequence']:08d}.json"] = state
        return list(states.values())

    def _check_history(self, folder: str, alias: str, state: dict[str, Any], log: set[str]) -> None:
        """All states but perhaps the present one are in the log; the next move writes that."""
        logged = {int(name[-13:-5]) for name in log if name[:-14] == alias}
        last = state["sequence"]
        assert logged in (set(range(1, last + 1)), set(range(1, last))), (
            f"{alias} at {last}, log {sorted(logged)}"
        )

    def _check_version(self, folder: str, digest: str, there: set[str]) -> None:
        top = f"models/{folder}/versions/{digest}"
        if top not in self._read:
            manifest = self._store.get(f"{top}/manifest.json").read()
            assert hashlib.sha256(manifest).hexdigest() == digest, f"{top}: another manifest"
            files = {file["path"]: file["sha256"] for file in json.loads(manifest)["files"]}
            for path, sha256 in files.items():
                data = self._store.get(f"{top}/{path}").read()
                assert hashlib.sha256(data).hexdigest() == sha256, f"{top}/{path}: other bytes"
            self._read[top] = files
        assert {f"{digest}/{path}" for path in [*self._read[top], "manifest.json"]} <= there, (
            f"{top}: not whole"
        )

    def _json(self, key: str) -> Any:
        return json.loads(self._store.get(key).read())


def look_at_cache(cache: Path) -> int:
    """Assert that everything that has a name in a cache has the content of that name; how many blobs it holds."""
    blobs = [path for path in (cache / "blobs").glob("*")]
    for blob in blobs:
        assert DIGEST.fullmatch(blob.name) and _sha256(blob) == blob.name, f"{blob} has other bytes"
    for folder in (cache / "versions").glob("*"):
        manifest = (folder / "manifest.json").read_bytes()
        assert hashlib.sha256(manifest).hexdigest() == folder.name, f"{folder}: another manifest"
        files = {file["path"]: file["sha256"] for file in json.loads(manifest)["files"]}
        found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert found == {*files, "manifest.json"}, f"{folder} holds {sorted(found)}"
        for path, sha256 in files.items():
            assert _sha256(folder / path) == sha256, f"{folder / path} has other bytes"
    for ref in (cache / "refs").rglob("*.json"):
        assert DIGEST.fullmatch(json.loads(ref.read_bytes())["digest"])
    return len(blobs)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
