"""Bundles that an attacker would make, of many kinds, with the error that each must meet at each door.

A kind is a function of a seeded generator that gives a `Hostile`; `KINDS` names them all, those of
`hostile_content` among them. `doors` of a bundle says where it can come through:

    publish   a folder that is offered to `zoo.publish`
    pull      objects planted in a store, with a manifest and a record that agree with them where that is possible
    load      a folder with its manifest, given to MLflow's loader hook
    import    a file that is given to `zoo.import_archive` (what can be pulled can be packed, too)
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from zoo_bundles import write_bundle

from zoo import bundle, errors
from zoo.names import flat
from zoo.store import to_json

NAME = "latentact-world-objects"
Refusal = type[Exception]


def _honest() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = write_bundle(Path(scratch) / "bundle")
        added = bundle.added(folder)
        return {path.name: path.read_bytes() for path in folder.iterdir()} | added


HONEST = _honest()


@dataclass(frozen=True)
class Hostile:
    """One bundle. `files` replace or join the honest ones; `expect` is the error's exact class at each door."""

    expect: dict[str, Refusal]
    naming: str  # must be part of the error's sentence
    files: dict[str, bytes] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    manifest: bytes | None = None  # instead of the one that agrees with the files
    stored: dict[str, bytes] = field(default_factory=dict)  # what the store really holds under a listed path
    links: dict[str, str] = field(default_factory=dict)  # path -> target; "fifo" makes a pipe
    record: dict[str, object] = field(default_factory=dict)  # fields of the version's record
    archive: bytes | None = None  # instead of the bundle as an archive

    def doors(self) -> dict[str, Refusal]:
        """What is expected at each door, the import of what can be pulled among them."""
        if "pull" in self.expect and not self.record:
            return self.expect | {"import": self.expect["pull"]}
        return self.expect

    def fingerprint(self) -> str:
        """The same for equal bundles alone."""
        parts = (self.files, self.without, self.manifest, self.stored, self.links, self.record, self.archive)
        return hashlib.sha256(repr(parts).encode()).hexdigest()

    def content(self) -> dict[str, bytes]:
        return {path: data for path, data in (HONEST | self.files).items() if path not in self.without}

    def manifest_bytes(self) -> bytes:
        return self.manifest if self.manifest is not None else manifest_of(self.content())

    def write(self, folder: Path, *, sealed: bool) -> None:
        """The bundle as a folder, `sealed` with its manifest."""
        for path, data in (self.content() | (self.stored if sealed else {})).items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        for path, target in self.links.items():
            (folder / path).unlink(missing_ok=True)
            os.mkfifo(folder / path) if target == "fifo" else (folder / path).symlink_to(target)
        if sealed:
            (folder / bundle.MANIFEST).write_bytes(self.manifest_bytes())

    def objects(self) -> dict[str, bytes]:
        """Key -> bytes in a store; what has no plain name cannot be stored and is left out."""
        manifest = self.manifest_bytes()
        digest = hashlib.sha256(manifest).hexdigest()
        top = f"models/{flat(NAME)}"
        record = {
            "schema": 1,
            "number": 1,
            "digest": digest,
            "tags": {},
            "by": "x",
            "at": "2026-01-01T00:00:00+00:00",
        }
        found = {
            f"{top}/versions/{digest}/{path}": data for path, data in (self.content() | self.stored).items()
        }
        found[f"{top}/versions/{digest}/{bundle.MANIFEST}"] = manifest
        found[f"{top}/numbers/1.json"] = json.dumps(record | self.record).encode()
        return found


def entry(path: str, data: bytes) -> dict[str, object]:
    return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def manifest_of(files: dict[str, bytes], *extra: dict[str, object]) -> bytes:
    listed = [entry(path, data) for path, data in sorted(files.items())]
    return to_json({"schema": 1, "files": [*listed, *extra]})


def everywhere(refusal: Refusal) -> dict[str, Refusal]:
    return {"publish": refusal, "pull": refusal, "load": refusal}


def planted(refusal: Refusal) -> dict[str, Refusal]:
    return {"pull": refusal, "load": refusal}


def word(rng: random.Random) -> str:
    """Some letters: what differs between bundles of a kind beside the trick itself."""
    return "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(3, 9)))


def _path(path: str, refusal: Refusal = errors.PathRefused, naming: str = "") -> Hostile:
    manifest = manifest_of(HONEST, entry(path, b"x"))
    return Hostile(planted(refusal), naming or repr(path)[1:20], manifest=manifest)


def dotdot(rng: random.Random) -> Hostile:
    deep, x = "../" * rng.randint(1, 12), word(rng)
    paths = [
        f"{deep}{x}.md",
        f"{x}/{deep}up.md",
        "..",
        f"{x}/..",
        f"./{deep}{x}.md",
        f"{x}/./b.md",
        f"{x}//b.md",
    ]
    return _path(rng.choice(paths))


