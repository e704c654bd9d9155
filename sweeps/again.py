"""The command that a sweep was planned with, so that it can be resumed, or its failed trials tried again."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from sweeps.errors import SweepError
from sweeps.status import SweepState
from zoo import settings

ROOT = Path(__file__).resolve().parent.parent
_OPTIONS = {
    "split": "--split", "epochs": "--epochs", "seeds": "--seeds", "workers": "--workers", "protocol": "--protocol"
}  # fmt: skip
_OF_SEARCHES = {
    "seed": "--seed", "trials": "--trials", "search": "--search", "stopping": "--stop-by", "finalists": "--finalists"
}  # fmt: skip
_OF_COMPARISONS = {"folds": "--folds", "mode": "--mode"}
_AXES = {"codes": "--codes", "decoder_depth": "--depth"}
# Of a plan's record, and no options of a script.
_FACTS = {
    "kind", "data", "data_digest", "code", "torch", "contenders", "untrained", "space", "objectives", "seed"
}  # fmt: skip


def planned_with(state: SweepState, *, retry_failed: bool) -> list[str]:
    """`python sweeps/<script>.py ...` that goes on with a sweep.

    It is what the last driver noted as its own, else made from the plan; there the address of the data, which no plan
    keeps, is left to $LATENTACT_DATA. Raises SweepError where a plan does not tell.
    """
    noted = state.session().get("command")
    script, *options = _without_retry(shlex.split(noted)) if noted else _from_plan(state)
    command = ["python", f"sweeps/{Path(script).name}", *options]
    if not any(word == "--name" or word.startswith("--name=") for word in options):
        command += ["--name", state.name]
    return command + (["--retry", "failed"] if retry_failed else [])


def submit(command: Sequence[str], address: str) -> int:
    """Run it as a job on the Ray cluster whose dashboard is at `address`, and follow its log; the exit status.

    Raises SweepError where no cluster answers, or there is no checkout to send to it.
    """
    if not (ROOT / "pyproject.toml").is_file():
        raise SweepError(f"{ROOT} is no checkout that a job could run in: submit the command from one.")
    os.environ.update(settings.environment())  # whether Ray wants a token, for one
    import ray
    from ray.job_submission import JobStatus, JobSubmissionClient

    try:
        package = _package()
        client = JobSubmissionClient(address)
        # Its command line puts an entrypoint together as Windows would; the shell there would read it otherwise.
        job = client.submit_job(entrypoint=shlex.join(command), runtime_env={"working_dir": package})
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        raise SweepError(f"The Ray cluster at {address} did not take the job: {error}") from None
    click.echo(f"Submitted as {job}; it goes on without this terminal.", err=True)

    async def follow() -> None:
        async for lines in client.tail_job_logs(job):
            click.echo(lines, nl=False)

    asyncio.run(follow())
    return 0 if client.get_job_status(job) == JobStatus.SUCCEEDED else 1


def _package() -> str:
    """The checkout as the small archive that jobs bring along; what is in it is listed on the error stream."""
    packing = [sys.executable, "-m", "cluster.job_package"]
    packed = subprocess.run(packing, cwd=ROOT, check=False, stdout=subprocess.PIPE, text=True)
    if packed.returncode != 0:
        raise SweepError(f"{ROOT} could not be packed for the job; what went wrong is said above.")
    return packed.stdout.strip()


def _without_retry(words: Sequence[str]) -> list[str]:
    kept = [word for word in words if word not in ("--retry=failed", "--dry-run")]
    return [
        word
        for place, word in enumerate(kept)
        if word != "--retry" and (place == 0 or kept[place - 1] != "--retry")
    ]


def _from_plan(state: SweepState) -> list[str]:
    record = state.record
    script = f"{state.kind.replace('-', '_')}.py"
    searched = record.get("space", {})
    if (
        not state.kind
        or not (ROOT / "sweeps" / script).is_file()
        or "start_from" in record
        or searched.keys() - _AXES
    ):
        raise SweepError(
            f"The plan of {state.name} does not tell the command it came from: repeat that one, with --name "
            f"{state.name}. Its plan: {_spelled(record)}."
        )
    options = _OPTIONS | (_OF_COMPARISONS if "contenders" in record else _OF_SEARCHES)
    words = [script]
    for name, option in options.items():
        if name in record:
            words += [option, str(record[name])]
    for name, values in searched.items():
        words += [_AXES[name], values.removesuffix(" log")]
    if "objectives" in record:
        words += ["--objectives", ",".join(record["objectives"])]
    for name, value in record.items():
        if name not in _FACTS | options.keys():
            words += ["--set", f"{name}={str(value).lower() if isinstance(value, bool) else value}"]
    return words


def _spelled(record: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in record.items())
