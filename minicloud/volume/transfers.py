"""Transfers: a volume offered to whoever has its key, once.

The key is shown when the offer is made and never kept: the row has its hash.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

import sqlalchemy as sa

from minicloud.domain.errors import Invalid, NotFound
from minicloud.domain.ids import is_uuid, new_id
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.volume import listing, snapshot_store, store
from minicloud.volume.access import sees_all
from minicloud.volume.attachment_store import values_of
from minicloud.volume.listing import Listing
from minicloud.volume.models import snapshots, transfers, volumes
from minicloud.volume.quotas import Quotas
from minicloud.volume.records import Transfer
from minicloud.volume.service import VolumeService
from minicloud.volume.states import SnapshotStatus


class TransferService:
    def __init__(self, database: Database, quotas: Quotas, volumes: VolumeService) -> None:
        self._database, self._quotas, self._volumes = database, quotas, volumes

    def select(self, asked: Listing) -> list[Transfer]:
        with self._database.read() as tx:
            query = listing.page(tx, asked)
            return [Transfer(**values_of(row)) for row in tx.execute(query).mappings()]

    def get(self, ctx: Context, transfer_id: str, *, any_project: bool = False) -> Transfer:
        """NotFound also for another project's, unless ``any_project``: who was told of an offer
        asks what it is.
        """
        with self._database.read() as tx:
            return self._found(tx, ctx, transfer_id, any_project=any_project)

    def create(
        self, ctx: Context, volume_id: str, name: str, *, no_snapshots: bool
    ) -> tuple[Transfer, str]:
        """Offer the volume: (the offer, its key). Invalid: the volume is not available."""
        key = secrets.token_hex(16)
        salt = secrets.token_hex(8)
        with self._database.write() as tx:
            volume = self._volumes.held(tx, ctx, volume_id)
            left = snapshot_store.snapshots_of(tx, volume_id)
            if left and no_snapshots:
                raise Invalid(
                    reason=f"Invalid volume: Volume {volume_id} has snapshots; they go with it "
                    "unless they are deleted."
                )
            if any(each.status != SnapshotStatus.AVAILABLE.value for each in left):
                raise Invalid(
                    reason=f"Invalid snapshot: a snapshot of volume {volume_id} is not available."
                )
            self._volumes.move(tx, volume, "offer")
            made = Transfer(
                id=new_id(),
                volume_id=volume_id,
                project_id=volume.project_id,
                name=name,
                salt=salt,
                key_hash=_hash(salt, key),
                no_snapshots=no_snapshots,
                created_at=clock.now(),
            )
            tx.execute(
                transfers.insert().values(
                    {field: getattr(made, field) for field in made.__struct_fields__}
                )
            )
        return made, key

    def accept(self, ctx: Context, project_id: str, transfer_id: str, key: str) -> Transfer:
        """Take the volume into the project. Invalid: the key is another; QuotaExceeded."""
        with self._database.write() as tx:
            offer = self._found(tx, ctx, transfer_id, any_project=True)
            if not hmac.compare_digest(_hash(offer.salt, key), offer.key_hash):
                raise Invalid(
                    reason=f"Invalid auth key: Attempt to transfer {transfer_id} with invalid auth "
                    "key."
                )
            store.volume_lock(tx, offer.volume_id)
            volume = store.volume_get(tx, offer.volume_id)
            if volume is None:
                raise NotFound(kind="Volume", id=offer.volume_id)
            left = snapshot_store.snapshots_of(tx, volume.id)
            self._quotas.admit(
                tx,
                project_id,
                volumes=1,
                gigabytes=volume.size_gb + sum(each.size_gb for each in left),
                size_gb=volume.size_gb,
                snapshots=len(left),
            )
            values = {"project_id": project_id, "user_id": ctx.user_id}
            self._volumes.move(tx, volume, "withdraw", values)
            tx.execute(snapshots.update().where(snapshots.c.volume_id == volume.id).values(values))
            tx.execute(transfers.delete().where(transfers.c.id == transfer_id))
        return offer

    def delete(self, ctx: Context, transfer_id: str) -> None:
        """Take the offer back."""
        with self._database.write() as tx:
            offer = self._found(tx, ctx, transfer_id)
            store.volume_move(tx, offer.volume_id, "withdraw", clock.now())
            tx.execute(transfers.delete().where(transfers.c.id == transfer_id))

    def _found(
        self, tx: Transaction, ctx: Context, transfer_id: str, *, any_project: bool = False
    ) -> Transfer:
        row = None
        if is_uuid(transfer_id):
            query = sa.select(transfers).join(volumes).where(transfers.c.id == transfer_id)
            row = tx.execute(query).mappings().one_or_none()
        if row is None or not (any_project or sees_all(ctx) or row["project_id"] == ctx.project_id):
            raise NotFound(kind="Transfer", id=transfer_id)
        return Transfer(**values_of(row))


def _hash(salt: str, key: str) -> str:
    # The key has 128 random bits: nobody guesses it, however fast the hash.
    return hashlib.sha256(f"{salt}{key}".encode()).hexdigest()
