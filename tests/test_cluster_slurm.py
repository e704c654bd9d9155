"""cluster/slurm.sh: its own steps with recorded programs, and a whole job with the real Ray and an srun that runs here."""

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
from cluster_files import CLUSTER, ROOT

# `srun` without Slurm: the options are its own, what follows them runs on this machine.
SRUN = """#!/usr/bin/env bash
echo "srun $*" >> "$RECORD"
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/usr/bin/env bash
echo "scontrol $*" >> "$RECORD"
if [[ $1 == show ]]; then tr ',' '\\n' <<< "$3"; fi
"""
# A Ray that starts, takes a job, runs it until FINISH exists, and says of it what STATUS says.
RAY = """#!/usr/bin/env bash
echo "ray $*" >> "$RECORD"
case "$1 $2" in
    "start --head") stat -c 'token %a' "$RAY_AUTH_TOKEN_PATH" >> "$RECORD"; exec sleep 60 ;;
    "start --block") exec sleep 60 ;;
    "job stop") touch "$FINISH" ;;
    "job logs") until [[ -e $FINISH ]]; do sleep 0.1; done ;;
    "job status") echo "Job $STATUS" ;;
esac
"""
PYTHON = """#!/usr/bin/env bash
echo "python $*" >> "$RECORD"
echo /packed/job.tar.xz
"""


HOSTNAME = "#!/bin/sh\necho {address}\n"


class Job:
    """One run of the script with recorded programs."""

    def __init__(self, folder: Path, *, nodes: str, status: str) -> None:
        programs = folder / "bin"
        programs.mkdir(parents=True)
        texts = {"srun": SRUN, "scontrol": SCONTROL, "ray": RAY, "python": PYTHON}
        for name, text in {**texts, "hostname": HOSTNAME.format(address="10.0.0.7")}.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        self.folder, self.record, self.finish = folder, folder / "record", folder / "finish"
        self.environment = {
            "PATH": f"{programs}:/usr/bin:/bin",
            "HOME": str(folder),
            "RECORD": str(self.record),
            "FINISH": str(self.finish),
            "STATUS": status,
            "SLURM_SUBMIT_DIR": str(folder),
            "SLURM_JOB_ID": "1234",
            "SLURM_JOB_NODELIST": nodes,
            "SLURM_CPUS_PER_TASK": "16",
            "SLURM_GPUS_ON_NODE": "4",
            "SLURM_JOB_PARTITION": "gpu+a+b",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["bash", str(CLUSTER / "slurm.sh"), *arguments],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + 60
        while not self.record.exists() or words not in self.record.read_text():
            assert time.monotonic() < deadline, self.record.read_text() if self.record.exists() else "nothing"
            time.sleep(0.05)

    def lines(self, words: str) -> list[str]:
        return [line for line in self.record.read_text().splitlines() if line.startswith(words)]


def test_steps_of_a_job(tmp_path: Path) -> None:
    job = Job(tmp_path, nodes="n1,n2,n3", status="'slurm-1234-0' succeeded")
    process = job.start("sweeps/codebook_size.py", "--trials", "4")
    job.wait_for("ray job logs")
    job.wait_for("srun --overlap --nodes=2")
    job.finish.touch()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output

    head, workers = job.lines("ray start --head")[0], job.lines("ray start --block")[0]
    assert "--node-ip-address=10.0.0.7 --port=22340" in head and "--dashboard-host=127.0.0.1" in head
    node = "--num-cpus=16 --num-gpus=4 --labels=latentact/node-type=gpu-a-b"
    assert head.endswith(node) and workers.endswith(node)
    assert "--address=10.0.0.7:22340" in workers
    assert any("--nodelist=n1 ray start --head" in line for line in job.lines("srun"))
    assert any(
        "--nodes=2 --ntasks=2 --ntasks-per-node=1 --nodelist=n2,n3 ray start" in line
        for line in job.lines("srun")
    )
    (submit,) = job.lines("ray job submit")
    assert "--submission-id slurm-1234-0 --working-dir /packed/job.tar.xz" in submit
    assert submit.endswith(" -- python sweeps/codebook_size.py --trials 4")
    assert job.lines("token") == ["token 600"]
    assert not list(tmp_path.glob(".latentact-slurm-*")), "the token is gone with the job"
    assert not job.lines("scontrol requeue")


def test_a_failed_sweep_fails_the_job(tmp_path: Path) -> None:
    job = Job(tmp_path, nodes="n1", status="'slurm-1234-0' failed")
    job.finish.touch()
    process = job.start("sweeps/x.py")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "failed" in output
    assert not job.lines("ray start --block"), "one node is a head and no workers"


@pytest.mark.parametrize(("signal_number", "put_back"), [(signal.SIGUSR1, True), (signal.SIGTERM, False)])
def test_a_sweep_is_parked_before_the_time_is_up(tmp_path: Path, signal_number: int, put_back: bool) -> None:
    """USR1 comes two minutes before the limit; after a preemption's TERM Slurm puts the job back itself."""
    job = Job(tmp_path, nodes="n1", status="'slurm-1234-0' was stopped")
    process = job.start("sweeps/x.py")
    job.wait_for("ray job logs")
    process.send_signal(signal_number)
    output, _ = process.communicate(timeout=60)
    assert job.lines("ray job stop") == ["ray job stop slurm-1234-0"], output
    assert job.lines("scontrol requeue") == (["scontrol requeue 1234"] if put_back else [])
    assert process.returncode == (0 if put_back else 1), output


def test_no_script_is_a_usage_error(tmp_path: Path) -> None:
    process = Job(tmp_path, nodes="n1", status="").start()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2 and "usage: sbatch cluster/slurm.sh" in output


def free_job_id() -> int:
    """A job whose ports are free on this machine: the script counts from 20000, ten a job."""
    for job in range(1, 1000):
        try:
            for port in range(20000 + job * 10, 20004 + job * 10):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
            return job
        except OSError:
            continue
    pytest.fail("no four free ports")


@pytest.mark.slow
def test_a_whole_job_with_the_real_ray(tmp_path: Path) -> None:
    """One node: the head starts with its token, the packed checkout arrives, the job runs, everything ends."""
    job = Job(tmp_path, nodes="localhost", status="")
    for name in ("ray", "python"):
        (tmp_path / "bin" / name).unlink()
    (tmp_path / "bin" / "hostname").write_text(HOSTNAME.format(address="127.0.0.1"))
    job.environment |= {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "SLURM_JOB_ID": str(free_job_id()),
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_GPUS_ON_NODE": "0",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "OMP_NUM_THREADS": "1",
    }
    code = "import os, pathlib, zoo; print('runs in', pathlib.Path(zoo.__file__).parts[-3], os.environ['RAY_AUTH_MODE'])"
    process = job.start("-c", code)
    output, _ = process.communicate(timeout=280)
    assert process.returncode == 0, output
    assert "runs in _ray_pkg_" in output and " token" in output
    assert not list(tmp_path.glob(".latentact-slurm-*"))
