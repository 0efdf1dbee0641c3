"""A Ceph cluster of the tests' own, on an address of its own of the loopback interface: one
monitor, one manager and one OSD, which end with the process that started them.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

DAEMONS = ("mon", "mgr", "osd")
_PORTS = (3300, 6789)
_UP_S = 120.0
"""A machine that is busy with other tests is given so long to bring a daemon up."""


def missing() -> str:
    """Why there can be no cluster here; empty: there can."""
    programs = ("ceph", "rbd", "ceph-authtool", "monmaptool", *(f"ceph-{name}" for name in DAEMONS))
    absent = [each for each in programs if not shutil.which(each)]
    return f"needs {', '.join(absent)}" if absent else ""


class CephPool(NamedTuple):
    """A pool, and a user who may use it and nothing else."""

    name: str
    user: str
    conf: Path
    """A configuration that names the user's keyring."""
    monitor: str
    """HOST:PORT"""
    key: str

    def rbd(self, *words: str, data: bytes = b"") -> str:
        """What ``rbd`` answers to the pool's user. CalledProcessError."""
        done = subprocess.run(
            ["rbd", "-c", self.conf, "--id", self.user, *words],
            input=data, stdout=subprocess.PIPE, check=True, timeout=_UP_S,
        )  # fmt: skip
        return done.stdout.decode()


class CephCluster:
    """``durable``: images survive ``kill`` of the OSD, which takes seconds more
    to come up; else only the monitor and the manager may be killed and started again.
    """

    def __init__(self, directory: Path, *, durable: bool = False) -> None:
        self._directory, self._store = directory, "bluestore" if durable else "memstore"
        self._address = _free_address()
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._conf = directory / "ceph.conf"

    # -- what tests use --------------------------------------------------------------------------
    def new_pool(self) -> CephPool:
        name = f"p{uuid.uuid4().hex[:12]}"
        user = f"u{name}"
        self.ceph(f"osd pool create {name} 1 1")
        self.ceph(f"osd pool application enable {name} rbd")
        allowed = f"profile rbd pool={name}"
        keyring = self._directory / f"{name}.keyring"
        keyring.touch(0o600)
        keyring.write_text(
            self.ceph(f"auth get-or-create client.{user} mon 'profile rbd' osd '{allowed}'"
                      f" mgr '{allowed}'")
        )  # fmt: skip
        conf = self._directory / f"{name}.conf"
        monitor = f"{self._address}:{_PORTS[1]}"
        conf.write_text(f"[global]\nmon_host = {monitor}\nkeyring = {keyring}\n")
        key = keyring.read_text().split("key = ")[1].split()[0]
        return CephPool(name=name, user=user, conf=conf, monitor=monitor, key=key)

    def await_room(self, pool: CephPool) -> None:
        """Until the cluster tells how much room there is for a new pool."""
        give_up_at = time.monotonic() + _UP_S
        while pool.name not in [
            each["name"] for each in json.loads(self.ceph("df -f json"))["pools"]
        ]:
            assert time.monotonic() < give_up_at
            time.sleep(0.1)

    def ceph(self, command: str) -> str:
        """What an administrator's ``ceph`` answers. CalledProcessError."""
        return self._run("ceph", "-c", str(self._conf), *shlex.split(command))

    def stop(self, *daemons: str) -> None:
        """SIGSTOP of some or all: they are there and do not answer."""
        for name in daemons or DAEMONS:
            self._running[name].send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """After ``stop``."""
        for process in self._running.values():
            process.send_signal(signal.SIGCONT)
        # Who stood still for long lost its lease of a pool's data, and of a pool without copies
        # nobody gives it another: it takes its place anew.
        self.ceph("osd down 0")
        self.await_ready()

    def kill(self, *daemons: str) -> None:
        """kill -9 of some or all."""
        for name in daemons or DAEMONS:
            process = self._running.pop(name, None)
            if process is not None:
                process.kill()
                process.wait()

    def start(self, *daemons: str) -> None:
        """Have some or all run, again after ``kill``, and serve."""
        for name in daemons or DAEMONS:
            self._spawn(name)
        self.await_ready()

    def await_ready(self) -> None:
        give_up_at = time.monotonic() + _UP_S
        while True:
            state = json.loads(self.ceph("status --format json"))
            placed = {each["state_name"] for each in state["pgmap"].get("pgs_by_state", ())}
            if state["osdmap"]["num_up_osds"] == 1 and placed <= {"active+clean"}:
                return
            assert time.monotonic() < give_up_at, state
            time.sleep(0.1)

    # -- how it is made --------------------------------------------------------------------------
    def make(self) -> None:
        """Have it run. It is ended by ``kill``, whether this succeeds or not."""
        place, address = self._directory, self._address
        fsid = uuid.uuid4()
        monitors = f"[v2:{address}:{_PORTS[0]},v1:{address}:{_PORTS[1]}]"
        for name in ("mgr", "modules", "osd"):
            (place / name).mkdir()
        self._conf.write_text(_CONF.format(fsid=fsid, address=address, monitors=monitors,
                                           place=place, store=self._store))  # fmt: skip
        everything = ("mon", "allow *", "osd", "allow *", "mgr", "allow *")
        caps = {
            "mon.": ("mon", "allow *"),
            "client.admin": everything,
            "mgr.x": ("mon", "allow profile mgr", "osd", "allow *"),
            "osd.0": ("mon", "allow profile osd", "mgr", "allow profile osd", "osd", "allow *"),
        }
        keyring = place / "keyring"
        for name, pairs in caps.items():
            words = [word for kind, cap in zip(pairs[::2], pairs[1::2], strict=True)
                     for word in ("--cap", kind, cap)]  # fmt: skip
            new = () if keyring.exists() else ("--create-keyring",)
            self._run("ceph-authtool", *new, "--gen-key", "-n", name, *words, str(keyring))
        self._run("monmaptool", "--create", "--addv", "a", monitors, "--fsid", str(fsid),
                  str(place / "monmap"))  # fmt: skip
        self._run("ceph-mon", "-c", str(self._conf), "--mkfs", "-i", "a",
                  "--monmap", str(place / "monmap"), "--keyring", str(keyring))  # fmt: skip
        self._spawn("mon")
        osd = str(uuid.uuid4())
        self.ceph(f"osd new {osd}")
        self._run("ceph-osd", "-c", str(self._conf), "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._spawn("mgr")
        self._spawn("osd")
        self.await_ready()

    def _spawn(self, name: str) -> None:
        which = {"mon": "a", "mgr": "x", "osd": "0"}[name]
        # It must not outlive the tests, whatever ends them.
        with (self._directory / f"{name}.out").open("ab") as output:
            self._running[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig=KILL", f"ceph-{name}", "-f", "-c", str(self._conf),
                 "-i", which],
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    def _run(self, *argv: str) -> str:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_UP_S,
            check=False,
        )
        assert done.returncode == 0, f"{argv}: {done.stderr[-2000:]}"
        return done.stdout


