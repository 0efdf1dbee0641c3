"""Errors for people: what went wrong, what to do, and the exit code of its kind."""

from __future__ import annotations

from minicloud.domain import errors


class ServerFailed(Exception):
    """A server went to ERROR while it was waited for."""


class TookTooLong(Exception):
    """Something was waited for longer than asked."""


class NoCredentials(Exception):
    """Nothing says which cloud to talk to."""


_CODES: tuple[tuple[type[Exception], int], ...] = (
    (NoCredentials, 3),
    (errors.Unauthenticated, 3),
    (errors.Forbidden, 3),
    (errors.NotFound, 4),
    (errors.Conflict, 5),
    (errors.NotAllowed, 5),
    (errors.Unavailable, 6),
    (ServerFailed, 7),
    (TookTooLong, 8),
)


def explain(problem: Exception) -> tuple[str, int]:
    """(sentence, exit code)"""
    code = next((code for kind, code in _CODES if isinstance(problem, kind)), 1)
    if isinstance(problem, errors.Unauthenticated):
        return "the cloud refused the credentials. Check clouds.yaml or OS_USERNAME/OS_PASSWORD.", 3
    if isinstance(problem, errors.Unavailable):
        return f"{problem.message}. Is the cloud up? 'minicloud doctor' looks.", code
    if isinstance(problem, (errors.MinicloudError, NoCredentials, ServerFailed, TookTooLong)):
        return str(problem), code
    if isinstance(problem, OSError):
        return f"{problem.strerror}: {problem.filename or ''}".rstrip(": "), code
    return f"{type(problem).__name__}: {problem} (--debug shows where)", code
