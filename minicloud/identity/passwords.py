"""Passwords: hashed by Argon2id, proved in the same time whoever asks.

Hashing takes tens of milliseconds on purpose: never inside a transaction.
"""

from __future__ import annotations

import secrets

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError


class Passwords:
    """``memory_kib``, ``time_cost``: what a hash costs. Hashes of other costs stay valid."""

    def __init__(self, *, memory_kib: int, time_cost: int) -> None:
        self._hasher = PasswordHasher(
            time_cost=time_cost, memory_cost=memory_kib, parallelism=1, type=Type.ID
        )
        # Compared with when there is no such user, so that the time does not tell.
        self._nobody = self.hash(secrets.token_urlsafe(32))

    def hash(self, password: str) -> str:
        return self._hasher.hash(password)

    def proves(self, hashed: str | None, password: str) -> bool:
        """Whether ``password`` is the one behind ``hashed``; None for an unknown user."""
        try:
            return self._hasher.verify(hashed or self._nobody, password) and hashed is not None
        except (VerificationError, InvalidHashError):
            return False

    def outdated(self, hashed: str) -> bool:
        """Whether it was made at another cost than today's."""
        return self._hasher.check_needs_rehash(hashed)
