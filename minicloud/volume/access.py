"""Whose volumes a caller may see and act on: the one place for these three questions."""

from __future__ import annotations

import re

from minicloud.domain.errors import Invalid
from minicloud.kit.context import Context

_PROJECT = re.compile(r"^[A-Za-z0-9_-]{1,64}\Z")


def checked_project(project_id: str) -> str:
    """``project_id`` where it can be one. Invalid."""
    if not _PROJECT.match(project_id):
        raise Invalid(reason="This is no project id.")
    return project_id


def sees_all(ctx: Context) -> bool:
    """Whether every project's volumes exist for the caller: an administrator or a service on its
    own account. A service that passes a user's request on sees what the user sees: else a user
    could reach a foreign volume through it.
    """
    return ctx.is_admin or "service" in ctx.roles


def is_visible(ctx: Context, project_id: str) -> bool:
    return project_id == ctx.project_id or sees_all(ctx)


def project_of(ctx: Context, in_url: str | None) -> str:
    """The project a request is about: the token's, as a rule. An administrator, or a service on
    its own account, may name another in the URL. A service that passes a user's request on may
    have its own project there, from its catalog; the request is still the user's.
    """
    if in_url is not None and in_url != ctx.project_id:
        if not (ctx.is_admin or ctx.is_service) or not _PROJECT.match(in_url):
            raise Invalid(reason="Malformed request url")
        if sees_all(ctx) and "service" not in ctx.service_roles:
            return in_url
    if not ctx.project_id:
        raise Invalid(reason="The token is not scoped to a project.")
    return ctx.project_id
