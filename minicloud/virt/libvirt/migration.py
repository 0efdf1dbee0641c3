"""Guests that move to another host while they run, by libvirt's own hand, peer to peer.

libvirt and QEMU speak over Unix sockets, of which the other ends are wherever somebody carries the
streams. A migration has connections to libvirt of its own: it may last for hours, and must not be
begun again because a connection was lost.
"""

from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import libvirt
import msgspec

from minicloud.domain.errors import HostProblem
from minicloud.domain.states import Power
from minicloud.virt.driver import DomainSpec, Steer, Ways
from minicloud.virt.libvirt import migration_xml as xml
from minicloud.virt.libvirt.connection import Connection, RawDomain

LOG = logging.getLogger(__name__)
_LOOK_S = 0.3
"""Between two looks at a migration."""
_AWAY_S = 60.0
"""How long a libvirtd that dies in the middle is waited for."""
_PAUSE_S = 0.5
_SOCKETS = ("/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock")
_DAEMON, _GUEST = "libvirt", ("memory", "disks")
"""Streams of libvirt's daemons, and of the guest's QEMU."""
_COUNTS = ("memory_total", "memory_processed", "memory_remaining", "disk_total",
           "disk_processed", "disk_remaining")  # fmt: skip
_FLAGS = (
    libvirt.VIR_MIGRATE_LIVE
    | libvirt.VIR_MIGRATE_PEER2PEER
    | libvirt.VIR_MIGRATE_PERSIST_DEST
    | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    | libvirt.VIR_MIGRATE_AUTO_CONVERGE
)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where the sockets are."""

    directory: Path = Path("/run/minicloud/migrations")
    """One of its own below it for each server; the same on every host."""
    inside: str = ""
    """The same directory as libvirt names it, where that lives elsewhere; empty: as we do."""


class Migrations:
    """Of the libvirt at ``uri``, to which ``connection`` is."""

    def __init__(self, uri: str, connection: Connection, place: Place) -> None:
        self._uri, self._connection, self._place = uri, connection, place

    def ways_in(self, server_id: str) -> Ways:
        directory = self._place.directory / server_id
        names = {_DAEMON: self._own_socket()}
        return self._ways(directory, names | {n: directory / n for n in _GUEST}, made_by_guest=True)

    def ways_out(self, server_id: str) -> Ways:
        directory = self._place.directory / server_id
        names = {name: directory / name for name in (_DAEMON, *_GUEST)}
        return self._ways(directory, names, made_by_guest=False)

    def forget_ways(self, server_id: str) -> None:
        shutil.rmtree(self._place.directory / server_id, ignore_errors=True)

    def migrate(self, spec: DomainSpec, *, whole: bool, paused: bool, steer: Steer) -> None:
        uuid = spec.server_id
        with self._opened() as connection:
            try:
                domain = connection.lookupByUUIDString(uuid)
                if not domain.isActive():
                    raise HostProblem(reason=f"the guest of server {uuid} does not run")
                self._end_job(domain)
                if domain.state()[0] == libvirt.VIR_DOMAIN_PAUSED and not paused:
                    return  # as an earlier migration left it
                parameters, flags = self._how(domain, spec, whole)
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                    return  # it has gone before
                raise _failed(uuid, error) from error
            journey = _Journey(domain, f"qemu+unix:///system?socket={self._inside(uuid)}/libvirt",
                               parameters, flags)  # fmt: skip
            problem = journey.watch(steer)
        if problem is not None and self._is_here(uuid, paused):
            raise _failed(uuid, problem) from problem

    def has_come(self, uuid: str) -> bool:
        """Whether all of the guest's memory is here: only then the domain is one for good.
        HostProblem: libvirt does not say.
        """
        with self._opened() as connection:
            try:
                return bool(connection.lookupByUUIDString(uuid).isPersistent())
            except libvirt.libvirtError as error:
                if error.get_error_code() == libvirt.VIR_ERR_NO_DOMAIN:
                    return False
                raise HostProblem(reason=f"libvirt does not tell of {uuid}: {error}") from error

    def end_job(self, uuid: str) -> None:
        """No migration of the guest is under way any more."""
        with self._opened() as connection, suppress(libvirt.libvirtError):
            self._end_job(connection.lookupByUUIDString(uuid))

    # -- inside ----------------------------------------------------------------------------------
    def _how(self, domain: Any, spec: DomainSpec, whole: bool) -> tuple[dict[str, Any], int]:
        inside = self._inside(spec.server_id)
        live = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE | libvirt.VIR_DOMAIN_XML_SECURE)
        stored = domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE | libvirt.VIR_DOMAIN_XML_SECURE)
        parameters: dict[str, Any] = {
            libvirt.VIR_MIGRATE_PARAM_URI: f"unix://{inside}/memory",
            libvirt.VIR_MIGRATE_PARAM_DEST_XML: xml.as_there(live, spec),
            libvirt.VIR_MIGRATE_PARAM_PERSIST_XML: xml.as_there(stored, spec),
        }
        disks = xml.filled_disks(spec)
        if not disks:
            return parameters, _FLAGS
        parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = disks
        parameters[libvirt.VIR_MIGRATE_PARAM_DISKS_URI] = f"unix://{inside}/disks"
        if whole:
            return parameters, _FLAGS | libvirt.VIR_MIGRATE_NON_SHARED_DISK
        return parameters, _FLAGS | libvirt.VIR_MIGRATE_NON_SHARED_INC

    def _is_here(self, uuid: str, was_paused: bool) -> bool:
        """Whether a guest whose migration failed is here for sure.

        One that stands still, and did not before, may run there: the word of it was lost.
        """
        give_up_at = time.monotonic() + _AWAY_S
        while True:
            try:
                domain: RawDomain | None = self._connection.find(uuid)
                break
            except HostProblem:
                if time.monotonic() > give_up_at:
                    raise
            time.sleep(_PAUSE_S)  # nothing tells when a daemon is back
        if domain is None:
            return False
        return was_paused or domain.power is not Power.PAUSED

    def _end_job(self, domain: Any) -> None:
        give_up_at = time.monotonic() + _AWAY_S
        while domain.jobInfo()[0] != libvirt.VIR_DOMAIN_JOB_NONE:
            with suppress(libvirt.libvirtError):
                domain.abortJob()
            if time.monotonic() > give_up_at:
                raise HostProblem(reason="an earlier migration of the guest does not end")
            time.sleep(_PAUSE_S)

    def _ways(self, directory: Path, sockets: dict[str, Path], *, made_by_guest: bool) -> Ways:
        owner = xml.qemu_owner(self._connection.capabilities())
        try:
            shutil.rmtree(directory, ignore_errors=True)
            directory.parent.mkdir(parents=True, exist_ok=True, mode=0o711)
            directory.mkdir(mode=0o700)
            if made_by_guest:
                os.chown(directory, owner.uid, owner.gid)
            else:
                # Whoever may change the directory could put another socket in the daemon's place.
                os.chown(directory, -1, owner.gid)
                directory.chmod(0o710)
        except OSError as error:
            raise HostProblem(
                reason=f"the directory {directory} cannot be made: {error.strerror}"
            ) from error
        return Ways(sockets=sockets, uid=owner.uid, gid=owner.gid, daemons=frozenset({_DAEMON}))

    def _inside(self, server_id: str) -> str:
        return f"{self._place.inside or self._place.directory}/{server_id}"

    def _own_socket(self) -> Path:
        """Where libvirt itself listens."""
        named = parse_qs(urlsplit(self._uri).query).get("socket")
        candidates = [Path(text) for text in (named or _SOCKETS)]
        return next((path for path in candidates if path.exists()), candidates[-1])

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        try:
            connection = libvirt.open(self._uri)
        except libvirt.libvirtError as error:
            raise HostProblem(reason=f"libvirt does not open a connection: {error}") from error
        try:
            yield connection
        finally:
            with suppress(libvirt.libvirtError):
                connection.close()


class _Journey:
    """One call to libvirt, which lasts as long as the migration, watched by who began it."""

    def __init__(self, domain: Any, uri: str, parameters: dict[str, Any], flags: int) -> None:
        self._domain, self._uri = domain, uri
        self._parameters, self._flags = parameters, flags
        self._problem: libvirt.libvirtError | None = None
        self._paused = False

    def watch(self, steer: Steer) -> libvirt.libvirtError | None:
        """Returns when the call has: None where it succeeded."""
        call = threading.Thread(target=self._call, name="migration", daemon=True)
        call.start()
        while call.is_alive():
            call.join(_LOOK_S)
            wish = steer(self._progress()) if call.is_alive() else ""
            # Refused while the migration is at its very beginning or end.
            with suppress(libvirt.libvirtError):
                if wish == "abort":
                    self._domain.abortJob()
                elif wish == "pause" and not self._paused:
                    self._domain.suspend()
                    self._paused = True
        return self._problem

    def _call(self) -> None:
        try:
            self._domain.migrateToURI3(self._uri, self._parameters, self._flags)
        except libvirt.libvirtError as error:
            self._problem = error

    def _progress(self) -> dict[str, int]:
        try:
            stats = self._domain.jobStats()
        except libvirt.libvirtError:
            return {}
        return {f"{name}_bytes": int(stats[name]) for name in _COUNTS if name in stats}


def _failed(uuid: str, error: libvirt.libvirtError) -> HostProblem:
    if error.get_error_code() == libvirt.VIR_ERR_OPERATION_ABORTED:
        return HostProblem(reason="the migration was aborted")
    words = " ".join((error.get_error_message() or str(error)).split())[:400]
    return HostProblem(reason=f"the guest of server {uuid} could not be moved: {words}")
