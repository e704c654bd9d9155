"""What one unit of an import has become, kept on this machine until the data set is whole."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Part:
    rows: pa.Table | None  # checked clips, None where there is none
    dropped: dict[str, str]
    counts: Counter[str]
    samples: dict[str, NDArray[np.float32]]


def keep_part(
    folder: Path,
    rows: pa.Table | None,
    dropped: Mapping[str, str],
    counts: Mapping[str, int],
    samples: Mapping[str, Sequence[NDArray[np.float32]]],
) -> None:
    """Keep one unit's result; it appears by one rename."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=f".{folder.name[:16]}-", dir=folder.parent))
    try:
        if rows is not None:
            pq.write_table(
                rows,
                stage / "clips.parquet",
                compression="zstd",
                use_dictionary=False,
                write_statistics=False,
            )
        pooled: dict[str, Any] = {name: np.concatenate(values) for name, values in samples.items()}
        np.savez(stage / "samples.npz", **pooled)
        (stage / "made.json").write_text(json.dumps({"dropped": dict(dropped), "counts": dict(counts)}))
        os.rename(stage, folder)
    except OSError:
        shutil.rmtree(stage, ignore_errors=True)
        if not folder.is_dir():  # else another import of the same source was first
            raise


def read_part(folder: Path) -> Part:
    made = json.loads((folder / "made.json").read_text())
    with np.load(folder / "samples.npz", allow_pickle=False) as samples:
        pooled = {name: samples[name] for name in samples.files}
    rows = folder / "clips.parquet"
    return Part(
        rows=pq.read_table(rows, use_threads=False) if rows.is_file() else None,
        dropped=made["dropped"],
        counts=Counter(made["counts"]),
        samples=pooled,
    )
