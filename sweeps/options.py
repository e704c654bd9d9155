"""The options of the sweep scripts."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from sweeps.plan import SEARCHES, STOPPINGS

Command = Callable[..., Any]


def _with(command: Command, options: list[Callable[[Command], Command]]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def _conduct_options() -> list[Callable[[Command], Command]]:
    """How a plan is carried out; nothing of it changes what a trial comes to."""
    return [
        click.option("--name", default="", help="Name of it all.  [default: made from its settings]"),
        click.option(
            "--workers", default="1", show_default=True, help="Ray Train workers a trial: N, or LEAST:MOST."
        ),
        click.option(
            "--parallel", type=click.IntRange(1), help="Trials at once.  [default: what fits on the cluster]"
        ),
        click.option(
            "--budget-gpu-hours", type=float, help="Stop cleanly when workers were held for so long."
        ),
        click.option("--budget-usd", type=float, help="Stop cleanly when so much was spent."),
        click.option(
            "--usd-per-hour",
            type=float,
            help="Price of a worker.  [default: $LATENTACT_USD_PER_HOUR, else what the nodes' labels say]",
        ),
        click.option(
            "--hang-after-s",
            default=1200.0,
            show_default=True,
            help="An epoch that takes longer counts as hung.",
        ),
        click.option("--retry", type=click.Choice(["failed"]), help="Try these trials again."),
    ]


def sweep_options(**defaults: Any) -> Callable[[Command], Command]:
    """The options of every search; `defaults` are those in which a script differs from the others."""
    values = {
        "codes": "128:1024", "depth": "1:4", "search": "tpe", "stop_by": "asha", "objectives": "mpjpe_cm", "trials": 4
    } | defaults  # fmt: skip
    options: list[Callable[[Command], Command]] = [
        click.option("--data", help="Clips: a folder or s3:// address.  [default: $LATENTACT_DATA]"),
        click.option("--split", default="objects", show_default=True, help="Settings, with commas between; `all`."),
        click.option("--codes", show_default=values["codes"], help="Codebook sizes: LOW:HIGH, or a list."),
        click.option("--depth", show_default=values["depth"], help="Depths of the predictor's decoder, likewise."),
        click.option(
            "--space",
            type=click.Path(path_type=Path, resolve_path=True),
            help="A TOML file of fields to search, in place of --codes and --depth.",
        ),
        click.option("--trials", default=values["trials"], show_default=True, help="Configurations a setting."),
        click.option(
            "--search", type=click.Choice(SEARCHES), default=values["search"], show_default=True,
            help="How the next configuration is chosen.",
        ),
        click.option(
            "--objectives", default=values["objectives"], show_default=True, help="Figures searched for, commas between."
        ),
        click.option(
            "--stop-by", "stopping", type=click.Choice(STOPPINGS), default=values["stop_by"], show_default=True,
            help="Which trials end early.",
        ),
        click.option("--epochs", default=8, show_default=True, help="Epochs of the predictor in a trial."),
        click.option("--seeds", default=1, show_default=True, help="Trainings of the best configurations in all."),
        click.option("--finalists", default=4, show_default=True, help="Configurations that get a second seed."),
        click.option("--seed", default=0, show_default=True, help="First seed, of search and trainings."),
        click.option("--protocol", type=click.Choice(["first", "goal"]), default="first", show_default=True),
        click.option(
            "--set", "fixed", multiple=True, metavar="FIELD=VALUE", help="Another default for all trials."
        ),
        click.option("--start-from", metavar="NAME@VERSION", help="Fine-tune this model of the zoo, as it is built."),
        *_conduct_options(),
        click.option("--dry-run", is_flag=True, help="Say what would be trained, for how long and at what cost."),
        click.option("--publish/--no-publish", default=True, help="Offer each setting's best model to the zoo."),
        click.option("--warm-start/--no-warm-start", default=True, help="Let earlier sweeps' figures guide the search."),
        click.option(
            "--keep", type=click.Choice(["last", "best", "finalists"]), default="last", show_default=True,
            help="Checkpoints kept at the end.",
        ),
    ]  # fmt: skip

    def add(command: Command) -> Command:
        def filled(**request: Any) -> Any:
            # A search-space file and a model to start from say themselves what there is to search.
            if request["space"] is None and request["start_from"] is None:
                request["codes"] = request["codes"] or values["codes"]
                request["depth"] = request["depth"] or values["depth"]
            return command(**request)

        functools.update_wrapper(filled, command)
        return _with(filled, options)

    return add


def comparison_options(command: Command) -> Command:
    """The options that all comparisons have."""
    options: list[Callable[[Command], Command]] = [
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
        *_conduct_options(),
        click.option(
            "--out",
            type=click.Path(path_type=Path, resolve_path=True),
            help="A folder that receives the tables too.",
        ),
    ]
    return _with(command, options)
