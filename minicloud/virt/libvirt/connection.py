"""The only door to libvirt: one shared connection that outlives its daemon.

Every call reconnects where the daemon has been restarted, repeats itself at most once for that,
and turns libvirt's errors into ``HostProblem`` with words a person can act on. All calls are
therefore written so that running twice does no harm. Many threads may call at once.

Nothing here knows what a server is for or when to give up: that is ``driver.py``.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, TypeVar

import libvirt

from minicloud.domain.errors import Conflict, HostProblem
from minicloud.domain.ids import domain_name
from minicloud.domain.states import Power
from minicloud.virt.libvirt import serial, xml

LOG = logging.getLogger(__name__)

LifecycleCallback = Callable[[str, Power], None]
_T = TypeVar("_T")

_SLOW_CALLS = 4
"""libvirtd serves five requests of one client at a time and reads no keepalive beyond them: one
place stays free for the quick ones."""
_KEEPALIVE_S, _KEEPALIVE_COUNT = 5, 3
_RETRY_PAUSE_S = 0.05
_JOB_LOOK_S = 0.1
"""Between two looks at a job in the background."""
_MESSAGE_LIMIT = 400

_EVENT_POWER = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: Power.RUNNING,
    libvirt.VIR_DOMAIN_EVENT_RESUMED: Power.RUNNING,
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: Power.PAUSED,
    libvirt.VIR_DOMAIN_EVENT_STOPPED: Power.SHUTDOWN,
    libvirt.VIR_DOMAIN_EVENT_CRASHED: Power.CRASHED,
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: Power.SUSPENDED,
}

_ADVICE = {
    libvirt.VIR_ERR_AUTH_FAILED: "let this user use libvirt (group libvirt) or run as root",
    libvirt.VIR_ERR_AUTH_CANCELLED: "let this user use libvirt (group libvirt) or run as root",
    libvirt.VIR_ERR_NO_CONNECT: "check the URI and that its libvirt driver is installed",
    libvirt.VIR_ERR_OPERATION_TIMEOUT: "another job holds the domain; see virsh domjobinfo",
    libvirt.VIR_ERR_NO_MEMORY: "free some memory on the host",
}

_UNPLUGGING = "already in the process of unplug"
"""libvirt has no code for QEMU's answer to a second request either."""
_AGENT_AWAY = (libvirt.VIR_ERR_AGENT_UNRESPONSIVE, libvirt.VIR_ERR_AGENT_UNSYNCED)
_AGENT_S = 10

_HINTS = {
    "specified dev doesn't exist": "a TAP of this server has not been made; host networking has to "
    "come first",
    "Unknown driver 'rbd'": "install QEMU's driver of Ceph: apt install qemu-block-extra",
}
"""What libvirt has no code for."""


class RawDomain(NamedTuple):
    """A domain as libvirt knows it, ours or a stranger's."""

    uuid: str
    name: str
    power: Power
    owner: str
    """The server id in our metadata; "" where the domain is not ours."""

    @property
    def ours(self) -> bool:
        return self.owner == self.uuid


