"""Tokens that open a console once: only their SHA-256 is kept, and not for long."""

from __future__ import annotations

import hashlib
import secrets

import msgspec
import sqlalchemy as sa

from minicloud.db.models import console_tokens as t
from minicloud.db.rows import record
from minicloud.domain.errors import NotFound
from minicloud.kit import clock
from minicloud.kit.db import Transaction

LIFETIME_S = 600.0
"""How long after it was made a token opens its console."""
_TOKEN_BYTES = 32


class ConsoleToken(msgspec.Struct, frozen=True, kw_only=True):
    """What a token opens. ``host``: where the server was when the token was made."""

    server_id: str
    host: str
    console_type: str
    created_at: float
    expires_at: float


def console_token_new(tx: Transaction, *, server_id: str, host: str, console_type: str) -> str:
    """A new token, which is nowhere kept as it is. Removes those that have expired."""
    now = clock.now()
    tx.execute(t.delete().where(t.c.expires_at <= now))
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    tx.execute(
        t.insert().values(
            token_hash=_hash(token),
            server_id=server_id,
            host=host,
            console_type=console_type,
            created_at=now,
            expires_at=now + LIFETIME_S,
        )
    )
    return token


def console_token_get(tx: Transaction, token: str) -> ConsoleToken:
    """What ``token`` opens. NotFound when it is unknown, used up or expired."""
    query = sa.select(t).where(t.c.token_hash == _hash(token), t.c.expires_at > clock.now())
    found = record(tx.execute(query), ConsoleToken)
    if found is None:
        raise _unknown()
    return found


def console_token_use(tx: Transaction, token: str) -> ConsoleToken:
    """What ``token`` opens, for this caller alone: it is gone afterwards. NotFound."""
    found = console_token_get(tx, token)
    if tx.execute(t.delete().where(t.c.token_hash == _hash(token))).rowcount != 1:
        raise _unknown()  # somebody else was quicker
    return found


def _hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def _unknown() -> NotFound:
    """Without the token: messages are logged."""
    return NotFound(kind="The console", id="of this token")
