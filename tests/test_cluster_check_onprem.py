"""`python -m cluster.check` on the file for machines of one's own: what is shipped passes, each planted mistake is found."""

from pathlib import Path

import pytest
from cluster_files import CLUSTER, assert_found, each_mistake, filled_in, told

from cluster.check import check


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home in which the fleet's secrets lie as they should."""
    secrets = tmp_path / "home" / ".latentact-zoo" / "fleet"
    secrets.mkdir(parents=True)
    for name in ("ray_token", "aws_credentials"):
        (secrets / name).touch(mode=0o600)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_filled_in_file_has_nothing_to_change(tmp_path: Path) -> None:
    (tmp_path / "onprem.yaml").write_text(filled_in("onprem.yaml"))
    report = check(tmp_path / "onprem.yaml")
    assert report.kind == "ray up" and report.findings == [] and report.notes == [], told(report)


def test_the_file_as_shipped_has_no_error_and_says_what_to_fill_in() -> None:
    report = check(CLUSTER / "onprem.yaml")
    assert report.errors() == [], told(report)
    for place in ("HEAD", "WORKERS", "USER", "KEY", "STORE", "BUCKET", "MLFLOW"):
        assert f"<{place}> is not filled in" in told(report)


NAME = "onprem.yaml"
MISTAKES = [
    ("a misspelled field", NAME, "idle_timeout_minutes:", "idle_timeout_minute:", "Ray refuses it"),
    ("no list of workers", NAME, "worker_ips:", "workers:", "Ray refuses it"),
    ("no worker", NAME, "[10.0.0.11, 10.0.0.12]", "[]", "no machine trains"),
    ("a head that is a worker too", NAME, "[10.0.0.11, ", "[10.0.0.10, ", "10.0.0.10 is the head too"),
    ("a worker named twice", NAME, "10.0.0.11, 10.0.0.12", "10.0.0.11, 10.0.0.11", "named twice"),
    ("a head on its loopback", NAME, "head_ip: 10.0.0.10", "head_ip: 127.0.0.1", "look for 127.0.0.1 on themselves"),
    ("fewer workers than machines", NAME, "provider:", "max_workers: 1\nprovider:", "1 of 2 machines are left out"),
    ("nobody to log in as", NAME, "ssh_user: me", "ssh_proxy_command: x", "auth.ssh_user: not given"),
    ("no key for the workers", NAME, "ssh_private_key: ~/.ssh/latentact-fleet", "ssh_proxy_command: x", "they never start"),
    ("training on the head", NAME, "--num-cpus=0 ", "", "trials would run on the head"),
    ("the head's GPUs", NAME, " --num-gpus=0", "", "the head's GPUs"),
    ("an autoscaler that counts the head", NAME, "RAY_enable_autoscaler_v2=0; ", "", "the last of them never starts"),
    ("no autoscaler", NAME, "--autoscaling-config=~/ray_bootstrap_config.yaml", "", "would start no workers"),
    ("what `ray down` leaves", NAME, "ray start --block", "ray start", "would run on for ever"),
    ("Ray's own start of workers", NAME, "worker_start_ray_commands:", "initialization_commands:", "passes no environment"),
    ("no token", NAME, "RAY_AUTH_MODE=token", "RAY_SCHEDULER=1", "asks for no token"),
    ("authentication off", NAME, "RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled", "asks for no token"),
    ("no token's file", NAME, "RAY_AUTH_TOKEN_PATH=", "RAY_TOKEN=", "has no token to ask for"),
    ("a public dashboard", NAME, "--dashboard-host=127.0.0.1", "--dashboard-host=0.0.0.0", "listens on 0.0.0.0"),
    ("a secret in the file", NAME, "AWS_DEFAULT_REGION=us-east-1", "AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7",
     "a secret stands in the file"),
]  # fmt: skip


@each_mistake(MISTAKES)
def test_a_planted_mistake_is_found(tmp_path: Path, name: str, old: str, new: str, found: str) -> None:
    assert_found(tmp_path, name, old, new, found)


def test_secrets_that_others_may_read_are_found(home: Path, tmp_path: Path) -> None:
    (home / ".latentact-zoo" / "fleet" / "aws_credentials").chmod(0o644)
    (tmp_path / "onprem.yaml").write_text(filled_in("onprem.yaml"))
    assert "others on this machine may read aws_credentials" in told(check(tmp_path / "onprem.yaml"))
