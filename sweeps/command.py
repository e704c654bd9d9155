"""What the sweep scripts share: from options to a checked plan, and from an error to one sentence."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from sweeps.comparison_plan import COMPARED, ComparisonPlan
from sweeps.plan import Axis, SweepError, SweepPlan, choose_settings, parse_fixed
from trainables.clip_format import manifest_digest
from trainables.clips import ClipsError, read_manifest
from trainables.frozen_encoders import EncoderError
from trainables.trial_config import ConfigError
from zoo import settings as zoo_settings
from zoo.errors import ZooError
from zoo.store import Store, open_store

DEFAULT_CODES, DEFAULT_DEPTH = "128:1024", "1:4"


def fail_clearly(command: Callable[..., int]) -> Callable[..., None]:
    """Exit with the command's status; what went wrong on purpose is one sentence and status 1, no traceback."""

    @functools.wraps(command)
    def run(**options: Any) -> None:
        try:
            sys.exit(command(**options))
        except (SweepError, ClipsError, ConfigError, EncoderError, ZooError) as error:
            raise click.ClickException(str(error)) from None

    return run


def comparison_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that all comparisons have."""
    options = [
        click.option("--data", help="Clips: a folder or s3:// address.  [default: $LATENTACT_DATA]"),
        click.option(
            "--split", default="objects", show_default=True, help="Settings, with commas between; `all`."
        ),
        click.option(
            "--folds", default=0, help="Cut each setting into so many; each group is held out once."
        ),
        click.option("--seeds", default=1, show_default=True, help="Trainings of each configuration."),
        click.option("--epochs", default=8, show_default=True, help="Epochs of the predictor of LatentAct."),
        click.option("--protocol", type=click.Choice(["first", "goal"]), default="first", show_default=True),
        click.option(
            "--mode", type=click.Choice(["forecast", "interpolate"]), default="forecast", show_default=True
        ),
        click.option(
            "--set", "fixed", multiple=True, metavar="FIELD=VALUE", help="Another default for all trials."
        ),
        click.option("--name", default="", help="Name of the comparison.  [default: made from its settings]"),
        click.option("--workers", default=1, show_default=True, help="Ray Train workers of each trial."),
        click.option(
            "--out",
            type=click.Path(path_type=Path, resolve_path=True),
            help="A folder that receives the tables too.",
        ),
        click.option("--retry", type=click.Choice(["failed"]), help="Try these trials again."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def plan_sweep(
    *,
    codes: str | None,
    depth: str | None,
    trials: int,
    start_from: str | None,
    fixed: Sequence[str],
    **options: Any,
) -> tuple[SweepPlan, Store]:
    """Check a request against the data set's manifest and open the store. Raises SweepError, ClipsError, ZooError."""
    common, store = _common(fixed=parse_fixed(fixed), **options)
    if start_from is not None:
        from sweeps.start_from import starting_point

        point = starting_point(start_from, store)
        common |= {"fixed": point.pin(dict(common["fixed"])), "start_url": point.url}
        codes, depth = point.pin_axis("--codes", codes), point.pin_axis("--depth", depth)
    return SweepPlan(
        codes=Axis.parse(codes or DEFAULT_CODES, "--codes", log=True),
        depth=Axis.parse(depth or DEFAULT_DEPTH, "--depth"),
        trials=trials,
        **common,
    ), store


def plan_comparison(
    *,
    kind: str,
    contenders: Mapping[str, Mapping[str, Any]],
    untrained: tuple[str, ...],
    folds: int,
    mode: str,
    fixed: Sequence[str],
    **options: Any,
) -> tuple[ComparisonPlan, Store]:
    """The same for a comparison of named configurations."""
    common, store = _common(fixed=parse_fixed(fixed, COMPARED), **options)
    plan = ComparisonPlan(
        kind=kind, contenders=contenders, untrained=untrained, folds=folds, mode=mode, seed=0, **common
    )
    return plan, store


def _common(
    *,
    data: str | None,
    split: str,
    fixed: tuple[tuple[str, Any], ...],
    **options: Any,
) -> tuple[dict[str, Any], Store]:
    """What every plan has, and the store."""
    # A shell that never sourced the local stack's settings finds its store, its MLflow and its Ray.
    os.environ.update(zoo_settings.environment())
    data = data or os.environ.get("LATENTACT_DATA")
    if not data:
        raise SweepError("--data is missing: give a folder or s3:// address of clips, or set LATENTACT_DATA.")

    import torch

    from trainables.code_digest import code_digest

    manifest = read_manifest(data)
    common = {
        "data": data if "://" in data else str(Path(data).expanduser().absolute()),
        "data_name": manifest["name"],
        "data_digest": manifest_digest(manifest),
        "settings": choose_settings(split, manifest),
        "fixed": fixed,
        "environment": (("code", code_digest()[:16]), ("torch", torch.__version__)),
        **options,
    }
    return common, open_store()
