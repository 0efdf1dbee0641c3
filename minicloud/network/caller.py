"""Who asks, as the services need to know it: what they see and what policy lets them do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from minicloud.domain.errors import Invalid, PreconditionFailed
from minicloud.network.records import Standard


class Check(Protocol):
    def __call__(self, action: str, target: Mapping[str, Any] | None = None) -> None:
        """Raise Forbidden unless policy allows ``action`` on ``target``."""


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """One request's caller. ``check`` asks policy and raises Forbidden."""

    project_id: str
    sees_all: bool
    """An administrator, or a service acting for itself."""
    is_privileged: bool
    """The same, or a service that passes a user's request on: it sees bindings."""
    check: Check
    revision: int | None = None
    """What the request may change must have this revision; None: any."""

    def may_change(self, action: str, record: Standard, owner: str | None = None) -> None:
        """Raise unless policy allows ``action`` on what is the record's project's, or ``owner``'s,
        and the record is as the request expects it.

        Forbidden, PreconditionFailed.
        """
        self.check(action, {"project_id": owner or record.project_id})
        if self.revision not in (None, record.revision_number):
            raise PreconditionFailed(
                type="RevisionNumberConstraintFailed",
                reason=f"Constrained to {self.revision}, but current revision is "
                f"{record.revision_number}",
            )

    def owner_of(self, project_id: str | None, action: str) -> str:
        """The project that a new resource belongs to: ``project_id`` or the caller's own.

        Forbidden where policy does not let the caller do ``action`` for that project.
        """
        owner = project_id or self.project_id
        if not owner:
            raise Invalid(reason="The token is not scoped to a project: name a project_id.")
        self.check(action, {"project_id": owner})
        return owner
