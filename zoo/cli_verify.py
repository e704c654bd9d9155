"""Verify what a zoo holds: `zoo verify`."""

from __future__ import annotations

from collections.abc import Iterable

import click

import zoo
from zoo.cli_output import as_json, complete_reference, print_json
from zoo.errors import BadName
from zoo.verification import Verified


@click.command()
@click.argument("target", required=False, shell_complete=complete_reference)
@click.option("--all", "every", is_flag=True, help="Every version of all models whose name matches TARGET.")
@click.option("--deep", is_flag=True, help="Also build the model and look at every weight; needs torch.")
@as_json
@click.pass_context
def verify(context: click.Context, target: str | None, every: bool, deep: bool, as_json: bool) -> None:
    """Verify every byte of NAME[@version|@alias] in the store, or of the bundle in a FOLDER.

    \b
    zoo verify latentact-world-objects@champion
    zoo verify --all 'latentact-world-*'
    zoo verify ./best-model                                  before publishing it
    zoo verify $(zoo pull latentact-world-objects) --deep    the copy in the cache

    Nothing is kept of what is read. Exit code 1 where anything is wrong; each line says which file, and what to do.
    """
    if target is None and not every:
        raise BadName("Say what to verify: a model's name, a folder, or --all for the whole zoo.")
    found: Iterable[Verified] = (
        zoo.verify_all(target or "*", deep=deep) if every else [zoo.verify(str(target), deep=deep)]
    )
    results = []
    for result in found:
        results.append(result)
        if not as_json:
            _show(result)
    if as_json:
        print_json([_facts(result) for result in results] if every else _facts(results[0]))
    elif every:
        unsound = sum(not result.sound for result in results)
        click.echo(f"{len(results)} verified, {unsound} unsound.")
    if not all(result.sound for result in results):
        context.exit(1)


def _facts(result: Verified) -> dict[str, object]:
    return {**vars(result), "sound": result.sound, "problems": [vars(problem) for problem in result.problems]}


def _show(result: Verified) -> None:
    if result.sound:
        click.echo(
            f"{result.what}  sound: {result.files} files, {result.size / 1e6:,.1f} MB, {result.digest[:12]}"
        )
    for problem in result.problems:
        click.echo(f"{result.what}  {problem.error}  {problem.file}: {problem.sentence}")
