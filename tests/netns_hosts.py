"""Several hosts on one machine, out of Linux namespaces: what runs in one sees its own network, processes and home.

Each host has an address of its own on a bridge that leads nowhere else, and its own process ids (`ray stop` ends what
runs on that host alone), host name, /tmp, /run, /dev/shm and home folder. The file system is shared beside that, so that
what is installed here is installed on every host. All of it ends with this process, however that ends.

    with network(folder) as hosts:
        head, laptop = hosts.add("head"), hosts.add("laptop", sshd=False)
        head.allow_key(laptop.make_key())
        laptop.run("ssh", f"root@{head.address}", "hostname")
"""

from __future__ import annotations

import os
import pwd
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = Path(sys.executable).parent
HOME = Path(pwd.getpwuid(os.getuid()).pw_dir)
SUBNET = "10.77.0"
_NEEDED = ("unshare", "nsenter", "setpriv", "ip", "ssh", "ssh-keygen", "sshd", "rsync")
_OWN = ("--net", "--pid", "--mount", "--uts", "--ipc")
# What is installed here, and what the hosts run, where a folder that they have of their own would hide it.
_SHOWN = (ROOT, Path(sys.prefix), Path(sys.base_prefix))


def missing() -> str:
    """Why there can be no hosts here, and what to do; empty where there can be."""
    path = f"{os.environ.get('PATH', os.defpath)}{os.pathsep}/usr/sbin{os.pathsep}/sbin"
    programs = [name for name in _NEEDED if shutil.which(name, path=path) is None]
    if sys.platform != "linux" or os.geteuid() != 0:
        return "needs root on Linux: namespaces are made"
    if programs:
        return f"needs {', '.join(programs)}: apt-get install util-linux iproute2 openssh-client openssh-server rsync"
    trial = subprocess.run(["unshare", *_OWN, "--fork", "true"], capture_output=True, text=True, check=False)
    return f"namespaces cannot be made here: {trial.stderr.strip()}" if trial.returncode else ""


