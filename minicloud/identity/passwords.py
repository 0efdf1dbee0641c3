"""Passwords: hashed by Argon2id, proved in the same time whoever asks.

Hashing takes tens of milliseconds and megabytes on purpose: never inside a transaction, and never
more at once than there are processors.
"""

from __future__ import annotations

import ctypes
import os
import secrets
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

_M_MMAP_THRESHOLD = -3
_LARGE = 4 * 1024 * 1024


class Passwords:
    """``memory_kib``, ``time_cost``: what a hash costs. Hashes of other costs stay valid."""

    def __init__(self, *, memory_kib: int, time_cost: int) -> None:
        self._hasher = PasswordHasher(
            time_cost=time_cost, memory_cost=memory_kib, parallelism=1, type=Type.ID
        )
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="password")
        # Compared with when there is no such user, so that the time does not tell.
        self._nobody = self.hash(secrets.token_urlsafe(32))

    def hash(self, password: str) -> str:
        return self._pool.submit(self._hasher.hash, password).result()

    def proves(self, hashed: str | None, password: str) -> bool:
        """Whether ``password`` is the one behind ``hashed``; None for an unknown user."""
        work = self._pool.submit(self._hasher.verify, hashed or self._nobody, password)
        try:
            return work.result() and hashed is not None
        except (VerificationError, InvalidHashError):
            return False

    def outdated(self, hashed: str) -> bool:
        """Whether it was made at another cost than today's."""
        return self._hasher.check_needs_rehash(hashed)


def return_memory() -> None:
    """Have the C library give a hash's memory back to the system when it is done.

    glibc otherwise learns to keep it, once for every thread that ever hashed: 60 MB and more for
    a daemon that hashes now and then. Costs a few milliseconds a hash. Other C libraries give it
    back anyway.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
