"""Put models into a zoo and let them take a name: `zoo publish`, `promote`, `rollback`, `history`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import zoo
from zoo.cli_output import as_json, complete_name, model_argument, print_json, print_table
from zoo.errors import GateRefused
from zoo.gate import percent
from zoo.identity import publisher
from zoo.names import DEFAULT_ALIAS

if TYPE_CHECKING:
    from zoo.promotion import Promotion

alias_option = click.option("--alias", default=DEFAULT_ALIAS, show_default=True, help="The alias.")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("name", shell_complete=complete_name)
@click.option("--tag", "tags", multiple=True, metavar="KEY=VALUE", help="A tag; may be repeated.")
@as_json
def publish(folder: Path, name: str, tags: tuple[str, ...], as_json: bool) -> None:
    """Publish FOLDER as the next version of NAME; the same bytes keep their version.

    \b
    zoo publish ./best-model latentact-world-objects --tag trial=3f2a
    """
    pairs = [tag.partition("=") for tag in tags]
    if bad := [key for key, equals, _ in pairs if not equals or not key]:
        raise click.BadParameter(f"'{bad[0]}' is not KEY=VALUE", param_hint="--tag")
    published = zoo.publish(name, folder, tags={key: value for key, _, value in pairs})
    if as_json:
        print_json(vars(published))
    else:
        click.echo(f"{published.name}@{published.version}  {published.digest[:12]}  {published.url}")


@click.command()
@model_argument
@alias_option
@click.option("--force", metavar="REASON", help="Overrule the gate; the reason is kept in the alias's log.")
@click.option(
    "--min-effect-cm", type=float, metavar="CM",
    help="How much better than the holder it must be.  [default: 1% of the holder's MPJPE]",
)  # fmt: skip
@as_json
def promote(name: str, alias: str, force: str | None, min_effect_cm: float | None, as_json: bool) -> None:
    """Let NAME@VERSION take an alias, if the gate finds it better than the holder, and by enough.

    \b
    zoo promote latentact-world-objects@3
    zoo promote latentact-world-objects@3 --alias staging --min-effect-cm 0.05
    zoo promote latentact-world-objects@3 --force "the holder saw test clips in training"

    Every candidate that is compared with a holder makes the gate stricter for the next one. With --json, a refusal
    is printed too, as {"moved": false, "error", "verdict"}, and the exit code is 1.
    """
    if "@" not in name:
        raise click.BadParameter(f"say which version: {name}@3", param_hint="NAME")
    try:
        promotion = zoo.promote(name, alias=alias, force=force, min_effect_cm=min_effect_cm)
    except GateRefused as refusal:
        if as_json:
            print_json({"moved": False, "error": str(refusal), "verdict": refusal.verdict})
        raise
    _show(promotion, as_json)


@click.command()
@click.argument("name", shell_complete=complete_name)
@alias_option
@click.option(
    "--to", type=int, metavar="SEQUENCE", help="The state to go back to, as `zoo history` counts them."
)
@click.option("--steps", type=int, help="How many states to go back.  [default: 1]")
@click.option("--reason", required=True, help="Why; it is kept in the alias's log.")
@as_json
def rollback(name: str, alias: str, to: int | None, steps: int | None, reason: str, as_json: bool) -> None:
    """Give an alias of NAME back to the version that held it before. No gate is asked.

    \b
    zoo rollback latentact-world-objects --reason "worse on the robot"
    zoo rollback latentact-world-objects --to 4 --reason "the last one that was tried on the robot"

    Rolled back twice, an alias goes back two states; what it was rolled back from comes back with --to alone.
    """
    _show(zoo.rollback(name, reason=reason, to=to, steps=steps, alias=alias), as_json)


@click.command()
@click.argument("name", shell_complete=complete_name)
@alias_option
@click.option("--looks", is_flag=True, help="The candidates that the gate compared with the present holder.")
@as_json
def history(name: str, alias: str, looks: bool, as_json: bool) -> None:
    """List every state that an alias of NAME has had, oldest first.

    \b
    zoo history latentact-world-objects
    zoo history latentact-world-objects --alias staging --json
    zoo history latentact-world-objects --looks
    """
    states = zoo.looks(name, alias) if looks else zoo.history(name, alias)
    if as_json:
        print_json(states)
    elif not states:
        none = "No candidate was compared with the holder" if looks else "There was never a holder"
        click.echo(f"{none} of '{alias}' of {name}.", err=True)
    elif looks:
        titles = ("LOOK", "VERSION", "WHEN (UTC)", "BY", "MPJPE cm", "INTERVAL", "OUTCOME")
        print_table(titles, [_look_row(look) for look in states])
    else:
        titles = ("STATE", "VERSION", "WHEN (UTC)", "BY", "HOW", "MPJPE cm", "WHY")
        print_table(titles, [_state_row(state) for state in states])


def _state_row(state: dict[str, Any]) -> tuple[str, ...]:
    verdict = state["verdict"] or {}
    why = state["reason"] or verdict.get("sentence", "")
    if state["how"] == "forced":
        why += f" (against the gate: {verdict.get('sentence', '')})"
    how = f"back to {state['rolled_back_to']}" if state["how"] == "rollback" else state["how"]
    return str(state["sequence"]), str(state["number"]), *_signed(state), how, _change(verdict), why


def _look_row(look: dict[str, Any]) -> tuple[str, ...]:
    if "verdict" not in look:
        return str(look["look"]), "-", "-", "-", "-", "-", "interrupted; promote it again to see"
    verdict = look["verdict"]
    interval = f"{percent(verdict['confidence'])} [{verdict['low_cm']:+.3f}, {verdict['high_cm']:+.3f}]"
    outcome = verdict["sentence"].rpartition(": ")[2]
    return str(look["look"]), str(look["number"]), *_signed(look), _change(verdict), interval, outcome


def _signed(record: dict[str, Any]) -> tuple[str, str]:
    return record["at"][:16].replace("T", " "), publisher(record)


def _change(verdict: dict[str, Any]) -> str:
    change_cm = verdict.get("difference_cm")
    return "-" if change_cm is None else f"{change_cm:+.3f}"


def _show(promotion: Promotion, as_json: bool) -> None:
    if as_json:
        print_json(vars(promotion))
        return
    if not promotion.moved:
        click.echo(f"{promotion.name}@{promotion.version} is '{promotion.alias}' already: nothing was moved.")
        return
    was = f", instead of @{promotion.previous}" if promotion.previous else ""
    click.echo(f"{promotion.name}@{promotion.version} is '{promotion.alias}'{was}. {promotion.reason}")
    alias = "" if promotion.alias == DEFAULT_ALIAS else f" --alias {promotion.alias}"
    if promotion.previous:
        click.echo(f"The way back: zoo rollback {promotion.name}{alias} --reason '...'")
