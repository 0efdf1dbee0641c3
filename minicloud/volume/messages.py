"""What went wrong with a thing after its request was answered, told to its project.

A message is the one way a user learns why a volume is in error; it goes after a month.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from minicloud.domain.errors import MinicloudError, NotFound
from minicloud.domain.ids import is_uuid, new_id
from minicloud.kit import clock, context
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.volume import listing
from minicloud.volume.access import is_visible
from minicloud.volume.attachment_store import values_of
from minicloud.volume.listing import Listing
from minicloud.volume.models import messages
from minicloud.volume.records import Message
from minicloud.volume.views import MESSAGES_KEPT_S

_EVENTS = {"VOLUME": "VOLUME_VOLUME_001_001", "VOLUME_SNAPSHOT": "VOLUME_VOLUME_SNAPSHOT_009_001",
           "VOLUME_BACKUP": "VOLUME_VOLUME_BACKUP_013_001"}  # fmt: skip


def add(
    tx: Transaction, project_id: str, resource_type: str, resource_id: str, problem: MinicloudError
) -> None:
    ctx = context.current()
    tx.execute(
        messages.insert().values(
            id=new_id(),
            project_id=project_id,
            request_id=ctx.request_id if ctx else "",
            resource_type=resource_type,
            resource_id=resource_id,
            event_id=_EVENTS[resource_type],
            text=problem.message[:1000],
            created_at=clock.now(),
        )
    )


class MessageService:
    def __init__(self, database: Database) -> None:
        self._database = database

    def select(self, asked: Listing) -> list[Message]:
        with self._database.read() as tx:
            return _records(tx, listing.page(tx, asked))

    def get(self, ctx: Context, message_id: str) -> Message:
        with self._database.read() as tx:
            return self._visible(tx, ctx, message_id)

    def delete(self, ctx: Context, message_id: str) -> None:
        with self._database.write() as tx:
            self._visible(tx, ctx, message_id)
            tx.execute(messages.delete().where(messages.c.id == message_id))

    def forget_old(self) -> None:
        with self._database.write() as tx:
            tx.execute(
                messages.delete().where(messages.c.created_at < clock.now() - MESSAGES_KEPT_S)
            )

    def _visible(self, tx: Transaction, ctx: Context, message_id: str) -> Message:
        found: list[Message] = []
        if is_uuid(message_id):
            found = _records(tx, sa.select(messages).where(messages.c.id == message_id))
        if not found or not is_visible(ctx, found[0].project_id):
            raise NotFound(kind="Message", id=message_id)
        return found[0]


def _records(tx: Transaction, query: sa.Select[Any]) -> list[Message]:
    return [Message(**values_of(row)) for row in tx.execute(query).mappings()]
