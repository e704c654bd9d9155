"""The parts of the one-machine stack, without starting it: ports, state, processes, and what can go wrong."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cluster import local, process
from cluster.environment import server_environment, tool_environment, write_environment_file
from cluster.ports import DEFAULT_BASE, Ports
from cluster.ray_head import forget_address
from cluster.state import ProcessRecord, StackError, StackFolder, StackState


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StackFolder:
    monkeypatch.setenv("LATENTACT_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LATENTACT_PORT_BASE", raising=False)
    folder = StackFolder.from_environment()
    folder.prepare()
    return folder


def test_missing_program_is_named(
    folder: StackFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match=r"`weed` is missing.*make install"):
        local.up(folder)
    assert not folder.state_file.exists()


def test_full_disk_is_refused(folder: StackFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 1_500_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(StackError, match=r"only 1\.5 GB are free under .*LATENTACT_HOME"):
        local.up(folder)


def test_dead_server_shows_its_last_words(folder: StackFolder) -> None:
    ports = Ports(DEFAULT_BASE)
    server = local.servers(folder, ports)[1]
    log = folder.log(server.name)
    command = [sys.executable, "-c", "print('the last words')"]
    record = process.start(command, member="test:mlflow", environment=dict(os.environ), log=log)
    with pytest.raises(StackError, match=r"(?s)mlflow server died.*the last words"):
        server.wait_ready(folder, record)


def test_unwritable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StackError, match="cannot write the state folder .*LATENTACT_HOME"):
        StackFolder(tmp_path / "file" / "home").prepare()


@pytest.mark.parametrize(
    "text", ["{", '{"stack_id": "a"}', '{"stack_id": "a", "port_base": 1, "processes": [1]}']
)
def test_damaged_state_is_named(folder: StackFolder, text: str) -> None:
    folder.state_file.write_text(text)
    with pytest.raises(StackError, match=r"state\.json is damaged"):
        folder.read_state()


@pytest.mark.parametrize("base", ["100", "60000", "no", "-1"])
def test_senseless_port_base_is_refused(base: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTACT_PORT_BASE", base)
    with pytest.raises(StackError, match="LATENTACT_PORT_BASE"):
        Ports.choose(None)


def test_second_command_at_once_is_refused(folder: StackFolder) -> None:
    with (
        folder.locked(),
        pytest.raises(StackError, match="another command"),
        StackFolder(folder.path).locked(),
    ):
        pass


def test_ports_are_remembered_and_distinct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LATENTACT_PORT_BASE", raising=False)
    assert Ports.choose(None).base == DEFAULT_BASE and Ports.choose(30000).base == 30000
    ports = [
        port for name in ("object-store", "mlflow", "ray") for port in Ports(DEFAULT_BASE).of_server(name)
    ]
    assert len(set(ports)) == len(ports) and max(ports) < 32768


def test_recycled_pid_is_not_taken_for_a_server() -> None:
    this = psutil.Process()
    assert process.is_alive(ProcessRecord(pid=this.pid, started_s=this.create_time()))
    recycled = ProcessRecord(pid=this.pid, started_s=this.create_time() - 60)
    assert not process.is_alive(recycled)
    assert process.stop(recycled, "no-such-stack:none", patience_s=0) == 0  # and we are still here


def ended_server(program: str, member: str, log: Path) -> ProcessRecord:
    """Of a Python program that was started as a server, and has ended by itself."""
    record = process.start(
        [sys.executable, "-c", program], member=member, environment=dict(os.environ), log=log
    )
    deadline = time.monotonic() + 20
    while process.is_alive(record) and time.monotonic() < deadline:
        time.sleep(0.05)
    return record


def test_stop_ends_the_children_that_outlived_their_server(tmp_path: Path) -> None:
    child = "import time; time.sleep(200)"
    server = (
        f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True)"
    )
    member = f"test-{os.getpid()}:orphan"
    record = ended_server(server, member, tmp_path / "log")
    assert not process.is_alive(record)
    assert process.stop(record, member, patience_s=5) == 1
    assert process.stop(record, member, patience_s=5) == 0


def test_stop_ends_those_of_ray_that_have_written_their_title_over_the_mark(tmp_path: Path) -> None:
    """As its agents do, which outlive a killed head for a while; others of the same session are left alone."""
    server = (
        "import subprocess\n"
        "for name in ('ray::Agent', 'other'):\n"
        "    started = subprocess.Popen([name, '200'], executable='/bin/sleep', env={})\n"
        "print(started.pid, flush=True)"
    )
    member = f"test-{os.getpid()}:titled"
    record = ended_server(server, member, tmp_path / "log")
    other = psutil.Process(int((tmp_path / "log").read_text()))
    try:
        assert not process.is_alive(record)
        assert process.stop(record, member, patience_s=5) == 1
        assert other.is_running()
        assert process.stop(record, member, patience_s=5) == 0
    finally:
        other.kill()


def test_stop_kills_what_does_not_obey(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(200)"
    member = f"test-{os.getpid()}:deaf"
    record = process.start(
        [sys.executable, "-c", deaf], member=member, environment=dict(os.environ), log=tmp_path / "log"
    )
    deadline = time.monotonic() + 20
    while "deaf" not in (tmp_path / "log").read_text() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert process.stop(record, member, patience_s=0.5) == 1
    assert not process.is_alive(record)


def test_environment_file_can_be_sourced(tmp_path: Path) -> None:
    folder = StackFolder(tmp_path / "a home with 'quotes' and $signs")
    folder.prepare()
    write_environment_file(folder, Ports(DEFAULT_BASE))
    script = f'set -a; . "$FILE"; set +a; {sys.executable} -c "import json, os; print(json.dumps(dict(os.environ)))"'
    environment = {**os.environ, "FILE": str(folder.environment_file)}
    shell = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    wanted = tool_environment(folder, Ports(DEFAULT_BASE))
    assert {key: json.loads(shell.stdout).get(key) for key in wanted} == wanted


def test_head_finds_this_python_and_no_other_cluster(
    folder: StackFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    head = local.servers(folder, Ports(DEFAULT_BASE))[2]
    assert "RAY_ADDRESS" not in head.environment
    first = server_environment(folder, Ports(DEFAULT_BASE))["PATH"].split(os.pathsep)[0]
    assert Path(first) == Path(sys.executable).parent


def test_rays_sockets_fit_below_a_long_state_folder(tmp_path: Path) -> None:
    long = StackFolder(tmp_path / ("x" * 90))
    socket_path = long.ray / "session_2026-01-01_00-00-00_000000_1234567" / "sockets" / "plasma_store"
    assert len(str(socket_path)) < 104
    assert long.ray != StackFolder(tmp_path / ("y" * 90)).ray


def test_only_our_own_cluster_address_is_forgotten(folder: StackFolder) -> None:
    file = folder.ray / "ray_current_cluster"
    file.write_text("127.0.0.1:6379")
    forget_address(folder, Ports(DEFAULT_BASE))
    assert file.exists()
    file.write_text(f"127.0.0.1:{Ports(DEFAULT_BASE).ray}")
    forget_address(folder, Ports(DEFAULT_BASE))
    assert not file.exists()


def test_state_survives_the_round_trip(folder: StackFolder) -> None:
    state = StackState(stack_id="a", port_base=21500, processes={"ray": ProcessRecord(pid=1, started_s=2.5)})
    folder.write_state(state)
    assert folder.read_state() == state
    assert folder.s3_keys() == StackFolder(folder.path).s3_keys()