def absolute(rng: random.Random) -> Hostile:
    x = word(rng)
    paths = [
        f"/etc/cron.d/{x}.md",
        f"//{x}/x.md",
        "/" * rng.randint(1, 99),
        f"~/{x}.md",
        f"~{x}/.bashrc",
        f"file:///{x}.md",
    ]
    return _path(rng.choice(paths))


def windows_path(rng: random.Random) -> Hostile:
    letter, x = rng.choice("CDZ"), word(rng)
    tricks = [f"{letter}:{x}.md", f"{letter}:\\{x}.md", f"\\\\{x}\\share\\x.md", f"figures\\..\\..\\{x}.md", f"\\\\?\\C:\\{x}.md",
              f"{x}.md::$DATA", f"card.md:{x}.md", f"%APPDATA%/{x}.md"]  # fmt: skip
    return _path(rng.choice(tricks), naming="no plain name")


def unicode_path(rng: random.Random) -> Hostile:
    odd = rng.choice(
        ["x\u202egnp.md", "\uff0e\uff0e/x.md", "a\uff0fb.md", "\u2024\u2024/x.md", "c\u0430rd.md", "\u200bcard.md",
         "cafe\u0301.md", "caf\u00e9.md", "\u212a.md", "figures\u2215x.md", "\ufb01gure.md", "x\u2066y.md", "\ufeffx.md"]
    )  # fmt: skip
    return _path(rng.choice([odd, f"{word(rng)}/{odd}", f"{odd}/{word(rng)}.md"]), naming="no plain name")


def twin_path(rng: random.Random) -> Hostile:
    x = word(rng)
    twins = rng.choice(
        [("CARD.md",), ("Config.json",), ("card.md",), ("a.md", "A.md"), ("a.md", "a.md/b.md"), (f"{x}/a.md", f"{x.upper()}/b.md"), (f"{x}.md", f"{x.capitalize()}.md"), (f"{x}.json", f"{x}.json/{x}.md"),
         ("figures/a.md", "figures.md/a.md", "Figures.MD/b.md"), ("a/b.md", "a")]
    )  # fmt: skip
    manifest = manifest_of(HONEST, *[entry(path, b"x") for path in twins])
    return Hostile(planted(errors.PathRefused), "twice", manifest=manifest)


def device_path(rng: random.Random) -> Hostile:
    name = rng.choice(
        [
            "CON",
            "prn.md",
            "AUX.json",
            "nul",
            "COM1.md",
            "lpt9.txt",
            "x.md.",
            "figures./x.md",
            "x.md ",
            " x.md",
        ]
    )
    return _path(rng.choice([name, f"{word(rng)}/{name}", f"{word(rng)}/{word(rng)}/{name}"]), naming="")


def control_path(rng: random.Random) -> Hostile:
    control, x = chr(rng.choice([0, 1, 7, 8, 9, 10, 13, 27, 127, 0x85, 0x9B])), word(rng)
    return _path(
        rng.choice([f"{x}{control}.md", f"{control}{x}.md", f"{x}.md{control}"]), naming="no plain name"
    )


def long_path(rng: random.Random) -> Hostile:
    return _path(
        rng.choice(["x" * rng.randint(201, 5000) + ".md", "a/" * rng.randint(7, 90) + "x.md"]),
        naming="longer",
    )


def hidden_path(rng: random.Random) -> Hostile:
    return _path(
        rng.choice(
            [
                f".{word(rng)}",
                f".git/{word(rng)}.txt",
                f"figures/.{word(rng)}",
                f"-{word(rng)}.md",
                "manifest.json",
                "MANIFEST.json",
            ]
        )
    )


def link(rng: random.Random) -> Hostile:
    path = rng.choice(["card.md", "model.safetensors", "config.json", "notes.md", "figures"])
    target = rng.choice(
        ["/etc/passwd", "../../outside.md", "config.json", "/dev/zero", "/", "fifo", "nowhere"]
    )
    door = {"publish": errors.FileRefused, "load": errors.FileRefused}
    return Hostile(door, path, links={path: target})


def wrong_digest(rng: random.Random) -> Hostile:
    path = rng.choice(sorted(HONEST))
    data = bytearray(HONEST[path])
    change = rng.choice(["flip", "cut", "longer", "other"])
    if change == "flip":
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    stored = {"flip": bytes(data), "cut": bytes(data[: rng.randrange(len(data))]), "longer": bytes(data) + b"more",
              "other": rng.randbytes(len(data))}[change]  # fmt: skip
    return Hostile(planted(errors.DamagedBundle), path, manifest=manifest_of(HONEST), stored={path: stored})


def missing_file(rng: random.Random) -> Hostile:
    path = rng.choice(bundle.REQUIRED)
    more = {f"{word(rng)}.md": b"# More\n"}
    return Hostile(everywhere(errors.BundleError), path, more, without=(path,))