@dataclass
class Host:
    """A host; `pid` is the process that its namespaces live and end with."""

    name: str
    address: str
    folder: Path
    pid: int = 0
    environment: dict[str, str] = field(default_factory=dict)  # of what is run on it

    @property
    def home(self) -> Path:
        """Its home folder, as seen from here."""
        return self.folder / "home"

    def command(self, *command: str | Path) -> list[str]:
        """A command line that runs `command` on the host."""
        inside = ["nsenter", f"--target={self.pid}", *_OWN, "--", "env", f"--chdir={ROOT}"]
        return [*inside, *map(str, command)]

    def variables(self, **more: str) -> dict[str, str]:
        """What a fresh login has, and nothing of this process's environment."""
        path = f"{PROGRAMS}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        login = {"HOME": str(HOME), "USER": "root", "LOGNAME": "root", "SHELL": "/bin/bash", "PATH": path}
        return {**login, "LANG": "C.UTF-8", "PYTHONDONTWRITEBYTECODE": "1", **self.environment, **more}

    def run(
        self, *command: str | Path, timeout_s: float = 120, check: bool = True, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; with `check` it must succeed."""
        result = subprocess.run(
            self.command(*command), env=self.variables(**variables), stdin=subprocess.DEVNULL, text=True,
            capture_output=True, timeout=timeout_s, check=False,
        )  # fmt: skip
        said = f"on {self.name}: {shlex.join(map(str, command))}\n{result.stdout}\n{result.stderr}"
        assert not check or result.returncode == 0, said
        return result

    def start(self, *command: str | Path, log: Path, **variables: str) -> subprocess.Popen[bytes]:
        """Start what goes on beside the test; it ends with the host at the latest."""
        with log.open("wb") as output:
            return subprocess.Popen(
                self.command(*command), env=self.variables(**variables), stdin=subprocess.DEVNULL,
                stdout=output, stderr=output,
            )  # fmt: skip

    def processes(self) -> list[str]:
        """Command lines of what runs on it, beside its own init, sshd and the question itself."""
        lines = self.run("ps", "-eo", "pid=,stat=,args=").stdout.splitlines()
        found = [(pid, stat[0], args) for pid, stat, args in (line.split(None, 2) for line in lines)]
        own = re.compile(r"(\S*sshd\b|ps -eo|sleep infinity)")
        return [args for pid, state, args in found if pid != "1" and state != "Z" and not own.match(args)]

    def make_key(self) -> str:
        """Make a key pair, ~/.ssh/id_ed25519; returns the public half."""
        key = self.home / ".ssh" / "id_ed25519"
        key.parent.mkdir(mode=0o700, exist_ok=True)
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", self.name, "-f", key], check=True
        )
        return key.with_suffix(".pub").read_text()

    def allow_key(self, public: str) -> None:
        """Let the holder of a key log in."""
        file = self.home / ".ssh" / "authorized_keys"
        file.parent.mkdir(mode=0o700, exist_ok=True)
        with file.open("a") as stream:
            stream.write(public)


class Network:
    """A bridge in a namespace of its own, and the hosts on it."""

    def __init__(self, folder: Path) -> None:
        self.hosts: list[Host] = []
        self._folder = folder
        self._living: list[subprocess.Popen[bytes]] = []
        self._switch = self._hold("unshare", "--net", "sleep", "infinity", log=folder / "switch.log")
        self._on_switch("ip", "link", "add", "name", "bridge", "type", "bridge")
        self._on_switch("ip", "link", "set", "dev", "bridge", "up")

    def add(self, name: str, *, sshd: bool = True) -> Host:
        """Start a host, with a server for ssh with keys on its address alone; returns once it answers."""
        number = len(self.hosts) + 1
        host = Host(name, f"{SUBNET}.{number}", self._folder / name)
        self.hosts.append(host)
        host.home.mkdir(parents=True)
        # As cluster/onprem.yaml asks for it: `ray` and `python` are this project's.
        (host.home / ".bashrc").write_text(f"export PATH={PROGRAMS}:$PATH PYTHONDONTWRITEBYTECODE=1\n")
        script = host.folder / "boot.sh"
        script.write_text(_boot(host, sshd=sshd))
        log = host.folder / "boot.log"
        unshared = [*_OWN, "--fork", "--kill-child", "--mount-proc"]
        host.pid = self._hold("unshare", *unshared, "bash", str(script), log=log)
        self._on_switch(
            "ip", "link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid)
        )
        self._on_switch("ip", "link", "set", "dev", name, "master", "bridge", "up")
        _until(lambda: (host.folder / "booted").exists(), log)
        return host

    def close(self) -> None:
        """End all hosts and what runs on them."""
        for process in self._living:
            process.kill()
        for process in self._living:
            process.wait(30)
        inits = [host.pid for host in self.hosts]
        _until(lambda: not any(psutil.pid_exists(pid) for pid in inits), self._folder / "switch.log")

    def _hold(self, *command: str, log: Path) -> int:
        """Start the process that namespaces live with; returns the pid that is inside them."""
        with log.open("wb") as output:
            process = subprocess.Popen(
                # It ends with this one, even with kill -9.
                ["setpriv", "--pdeathsig=KILL", *command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip
        self._living.append(process)
        outside = os.readlink("/proc/self/ns/net")

        def inside() -> list[int]:
            family = [process.pid, *(child.pid for child in psutil.Process(process.pid).children())]
            return [pid for pid in family[-1:] if os.readlink(f"/proc/{pid}/ns/net") != outside]

        _until(lambda: inside() != [] and ("--fork" not in command or inside() != [process.pid]), log)
        return inside()[0]

    def _on_switch(self, *command: str) -> None:
        subprocess.run(["nsenter", f"--target={self._switch}", "--net", *command], check=True)


def _boot(host: Host, *, sshd: bool) -> str:
    """What a host does when it starts, as its process 1."""
    names = host.folder / "hosts"
    config = host.folder / "sshd_config"
    key = host.folder / "host_key"
    config.write_text(
        f"ListenAddress {host.address}\nHostKey {key}\nPidFile none\nUsePAM no\nPasswordAuthentication no\n"
        "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nPrintMotd no\n"
    )
    serve = f"""
        mkdir -p /run/sshd
        # No password, but no locked account either, whatever the machine's own file says.
        echo 'root:*:20000::::::' > {host.folder / "shadow"}
        mount --bind {host.folder / "shadow"} /etc/shadow
        ssh-keygen -q -t ed25519 -N '' -f {key}
        $(command -v sshd || echo /usr/sbin/sshd) -D -e -f {config} &
        until (exec 3<>/dev/tcp/{host.address}/22) 2>/dev/null; do sleep 0.05; done
    """
    return f"""
        set -e
        hostname {host.name}
        # As Debian does it: the machine's own name leads to an address that no other machine reaches.
        echo '127.0.0.1 localhost' > {names}
        echo '127.0.1.1 {host.name}' >> {names}
        mount --bind {names} /etc/hosts
        {_cover(HOME, host.home)}
        {_cover(Path("/tmp"), host.folder / "tmp")}
        mount -t tmpfs tmpfs /run
        mount -t tmpfs tmpfs /dev/shm
        ip link set lo up
        until ip link show eth0 > /dev/null 2>&1; do sleep 0.05; done
        ip address add {host.address}/24 dev eth0
        ip link set eth0 up
        # Nobody is there. But Ray finds a machine's address by asking which one leads to the world.
        ip route add default via {SUBNET}.254
        {serve if sshd else ""}
        touch {host.folder / "booted"}
        sleep infinity &
        wait
    """


def _cover(target: Path, own: Path) -> str:
    """Put a host's own folder over one of the machine, and what must stay visible of that into it."""
    lines = [f"mkdir -p {own}"]
    for shown in (*_SHOWN, own.parent):
        if shown.is_relative_to(target):
            inside = own / shown.relative_to(target)
            lines += [f"mkdir -p {inside}", f"mount --bind {shown} {inside}"]
    return "\n        ".join([*lines, f"mount --rbind {own} {target}"])


def _until(condition: Callable[[], bool], log: Path, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"nothing after {timeout_s:.0f} s: {log.read_text()}"
        time.sleep(0.05)


@contextmanager
def network(folder: Path) -> Iterator[Network]:
    """A network without hosts yet, which write into `folder`; all of it is gone when the block ends."""
    made = Network(folder)
    try:
        yield made
    finally:
        made.close()