class Connection:
    """A connection to the libvirt at ``uri``, opened by the first call.

    A daemon that went away is waited for up to ``patience_s`` seconds, counted from when its
    absence was noticed, so that a restart fails no operation.
    """

    def __init__(self, uri: str, *, patience_s: float = 5.0) -> None:
        self._uri = uri
        self._patience_s = patience_s
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._slow = threading.BoundedSemaphore(_SLOW_CALLS)
        self._changes = threading.Condition()
        self._change_count = 0
        self._refusals: set[tuple[str, str]] = set()
        self._callbacks: list[LifecycleCallback] = []
        self._connection: Any = None
        self._wait_until = 0.0

    # -- facts -----------------------------------------------------------------------------------
    def hypervisor_version(self) -> int:
        return int(self._run("read its version", lambda c: c.getVersion()))

    def cpu_count(self) -> int:
        return int(self._run("count the CPUs", lambda c: c.getInfo()[2]))

    def capabilities(self) -> str:
        return str(self._run("read the capabilities", lambda c: c.getCapabilities()))

    def domains(self) -> list[RawDomain]:
        """All domains of this host; strangers too."""

        def read(connection: Any) -> list[RawDomain]:
            stats = connection.getAllDomainStats(
                libvirt.VIR_DOMAIN_STATS_STATE, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
            )
            found = []
            for domain, facts in stats:
                uuid, name = domain.UUIDString(), domain.name()
                # Asking for metadata is a round trip: only those that can be ours.
                owner = _owner(domain) if name == domain_name(uuid) else ""
                found.append(RawDomain(uuid, name, xml.power_of(facts["state.state"]), owner))
            return found

        return self._run("list the domains", read)

    def find(self, uuid: str) -> RawDomain | None:
        def read(connection: Any) -> RawDomain:
            domain = connection.lookupByUUIDString(uuid)
            power = xml.power_of(domain.state()[0])
            return RawDomain(uuid, domain.name(), power, _owner(domain))

        return self._run(f"look up domain {uuid}", _absent_as_none(read))

    def live_definition(self, uuid: str) -> str | None:
        """The XML of a domain that runs, with what it was given at its start; else None."""

        def read(connection: Any) -> str | None:
            domain = connection.lookupByUUIDString(uuid)
            return str(domain.XMLDesc()) if domain.isActive() else None

        return self._run(f"read domain {uuid}", _absent_as_none(read))

    def stored_definition(self, uuid: str) -> str | None:
        """The XML that a domain is started with next time; None where there is no domain."""

        def read(connection: Any) -> str:
            domain = connection.lookupByUUIDString(uuid)
            return str(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

        return self._run(f"read domain {uuid}", _absent_as_none(read))

    def stats(self, uuid: str) -> dict[str, Any] | None:
        """All that libvirt counts of a domain that runs, by libvirt's names; else None."""

        def read(connection: Any) -> dict[str, Any] | None:
            domain = connection.lookupByUUIDString(uuid)
            if not domain.isActive():
                return None
            [(_, facts)] = connection.domainListGetStats(
                [domain], 0, libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
            )
            return dict(facts)

        return self._run(f"read what domain {uuid} uses", _absent_as_none(read))

    def open_serial(self, uuid: str) -> socket.socket | None:
        """The serial console of a domain that runs, taken from whoever had it; else None."""
        return serial.open_console(self._uri, uuid)

    # -- actions, each fine to repeat ------------------------------------------------------------
    def define(self, definition: str) -> None:
        self._run("define a domain", lambda c: c.defineXML(definition))

    def start(self, uuid: str) -> None:
        """Boot the guest from its disks; a saved state is thrown away. Running is fine."""

        def act(connection: Any) -> None:
            domain = connection.lookupByUUIDString(uuid)
            try:
                if domain.hasManagedSaveImage():
                    domain.managedSaveRemove()
                domain.create()
            except libvirt.libvirtError:
                if not domain.isActive():
                    raise

        self._run(f"start domain {uuid}", act, slow=True)

    def resume(self, uuid: str) -> None:
        self._on_domain("resume", uuid, lambda d: d.resume())

    def pause(self, uuid: str) -> None:
        self._on_domain("pause", uuid, lambda d: d.suspend())

    def save(self, uuid: str) -> None:
        """Write the guest's memory to a file and cut the guest off."""
        self._on_domain("save", uuid, lambda d: d.managedSave(), slow=True)

    def is_saved(self, uuid: str) -> bool:
        def read(connection: Any) -> bool:
            return bool(connection.lookupByUUIDString(uuid).hasManagedSaveImage())

        return bool(self._run(f"look up domain {uuid}", _absent_as_none(read)))

    def restore(self, uuid: str) -> None:
        """Let a saved guest go on. Running is fine."""
        self._on_domain("restore", uuid, lambda d: d.create(), slow=True)

    def copy_disk(self, uuid: str, backup: str) -> None:
        """Run the backup job ``backup`` (libvirt's XML) to its end.

        A job that a call which was cut short left behind is ended first.
        """

        def act(connection: Any) -> None:
            domain = connection.lookupByUUIDString(uuid)
            if domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
                domain.abortJob()
            domain.backupBegin(backup, None, 0)
            while domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
                if self._closing.wait(_JOB_LOOK_S):
                    raise HostProblem(reason="minicloud-compute is being stopped")
            ended = domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
            if not ended.get("success", True):
                why = ended.get("errmsg", "see libvirtd's log")
                raise HostProblem(reason=f"the disk of domain {uuid} could not be copied: {why}")

        self._run(f"copy a disk of domain {uuid}", act, slow=True)

    def wake(self, uuid: str) -> None:
        """End a suspension that the guest asked for itself."""
        self._on_domain("wake", uuid, lambda d: d.pMWakeup())

    def request_shutdown(self, uuid: str) -> None:
        """Ask the guest to go off; whether it listens is not known. No domain is fine."""
        busy = (libvirt.VIR_ERR_OPERATION_TIMEOUT, libvirt.VIR_ERR_AGENT_UNRESPONSIVE)
        self._on_domain("shut down", uuid, lambda d: d.shutdown(), fine=busy)

    def destroy(self, uuid: str) -> None:
        """Cut the guest off. No domain or one that is off is fine."""
        self._on_domain("cut off", uuid, lambda d: d.destroy(), slow=True)

    def undefine(self, uuid: str) -> None:
        """Forget the definition and all libvirt keeps with it. No domain is fine."""
        basic = (
            libvirt.VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | libvirt.VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
        )
        thorough = (
            basic
            | libvirt.VIR_DOMAIN_UNDEFINE_NVRAM
            | libvirt.VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA
        )

        def act(domain: Any) -> None:
            try:
                domain.undefineFlags(thorough)
            except libvirt.libvirtError as error:
                # Hypervisors without NVRAM or checkpoints refuse their flags.
                if error.get_error_code() != libvirt.VIR_ERR_INVALID_ARG:
                    raise
                domain.undefineFlags(basic)

        self._on_domain("undefine", uuid, act)

    def act(self, verb: str, uuid: str, work: Callable[[Any], _T]) -> _T:
        """What ``work`` makes of a domain; it may take long, and may be done twice."""
        return self._run(
            f"{verb} domain {uuid}", lambda c: work(c.lookupByUUIDString(uuid)), slow=True
        )

    # -- devices -----------------------------------------------------------------------------------
    def attach(
        self, uuid: str, element: str, is_there: Callable[[str], bool], *, live: bool
    ) -> None:
        """Give a device to the guest (``live``), or to the definition it is started with.

        Nothing is done where ``is_there`` of the definition is true. No domain, and for a live
        device one that is off, is fine.
        """
        look = 0 if live else libvirt.VIR_DOMAIN_XML_INACTIVE
        where = libvirt.VIR_DOMAIN_AFFECT_LIVE if live else libvirt.VIR_DOMAIN_AFFECT_CONFIG

        def act(domain: Any) -> None:
            if not is_there(domain.XMLDesc(look)):
                domain.attachDeviceFlags(element, where)

        self._on_domain("attach a device to", uuid, act, slow=True)

    def request_release(self, uuid: str, alias: str) -> None:
        """Ask the guest to let a device go; whether it does comes as an event. Gone is fine."""

        def act(domain: Any) -> None:
            try:
                domain.detachDeviceAlias(alias, libvirt.VIR_DOMAIN_AFFECT_LIVE)
            except libvirt.libvirtError as error:
                if _UNPLUGGING not in _message(error):
                    raise

        with self._changes:
            self._refusals.discard((uuid, alias))
        gone = (libvirt.VIR_ERR_DEVICE_MISSING,)
        self._on_domain("detach a device of", uuid, act, fine=gone, slow=True)

    def has_refused(self, uuid: str, alias: str) -> bool:
        """Whether the guest has said no since it was last asked to let the device go."""
        with self._changes:
            return (uuid, alias) in self._refusals

    def forget_device(self, uuid: str, element: str) -> None:
        """Take a device out of the definition that the domain is started with. Gone is fine."""

        def act(domain: Any) -> None:
            domain.detachDeviceFlags(element, libvirt.VIR_DOMAIN_AFFECT_CONFIG)

        gone = (libvirt.VIR_ERR_DEVICE_MISSING, libvirt.VIR_ERR_OPERATION_FAILED)
        self._on_domain("detach a device of", uuid, act, fine=gone)

    def resize_disk(self, uuid: str, target: str, size_bytes: int) -> None:
        """Tell the guest the new size of a disk. Off is fine."""

        def act(domain: Any) -> None:
            domain.blockResize(target, size_bytes, libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES)

        self._on_domain("resize a disk of", uuid, act)

    def overlay_disk(self, uuid: str, overlay: str) -> None:
        """Have a domain that runs go on in files that are there: ``overlay`` is libvirt's XML.
        All of it or nothing; not to be repeated.
        """
        flags = (
            libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_REUSE_EXT
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_NO_METADATA
            | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_ATOMIC
        )

        def act(connection: Any) -> None:
            connection.lookupByUUIDString(uuid).snapshotCreateXML(overlay, flags)

        self._run(f"move a disk of domain {uuid}", act, slow=True)

    def ask_qemu(self, uuid: str, command: str, arguments: dict[str, Any]) -> Any:
        """What QEMU returns to a command of its own protocol. HostProblem where it refuses."""
        import libvirt_qemu

        def ask(connection: Any) -> Any:
            words = json.dumps({"execute": command, "arguments": arguments})
            domain = connection.lookupByUUIDString(uuid)
            return json.loads(libvirt_qemu.qemuMonitorCommand(domain, words, 0))

        answer = self._run(f"have QEMU do {command} in domain {uuid}", ask)
        if "error" in answer:
            raise HostProblem(reason=f"QEMU refuses {command}: {answer['error'].get('desc')}")
        return answer["return"]

    def inject_nmi(self, uuid: str) -> None:
        self._run(f"interrupt domain {uuid}", lambda c: c.lookupByUUIDString(uuid).injectNMI(0))

    def set_password(self, uuid: str, user: str, password: str) -> None:
        """By the guest's agent. Conflict where that does not answer or cannot."""

        def act(connection: Any) -> None:
            domain = connection.lookupByUUIDString(uuid)
            try:
                domain.agentSetResponseTimeout(_AGENT_S, 0)
                domain.setUserPassword(user, password, 0)
            except libvirt.libvirtError as error:
                if error.get_error_code() in _AGENT_AWAY:
                    raise Conflict(
                        reason="the guest's agent does not answer: is qemu-guest-agent running?"
                    ) from None
                if not _alive(connection):
                    raise
                raise Conflict(reason=f"the guest's agent refused: {_message(error)}") from None

        self._run(f"set a password in domain {uuid}", act, slow=True)

    # -- events ----------------------------------------------------------------------------------
    def on_lifecycle(self, callback: LifecycleCallback) -> None:
        """Call ``callback(server_id, power)`` when one of our domains changes its power.

        It runs in libvirt's event thread: it must only enqueue, and never call libvirt. Events
        of the time without a connection are lost: whichever call opens one subscribes.
        """
        self._callbacks.append(callback)

    def changes(self) -> int:
        """How many events have come, of power and of devices; for ``wait_for_change``."""
        with self._changes:
            return self._change_count

    def wait_for_change(self, seen: int, timeout_s: float) -> None:
        """Return when more than ``seen`` events have come, or after ``timeout_s`` seconds."""
        with self._changes:
            self._changes.wait_for(lambda: self._change_count > seen, timeout_s)

    def close(self) -> None:
        self._closing.set()
        with self._lock:
            self._drop()

    def run(self, action: str, work: Callable[[Any], _T]) -> _T:
        """``work`` with libvirt's own connection, which may be called twice; ``action``: what it
        does, for people. HostProblem.
        """
        return self._run(action, work)

    # -- inside ----------------------------------------------------------------------------------
    def _on_domain(
        self,
        verb: str,
        uuid: str,
        act: Callable[[Any], object],
        *,
        fine: Collection[int] = (),
        slow: bool = False,
    ) -> None:
        """``act`` on the domain, where its absence or being off already is what was wanted."""

        def attempt(connection: Any) -> None:
            try:
                act(connection.lookupByUUIDString(uuid))
            except libvirt.libvirtError as error:
                code = error.get_error_code()
                if code != libvirt.VIR_ERR_OPERATION_INVALID and code not in fine:
                    raise
                LOG.debug("Domain %s: %s had no effect: %s", uuid, verb, error)

        self._run(f"{verb} domain {uuid}", _absent_as_none(attempt), slow=slow)

    def _run(self, action: str, work: Callable[[Any], _T], *, slow: bool = False) -> _T:
        """``work`` with a live connection, once more where that was lost meanwhile."""
        limit: AbstractContextManager[object] = self._slow if slow else nullcontext()
        with limit:
            for last in (False, True):
                connection = self._live()
                try:
                    return work(connection)
                except libvirt.libvirtError as error:
                    if last or _alive(connection):
                        raise _problem(action, error) from error
                    LOG.warning("Lost the connection to libvirt: %s", error)
        raise AssertionError("the second attempt returns or raises")

    def _live(self) -> Any:
        with self._lock:
            if self._connection is not None:
                if _alive(self._connection):
                    return self._connection
                self._drop()
                self._wait_until = time.monotonic() + self._patience_s
            while True:
                try:
                    self._connection = self._open()
                except libvirt.libvirtError as error:
                    if time.monotonic() >= self._wait_until or self._closing.is_set():
                        raise _unreachable(self._uri, error) from error
                    self._closing.wait(_RETRY_PAUSE_S)
                else:
                    return self._connection

    def _open(self) -> Any:
        _start_event_loop()
        connection = libvirt.open(self._uri)
        try:
            connection.setKeepAlive(_KEEPALIVE_S, _KEEPALIVE_COUNT)
        except libvirt.libvirtError as error:
            # A hypervisor inside this process (test:///) has no connection to keep alive.
            if error.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                raise
        for event, callback in (
            (libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE, self._lifecycle),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, self._device_removed),
            (libvirt.VIR_DOMAIN_EVENT_ID_DEVICE_REMOVAL_FAILED, self._device_refused),
        ):
            connection.domainEventRegisterAny(None, event, callback, None)
        return connection

    def _drop(self) -> None:
        """Forget the connection; the caller holds the lock."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            connection.close()
        except libvirt.libvirtError as error:
            LOG.debug("Closing a dead connection: %s", error)

    def _lifecycle(self, _connection: Any, domain: Any, event: int, *_: Any) -> None:
        """Runs in the event thread."""
        power = _EVENT_POWER.get(event)
        uuid = domain.UUIDString()
        if power is None or domain.name() != domain_name(uuid):
            return
        self._note_change()
        for callback in tuple(self._callbacks):
            callback(uuid, power)

    def _device_removed(self, _connection: Any, _domain: Any, _alias: str, *_: Any) -> None:
        """Runs in the event thread."""
        self._note_change()

    def _device_refused(self, _connection: Any, domain: Any, alias: str, *_: Any) -> None:
        """Runs in the event thread."""
        with self._changes:
            self._refusals.add((domain.UUIDString(), alias))
        self._note_change()

    def _note_change(self) -> None:
        with self._changes:
            self._change_count += 1
            self._changes.notify_all()


# -- libvirt's event loop is one per process -----------------------------------------------------
_loop_lock = threading.Lock()
_loop_thread: threading.Thread | None = None


def _start_event_loop() -> None:
    """Start the thread that runs libvirt's event loop; it has to exist before a connection."""
    global _loop_thread
    with _loop_lock:
        if _loop_thread is not None:
            return
        # Errors are raised as well; libvirt would print each of them on stderr.
        libvirt.registerErrorHandler(lambda _context, _error: None, None)
        libvirt.virEventRegisterDefaultImpl()
        _loop_thread = threading.Thread(target=_run_events, name="libvirt-events", daemon=True)
        _loop_thread.start()


