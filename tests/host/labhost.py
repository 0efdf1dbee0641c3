"""A lab host: its own libvirtd in its own namespaces, so that a test disturbs nothing else.

One ``unshare`` gives mount, UTS, network and PID namespaces with private /run, /etc/libvirt,
/var/lib/libvirt, /var/log/libvirt and /var/cache/libvirt. Killing the namespace's first process
takes libvirtd and every QEMU with it. Fresh mounts of /sys and /run hide the machine's cgroups
and its D-Bus, so libvirtd is on its own there. No network reaches a lab host unless a test adds
one with ``run("ip", ...)``, or has it share the machine's.

Needs root, libvirtd and QEMU; ``missing()`` says what is not there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

_CACHE = Path("/tmp") / f"minicloud-labhost-capabilities-{os.getuid()}"
"""QEMU's capabilities as a first libvirtd probed them (3 s): the next ones start from a copy."""

_LIBVIRTD_CONF = """\
host_uuid = "{host_uuid}"
listen_tls = 0
listen_tcp = 0
unix_sock_group = "root"
auth_unix_rw = "none"
auth_unix_ro = "none"
log_filters = "3:qemu 3:rpc"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""

_QEMU_CONF = """\
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
"""

# $1 is the directory of the host, $2 its name, $3 "shared" where it has the machine's network. The
# loop reaps what the namespace leaves behind.
_INIT = """\
set -e
mount --make-rprivate /
hostname "$2"
mount -t proc proc /proc
[ "$3" = shared ] && mount --bind /sys /sys || mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /run/libvirt /run/lock /run/netns
mkdir -p /etc/libvirt /var/lib/libvirt /var/log/libvirt /var/cache/libvirt
mount --bind "$1/etc" /etc/libvirt
mount --bind "$1/var" /var/lib/libvirt
mount --bind "$1/log" /var/log/libvirt
mount --bind "$1/cache" /var/cache/libvirt
ip link set lo up
echo ready > "$1/ready"
trap 'exit 0' TERM
while :; do wait -n || sleep 0.2; done
"""


def missing() -> str:
    """Why lab hosts cannot be made here; empty when they can."""
    if os.geteuid() != 0:
        return "lab hosts need root"
    tools = ("libvirtd", "virsh", "qemu-system-x86_64", "unshare", "nsenter", "setpriv", "ip")
    absent = [tool for tool in tools if shutil.which(tool) is None]
    return f"lab hosts need {', '.join(absent)}" if absent else ""


class LabHost:
    """A host of its own on this machine. ``directory`` keeps its libvirt's files."""

    def __init__(
        self, directory: Path, name: str = "lab1", *, shares_network: bool = False
    ) -> None:
        self.directory = directory
        self.name = name
        self._shares_network = shares_network
        self._unshare: subprocess.Popen[bytes] | None = None
        self._pid = 0

    @property
    def uri(self) -> str:
        """Where its libvirtd answers, from outside its namespaces."""
        return f"qemu:///system?socket=/proc/{self._pid}/root/run/libvirt/libvirt-sock"

    def start(self) -> None:
        """Make the namespaces and start libvirtd in them; returns when it answers."""
        for part in ("etc", "var", "log", "cache/qemu"):
            (self.directory / part).mkdir(parents=True, exist_ok=True)
        etc = self.directory / "etc"
        shutil.copytree("/etc/libvirt", etc, dirs_exist_ok=True)
        shutil.rmtree(etc / "qemu", ignore_errors=True)
        (etc / "libvirtd.conf").write_text(_LIBVIRTD_CONF.format(host_uuid=uuid.uuid4()))
        (etc / "qemu.conf").write_text(_QEMU_CONF)
        if _CACHE.is_dir():
            shutil.copytree(_CACHE, self._capabilities, dirs_exist_ok=True)
        # Should the tests be killed, the host ends with them.
        command = ["setpriv", "--pdeathsig", "KILL"]
        network, word = ([], "shared") if self._shares_network else (["--net"], "own")
        command += ["unshare", "--mount", "--uts", *network, "--pid", "--fork"]
        command += ["--kill-child=KILL", "/bin/bash", "-c", _INIT]
        command += ["labhost", str(self.directory), self.name, word]
        with (self.directory / "out").open("wb") as out:
            self._unshare = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        children = Path(f"/proc/{self._unshare.pid}/task/{self._unshare.pid}/children")
        wait_for(lambda: (self.directory / "ready").exists(), "its namespaces", 20)
        self._pid = int(children.read_text().split()[0])
        self.start_libvirtd()

    def start_libvirtd(self) -> None:
        self.run("libvirtd", "-d", "-p", "/run/libvirt/libvirtd.pid")
        wait_for(self._answers, "libvirtd", 60)
        if not _CACHE.is_dir() and any(self._capabilities.iterdir()):
            shutil.copytree(self._capabilities, _CACHE, dirs_exist_ok=True)

    def kill_libvirtd(self) -> None:
        """SIGKILL, as a crash would; guests go on. Returns when it is gone."""
        self.run("bash", "-c", "kill -KILL $(cat /run/libvirt/libvirtd.pid)")
        wait_for(lambda: not self._answers(), "libvirtd's end", 10)

    def run(self, *command: str) -> str:
        """Run ``command`` inside (working directory /) and return its standard output."""
        enter = ["nsenter", "-t", str(self._pid), "-m", "-u", "-n", "-p", *command]
        return subprocess.run(enter, check=True, capture_output=True, text=True).stdout

    def stop(self) -> None:
        """End the host with everything in it."""
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
        if self._unshare is not None:
            self._unshare.kill()
            self._unshare.wait()
        self._pid, self._unshare = 0, None

    @property
    def _capabilities(self) -> Path:
        return self.directory / "cache" / "qemu" / "capabilities"

    def _answers(self) -> bool:
        command = ["virsh", "-q", "-c", "qemu:///system", "version"]
        enter = ["nsenter", "-t", str(self._pid), "-m", "-u", "-n", "-p", *command]
        return subprocess.run(enter, capture_output=True, check=False).returncode == 0


def wait_for(condition: Callable[[], bool], what: str, timeout_s: float) -> None:
    """Return when ``condition()`` holds; TimeoutError when it does not within ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} did not come about within {timeout_s} s")
        time.sleep(0.02)  # pacing of a poll: the condition is the loop's
