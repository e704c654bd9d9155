"""Find the mistakes in a cluster's files before they cost something.

    python -m cluster.check cluster/aws.yaml                       # what to change, and the most it costs an hour
    python -m cluster.check --strict --max-usd-per-hour 20 cluster/aws.yaml
    python -m cluster.check .                                      # what a job would upload of this folder
    python -m cluster.check --json cluster/*.yaml cluster/Dockerfile cluster/slurm.sh

Knows files for `ray up` (AWS, Google Cloud, own machines, others as far as they are alike), KubeRay, Slurm, Docker and Compose, by
their content. Exit code 1 where there are errors, with --strict also where there are warnings.
"""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import yaml
from rich.console import Console
from rich.markup import escape

from cluster import (
    check_compose,
    check_dockerfile,
    check_kuberay,
    check_launcher,
    check_slurm,
    check_upload,
    linters,
)
from cluster.check_finding import Finding, Sheet, as_far_as_readable, unfilled
from cluster.check_secrets import secrets_in

# Beside the files that are checked, and named by `cluster/*.yaml` too.
_OWN_TABLES = ("prices.yaml", "kuberay_schema.yaml")

console = Console(highlight=False, soft_wrap=True)


@dataclass(kw_only=True)
class Report:
    """What was found in one file: its kind, what else there is to say about it, errors and warnings."""

    file: str
    kind: str
    notes: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def errors(self) -> list[Finding]:
        return [found for found in self.findings if found.level == "error"]


def check(path: Path, *, max_usd_per_hour: float | None = None) -> Report:
    """Check a file or a working folder."""
    sheet = Sheet(str(path))
    if path.is_dir():
        listing, findings = check_upload.findings(path, sheet)
        return Report(file=sheet.name, kind="working folder", notes=[listing], findings=findings)
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        problem = sheet.error("file", f"cannot be read: {error}", "the name of a file of text")
        return Report(file=sheet.name, kind="unknown", findings=[problem])
    report = _by_content(path, text, sheet, max_usd_per_hour)
    report.findings += [*secrets_in(text, sheet), *unfilled(text, sheet)]
    return report


def _by_content(path: Path, text: str, sheet: Sheet, max_usd_per_hour: float | None) -> Report:
    if path.name.startswith("Dockerfile"):
        report = Report(file=sheet.name, kind="Dockerfile", notes=_absent("hadolint"))
        report.findings += check_dockerfile.findings(path, text, sheet)
        return report
    if "#SBATCH" in text:
        report = Report(file=sheet.name, kind="Slurm script", notes=_absent("shellcheck"))
        report.findings += check_slurm.findings(path, text, sheet)
        return report
    report = Report(file=sheet.name, kind="unknown")
    if path.name in _OWN_TABLES:
        report.kind = "table of this checker"
        return report
    try:
        documents: list[Any] = [document for document in yaml.safe_load_all(text) if document is not None]
    except yaml.YAMLError as error:
        report.findings.append(sheet.error("file", f"not YAML: {error}", "mend the line that is named"))
        return report
    first = documents[0] if documents and all(isinstance(document, dict) for document in documents) else {}
    if "apiVersion" in first:
        report.kind = "KubeRay"
        report.notes += _absent("kubernetes-validate")
        report.findings += as_far_as_readable(check_kuberay.findings(documents, sheet), sheet)
    elif "services" in first:
        report.kind = "Compose"
        report.notes += _absent("compose-spec")
        report.findings += as_far_as_readable(check_compose.findings(first, sheet), sheet)
    elif "cluster_name" in first or "provider" in first:
        report.kind = "ray up"
        report.findings += as_far_as_readable(check_launcher.findings(first, sheet), sheet)
        price, findings = check_launcher.price_findings(first, sheet, max_usd_per_hour=max_usd_per_hour)
        report.notes += [price] if price else []
        report.findings += findings
    else:
        remedy = "a file for ray up, KubeRay, Slurm, Docker or Compose, or a folder"
        report.findings.append(sheet.error("file", "of no kind that is known here", remedy))
    return report


def _absent(linter: str) -> list[str]:
    return [f"{linter} is not installed: own checks only"] if linters.missing(linter) else []


def print_report(report: Report) -> None:
    console.print(f"[bold]{escape(report.file)}[/] ({report.kind})")
    for note in report.notes:
        console.print(escape(note) if "\n" in note else f"  {escape(note)}")
    for level, colour in (("error", "red"), ("warning", "yellow")):
        for found in report.findings:
            if found.level == level:
                console.print(f"  [{colour}]{level}[/] {escape(found.field)}: {escape(found.problem)}")
                console.print(f"      -> {escape(found.remedy)}")
    if not report.findings:
        console.print("  nothing to change")


@click.command(help=__doc__)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--max-usd-per-hour", type=float, help="An error where a fleet can cost more.")
@click.option("--strict", is_flag=True, help="Warnings, unfilled places among them, count as errors.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def main(files: tuple[Path, ...], max_usd_per_hour: float | None, strict: bool, as_json: bool) -> None:
    reports = [check(path, max_usd_per_hour=max_usd_per_hour) for path in files]
    if as_json:
        click.echo(json.dumps([asdict(report) for report in reports], indent=1))
    else:
        for report in reports:
            print_report(report)
    sys.exit(1 if any(report.findings if strict else report.errors() for report in reports) else 0)


if __name__ == "__main__":
    main()
