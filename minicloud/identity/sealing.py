"""Secrets that identity needs again itself: sealed with the keys of ``credential_key_dir``.

Signatures by EC2 keys and by OAuth can only be checked with the secret, so a hash would not do.
"""

from __future__ import annotations

import sqlalchemy as sa

from minicloud.domain.errors import Unavailable
from minicloud.identity import models
from minicloud.identity.keys import Keys
from minicloud.kit.db import Database

_SEALED = (
    models.credential.c.sealed_blob,
    models.oauth_consumer.c.sealed_secret,
    models.oauth_request_token.c.sealed_secret,
    models.oauth_request_token.c.sealed_verifier,
    models.oauth_access_token.c.sealed_secret,
)
"""Every column that has some, or null. Each table has an ``id``."""


def opened(keys: Keys, id_: str, sealed: str) -> str:
    """The secret of the row ``id_``. Unavailable where no key opens it."""
    secret = keys.open(sealed)
    if secret is None:
        raise Unavailable(service="identity", reason=f"no key here opens the secret of {id_}")
    return secret.decode()


def reseal(database: Database, keys: Keys) -> int:
    """Seal every secret with the newest key; how many there are."""
    count = 0
    with database.write() as tx:
        for column in _SEALED:
            table = column.table
            query = sa.select(table.c.id, column).where(column.is_not(None))
            for id_, sealed in tx.execute(query).all():
                again = keys.seal(opened(keys, id_, sealed).encode())
                tx.execute(sa.update(table).where(table.c.id == id_).values({column.name: again}))
                count += 1
    return count