def forged_record(rng: random.Random) -> Hostile:
    digest = rng.choice(
        ["../../../../outside", "/tmp/outside", "0" * 63, "A" * 64, "", None, 7, ["x"], {"a": 1}]
    )
    number = rng.choice(["1", -1, 0, True, 1.5, None, [1], 1e300])
    change = rng.choice(
        [{"digest": digest}, {"number": number}, {"tags": rng.choice([7, [1], "x", None])}, {"figures": rng.choice([[], {word(rng): "y"}, {word(rng): [1]}])},
         {"digest": "../" * rng.randint(1, 20) + word(rng)}, {"number": -rng.randint(1, 10**6)}]
    )  # fmt: skip
    return Hostile({"pull": errors.DamagedRecord}, "numbers/1.json", record=change)


def newer_record(rng: random.Random) -> Hostile:
    return Hostile({"pull": errors.SchemaTooNew}, "numbers/1.json", record={"schema": rng.randint(2, 10**9)})


def size_claim(rng: random.Random) -> Hostile:
    odd = rng.choice([10**18, 2**63 - 1, 1 << 37, -1, 1.5, 1e30, True, None, "12", 10**30, [1], 2**64])
    refusal: Refusal = errors.ManifestRefused
    if type(odd) is int and 0 <= odd < 2**63:
        refusal = errors.TooLarge
    path = rng.choice(["model.safetensors", "config.json", "card.md", "notes.md"])
    files = {**HONEST, "notes.md": b"x"}
    listed = [
        entry(name, data) | ({"size": odd} if name == path else {}) for name, data in sorted(files.items())
    ]
    naming = "manifest.json" if refusal is errors.ManifestRefused else str(odd)
    return Hostile(
        planted(refusal),
        naming,
        {"notes.md": b"x"},
        manifest=json.dumps({"schema": 1, "files": listed}).encode(),
    )


def many_files(rng: random.Random) -> Hostile:
    count = rng.randint(1001, 1200)
    files = {f"n{i}.md": b"x" for i in range(count)}
    door = rng.choice([{"pull": errors.FileRefused}, {"publish": errors.FileRefused}])
    return Hostile(door, "more than 1000", files)


def manifest_text(rng: random.Random) -> Hostile:
    good = manifest_of(HONEST).decode()
    text = rng.choice(
        [b"", b"{", b"null", b"[]", b"{}", b"[" * rng.randint(100, 200_000), b'{"a":' * rng.randint(100, 50_000),
         good.replace("{", '{"schema":1,', 1), good.replace('"path"', '"path":"x.md","path"', 1),
         good.replace('"size":', '"size":NaN,"x":', 1), good.replace('"size":', '"size":1e999,"x":', 1),
         good.replace('"size":', '"size":' + "9" * rng.randint(30, 10_000) + ',"x":', 1), "\ufeff" + good, good + good,
         good.encode("utf-16"), good.replace('"schema":1', '"schema":"1"'), good.replace('"schema":1', '"schema":0'),
         good.replace('"schema":1', '"schema":true'), good.replace('"schema":1', '"schema":1,"more":2'),
         good[: rng.randrange(2, len(good))], b" " * (2 << 20), b"{}," * 500_000, good.replace("card.md", "\\ud800.md"),
         good.replace('"sha256":"', '"sha256":"X', 1), good.replace('"files":[', '"files":[null,'),
         '{"schema":1,"files":{}}', '{"schema":1,"files":"card.md"}', good.replace('"path":"', '"path":7,"y":"', 1),
         rng.randbytes(rng.randint(1, 500))]
    )  # fmt: skip
    data = text.encode() if isinstance(text, str) else text
    large = len(data) > bundle.MAX_MANIFEST_BYTES
    doors: dict[str, Refusal] = planted(errors.ManifestRefused)
    return Hostile(doors | ({"pull": errors.TooLarge} if large else {}), "manifest.json", manifest=data)


def newer_schema(rng: random.Random) -> Hostile:
    number = rng.randint(3, 10**6)
    path = rng.choice(["config.json", "metrics.json", "manifest.json"])
    if path == "manifest.json":
        good = manifest_of(HONEST).decode().replace('"schema":1', f'"schema":{number},"rights":[]', 1)
        return Hostile(planted(errors.SchemaTooNew), "upgrade latentact-zoo", manifest=good.encode())
    newer = json.dumps(json.loads(HONEST[path]) | {"schema": number}).encode()
    doors = {"publish": errors.SchemaTooNew, "load": errors.SchemaTooNew}
    return Hostile(doors, "upgrade latentact-zoo", {path: newer})


def kinds() -> dict[str, Callable[[random.Random], Hostile]]:
    """Every kind by name."""
    import hostile_archives
    import hostile_content
    import hostile_weights

    own = (dotdot, absolute, windows_path, unicode_path, twin_path, device_path, control_path, long_path, hidden_path,
           link, wrong_digest, missing_file, forged_record, newer_record, size_claim, many_files, manifest_text, newer_schema)  # fmt: skip
    others = (*hostile_weights.KINDS, *hostile_content.KINDS, *hostile_archives.KINDS)
    return {kind.__name__: kind for kind in (*own, *others)}