def _run_events() -> None:
    while True:
        try:
            libvirt.virEventRunDefaultImpl()
        except libvirt.libvirtError:
            LOG.exception("libvirt's event loop failed; it goes on")
            time.sleep(1)  # nothing can be waited for: this loop is what would tell


def _absent_as_none(work: Callable[[Any], _T]) -> Callable[[Any], _T | None]:
    """``work``, answering None where the domain does not exist."""

    def attempt(connection: Any) -> _T | None:
        try:
            return work(connection)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN:
                raise
            return None

    return attempt


# -- words ---------------------------------------------------------------------------------------
def _alive(connection: Any) -> bool:
    try:
        return bool(connection.isAlive())
    except libvirt.libvirtError:
        return False


def _owner(domain: Any) -> str:
    try:
        return xml.owned_server_id(
            domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, xml.NAMESPACE)
        )
    except libvirt.libvirtError as error:
        gone = (libvirt.VIR_ERR_NO_DOMAIN_METADATA, libvirt.VIR_ERR_NO_DOMAIN)
        if error.get_error_code() in gone:
            return ""
        raise


def _message(error: libvirt.libvirtError) -> str:
    """libvirt's words on one line: QEMU's standard error may come along in them."""
    return " ".join((error.get_error_message() or str(error)).split())[:_MESSAGE_LIMIT]


def _problem(action: str, error: libvirt.libvirtError) -> HostProblem:
    message = _message(error)
    advice = _ADVICE.get(error.get_error_code())
    advice = next((hint for words, hint in _HINTS.items() if words in str(error)), advice)
    hint = f" ({advice})" if advice else ""
    return HostProblem(reason=f"libvirt could not {action}: {message}{hint}")


def _unreachable(uri: str, error: libvirt.libvirtError) -> HostProblem:
    advice = _ADVICE.get(error.get_error_code(), "start libvirtd, or see why it does not run")
    return HostProblem(reason=f"libvirt at {uri} cannot be reached: {_message(error)} ({advice})")
