"""The shipped cluster files as a user fills them in, and copies of them with a mistake planted."""

from pathlib import Path

import pytest

from cluster.check import Report, check

ROOT = Path(__file__).resolve().parents[1]
CLUSTER = ROOT / "cluster"
DIGEST = f"registry.example.org/latentact-zoo@sha256:{'0' * 64}"
ANSWERS = {
    "<REGION>": "us-west-2",
    "<ZONE>": "us-west-2-a",
    "<PROJECT>": "my-project",
    "<BUCKET>": "my-zoo",
    "<STORE>": "https://s3.example.org",
    "<AMI>": "ami-0123456789abcdef0",
    "<VM_IMAGE>": "common-cu128-v20261101",
    "<IMAGE>": DIGEST,
    "<HEAD>": "10.0.0.10",
    "<WORKERS>": "10.0.0.11, 10.0.0.12",
    "<USER>": "me",
    "<KEY>": "~/.ssh/latentact-fleet",
    "<MLFLOW>": "https://mlflow.example.org",
}


def filled_in(name: str, **answers: str) -> str:
    """A shipped file as a user fills it in; other answers than ANSWERS by name, AMI="ami-..."."""
    text = (CLUSTER / name).read_text()
    for place, answer in {**ANSWERS, **{f"<{key}>": answer for key, answer in answers.items()}}.items():
        text = text.replace(place, answer)
    return text


def planted(folder: Path, name: str, old: str, new: str) -> Path:
    """A copy of a shipped file, filled in, in which `old` is replaced by `new` wherever it stands."""
    text = filled_in(name)
    assert old in text, f"{name} has no {old!r} to replace"
    file = folder / name
    file.write_text(text.replace(old, new))
    return file


def told(report: Report) -> str:
    return "\n".join(
        f"{found.level} {found.field}: {found.problem} -> {found.remedy}" for found in report.findings
    )


def each_mistake(rows: list[tuple[str, str, str, str, str]]) -> pytest.MarkDecorator:
    """A test for each (what is wrong, file, what stands there, what is planted, where and what is found)."""
    names = [f"{file}: {wrong}" for wrong, file, *_ in rows]
    return pytest.mark.parametrize(("name", "old", "new", "found"), [row[1:] for row in rows], ids=names)


def assert_found(folder: Path, name: str, old: str, new: str, found: str) -> None:
    """The planted mistake is among what is told, and everything told names the file and a remedy."""
    report = check(planted(folder, name, old, new))
    assert found in told(report), told(report)
    assert all(finding.file.endswith(name) and finding.remedy for finding in report.findings)
