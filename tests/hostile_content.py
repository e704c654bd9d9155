"""Files with hostile content: code in many clothes, bombs, and texts that act where they are shown."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import random
import struct
import tarfile
import zipfile
import zlib
from typing import Any

from hostile_bundles import HONEST, Hostile, Refusal, everywhere, manifest_of, planted, word

from zoo import errors

CANARY = "LATENTACT_CANARY"  # the environment variable with the file that any payload makes
INNOCENT = ["notes.md", "figures/curve.png", "figures/curve.json", "figures/curve.svg", "README.txt"]


class Payload:
    """Unpickling this makes the canary."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f'touch "${CANARY}"',)


def _pickle(rng: random.Random) -> bytes:
    return pickle.dumps(
        rng.choice([Payload(), [Payload()], {"w": Payload()}]), rng.randint(0, pickle.HIGHEST_PROTOCOL)
    )


def plain_pickle(rng: random.Random) -> Hostile:
    path = rng.choice(
        [*INNOCENT, "weights.pkl", "x.pt", "x.bin", "x.npy", "card.md", "config.json", "model.safetensors"]
    )
    return Hostile(everywhere(errors.PickleRefused), path, {path: _pickle(rng)})


def cut_pickle(rng: random.Random) -> Hostile:
    """Its calls run before the end is missed."""
    path = rng.choice(INNOCENT)
    return Hostile(
        everywhere(errors.PickleRefused),
        path,
        {path: _pickle(rng)[:-1] + rng.choice([b"\xff", b"\x00", b"#"])},
    )


def prefixed_pickle(rng: random.Random) -> Hostile:
    """Behind other bytes, for a reader that seeks. Of protocol 1 and later: it has bytes that no text has."""
    path = rng.choice(
        ["notes.md", "README.txt", "figures/curve.json", "figures/curve.png", "figures/curve.svg"]
    )
    prefix = rng.choice(
        [b"#!/usr/bin/env python\n", b"# Notes\n\n", b"{}\n", b"\x89PNG\r\n\x1a\n", b"<svg/>"]
    )
    data = prefix + b"\x00" + pickle.dumps(Payload(), rng.randint(1, 5))
    return Hostile(everywhere(errors.ContentRefused), path, {path: data})


def torch_zip(rng: random.Random) -> Hostile:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", _pickle(rng))
        archive.writestr("archive/data/0", b"\0" * 64)
    path = rng.choice([*INNOCENT, "weights.dat", "config.json", "model.safetensors"])
    data = rng.choice([b"", rng.randbytes(64) if path != "model.safetensors" else b""]) + made.getvalue()
    return Hostile(_archive_doors(path), path, {path: data})


def _archive_doors(path: str) -> dict[str, Refusal]:
    """A folder's files are looked into; what a manifest lists under a foreign name is not even fetched."""
    foreign = not path.endswith((".md", ".png", ".json", ".svg", ".txt", ".safetensors"))
    return everywhere(errors.ArchiveRefused) | (planted(errors.FileRefused) if foreign else {})


