"""What the sweep scripts share: from options to a checked plan, and from an error to one sentence."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click

from sweeps.plan import Axis, SweepError, SweepPlan, choose_settings, parse_fixed
from trainables.clip_format import manifest_digest
from trainables.clips import ClipsError, read_manifest
from zoo import settings as zoo_settings
from zoo.errors import ZooError
from zoo.store import Store, open_store


def fail_clearly(command: Callable[..., int]) -> Callable[..., None]:
    """Exit with the command's status; what went wrong on purpose is one sentence and status 1, no traceback."""

    @functools.wraps(command)
    def run(**options: Any) -> None:
        try:
            sys.exit(command(**options))
        except (SweepError, ClipsError, ZooError) as error:
            raise click.ClickException(str(error)) from None

    return run


def plan_sweep(
    *,
    data: str | None,
    split: str,
    codes: str,
    depth: str,
    trials: int,
    epochs: int,
    seeds: int,
    seed: int,
    name: str,
    workers: int,
    protocol: str,
    fixed: Sequence[str],
) -> tuple[SweepPlan, Store]:
    """Check a request against the data set's manifest and open the store. Raises SweepError, ClipsError, ZooError."""
    ranges = {"codes": Axis.parse(codes, "--codes", log=True), "depth": Axis.parse(depth, "--depth")}
    # A shell that never sourced the local stack's settings finds its store, its MLflow and its Ray.
    os.environ.update(zoo_settings.environment())
    data = data or os.environ.get("LATENTACT_DATA")
    if not data:
        raise SweepError("--data is missing: give a folder or s3:// address of clips, or set LATENTACT_DATA.")

    import torch

    from trainables.trial_config import code_digest

    manifest = read_manifest(data)
    plan = SweepPlan(
        data=data if "://" in data else str(Path(data).expanduser().absolute()),
        data_name=manifest["name"],
        data_digest=manifest_digest(manifest),
        settings=choose_settings(split, manifest),
        **ranges,
        trials=trials,
        epochs=epochs,
        seeds=seeds,
        seed=seed,
        workers=workers,
        protocol=protocol,
        fixed=parse_fixed(fixed),
        environment=(("code", code_digest()[:16]), ("torch", torch.__version__)),
        name=name,
    )
    return plan, open_store()
