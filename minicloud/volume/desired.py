"""Which exports the rows want: the one answer that requests and the periodic pass act upon."""

from __future__ import annotations

from collections.abc import Sequence

from minicloud.kit.db import Database
from minicloud.volume import store
from minicloud.volume.attachment_store import attachments_of_volumes, attachments_on
from minicloud.volume.backends import Backends
from minicloud.volume.exports import Export, Served
from minicloud.volume.records import Attachment, Volume
from minicloud.volume.states import AttachmentStatus

_SERVED = (AttachmentStatus.ATTACHING.value, AttachmentStatus.ATTACHED.value)


class DesiredExports:
    """``address``: where exports to other hosts listen; empty: there are none. ``peer``: the
    distinguished name of a host's certificate, with ``{host}`` for the name; empty: not asked.
    """

    def __init__(
        self, database: Database, backends: Backends, *, host: str, address: str, peer: str = ""
    ) -> None:
        self._database, self._backends = database, backends
        self._host, self._address, self._peer = host, address, peer

    def of(self, bytes_id: str) -> Served | None:
        """What should be served now of the volume whose bytes have that name; None: nothing."""
        with self._database.read() as tx:
            volume = store.volume_by_bytes(tx, bytes_id)
        return self._served(volume, volume.attachments) if volume is not None else None

    def bytes_id(self, volume_id: str) -> str:
        """What the volume's bytes are called."""
        with self._database.read() as tx:
            return store.name_of_bytes(tx, volume_id)

    def all(self) -> dict[str, list[Export]]:
        """Name of a volume's bytes -> its exports, for volumes of this host that are to be
        served.
        """
        with self._database.read() as tx:
            rows = attachments_on(tx, self._host)
            names = store.names_elsewhere(tx, self._host)
        found: dict[str, list[Export]] = {}
        for row in rows:
            for export in self._exports([row]):
                name = names.get(row.volume_id, row.volume_id)
                found.setdefault(name, []).append(export)
        return found

    def fence(self, bytes_id: str) -> None:
        """End the writing of those who have the volume open whose bytes have that name, all of
        whom are dead.
        """
        with self._database.read() as tx:
            volume = store.volume_by_bytes(tx, bytes_id)
        if volume is not None:
            self._backends.of(volume).fence(bytes_id)

    def attached(self) -> list[Volume]:
        """The volumes of this host with attachments."""
        with self._database.read() as tx:
            rows = attachments_on(tx, self._host)
            volumes = store.volumes_by_id(tx, {each.volume_id for each in rows})
        return list(volumes.values())

    def opener(self, volume_id: str) -> Attachment | None:
        """The attachment whose guest may have the volume's file open."""
        with self._database.read() as tx:
            rows = attachments_of_volumes(tx, [volume_id]).get(volume_id, [])
        return next((each for each in rows if each.opens_file), None)

    def is_remote(self, host: str) -> bool:
        """Whether a guest on ``host`` reaches its volume by TCP."""
        return host != self._host

    def _served(self, volume: Volume, attachments: Sequence[Attachment]) -> Served | None:
        exports = self._exports(attachments)
        if not exports:
            return None
        disk = self._backends.of(volume).disk(volume.bytes_id)
        return Served(volume_id=volume.bytes_id, disk=disk, exports=exports)

    def _exports(self, attachments: Sequence[Attachment]) -> list[Export]:
        return [
            Export(
                id=each.id,
                writable=each.mode != "ro",
                address=self._address if each.port is not None else "",
                port=each.port or 0,
                reconnects=bool((each.connector or {}).get("nbd_reconnect")),
                peer=self._peer.replace("{host}", each.host) if self._peer else "",
            )
            for each in attachments
            if each.status in _SERVED and not each.opens_file
        ]
