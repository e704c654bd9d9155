"""Shell completion: of commands and options by click, of model names, versions and aliases from the store.

A shell waits for the answer at every tab. So the store is asked for at most PATIENCE_S, what it said is kept for
FRESH_S, and when it says nothing the last answer serves, however old. Nothing is ever printed but completions.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from click.shell_completion import BashComplete, CompletionItem, add_completion_class

PATIENCE_S = 2.0
FRESH_S = 10.0


class Bash(BashComplete):
    """bash cuts words at @ (it is in COMP_WORDBREAKS, for host names): `zoo pull name@ch` arrives as `name`, `@` and
    `ch`, and what is answered replaces `ch` alone.
    """

    _before = ""  # what precedes the piece that bash will replace

    def get_completion_args(self) -> tuple[list[str], str]:
        args, last = super().get_completion_args()
        pieces: list[str] = []
        for word in [*args, last]:
            if pieces and (word.startswith("@") or pieces[-1].endswith("@")):
                pieces[-1] += word
            else:
                pieces.append(word)
        whole = pieces.pop()
        if whole != last or last == "@":
            self._before = whole[: whole.rindex("@") + 1]
        return pieces, whole

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.type},{item.value.removeprefix(self._before)}"


def script(shell: str) -> str:
    """The lines that bash, zsh or fish must read to complete `zoo`."""
    from click.shell_completion import get_completion_class

    from zoo.cli import main

    complete = get_completion_class(shell)
    assert complete is not None, shell
    source = complete(main, {}, "zoo", "_ZOO_COMPLETE")
    return source.source_template % source.source_vars()


def references(incomplete: str) -> list[str]:
    """Names that begin with `incomplete`; after an @, what the name can be followed by: aliases and numbers, newest
    first. Empty where the store does not answer in time.
    """
    name, at, _ = incomplete.partition("@")
    if not at:
        return [known for known in _remembered("names", _names) if known.startswith(name)]
    found = [f"{name}@{which}" for which in _remembered(name, lambda: _which(name))]
    return [reference for reference in found if reference.startswith(incomplete)]


def _names() -> list[str]:
    from zoo import layout
    from zoo.store import open_store

    return layout.names(open_store())


def _which(name: str) -> list[str]:
    from zoo import layout
    from zoo.names import parse_name
    from zoo.store import open_store

    parse_name(name)
    store = open_store()
    numbers = [str(number) for number in reversed(layout.numbers(store, name))]
    return layout.alias_names(store, name) + numbers


def _remembered(question: str, ask: Callable[[], list[str]]) -> list[str]:
    """The answer to a question, asked again when it is older than FRESH_S."""
    path = _path(question)
    kept: list[str] = []
    with suppress(OSError, ValueError):
        kept = [str(word) for word in json.loads(path.read_text())]
        if time.time() - path.stat().st_mtime < FRESH_S:
            return kept
    answer: list[list[str]] = []

    def answering() -> None:
        with suppress(Exception):  # whatever is wrong, a tab is no place to say so
            answer.append(ask())

    # A daemon: a store that hangs must not hold up the shell.
    thread = threading.Thread(target=answering, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    if not answer:
        return kept
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
        temporary.write_text(json.dumps(answer[0]))
        os.replace(temporary, path)
    return answer[0]


def _path(question: str) -> Path:
    from zoo import settings

    place = f"{settings.s3_endpoint(settings.environment()) or ''} {settings.zoo_url()} {question}"
    return settings.home() / "completion" / f"{hashlib.sha256(place.encode()).hexdigest()[:32]}.json"


add_completion_class(Bash)
