"""One lab host: namespaces on this machine with a libvirtd and a compute daemon of their own.

Its files are below one directory and are mounted inside at the places where a real host has
them. Ending the namespace's first process ends everything in it.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from minicloud.deploy import command, files, lab_network, pki, processes
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import Places
from minicloud.deploy.stage import StageFailed

_LIMIT_S = 60.0
_CAPABILITIES = Path("/var/cache/libvirt/qemu/capabilities")
_MOUNTS = {
    "libvirt-settings": "/etc/libvirt",
    "libvirt": "/var/lib/libvirt",
    "libvirt-log": "/var/log/libvirt",
    "libvirt-cache": "/var/cache/libvirt",
    "settings": "/etc/minicloud",
    "log": "/var/log/minicloud",
    "state": "/var/lib/minicloud",
}
"""The host's directories, and where they are inside. The last covers the others."""

# AppArmor and cgroups are the machine's; a host of this kind has neither.
_QEMU_CONF = """\
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
cgroup_controllers = [ ]
namespaces = [ ]
stdio_handler = "file"
migration_address = "{address}"
migration_host = "{address}"
nbd_tls_x509_cert_dir = "/etc/libvirt/pki"
"""

_LIBVIRTD_CONF = """\
host_uuid = "{host_uuid}"
listen_tls = 0
listen_tcp = 0
unix_sock_group = "root"
auth_unix_rw = "none"
auth_unix_ro = "none"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""

# $1: the host's directory, $2 its name, $3 the compute daemon; then pairs of DIRECTORY PLACE.
_INIT = """\
set -e
mount --make-rprivate /
hostname "$2"
directory=$1 compute=$3
shift 3
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/libvirt /run/lock /run/netns /run/minicloud
while [ $# -gt 0 ]; do
    mkdir -p "$2"
    mount --bind "$directory/$1" "$2"
    shift 2
done
ip link set lo up
echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet
nft -f /etc/minicloud/lab.nft
touch /run/minicloud/made
until ip route show default | grep -q .; do sleep 0.05; done
keep() { # NAME COMMAND...: start it again whenever it ends
    local name=$1
    shift
    while :; do
        "$@" </dev/null >>"/var/log/minicloud/$name.log" 2>&1 &
        echo $! >"/run/minicloud/$name.pid"
        wait $! || true
        sleep 1
    done
}
keep libvirtd /usr/sbin/libvirtd --pid-file /run/libvirtd.pid &
until [ -S /run/libvirt/libvirt-sock ]; do sleep 0.05; done
export MALLOC_ARENA_MAX=1 PYTHONOPTIMIZE=2
keep compute "$compute" &
while :; do wait -n || true; done
"""


_END_COMPUTE = "[ ! -e /run/minicloud/compute.pid ] || kill $(cat /run/minicloud/compute.pid)"


class LabHost:
    """Lab host ``number``, counted from 1."""

    def __init__(self, places: Places, ledger: Ledger, number: int) -> None:
        self.number = number
        self.name = f"lab{number}"
        self.address = lab_network.address(number)
        self.directory = directory_of_all(places) / self.name
        self._places = places
        self._ledger = ledger
        self._key = f"lab-host:{self.name}"
        self._mark = f"{self.directory}/init"

    @property
    def pid(self) -> int | None:
        """Its first process, as this machine counts; None where it does not run."""
        known = self._ledger.record.processes.get(self._key)
        if known is None or not processes.is_alive(known):
            return None
        try:
            children = Path(f"/proc/{known.pid}/task/{known.pid}/children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return int(children[0]) if children else None

    @property
    def libvirt_uri(self) -> str:
        """Its libvirt, reached from outside."""
        return f"qemu:///system?socket=/proc/{self.pid}/root/run/libvirt/libvirt-sock"

    def ensure(self, configuration: str, tls: pki.Credentials, code: str) -> str:
        """It runs with ``configuration`` as its minicloud.conf; says what had to be done.

        ``code``: a digest of the daemon's code. Guests go on while the daemon is started anew.
        """
        settings = self.directory / "settings"
        whole = self.pid is not None and self._is_connected()
        files.directory(self.directory, mode=0o700)
        for name in _MOUNTS:
            files.directory(self.directory / name, mode=0o755)
        changed = files.write(settings / "minicloud.conf", configuration, mode=0o600)
        files.write(settings / "lab.nft", lab_network.HOST_TABLE, mode=0o600)
        known = self._ledger.record.fingerprints
        if whole and not changed and known.get(self._key) == code:
            return "running"
        if whole:
            command.run(self.enter(["/bin/sh", "-c", _END_COMPUTE]))
        else:
            self.stop()
            self._prepare_libvirt(tls)
            self._start()
        known[self._key] = code
        self._ledger.save()
        return "daemon restarted" if whole else "started"

    def stop(self) -> bool:
        """End it with all that is in it; its files stay. True if it ran."""
        first = processes.identify(self.pid) if self.pid is not None else None
        # One that an interrupted run started and did not write down is found by its argument.
        found = processes.with_argument(self._mark, ("unshare",))
        known = self._ledger.record.processes.get(self._key)
        if known is not None and processes.is_alive(known) and known not in found:
            found.append(known)
        for process in found:
            processes.end(process, grace_s=0.2)
        if first is not None and not processes.wait_until(
            lambda: not processes.is_alive(first), limit_s=_LIMIT_S
        ):
            raise StageFailed(f"{self.name} does not end.")
        self._ledger.forget_process(self._key)
        return bool(found)

    def remove(self) -> None:
        files.remove(self.directory)

    def enter(self, words: list[str]) -> list[str]:
        """The command line that runs ``words`` inside."""
        if self.pid is None:
            raise StageFailed(
                f"{self.name} does not run.", advice="sudo tools/lab N starts N hosts"
            )
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-n", "-p", "--", *words]

    def _is_connected(self) -> bool:
        try:
            found = command.run(self.enter(["ip", "route", "show", "default"]))
        except StageFailed:
            return False
        return bool(found.strip())

    def _prepare_libvirt(self, tls: pki.Credentials) -> None:
        etc = self.directory / "libvirt-settings"
        files.directory(etc / "pki", mode=0o700)
        pki.write(tls, etc / "pki", "client")
        settings, identity = etc / "qemu.conf", etc / "minicloud-lab"
        if not identity.exists():
            shutil.copytree("/etc/libvirt", etc, dirs_exist_ok=True)
            shutil.rmtree(etc / "qemu", ignore_errors=True)
            files.write(identity, str(uuid.uuid4()), mode=0o644)
        host_uuid = identity.read_text(encoding="utf-8")
        daemon = _LIBVIRTD_CONF.format(host_uuid=host_uuid)
        files.write(etc / "libvirtd.conf", daemon, mode=0o644)
        files.write(settings, _QEMU_CONF.format(address=self.address), mode=0o644)
        # What QEMU can do, and whether KVM works, was found out on this machine already.
        if _CAPABILITIES.is_dir():
            target = self.directory / "libvirt-cache" / "qemu" / "capabilities"
            shutil.copytree(_CAPABILITIES, target, dirs_exist_ok=True)
        answer = self._places.state / "compute" / "virt-probe.json"
        if answer.exists():
            (self.directory / "state" / "compute").mkdir(mode=0o755, exist_ok=True)
            shutil.copy(answer, self.directory / "state" / "compute")

    def _start(self) -> None:
        script, log = self.directory / "init", self.directory / "log" / "host.log"
        files.write(script, _INIT, mode=0o600)
        compute = self._places.program("minicloud-compute")
        pairs = [word for pair in _MOUNTS.items() for word in pair]
        started = processes.start_detached(
            [
                *("unshare", "--mount", "--uts", "--net", "--pid", "--fork", "--kill-child=KILL"),
                *("/bin/bash", str(script), str(self.directory), self.name, str(compute), *pairs),
            ],
            log=log,
        )
        process = processes.identify(started.pid)
        if process is None:
            raise StageFailed(f"{self.name} did not start.", log=log)
        self._ledger.note_process(self._key, process)

        def made() -> bool:
            pid = self.pid
            return started.poll() is not None or (
                pid is not None and Path(f"/proc/{pid}/root/run/minicloud/made").exists()
            )

        if not processes.wait_until(made, limit_s=_LIMIT_S) or self.pid is None:
            raise StageFailed(f"The namespaces of {self.name} could not be made.", log=log)
        lab_network.connect(self.name, self.number, self.pid)


def directory_of_all(places: Places) -> Path:
    return places.state / "lab"


def all_hosts(places: Places, ledger: Ledger) -> list[LabHost]:
    """Every lab host that has files here."""
    names = [path.name for path in directory_of_all(places).glob("lab*")]
    numbers = sorted(int(name[3:]) for name in names if name[3:].isdigit())
    return [LabHost(places, ledger, number) for number in numbers]
