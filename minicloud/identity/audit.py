"""The audit log: one line for each attempt to get a token, good or not, and why not.

The client is told nothing of the reason; the operator finds it here, by the request id that the
client was told. The lines go through the logger ``minicloud.audit`` and carry no secret.
"""

from __future__ import annotations

import logging

import msgspec

from minicloud.domain.errors import Unauthenticated

AUDIT = logging.getLogger("minicloud.audit")


class Refused(Unauthenticated):
    """No token. ``why`` is for the audit log alone; ``user_id`` where the user is known."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody shows and asks for, as far as it may be told."""

    peer: str
    """The address it came from."""
    methods: str
    claimed: str
    """Who the client says that it is."""
    scope: str


def granted(attempt: Attempt, user_id: str, audit_id: str) -> None:
    AUDIT.info(
        "Authenticated user %s by %s from %s for %s, audit id %s",
        user_id, attempt.methods, attempt.peer, attempt.scope, audit_id,
    )  # fmt: skip


def refused(attempt: Attempt, problem: Unauthenticated) -> None:
    AUDIT.warning(
        "Refused %s by %s from %s for %s: %s",
        problem.facts.get("user_id") or attempt.claimed, attempt.methods, attempt.peer,
        attempt.scope, problem.facts.get("why", "no reason recorded"),
    )  # fmt: skip
