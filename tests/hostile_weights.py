"""Weights files with hostile headers, and pickles and archives in their place."""

from __future__ import annotations

import io
import json
import random
import zipfile
from typing import Any

from hostile_bundles import HONEST, Hostile, everywhere, word

from zoo import errors

WEIGHTS = "model.safetensors"


def packed(header: Any, body: bytes, *, length: int | None = None) -> bytes:
    """A file with this header: JSON of a value, or the bytes themselves."""
    data = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(data) if length is None else length).to_bytes(8, "little") + data + body


def tensor(shape: list[Any], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def _weights(data: bytes) -> Hostile:
    return Hostile(everywhere(errors.WeightsRefused), WEIGHTS, {WEIGHTS: data})


def header_length(rng: random.Random) -> Hostile:
    good = HONEST[WEIGHTS]
    length = rng.choice(
        [
            0,
            1,
            len(good) - 7,
            1 << 31,
            (1 << 64) - 1,
            rng.getrandbits(64) | 1 << 40,
            rng.randint(len(good), 1 << 30),
        ]
    )
    lied = length.to_bytes(8, "little") + good[8:]
    return _weights(rng.choice([lied, lied, good[: rng.randrange(60)]]))


def offsets(rng: random.Random) -> Hostile:
    far, x = rng.choice([1 << 40, 1 << 62, rng.randint(17, 1 << 50)]), word(rng)
    spans: list[Any] = rng.choice(
        [[(0, 8), (4, 12)], [(0, 8), (9, 17)], [(0, 8), (0, 8)], [(0, 8), (far, far + 8)], [(far, far + 8)], [(8, 16)], [(8, 0)],
         [(-far, 0)], [(0, 8), (8, 1 << 63)], [(0.0, 8.0)], [("0", "8")], [(None, 8)], [(True, 8)], [(0, 8, 16)], [(0,)]]
    )  # fmt: skip
    header = {
        f"{x}.{i}": {"dtype": "F32", "shape": [2], "data_offsets": list(span)} for i, span in enumerate(spans)
    }
    return _weights(packed(header, b"\0" * 16))


def dtype(rng: random.Random) -> Hostile:
    odd = rng.choice(
        ["O", "object", "F128", "f32", "<f4", "V8", "", "F32\0", "S4", "pickle", 7, None, ["F32"], {"F32": 1}]
    )
    return _weights(packed({word(rng): {"dtype": odd, "shape": [2], "data_offsets": [0, 8]}}, b"\0" * 8))


def twin_names(rng: random.Random) -> Hostile:
    one = json.dumps(tensor([2], 0, 8))
    twice = rng.choice(
        [f'{{"t":{one},"t":{one}}}', f'{{"x":{one},"\\u0078":{one}}}', f'{{"__metadata__":{{}},"__metadata__":{{}},"t":{one}}}',
         f'{{"t":{one[:-1]},"shape":[1]}}}}', f'{{"__metadata__":{{"a":"1","a":"2"}},"t":{one}}}']
    )  # fmt: skip
    return _weights(packed(twice.replace('"t"', f'"{word(rng)}"').encode(), b"\0" * 8))


def no_json(rng: random.Random) -> Hostile:
    header = rng.choice(
        [rng.randbytes(rng.randint(2, 400)), b"not json", b"[]", b"null", b"{'t':1}", b"{}", b'{"t":}', b'{"t":NaN}',
         b'{"t":1e999}', b" {}", b'{"__metadata__":{}}', b'{"__metadata__":[]}', b'{"__metadata__":{"a":1}}', b"\xff\xfe{}",
         b'{"t":[]}', b'{"t":{}}', b'{"":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', b'{"\\ud800":{}}']
    )  # fmt: skip
    return _weights(packed(header, rng.randbytes(rng.randint(0, 8))))


def nesting(rng: random.Random) -> Hostile:
    depth = rng.choice([60, 900, 5000, 300_000])
    bomb = rng.choice(
        [b'{"t":' + b"[" * depth, b'{"t":' * depth, b'{"t":' + b"[" * depth + b"]" * depth + b"}"]
    )
    return _weights(packed(bomb.replace(b'"t"', f'"{word(rng)}"'.encode(), 1), b""))


def shapes(rng: random.Random) -> Hostile:
    shape: list[Any] = rng.choice(
        [[1 << 32, 1 << 32], [1 << 62, 4], [(1 << 63) - 1, 2], [-1, -2], [-2], [3], [2.0], [True, 2], ["2"], [None], [[2]],
         [1] * 9, [1 << 64], [1 << 16] * 4, [0], [10**30]]
    )  # fmt: skip
    return _weights(packed({word(rng): tensor(shape, 0, 8)}, b"\0" * 8))


def trailing(rng: random.Random) -> Hostile:
    tail = rng.choice([b"\0", b"<script>", rng.randbytes(rng.randint(1, 3000))])
    return _weights(
        HONEST[WEIGHTS] + tail if rng.random() < 0.7 else HONEST[WEIGHTS][: -rng.randint(1, 4000)]
    )


def archive_behind(rng: random.Random) -> Hostile:
    """Sound weights to one reader and, from its end, a zip archive to another."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("archive/data.pkl", rng.randbytes(rng.randint(1, 100)))
    return Hostile(everywhere(errors.ArchiveRefused), WEIGHTS, {WEIGHTS: HONEST[WEIGHTS] + made.getvalue()})


def many_tensors(rng: random.Random) -> Hostile:
    """A header that is as large as the file, of entries that unpack to far more memory."""
    count = rng.choice([*[3000] * 20, 30_000, 400_000, 2_000_000])
    return _weights(packed(b'{"t":[' + b"{}," * (count + rng.randrange(100)) + b"{}]}", b""))


def fields(rng: random.Random) -> Hostile:
    good = tensor([2], 0, 8)
    changed = rng.choice(
        [
            good | {"code": "import os"},
            {"dtype": "F32"},
            {**good, "shape": 2},
            {**good, "data_offsets": 8},
            {**good, "shape": {}},
        ]
    )
    return _weights(
        packed(
            {rng.choice([word(rng), "x" * rng.randint(257, 999), "a\x00b", "\x1b[2J"]): changed}, b"\0" * 8
        )
    )


KINDS = (
    header_length,
    offsets,
    dtype,
    twin_names,
    no_json,
    nesting,
    shapes,
    trailing,
    archive_behind,
    many_tensors,
    fields,
)
