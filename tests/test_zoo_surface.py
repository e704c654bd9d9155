"""The command line's surface, frozen: names of commands, arguments and options that people have in their scripts.

A change here is a change for them: it belongs in the release notes. What was added is added below.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from zoo_bundles import write_bundle

from zoo.cli import main

OBJECTS = "latentact-world-objects"
HEAVY = {"torch", "mlflow", "ray", "trainables", "numpy", "scipy", "pandas"}

SURFACE = """
zoo ls [pattern] --json --limit --sort --versions --where
zoo show name --json
zoo card name --data --html --json
zoo diff a b --json
zoo pull name --json
zoo cache info --json
zoo cache ls --json
zoo cache prune --dry-run --json --max-size --older-than
zoo predict name --batch --camera --click --contact --contact-pixel --contact-point --data --depth --device --focal-px \
--format --image --json --last-contact --last-contact-point --last-image --limit --out --part --split --text
zoo publish folder name --json --tag
zoo promote name --alias --force --json --min-effect-cm
zoo rollback name --alias --json --reason --steps --to
zoo history name --alias --json --looks
zoo verify [target] --all --deep --json
zoo gc [pattern] --delete --grace --json --keep-last
zoo export names file --all --json
zoo import file --aliases --json --renumber
zoo registry rebuild [pattern] --dry-run --json
zoo completion shell --json
"""


def commands(
    group: click.Group = main, path: tuple[str, ...] = ("zoo",)
) -> Iterator[tuple[str, click.Command]]:
    """Every command that does something, by its whole name, in the order of the help page."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def surface() -> list[str]:
    lines = []
    for path, command in commands():
        arguments = [p for p in command.params if isinstance(p, click.Argument)]
        options = [option for p in command.params if isinstance(p, click.Option) for option in p.opts]
        shown = [str(p.name) if p.required else f"[{p.name}]" for p in arguments]
        lines.append(" ".join([path, *shown, *sorted(options)]))
    return lines


def test_the_surface_is_as_it_was() -> None:
    assert surface() == SURFACE.strip().splitlines()


def test_every_command_prints_json_and_shows_an_example() -> None:
    for path, command in commands():
        options = [option for p in command.params for option in p.opts]
        assert "--json" in options, f"{path} has no --json"
        page = command.get_help(click.Context(command, info_name=path))
        uses = [line for line in page.splitlines() if path in line and not line.startswith("Usage:")]
        assert uses, f"the help of {path} shows no example:\n{page}"


def test_a_misspelled_command_is_pointed_out() -> None:
    said = CliRunner().invoke(main, ["verfy", OBJECTS])
    assert said.exit_code == 2 and "Did you mean 'verify'" in said.output


def loaded(environment: dict[str, str], *args: str) -> set[str]:
    """The modules that a command has imported when it ends well."""
    script = "import sys, atexit; atexit.register(lambda: print('\\n'.join(['MODULES', *sys.modules])))\n"
    script += "from zoo.cli import main; main(prog_name='zoo')"
    result = subprocess.run(
        [sys.executable, "-c", script, *args],
        env={**os.environ, **environment},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return set(result.stdout.partition("MODULES\n")[2].split())


@pytest.mark.parametrize("kind", ["file", "s3"])
def test_looking_and_pulling_import_nothing_heavy(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Neither torch nor mlflow, nor numpy; boto3 where the store is in S3, and not before it is needed."""
    environment = {"LATENTACT_HOME": f"{tmp_path}/home", "LATENTACT_ZOO": f"file://{tmp_path}/zoo"}
    if kind == "s3":
        server = request.getfixturevalue("object_store").env
        environment |= {**server, "LATENTACT_ZOO": f"s3://zoo/{tmp_path.name}"}
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    import zoo

    zoo.publish(OBJECTS, write_bundle(tmp_path / "bundle"))
    zoo.promote(OBJECTS, 1)
    zoo.pull(OBJECTS)
    asks = {
        "help": ({}, ["--help"]),
        "ls --help": ({}, ["ls", "--help"]),
        "completion": ({}, ["completion", "bash"]),
        "pull by number, warm": ({}, ["pull", f"{OBJECTS}@1"]),
        "pull": ({}, ["pull", OBJECTS]),
        "ls": ({}, ["ls", "--where", "val_mpjpe_cm<9"]),
        "ls --versions": ({}, ["ls", "--versions"]),
        "show": ({}, ["show", OBJECTS]),
        "card": ({}, ["card", OBJECTS, "--json"]),
        "diff": ({}, ["diff", OBJECTS, f"{OBJECTS}@1"]),
        "tab": (
            {"_ZOO_COMPLETE": "bash_complete", "COMP_WORDS": "zoo\npull\nlat", "COMP_CWORD": "2"}, [],
        ),
    }  # fmt: skip
    needs_no_store = {"help", "ls --help", "completion", "pull by number, warm"}
    for what, (more, args) in asks.items():
        modules = loaded({**environment, **more}, *args)
        assert not HEAVY & modules, (what, HEAVY & modules)
        asks_s3 = kind == "s3" and what not in needs_no_store
        assert ("boto3" in modules) == asks_s3, (what, len(modules))
        assert "rich" not in modules, what  # there is no terminal to colour
