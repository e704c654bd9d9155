"""A Dockerfile: hadolint where it is installed, and what an image of this project must be in any case."""

import re
from collections.abc import Iterator
from pathlib import Path

from cluster.check_finding import PYTHON, Finding, Sheet, image_pin, python_match
from cluster.linters import hadolint


def findings(path: Path, text: str, sheet: Sheet) -> Iterator[Finding]:
    steps = list(_steps(text))
    arguments = {
        found[1]: found[2]
        for _, instruction, rest in steps
        if instruction == "ARG" and (found := re.match(r"(\w+)=(\S+)", rest))
    }
    stages: dict[str, str | None] = {}  # the user of each stage, None where it was not set
    current = ""
    for line, instruction, rest in steps:
        field = f"line {line}"
        if instruction == "FROM":
            source = re.sub(
                r"\$\{?(\w+)\}?", lambda found: arguments.get(found[1], found[0]), rest.split()[0]
            )
            named = re.search(r"\bAS\s+(\S+)", rest, re.IGNORECASE)
            current = named[1] if named else f"stage {len(stages)}"
            stages[current] = stages.get(source)
            if source not in stages:
                yield from image_pin(source, field, sheet)
                yield from python_match(source, field, sheet)
                other = re.match(r"(?:.*/)?python:(\d+\.\d+)", source)
                if other and other[1] != PYTHON:
                    problem = f"Python {other[1]}, this project runs on {PYTHON}"
                    yield sheet.error(field, problem, f"python:{PYTHON}.*")
        if instruction == "USER":
            stages[current] = rest.split(":")[0]
        if instruction == "RUN":
            yield from python_match(rest, field, sheet)
            if re.search(r"\b(?:curl|wget)\b[^|&;]*\|\s*(?:sudo\s+)?(?:ba|z)?sh\b", rest):
                yield sheet.error(field, "what a server sends is run unseen", "a pinned package")
            if re.search(r"\bpip install\b(?!.*(?:==|-r |--requirement|-c |--constraint|\.whl))", rest):
                yield sheet.error(field, "packages of no version", "-c constraints.txt, or NAME==VERSION")
        if instruction in ("COPY", "ADD") and re.search(r"(?:^|\s)\./?\s", rest) and "--from" not in rest:
            problem = "the whole checkout, .git and data included, enters the image"
            yield sheet.error(field, problem, "copy the rooms by name")
        if instruction == "EXPOSE" and re.search(r"\b(?:8265|10001|6379)\b", rest):
            yield sheet.warning(
                field, "Ray's ports are announced to the outside", "leave it out: nodes use --net=host"
            )
    for name, user in stages.items():
        if user in (None, "root", "0") and not _is_base(name, steps):
            yield sheet.error(f"target {name}", "it runs as root", "USER 1000:1000")
    yield from hadolint(path, sheet)


def _steps(text: str) -> Iterator[tuple[int, str, str]]:
    """(line, instruction, the rest) of every instruction, continued lines joined."""
    start = 0
    parts: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (not line.strip() and not parts):
            continue
        start = start or number
        parts.append(line.rstrip().removesuffix("\\"))
        if not line.rstrip().endswith("\\"):
            instruction, _, rest = " ".join(parts).strip().partition(" ")
            yield start, instruction.upper(), rest.strip()
            start, parts = 0, []


def _is_base(name: str, steps: list[tuple[int, str, str]]) -> bool:
    """Whether other stages are built from it or copy from it: then it is no target of its own."""
    for _, instruction, rest in steps:
        if instruction == "FROM" and rest.split()[0] == name:
            return True
        if instruction == "COPY" and f"--from={name}" in rest.split():
            return True
    return False