def bomb(rng: random.Random) -> Hostile:
    """A few kilobytes that unpack to many megabytes, as an archive or as one of its kind under an innocent name."""
    zeros = b"\0" * (rng.choice([1, 4]) << 20)
    made = io.BytesIO()
    kind = rng.choice(["zip", "tar", "gz", "bz2", "xz"])
    if kind == "zip":
        with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("../../evil.md", zeros)
    elif kind == "tar":
        with tarfile.open(fileobj=made, mode="w") as tar:
            tar.addfile(tarfile.TarInfo("../../evil.md"))
    else:
        made.write({"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}[kind](zeros))
    path = rng.choice([*INNOCENT, f"data.{kind}", f"data.tar.{kind}", "model.safetensors"])
    return Hostile(_archive_doors(path), path, {path: made.getvalue()})


def foreign_kind(rng: random.Random) -> Hostile:
    kind = rng.choice(
        [
            "py",
            "sh",
            "html",
            "exe",
            "yaml",
            "so",
            "pyc",
            "jpg",
            "xhtml",
            "yml",
            "ipynb",
            "toml",
            "dll",
            "js",
            "pth.py",
        ]
    )
    path = rng.choice(
        [
            f"{word(rng)}.{kind}",
            f"code/{word(rng)}.{kind}",
            "code/zoo/flavor.py",
            "sitecustomize.py",
            "Makefile",
            "conda.yaml",
        ]
    )
    return Hostile(
        everywhere(errors.FileRefused), path, {path: b"import os\nos.system('touch \"$LATENTACT_CANARY\"')\n"}
    )


def unlisted(rng: random.Random) -> Hostile:
    x = word(rng)
    path = rng.choice(
        [f"{x}.md", f"figures/{x}.json", f"code/{x}.py", "config.json.md", "MLmodel.md", "sitecustomize.py"]
    )
    return Hostile(
        {"load": errors.FileRefused},
        path,
        manifest=manifest_of(HONEST),
        stored={path: b'{"a": "%s"}' % word(rng).encode()},
    )


def wrong_json(rng: random.Random) -> Hostile:
    path = rng.choice(["config.json", "metrics.json", "figures/curve.json", "input_example_2.json"])
    good = HONEST.get(path, b'{"a":1}').decode()
    text = rng.choice(
        ["[" * rng.choice([50, 3000, 400_000]), '{"a":' * rng.choice([50, 3000, 100_000]), good.replace("{", '{"z":NaN,', 1),
         good.replace("{", '{"z":-Infinity,', 1), good.replace("{", '{"z":1e999,', 1), good[:-1], good + "x", "", "7", '"x"',
         good.replace("{", '{"z":' + "9" * rng.choice([40, 100_000]) + ",", 1), good.replace("{", '{"z":1,"z":2,', 1),
         "\ufeff" + good, good.replace("{", '{"z":"\\ud800",', 1), good.replace("{", "{'z':1,", 1), "null"]
    )  # fmt: skip
    return Hostile(everywhere(errors.ContentRefused), path.split("/")[-1], {path: text.encode()})


def wrong_types(rng: random.Random) -> Hostile:
    odd = rng.choice([[], [1], "text", 7, True, None, {"a": []}, -1, "x" * 300, "a\x1b[31m"])
    path, field = rng.choice(
        [("config.json", "model"), ("config.json", "model.data"), ("config.json", "model.setting"), ("config.json", "model.mode"),
         ("config.json", "model.window"), ("config.json", "schema"), ("metrics.json", "val"), ("metrics.json", "gate"),
         ("metrics.json", "gate.clips"), ("metrics.json", "test.metrics"), ("metrics.json", "schema"),
         ("metrics.json", "gate.clips.0")]
    )  # fmt: skip
    fits = {"model.data": isinstance(odd, str), "model.setting": isinstance(odd, str), "model.mode": isinstance(odd, str),
            "model.window": type(odd) is int and odd > 0, "schema": type(odd) is int and odd > 0, "gate.clips": isinstance(odd, list),
            "val": isinstance(odd, dict), "test.metrics": isinstance(odd, dict), "gate.clips.0": isinstance(odd, dict)}  # fmt: skip
    fits["model"] = isinstance(odd, dict)
    if fits.get(field):
        odd = {"a": 1} if field not in ("val", "test.metrics", "gate.clips.0", "model") else [7]
    value = json.loads(HONEST[path])
    target: Any = value
    *parents, last = field.split(".")
    for parent in parents:
        target = target[int(parent)] if parent.isdigit() else target[parent]
    target[int(last) if last.isdigit() else last] = odd
    return Hostile(everywhere(errors.ContentRefused), path, {path: json.dumps(value).encode()})


def foreign_loader(rng: random.Random) -> Hostile:
    """MLflow imports `loader_module`, and puts `code` in front of the path of imports."""
    good = HONEST["MLmodel"].decode()
    text = rng.choice(
        ["flavors: {python_function: {loader_module: evil}}", good.replace("zoo.flavor", rng.choice(["os", word(rng), f"zoo.{word(rng)}"])),
         good.replace("data: .", "data: .\n    code: code"), good.replace("data: .", "data: ../.."), good + f"\nenv: {word(rng)}.yaml\n", good + f"{word(rng)}: 1\n", good + f"# {word(rng)}\n",
         good.replace("flavors:", "flavors: &a [*a]\nflavors:"), "!!python/object/apply:os.system ['touch x']", "a: &a [x,x]\nb: *a",
         good.replace("python_function", "sklearn"), good + "  sklearn:\n    pickled_model: card.md\n", good[:-1], "", good * 2]
    )  # fmt: skip
    return Hostile(everywhere(errors.ContentRefused), "MLmodel", {"MLmodel": text.encode()})


def acting_card(rng: random.Random) -> Hostile:
    text = rng.choice(
        ["<script>alert(1)</script>", "<ScRiPt src=//x>", "<img src=x onerror=alert(1)>", "[x](javascript:alert(1))",
         "[x](JaVa\tScript:alert(1))", "[x](&#106;avascript:alert(1))", "<iframe src='//x'>", "<a href='data:text/html;base64,x'>y</a>",
         "<svg onload=alert(1)>", "<form action=//x><input></form>", "<style>@import '//x'</style>", "&lt;script&gt;alert(1)",
         "<meta http-equiv=refresh content=0>", "<details open ontoggle=alert(1)>", "[x]: vbscript:msgbox", "<base href=//x>",
         "[x](%6aavascript:alert(1))", "<object data=x>", "<embed src=x>", "<div\nonclick = 'x'>"]
    )  # fmt: skip
    path = rng.choice(["card.md", "notes.md"])
    return Hostile(
        everywhere(errors.ContentRefused),
        path,
        {path: f"# {word(rng)}\n\n{word(rng)} {text} {word(rng)}\n".encode()},
    )


def terminal_codes(rng: random.Random) -> Hostile:
    code = rng.choice(
        [
            "\x1b[2J",
            "\x1b]0;title\x07",
            "\x9b31m",
            "\x08" * 9,
            "\x00",
            "\u202eterces",
            "\u2066x",
            "\x7f",
            "\x1bP+q\x1b\\",
        ]
    )
    path = rng.choice(["card.md", "notes.md", "README.txt"])
    return Hostile(
        everywhere(errors.ContentRefused), path, {path: f"# {word(rng)} {code}{word(rng)}\n".encode()}
    )


def no_text(rng: random.Random) -> Hostile:
    path, words = rng.choice(["card.md", "README.txt"]), f"# {word(rng)} {word(rng)}\n"
    broken = rng.choice(
        [b"\xff\xfe", b"\xc0\xaf\xc0\xae", b"\xed\xa0\x80", "\u00fc".encode("latin-1"), b"\xf5\x80\x80\x80"]
    )
    data = rng.choice([words.encode() + broken, words.encode("utf-16"), broken + words.encode()])
    return Hostile(everywhere(errors.ContentRefused), path, {path: data})


def acting_svg(rng: random.Random) -> Hostile:
    body = rng.choice(
        ["<script>alert(1)</script>", "<g onload='alert(1)'/>", "<a href='javascript:alert(1)'><text>x</text></a>",
         "<use href='//x/y.svg#z'/>", "<image href='http://x/y.png'/>", "<foreignObject><p/></foreignObject>", "<style>@import url(//x)</style>",
         "<rect style='fill:url(http://x/#y)'/>", "<animate attributeName='href' values='javascript:x'/>", "<set attributeName='onload'/>",
         "<g xml:base='http://x/'/>", "<style>rect{fill:url(\"//x\")}</style>", "<g>", "<h:script xmlns:h='http://www.w3.org/1999/xhtml'/>",
         "<g>" * 200 + "</g>" * 200]
    )  # fmt: skip
    svg = f"<svg xmlns='http://www.w3.org/2000/svg'><title>{word(rng)}</title>{body}</svg>"
    laughs = "".join(f"<!ENTITY l{i} '{f'&l{i - 1};' * 10 if i else 'ha'}'>" for i in range(12))
    data = rng.choice(
        [svg, svg, svg, f"<!DOCTYPE svg [{laughs}]><svg xmlns='http://www.w3.org/2000/svg'><text>&l11;</text></svg>",
         "<!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg><text>&x;</text></svg>",
         "<?xml-stylesheet href='//x/y.css'?><svg/>", "<html/>", ""]
    )  # fmt: skip
    return Hostile(everywhere(errors.ContentRefused), "figures/x.svg", {"figures/x.svg": data.encode()})


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file of these dimensions, 8-bit grey, with further chunks in front of its (tiny) data."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"\0\0")), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def hostile_png(rng: random.Random) -> Hostile:
    good = png(1, 1)
    flipped = bytearray(good)
    flipped[rng.randrange(8, len(good) - 12)] ^= 1 << rng.randrange(8)
    data = rng.choice(
        [png(1 << 31, 1 << 31), png(rng.randint(9000, 90_000), rng.randint(9000, 90_000)), png(0, 5), png(1, 1, (b"zTXt", zlib.compress(b"\0" * 10**6))),
         png(1, 1, (b"evIl", word(rng).encode())), png(1, 1, (b"acTL", b"x" * 8)), good + word(rng).encode(), good[: rng.randrange(len(good))], bytes(flipped), b"\x89PNG\r\n\x1a\n",
         png(1, 1, (b"iTXt", b"x" * 30)), png(1, 1, (b"IHDR", b"\0" * 13)), b"GIF89a", b"\xff\xd8\xff\xe0", b""]
    )  # fmt: skip
    return Hostile(everywhere(errors.ContentRefused), "figures/x.png", {"figures/x.png": data})


def too_large(rng: random.Random) -> Hostile:
    path, size = rng.choice(
        [
            ("card.md", (1 << 20) + 1),
            ("MLmodel", (64 << 10) + 1),
            ("config.json", (1 << 20) + 1),
            ("n.txt", 2 << 20),
        ]
    )
    size += rng.randrange(1000)
    data = b"x" * size if path != "config.json" else b'{"model":{},"a":"' + b"x" * size + b'"}'
    return Hostile(everywhere(errors.TooLarge), path, {path: data})


KINDS = (plain_pickle, cut_pickle, prefixed_pickle, torch_zip, bomb, foreign_kind, unlisted, wrong_json, wrong_types,
         foreign_loader, acting_card, terminal_codes, no_text, acting_svg, hostile_png, too_large)  # fmt: skip
