"""`python -m cluster.check` on files for KubeRay, Slurm, Docker and Compose, and on a job's working folder."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

from cluster_files import DIGEST, ROOT, assert_found, each_mistake, filled_in, told

from cluster import job_package, linters
from cluster.check import check
from cluster.job_package import MAX_UPLOAD_BYTES, pack

PYTHON_IMAGE = "python:3.11.14-slim-bookworm"

MISTAKES = [
    ("a misspelled field", "kuberay.yaml", "idleTimeoutSeconds", "idleTimeoutSecond", "idleTimeoutSecond"),
    ("no name", "kuberay.yaml", "  name: latentact-zoo\n  labels:", "  labels:", "'name' is a required property"),
    ("a field of pods misspelled", "kuberay.yaml", "tolerations: *tolerations", "toleration: *tolerations", "toleration"),
    ("a field of containers misspelled", "kuberay.yaml", "env: *environment", "enw: *environment",
     "workerGroupSpecs.0.template.spec.containers.0: Additional properties are not allowed ('enw' was unexpected) -> see Kubernetes'"),
    ("a field of the store misspelled", "kuberay.yaml", "secretName: latentact-store", "secretNam: latentact-store", "secretNam"),
    ("a policy's field misspelled", "kuberay.yaml", "podSelector:\n    matchLabels: {app: latentact-zoo}\n  policy",
     "podSelektor:\n    matchLabels: {app: latentact-zoo}\n  policy", "podSele"),
    ("a number where words are wanted", "kuberay.yaml", 'num-cpus: "0"', "num-cpus: 0", "is not of type 'string'"),
    ("no token", "kuberay.yaml", "mode: token", "mode: disabled", "asks for no token"),
    ("another Ray", "kuberay.yaml", "rayVersion: 2.60.0", "rayVersion: 2.50.0", "this project's Ray is"),
    ("no autoscaler", "kuberay.yaml", "enableInTreeAutoscaling: true", "enableInTreeAutoscaling: false", "neither come nor go"),
    ("idle before it has started", "kuberay.yaml", "idleTimeoutSeconds: 900", "idleTimeoutSeconds: 60", "before it works"),
    ("an open dashboard", "kuberay.yaml", "serviceType: ClusterIP", "serviceType: LoadBalancer", "open to the outside"),
    ("an ingress", "kuberay.yaml", "serviceType: ClusterIP", "enableIngress: true", "open to the outside"),
    ("training on the head", "kuberay.yaml", 'num-cpus: "0"', 'num-cpus: "4"', "trials would run on the head"),
    ("no limit of workers", "kuberay.yaml", "maxReplicas: 8", "maxReplicas: 2147483647", "is no limit"),
    ("pods that always run", "kuberay.yaml", "minReplicas: 0", "minReplicas: 2", "when nothing is to be done"),
    ("root", "kuberay.yaml", "runAsNonRoot: true", "runAsNonRoot: false", "it may run as root"),
    ("privileged", "kuberay.yaml", "allowPrivilegeEscalation: false", "privileged: true", "it is privileged"),
    ("no toleration", "kuberay.yaml", "tolerations: *tolerations", "hostNetwork: false", "refuse pods"),
    ("no GPU named", "kuberay.yaml", "nodeSelector:\n            cloud.google.com/gke-accelerator: nvidia-l4\n",
     "nodeSelector:\n", "any GPU may be given"),
    ("no size", "kuberay.yaml", 'limits: {cpu: "2", memory: 8Gi}', "limits: {}", "the node's whole size"),
    ("an unpinned image", "kuberay.yaml", DIGEST, "registry.example.org/zoo:latest", "another image tomorrow"),
    ("a key in the environment", "kuberay.yaml", '{name: RAY_USAGE_STATS_ENABLED, value: "0"}',
     "{name: AWS_SECRET_ACCESS_KEY, value: abc}", "a secret stands in the file"),
    ("a secret in the file", "kuberay.yaml", "kind: ServiceAccount", "kind: Secret", "a secret stands in the file"),
    ("the whole cluster reaches Ray", "kuberay.yaml", "kind: NetworkPolicy", "kind: Nothing", "every pod of the Kubernetes"),
    ("a job of no command", "kuberay.yaml", "entrypoint: python -m", "metadata: {a: python}\n  # -m", "entrypoint"),
    ("no time limit", "slurm.sh", "#SBATCH --time=12:00:00\n", "", "#SBATCH --time"),
    ("not put back", "slurm.sh", "#SBATCH --requeue\n", "", "not put back into the queue"),
    ("not told", "slurm.sh", "#SBATCH --signal=B:USR1@120\n", "", "not told before it is ended"),
    ("no token", "slurm.sh", "RAY_AUTH_MODE=token", "RAY_LOG=1", "asks for no token"),
    ("a token in the environment", "slurm.sh", 'RAY_AUTH_TOKEN_PATH="$secrets', 'RAY_AUTH_TOKEN="$(cat $secrets',
     "the token stands in the environment"),
    ("an open dashboard", "slurm.sh", "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "listens on 0.0.0.0"),
    ("every Ray is ended", "slurm.sh", "requeue=no\n", "requeue=no\nray stop\n", "every Ray of yours"),
    ("an unpinned base", "Dockerfile", PYTHON_IMAGE, "python:latest", "another image tomorrow"),
    ("another Python", "Dockerfile", PYTHON_IMAGE, "python:3.12.1-slim", "Python 3.12, this project runs on 3.11"),
    ("root", "Dockerfile", "USER 1000:1000", "USER root", "it runs as root"),
    ("no user", "Dockerfile", "USER 1000:1000\n", "", "it runs as root"),
    ("everything copied", "Dockerfile", "COPY zoo zoo", "COPY . .", "the whole checkout"),
    ("run unseen", "Dockerfile", "RUN python -m venv /opt/latentact", "RUN curl https://x.org/i.sh | sh", "run unseen"),
    ("packages of no version", "Dockerfile", "RUN python -m venv /opt/latentact", "RUN pip install ray", "no version"),
    ("a shell without pipefail", "Dockerfile", 'SHELL ["/bin/bash", "-o", "pipefail", "-c"]\n', "RUN ls | wc\n", "DL4006"),
    ("a wheel of another Python", "Dockerfile", "RUN python -m venv /opt/latentact",
     "RUN pip install ray-2.60.0-cp310-cp310-manylinux2014_x86_64.whl", "is for Python 3.10"),
    ("a misspelled field", "compose.yaml", "healthcheck:", "healthchek:", "healthchek"),
    ("an unknown word", "compose.yaml", "restart: unless-stopped", "restart: perhaps", "unknown variant `perhaps`"),
    ("an undeclared secret", "compose.yaml", "secrets: [postgres_password]", "secrets: [nothing]", "is not defined"),
    ("a service that is not there", "compose.yaml", "database: {condition", "databse: {condition", "databse"),
    ("an open port", "compose.yaml", '"127.0.0.1:5000:5000"', '"5000:5000"', "open on every address"),
    ("an open port, said aloud", "compose.yaml", '"127.0.0.1:8333:8333"', '"0.0.0.0:8333:8333"', "open on every address"),
    ("an unpinned image", "compose.yaml", "postgres:15.14-bookworm", "postgres", "another image tomorrow"),
    ("a password in the environment", "compose.yaml", "POSTGRES_PASSWORD_FILE: /run/secrets/postgres_password",
     "POSTGRES_PASSWORD: hunter2", "a secret in the environment"),
    ("root", "compose.yaml", 'user: "1000:1000"', 'user: "0:0"', "it runs as root"),
    ("privileged", "compose.yaml", "init: true", "privileged: true", "it may do everything"),
    ("the machine's own network", "compose.yaml", "init: true", "network_mode: host", "the machine's addresses"),
    ("nobody looks", "compose.yaml", "  healthcheck:", "  x-healthcheck:", "nobody notices that it hangs"),
]  # fmt: skip


@each_mistake(MISTAKES)
def test_a_planted_mistake_is_found(tmp_path: Path, name: str, old: str, new: str, found: str) -> None:
    assert_found(tmp_path, name, old, new, found)


def test_the_linters_are_installed_and_kuberay_has_nothing_to_change(tmp_path: Path) -> None:
    for linter in ("hadolint", "compose-spec", "kubernetes-validate"):
        assert not linters.missing(linter), f"{linter} is missing: make install"
    (tmp_path / "kuberay.yaml").write_text(filled_in("kuberay.yaml"))
    report = check(tmp_path / "kuberay.yaml")
    assert report.kind == "KubeRay" and report.findings == [], told(report)


def test_a_secret_is_found_and_not_repeated(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(
        "services: {}\nx-key: |\n  -----BEGIN RSA PRIVATE KEY-----\n  aws_secret_access_key = hunter22\n"
    )
    report = told(check(file))
    assert "a private key stands in the file" in report and "a secret stands" in report
    assert "hunter22" not in report


def checkout(folder: Path) -> Path:
    """A small working folder with what must stay at home."""
    for name, content in {
        "sweeps/a.py": "print(1)\n",
        "sweeps/b.sh": "#!/bin/sh\n",
        "tests/test_a.py": "x\n",
        "figure.png": "x",
        ".venv/lib/x.py": "x",
        ".git/HEAD": "x",
        "data/clips.parquet": "x",
        ".gitignore": "/data/\n",
        ".rayignore": "/tests/\n*.png\n",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    (folder / "sweeps/b.sh").chmod(0o755)
    return folder


def test_a_job_package_holds_what_ray_would_upload_and_is_the_same_each_time(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "checkout")
    package = pack(folder, tmp_path / "job.tar.xz")
    names = [name for name, _ in package.files]
    assert "sweeps/a.py" in names and "sweeps/b.sh" in names
    assert not [
        name for name in names if name.startswith(("tests/", ".venv", ".git/", "data/")) or ".png" in name
    ]
    first = package.path.read_bytes()
    inside = pack(folder, folder / "job.tar.xz")  # where no .gitignore names it
    assert pack(folder, folder / "job.tar.xz").files == inside.files == package.files
    (folder / "job.tar.xz").unlink()
    os.utime(folder / "sweeps/a.py", (1, 1))
    assert pack(folder, tmp_path / "job.tar.xz").path.read_bytes() == first
    with tarfile.open(package.path) as archive:
        assert archive.getmember("sweeps/b.sh").mode & 0o111
        assert sorted(archive.getnames()) == sorted(names)


def test_a_large_or_secret_upload_is_found(tmp_path: Path) -> None:
    folder = checkout(tmp_path / "checkout")
    (folder / "noise.bin").write_bytes(os.urandom(1_200_000))
    (folder / "stack.env").write_text("A=b\n")
    (folder / "settings.yaml").write_text("aws_secret_access_key: wJalrXUtnFEMI\n")
    report = check(folder)
    assert report.kind == "working folder" and "uploaded" in report.notes[0]
    found = told(report)
    assert "1.2 MB would be uploaded with every job, 1 MB is the limit" in found
    assert "the largest are noise.bin" in found and "stack.env looks like a secret" in found
    assert "a secret stands in the file" in found


def test_what_a_job_of_this_checkout_uploads_is_under_a_megabyte_and_complete() -> None:
    """Listed on the error stream, named on the output: `--working-dir "$(python -m cluster.job_package)"`."""
    result = subprocess.run(
        [sys.executable, "-m", "cluster.job_package"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    package = ROOT / result.stdout.strip()
    assert package.stat().st_size < MAX_UPLOAD_BYTES
    assert "trainables/" in result.stderr and "uploaded" in result.stderr
    with tarfile.open(package) as archive:
        packed = set(archive.getnames())
    rooms = {
        path.relative_to(ROOT).as_posix()
        for room in ("zoo", "sweeps", "trainables")
        for path in (ROOT / room).rglob("*.py")
    }
    assert rooms <= packed and "pyproject.toml" in packed
    assert not {name.split("/")[0] for name in packed} & {
        "tests",
        "docs",
        "requirements.lock",
        ".git",
        ".venv",
    }


def test_job_package_has_its_command_in_its_help() -> None:
    assert "ray job submit --working-dir" in (job_package.__doc__ or "")
