"""Which exports the rows want: the one answer that requests and the periodic pass act upon."""

from __future__ import annotations

from collections.abc import Sequence

from minicloud.kit.db import Database
from minicloud.volume.attachment_store import (
    attachment_get,
    attachments_of_volumes,
    attachments_on,
)
from minicloud.volume.backends.base import Backend
from minicloud.volume.exports import Export
from minicloud.volume.records import Attachment
from minicloud.volume.states import AttachmentStatus

_SERVED = (AttachmentStatus.ATTACHING.value, AttachmentStatus.ATTACHED.value)


class DesiredExports:
    """``address``: where exports to other hosts listen; empty: there are none."""

    def __init__(self, database: Database, backend: Backend, *, host: str, address: str) -> None:
        self._database, self._backend = database, backend
        self._host, self._address = host, address

    def of(self, attachment_id: str) -> Export | None:
        """What should be served for the attachment now; None: nothing."""
        with self._database.read() as tx:
            found = attachment_get(tx, attachment_id)
            if found is None:
                return None
            siblings = attachments_of_volumes(tx, [found.volume_id]).get(found.volume_id, [])
        now = next((each for each in siblings if each.id == attachment_id), None)
        return self._export(now, siblings) if now else None

    def all(self) -> dict[str, Export]:
        """Attachment id -> its export, for all volumes of this host."""
        with self._database.read() as tx:
            rows = attachments_on(tx, self._host)
        siblings: dict[str, list[Attachment]] = {}
        for row in rows:
            siblings.setdefault(row.volume_id, []).append(row)
        found = ((row.id, self._export(row, siblings[row.volume_id])) for row in rows)
        return {attachment_id: export for attachment_id, export in found if export}

    def is_remote(self, host: str) -> bool:
        """Whether a guest on ``host`` reaches its volume by TCP."""
        return host != self._host

    def _export(self, attachment: Attachment, siblings: Sequence[Attachment]) -> Export | None:
        if attachment.status not in _SERVED:
            return None
        oldest = next(each for each in siblings if each.status in _SERVED)
        return Export(
            id=attachment.id,
            path=self._backend.path(attachment.volume_id),
            address=self._address if attachment.port is not None else "",
            port=attachment.port or 0,
            shared=oldest.id != attachment.id,
        )
