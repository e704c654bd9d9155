"""The `zoo` command. Errors are one sentence on stderr and exit code 1.

A command's module is imported when the command is run: `zoo ls` waits for nothing that it does not use.
"""

from __future__ import annotations

import importlib
import keyword
import os
from typing import Any

import click

from zoo.errors import ZooError, is_for_users

EXAMPLES = """\b
Examples:
  zoo ls 'latentact-*-objects' --where 'test_mpjpe_cm<6'
  zoo pull latentact-world-objects@champion
  zoo predict latentact-world-objects --image photo.jpg --text "grasp the mug" --contact 0.02,0.01,0.45
  zoo publish ./best-model latentact-world-objects
  zoo promote latentact-world-objects@3

The store is $LATENTACT_ZOO (s3://bucket or file:///folder) and the AWS_* variables; without them, the local stack
that `python -m cluster.local up` started.
"""


_HOME = {  # command -> module, in the order of the help page
    "ls": "look",
    "show": "look",
    "card": "look",
    "diff": "look",
    "pull": "pull",
    "cache": "cache",
    "predict": "predict",
    "publish": "publish",
    "promote": "publish",
    "rollback": "publish",
    "history": "publish",
    "verify": "verify",
    "gc": "upkeep",
    "export": "archive",
    "import": "archive",
    "registry": "registry",
    "completion": "shell",
}


class Commands(click.Group):
    """Finds commands by `_HOME`. The zoo's own errors become one line and exit code 1; anything else is a defect and
    keeps its traceback.
    """

    def main(self, *args: Any, **more: Any) -> Any:
        if "_ZOO_COMPLETE" in os.environ:
            importlib.import_module("zoo.completion")  # what bash asks is answered there
        return super().main(*args, **more)

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_HOME)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _HOME:
            return None
        module = importlib.import_module(f"zoo.cli_{_HOME[name]}")
        command: click.Command = getattr(module, f"{name}_" if keyword.iskeyword(name) else name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.exceptions.NoSuchCommand as error:
            raise click.exceptions.NoSuchCommand(error.command_name, possibilities=_HOME, ctx=ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ZooError as error:
            raise click.ClickException(str(error)) from error
        except ValueError as error:
            if is_for_users(error):
                raise click.ClickException(str(error)) from error
            raise


@click.group(cls=Commands, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="latentact-zoo")
def main() -> None:
    """Publish, find and pull LatentAct models by name: latentact-<data>-<setting>@<version or alias>."""
