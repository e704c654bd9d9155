"""What a shell needs to complete the zoo's commands: `zoo completion`."""

from __future__ import annotations

import click

from zoo.cli_output import as_json, print_json

SHELLS = ("bash", "zsh", "fish")


@click.command(short_help="Let a shell complete commands and model names.")
@click.argument("shell", type=click.Choice(SHELLS))
@as_json
def completion(shell: str, as_json: bool) -> None:
    """Print what SHELL must read to complete commands, options, model names, versions and aliases.

    \b
    eval "$(zoo completion bash)"                   in ~/.bashrc
    eval "$(zoo completion zsh)"                    in ~/.zshrc, after compinit
    zoo completion fish > ~/.config/fish/completions/zoo.fish
    """
    from zoo.completion import script

    text = script(shell)
    if as_json:
        print_json({"shell": shell, "script": text})
    else:
        click.echo(text)
