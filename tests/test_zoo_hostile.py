"""Hostile bundles of more than forty kinds: each refused by the right error, nothing run, nothing written elsewhere.

`hostile_run.py` does it in a process of its own, with 1 GiB of address space and an audit hook. What no test here can
show, since the zoo is not asked: MLflow's client loads what a store's folder names. Whoever can write to the store can
name a loader in MLmodel there; `zoo pull`, `zoo verify` and `zoo.load` refuse it, `mlflow.pyfunc.load_model` does not
ask them. A pickle of protocol 0 behind other text is text to everybody but a reader that seeks to it, and is not found.
"""

from __future__ import annotations

import io
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import hostile_bundles
import numpy as np
import pytest
from hostile_run import MEMORY_BYTES, bundles, judged
from hostile_weights import packed, tensor
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.numpy import load

import zoo
from zoo.errors import WeightsRefused
from zoo.safetensors_header import read_header
from zoo.store import Store, open_store

HERE = Path(__file__).parent
SHARED_MEMORY = Path("/dev/shm")  # where there is one, thousands of small files cost nothing


def attacked(count: int, seed: int, part: int = 0, parts: int = 1) -> dict[str, Any]:
    """The outcome of `hostile_run.py`."""
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY if SHARED_MEMORY.is_dir() else None) as folder:
        run = subprocess.run(
            [sys.executable, str(HERE / "hostile_run.py"), str(count), str(seed), folder, str(part), str(parts)],
            capture_output=True, text=True, check=False, cwd=HERE.parent,
        )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    outcome: dict[str, Any] = json.loads(run.stdout)
    return outcome


def check(outcomes: list[dict[str, Any]], count: int) -> None:
    kinds: Counter[str] = Counter()
    for outcome in outcomes:
        assert not outcome["failures"], "\n".join(outcome["failures"][:20])
        assert outcome["left"] == []
        assert outcome["peak_mib"] < MEMORY_BYTES >> 20
        kinds.update(outcome["kinds"])
    assert set(kinds) == set(hostile_bundles.kinds()) and len(kinds) >= 40 and kinds.total() == count
    doors = Counter[str]()
    for outcome in outcomes:
        doors.update(outcome["doors"])
    print("\n".join(f"{number:5} {kind}" for kind, number in sorted(kinds.items())))
    print(f"at {dict(doors)}, peak {max(outcome['peak_mib'] for outcome in outcomes)} MiB")


def test_some_hundreds() -> None:
    check([attacked(312, seed=0)], 312)


@pytest.mark.slow
@pytest.mark.timeout(900)  # about a minute on two cores that are free
def test_five_thousand() -> None:
    with ThreadPoolExecutor(2) as pool:
        check(list(pool.map(lambda part: attacked(5000, 1, part, 2), range(2))), 5000)


def test_on_a_real_object_store(object_store: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each kind that a store can hold, planted there by somebody who has its credentials."""
    for key, value in {**object_store.env, "MLFLOW_TRACKING_URI": ""}.items():
        monkeypatch.setenv(key, value)
    offered = 0
    for kind, number, hostile in bundles(len(hostile_bundles.kinds()), seed=3):
        if "pull" not in hostile.expect or kind == "many_files":
            continue
        monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / f"{kind}-{number}"))
        store: Store = open_store(f"s3://zoo/{tmp_path.name}/{kind}-{number}")
        for key, data in hostile.objects().items():
            store.put(key, data)
        with pytest.raises(Exception) as caught:
            zoo.pull(f"{hostile_bundles.NAME}@1", store=store)
        assert judged(hostile, "pull", caught.value) == "", (kind, number)
        offered += 1
    assert offered >= 35


def test_every_kind_says_what_is_expected_of_it() -> None:
    """A kind without a door, or with a base class that anything would satisfy, would prove nothing."""
    for kind, make in hostile_bundles.kinds().items():
        for number in range(20):
            hostile = make(random.Random(f"{kind}-{number}"))
            assert hostile.expect and set(hostile.expect) <= {"publish", "pull", "load", "import"}
            bare = {error.__name__ for error in hostile.expect.values()} & {
                "Exception",
                "ZooError",
                "StoreError",
            }
            assert not bare


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(["F32", "U8", "I64", "BOOL"]), st.lists(st.integers(0, 3), max_size=3)), min_size=1, max_size=4),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=3),
)  # fmt: skip
def test_what_our_reader_takes_the_library_takes(
    parts: list[tuple[str, list[int]]], changes: list[tuple[int, int]]
) -> None:
    """Any bytes of a sound file changed: ours never takes a file that the library refuses, and reads the same shapes."""
    items = {"F32": 4, "U8": 1, "I64": 8, "BOOL": 1}
    header, begin = {}, 0
    for i, (dtype, shape) in enumerate(parts):
        end = begin + int(np.prod(shape, dtype=int)) * items[dtype]
        header[f"t{i}"] = tensor(shape, begin, end, dtype)
        begin = end
    data = bytearray(packed(header, bytes(begin)))
    for place, value in changes:
        data[place % len(data)] = value

    try:
        ours = read_header(io.BytesIO(data), len(data), "x")
    except WeightsRefused:
        assert changes, "a sound file was refused"
        return
    try:
        theirs = load(bytes(data))
    except (SafetensorError, KeyError) as error:
        raise AssertionError(f"ours takes {bytes(data)!r}, the library does not") from error
    assert {name: entry.shape for name, entry in ours.items()} == {
        name: value.shape for name, value in theirs.items()
    }
