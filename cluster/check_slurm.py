"""A Slurm script: what must be asked of Slurm, what must be said to Ray, and shellcheck where it is installed."""

import re
from collections.abc import Iterator
from pathlib import Path

from cluster.check_finding import Finding, Sheet, asks_for_token, public_dashboard
from cluster.linters import shellcheck

_ASKED = {
    "--time": ("the job has no time limit, and waits behind all that have one", "#SBATCH --time=12:00:00"),
    "--requeue": ("a preempted sweep is not put back into the queue", "#SBATCH --requeue"),
    "--signal": (
        "the sweep is not told before it is ended",
        "#SBATCH --signal=B:USR1@120, and a trap for USR1",
    ),
}


def findings(path: Path, text: str, sheet: Sheet) -> Iterator[Finding]:
    asked = re.findall(r"^#SBATCH\s+(--[a-z-]+)", text, re.MULTILINE)
    for option, (problem, remedy) in _ASKED.items():
        if option not in asked:
            yield sheet.error(f"#SBATCH {option}", problem, remedy)
    code = "\n".join(re.sub(r"(^|\s)#.*", "", line) for line in text.splitlines())
    if not asks_for_token(code):
        problem = "Ray asks for no token: whoever reaches the nodes runs code as you"
        yield sheet.error("RAY_AUTH_MODE", problem, "export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=...")
    host = public_dashboard(code)
    if host:
        yield sheet.error("ray start", f"the dashboard listens on {host}", "--dashboard-host=127.0.0.1")
    if re.search(r"^\s*(?:srun\b.*)?\bray stop\b", code, re.MULTILINE):
        problem = "it ends every Ray of yours on the node, other jobs' too"
        yield sheet.error("ray stop", problem, "end the step that holds it")
    if re.search(r"\bRAY_AUTH_TOKEN=", code):
        yield sheet.error(
            "RAY_AUTH_TOKEN", "the token stands in the environment", "RAY_AUTH_TOKEN_PATH, a 0600 file"
        )
    yield from shellcheck(path, sheet)
