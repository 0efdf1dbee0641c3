"""Key pairs: public halves only; a private key is answered once and never kept."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import sqlalchemy as sa

from minicloud.db.models import keypairs as t
from minicloud.db.rows import record, records
from minicloud.domain.errors import Exists, NotFound
from minicloud.domain.models import Keypair
from minicloud.kit.db import Transaction


def keypair_list(tx: Transaction, user_id: str) -> Sequence[Keypair]:
    query = sa.select(t).where(t.c.user_id == user_id).order_by(t.c.name)
    return records(tx.execute(query), Keypair)


def keypair_get(tx: Transaction, user_id: str, name: str) -> Keypair:
    query = sa.select(t).where(t.c.user_id == user_id, t.c.name == name)
    keypair = record(tx.execute(query), Keypair)
    if keypair is None:
        raise NotFound(kind="Keypair", id=name)
    return keypair


def keypair_insert(tx: Transaction, keypair: Keypair) -> None:
    try:
        with tx.begin_nested():
            tx.execute(t.insert().values(msgspec.to_builtins(keypair)))
    except sa.exc.IntegrityError:
        raise Exists(kind="Key pair", id=keypair.name) from None


def keypair_delete(tx: Transaction, user_id: str, name: str) -> None:
    gone = tx.execute(t.delete().where(t.c.user_id == user_id, t.c.name == name))
    if gone.rowcount == 0:
        raise NotFound(kind="Keypair", id=name)
