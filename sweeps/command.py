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
from sweeps.errors import SweepError
from sweeps.plan import SweepPlan, choose_settings, parse_fixed
from sweeps.prices import Budget, usd_per_hour
from sweeps.space import Axis, parse_objectives, read_space
from trainables.clip_format import manifest_digest
from trainables.clips import ClipsError, read_manifest
from trainables.frozen_encoders import EncoderError
from trainables.trial_config import ConfigError
from zoo import settings as zoo_settings
from zoo.errors import ZooError
from zoo.store import Store, open_store

ROOT = Path(__file__).resolve().parent.parent


def fail_clearly(command: Callable[..., int]) -> Callable[..., None]:
    """Exit with the command's status; what went wrong on purpose is one sentence and status 1, no traceback."""

    @functools.wraps(command)
    def run(**options: Any) -> None:
        try:
            sys.exit(command(**options))
        except (SweepError, ClipsError, ConfigError, EncoderError, ZooError) as error:
            raise click.ClickException(str(error)) from None

    return run


def search_and_publish(kind: str, request: dict[str, Any]) -> int:
    """What the search scripts do with their options; returns the exit status."""
    from sweeps.conduct import Conduct
    from sweeps.sweep import run_sweep

    after = {name: request.pop(name) for name in ("publish", "warm_start", "keep")}
    dry_run = request.pop("dry_run")
    conduct = Conduct(**_conduct(request))
    plan, store = plan_sweep(kind=kind, **request)
    os.chdir(ROOT)  # Ray's workers look for modules where the driver stands
    if dry_run:
        from sweeps.dry_run import print_plan

        return print_plan(plan, store, conduct)
    return run_sweep(plan, store, conduct, **after)


def compare_and_tell(
    kind: str,
    contenders: Mapping[str, Mapping[str, Any]],
    untrained: tuple[str, ...],
    request: dict[str, Any],
) -> int:
    """What the comparison scripts do with theirs."""
    from sweeps.comparison import run_comparison
    from sweeps.conduct import Conduct

    out = request.pop("out")
    conduct = Conduct(**_conduct(request))
    plan, store = plan_comparison(kind=kind, contenders=contenders, untrained=untrained, **request)
    os.chdir(ROOT)
    return run_comparison(plan, store, conduct, out=out)


def _conduct(request: dict[str, Any]) -> dict[str, Any]:
    """Take the options of `_conduct_options` out of a request, as the fields of a Conduct."""
    budget = Budget(
        gpu_hours=request.pop("budget_gpu_hours"),
        usd=request.pop("budget_usd"),
        usd_per_hour=usd_per_hour(request.pop("usd_per_hour")),
    )
    return {
        "parallel": request.pop("parallel"),
        "budget": budget,
        "hang_after_s": request.pop("hang_after_s"),
        "retry_failed": request.pop("retry") == "failed",
    }


def plan_sweep(
    *,
    kind: str,
    codes: str | None,
    depth: str | None,
    space: Path | None,
    objectives: str,
    start_from: str | None,
    fixed: Sequence[str],
    **options: Any,
) -> tuple[SweepPlan, Store]:
    """Check a request against the data set's manifest and open the store. Raises SweepError, ClipsError, ZooError."""
    if space is not None and (codes or depth):
        raise SweepError("--space describes all that is searched; leave --codes and --depth out.")
    axes = read_space(space) if space is not None else ()
    common, store = _common(fixed=parse_fixed(fixed), **options)
    if start_from is not None:
        from sweeps.start_from import starting_point

        point = starting_point(start_from, store)
        common |= {"fixed": point.pin(dict(common["fixed"])), "start_url": point.url}
        if space is None:
            codes, depth = point.pin_axis("--codes", codes), point.pin_axis("--depth", depth)
    if codes and depth:
        axes = (Axis.parse(codes, "codes", "--codes"), Axis.parse(depth, "decoder_depth", "--depth"))
    plan = SweepPlan(kind=kind, axes=axes, objectives=parse_objectives(objectives), **common)
    return plan, store


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
