"""COCO's run-length code of masks: {"size": [height, width], "counts": ...}.

Runs go down the columns and begin with a run of zeros. `counts` is a list of run lengths, or a string in which each
number is written in groups of five bits from the low end, a character each (48 + bits, 32 added where more follow, sign
in the last one's bit 4), from the fourth run on as the difference to the run before the last. Format: COCO's API,
github.com/cocodataset/cocoapi, common/maskApi.c (rleToString) and PythonAPI/pycocotools/mask.py. The decoder is
this project's own so that a truncated string is an error by name, and a package with a compiled part less; the tests hold
codes that COCO's own tool wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainables.source_errors import DamagedFile, WrongType, WrongValue
from trainables.source_fields import Where, field, numbers

_LONGEST_SIDE = 1 << 14
_LONGEST_NUMBER = 7  # characters: 35 bits


def is_run_lengths(content: Any) -> bool:
    return isinstance(content, Mapping) and "size" in content and "counts" in content


def decode_runs(code: Any, file: Where, name: str) -> NDArray[np.bool_]:
    """The mask, bool (H, W), of one code. `name` is the field that errors name. Raises SourceError."""
    size = numbers(field(code, "size", file), f"{name}.size", file, shape=(2,), low=1, high=_LONGEST_SIDE)
    if (size % 1).any():
        raise WrongValue(file, f"is {size.tolist()}, not whole pixels.", field=f"{name}.size")
    height, width = size.astype(int).tolist()
    counts = field(code, "counts", file)
    if isinstance(counts, str | bytes):
        runs = _characters(counts, file, f"{name}.counts")
    else:
        runs = numbers(counts, f"{name}.counts", file, shape=(None,), low=0, high=height * width).astype(int)
    if (runs < 0).any() or runs.sum() != height * width:
        raise WrongValue(
            file,
            f"its runs are not those of {height} x {width} pixels (sum {runs.sum()}); fetch the file again.",
            field=f"{name}.counts",
        )
    ones = np.arange(len(runs)) % 2 == 1
    return np.repeat(ones, runs).reshape(width, height).T


def _characters(counts: str | bytes, file: Where, name: str) -> NDArray[np.int64]:
    try:
        data = counts.encode("ascii") if isinstance(counts, str) else counts
    except UnicodeEncodeError as error:
        raise WrongType(file, f"is no run-length string ({error}).", field=name) from error
    groups = np.frombuffer(data, dtype=np.uint8).astype(np.int64) - 48
    if not len(groups):
        return np.zeros(0, dtype=np.int64)
    more = groups & 32 > 0
    if (groups < 0).any() or (groups > 63).any() or more[-1]:
        raise DamagedFile(file, "its run-length string is cut off or damaged; fetch it again.", field=name)
    last = np.flatnonzero(~more)
    begin = np.concatenate([[0], last[:-1] + 1])
    if (last - begin >= _LONGEST_NUMBER).any():
        raise DamagedFile(file, "its run-length string is damaged; fetch it again.", field=name)
    place = np.arange(len(groups)) - np.repeat(begin, last - begin + 1)
    value = np.add.reduceat((groups & 31) << (5 * place), begin)
    value = value - np.where(groups[last] & 16, 1 << (5 * (last - begin + 1)), 0)
    # From the fourth on each is the step from the one before the last: two interleaved running sums, the first run
    # standing alone.
    runs = value.copy()
    runs[1::2] = np.cumsum(value[1::2])
    runs[2::2] = np.cumsum(value[2::2])
    return runs