@contextlib.contextmanager
def ceph_cluster(*, durable: bool = False) -> Iterator[CephCluster]:
    with tempfile.TemporaryDirectory(prefix="minicloud-ceph-") as directory:
        cluster = CephCluster(Path(directory), durable=durable)
        try:
            cluster.make()
            yield cluster
        finally:
            cluster.kill()


def _free_address() -> str:
    """One of 127.0.0.0/8 on which nobody has the monitors' ports."""
    while True:
        address = ".".join(["127", *(str(1 + secrets.randbelow(254)) for _ in range(3))])
        with contextlib.ExitStack() as stack:
            try:
                for port in _PORTS:
                    probe = stack.enter_context(socket.socket())
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind((address, port))
            except OSError:
                continue
            return address


_CONF = """\
[global]
fsid = {fsid}
mon_initial_members = a
mon_host = {monitors}
public_addr = {address}
cluster_addr = {address}
keyring = {place}/keyring
run_dir = {place}
admin_socket = {place}/$name.asok
log_file = {place}/$name.log
crash_dir =
auth_allow_insecure_global_id_reclaim = false
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 10000
[mon]
mon_data = {place}/mon
mon_data_avail_warn = 1
mon_data_avail_crit = 1
paxos_propose_interval = 0.1
paxos_min_wait = 0.02
mon_mgr_digest_period = 1
[mgr]
mgr_data = {place}/mgr
mgr_module_path = {place}/modules
mgr_initial_modules =
mgr_stats_period = 1
mgr_tick_period = 1
[osd]
osd_data = {place}/osd
osd_objectstore = {store}
memstore_device_bytes = 4294967296
bluestore_block_size = 8589934592
osd_memory_target = 939524096
osd_max_markdown_count = 1000
"""
