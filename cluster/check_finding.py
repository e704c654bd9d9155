"""What a check finds: where, what is wrong, and what to write instead."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

PYTHON = "3.11"
# What a user fills in before a launch: <REGION>, <BUCKET>, ...
_PLACEHOLDER = re.compile(r"<[A-Z][A-Z_]*>")
_RAY_IMAGE = re.compile(r"rayproject/ray(?:-ml|-llm)?:(?P<version>[0-9][0-9.]*)?[^ ]*?-?py(?P<python>3\d+)")
_WHEEL = re.compile(r"[A-Za-z0-9_.]+-(?P<version>[0-9][^-\s]*)-cp(?P<python>3\d+)-\S*\.whl")


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A mistake in a file. `field` is its path (`docker.image`), or a line (`line 12`)."""

    level: Literal["error", "warning"]
    file: str
    field: str
    problem: str
    remedy: str


@dataclass(frozen=True)
class Sheet:
    """A file under check: its name, and how its findings are made."""

    name: str

    def error(self, field: str, problem: str, remedy: str) -> Finding:
        return Finding(level="error", file=self.name, field=field, problem=problem, remedy=remedy)

    def warning(self, field: str, problem: str, remedy: str) -> Finding:
        return Finding(level="warning", file=self.name, field=field, problem=problem, remedy=remedy)


def unfilled(text: str, sheet: Sheet) -> Iterator[Finding]:
    """A warning for each <PLACEHOLDER> that stands outside comments."""
    first: dict[str, int] = {}
    for number, line in enumerate(text.splitlines(), 1):
        for name in _PLACEHOLDER.findall(re.sub(r"(^|\s)#.*", "", line)):
            first.setdefault(name, number)
    for name, number in first.items():
        yield sheet.warning(
            f"line {number}", f"{name} is not filled in", "the comment at the top says with what"
        )


def image_pin(image: str, field: str, sheet: Sheet) -> Iterator[Finding]:
    """An image must name one build: a digest, or at least a tag that is a version."""
    if _PLACEHOLDER.search(image) or "@sha256:" in image:
        return
    tag = image.rpartition("/")[2].partition(":")[2]
    if not re.search(r"\d", tag) or re.search(r"latest|nightly|master", tag):
        remedy = "name a version, better its digest: IMAGE@sha256:..."
        yield sheet.error(field, f"{image} is another image tomorrow: nodes would differ", remedy)
    else:
        yield sheet.warning(field, f"the tag of {image} can be moved", "name its digest: IMAGE@sha256:...")


def python_match(text: str, field: str, sheet: Sheet) -> Iterator[Finding]:
    """Wheels (cp310) and Ray's images (-py310) that are for another Python, or of another Ray than this one."""
    import ray

    wanted = PYTHON.replace(".", "")
    for found in [*_WHEEL.finditer(text), *_RAY_IMAGE.finditer(text)]:
        if found["python"] != wanted:
            name = f"{found['python'][0]}.{found['python'][1:]}"
            yield sheet.error(
                field,
                f"{found[0]} is for Python {name}, this project runs on {PYTHON}",
                f"take the one for {PYTHON}",
            )
        of_ray = found[0].startswith(("ray-", "rayproject/"))
        if of_ray and found["version"] and found["version"] != ray.__version__:
            remedy = f"client and cluster need the same Ray: take {ray.__version__}"
            yield sheet.error(field, f"{found[0]} has Ray {found['version']}", remedy)


def asks_for_token(text: str) -> bool:
    """Whether a start of Ray (or its environment) turns token authentication on."""
    return re.search(r"\bRAY_AUTH_MODE=[\"']?token\b", text) is not None


def public_dashboard(text: str) -> str | None:
    """The address that a `ray start` has its dashboard listen on, where that is not the loopback."""
    host = re.search(r"--dashboard-host[= ][\"']?([^\s\"'\\]+)", text)
    return host[1] if host and host[1] not in ("127.0.0.1", "localhost", "::1") else None


def as_far_as_readable(findings: Iterator[Finding], sheet: Sheet) -> Iterator[Finding]:
    """The findings; one more where a part is missing, or of another shape, so that no rule can read on."""
    try:
        yield from findings
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        problem = f"a part is missing or of another shape, the rest was not checked: {error!r}"
        yield sheet.error("file", problem, "compare with the file of its kind in cluster/")


def at(tree: Any, *path: str | int) -> Any:
    """The value at a path of keys and positions, or None where the path ends earlier."""
    for step in path:
        if isinstance(tree, dict):
            tree = tree.get(step)
        elif isinstance(tree, list) and isinstance(step, int) and step < len(tree):
            tree = tree[step]
        else:
            return None
    return tree
