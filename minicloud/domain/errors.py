"""Every error a user or another daemon can see, as one class each.

A class carries a stable ``code``, the HTTP status it becomes, whether a retry may help, and a
sentence. An error is built from keyword facts only (JSON values), so it can cross RPC and REST
and be rebuilt on the other side. The message is always ``fmt.format(**facts)``, never ``str()``
of a foreign exception: that could carry a traceback or a secret.

How a service words an error on the wire (Nova's ``badRequest``, Neutron's ``NeutronError``) is
not decided here but in ``kit/web/dialects.py``.
"""

from __future__ import annotations

from typing import Any, ClassVar


class MinicloudError(Exception):
    """Base of all errors with a meaning for the caller."""

    code: ClassVar[str] = "internal"
    http: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    fmt: ClassVar[str] = "An internal error occurred."

    def __init__(self, **facts: Any) -> None:
        self.facts = facts
        # oslo.messaging rebuilds a remote exception from its ``args`` and ``kwargs``.
        self.kwargs = facts
        super().__init__()

    @property
    def message(self) -> str:
        return self.fmt.format(**self.facts)

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.facts))


def _rebuild(kind: type[MinicloudError], facts: dict[str, Any]) -> MinicloudError:
    return kind(**facts)


# -- 400: the request itself is wrong ------------------------------------------------------------
class Invalid(MinicloudError):
    """The request is wrong; ``reason`` says what and, where it can, what would be right."""

    code, http, fmt = "invalid", 400, "{reason}"


# -- 401, 403: who asks --------------------------------------------------------------------------
class Unauthenticated(MinicloudError):
    code, http = "unauthenticated", 401
    fmt = "The request you have made requires authentication."


class Forbidden(MinicloudError):
    code, http, fmt = "forbidden", 403, "Policy doesn't allow {action} to be performed."


class QuotaExceeded(MinicloudError):
    """``resource``: what ran out; ``requested``, ``used``, ``limit``: counts."""

    code, http = "quota_exceeded", 403
    fmt = (
        "Quota exceeded for {resource}: Requested {requested}, "
        "but already used {used} of {limit} {resource}"
    )


class NotAllowed(MinicloudError):
    """Known to the caller, but not for the caller to do (a protected image, say)."""

    code, http, fmt = "not_allowed", 403, "{reason}"


# -- 404, 410 ------------------------------------------------------------------------------------
class NotFound(MinicloudError):
    """``kind`` is the noun with a capital letter (Server), ``id`` what was asked for."""

    code, http, fmt = "not_found", 404, "{kind} {id} could not be found."


class NotAttached(NotFound):
    code, fmt = "not_attached", "Instance {instance} is not attached to volume {volume}"


class RouteNotFound(MinicloudError):
    code, http, fmt = "route_not_found", 404, "The resource could not be found."


class MethodNotAllowed(MinicloudError):
    code, http = "method_not_allowed", 405
    fmt = "The method is not allowed for this resource."


class NotAcceptable(MinicloudError):
    """A microversion out of range."""

    code, http, fmt = "not_acceptable", 406, "{reason}"


# -- 409: the state of things is in the way ------------------------------------------------------
class Conflict(MinicloudError):
    code, http, fmt = "conflict", 409, "{reason}"


class Exists(Conflict):
    code, fmt = "exists", "{kind} {id} already exists."


class InUse(Conflict):
    code, fmt = "in_use", "{kind} {id} is in use: {reason}"


class WrongState(Conflict):
    """``attribute`` is vm_state or task_state, ``state`` its value, ``allowed`` a list."""

    code = "wrong_state"
    fmt = "Cannot '{verb}' instance {id} while it is in {attribute} {state}"


class Locked(Conflict):
    code, fmt = "locked", "Instance {id} is locked"


class StaleOperation(Conflict):
    """The operation no longer owns its server: it was finished, cancelled or taken over."""

    code, fmt = "stale_operation", "Operation {id} no longer owns its server."


class NoAddressLeft(Conflict):
    code, fmt = "no_address_left", "No more IP addresses available on network {network_id}."


# -- 412 -----------------------------------------------------------------------------------------
class Gone(MinicloudError):
    """What OpenStack once had."""

    code, http, fmt = "gone", 410, "This resource is no longer available. {reason}"


class PreconditionFailed(MinicloudError):
    """What is to be changed is no longer as the request expects it."""

    code, http, fmt = "precondition_failed", 412, "{reason}"


# -- 413, 415 ------------------------------------------------------------------------------------
class TooLarge(MinicloudError):
    code, http, fmt = "too_large", 413, "{reason}"


class UnsupportedMediaType(MinicloudError):
    code, http, fmt = "unsupported_media_type", 415, "{reason}"


# -- placement and host --------------------------------------------------------------------------
class NoValidHost(MinicloudError):
    """No host passed every filter; ``verdicts`` is one sentence a host or filter."""

    code, http = "no_valid_host", 500
    fmt = "No valid host was found. {verdicts}"


class HostProblem(MinicloudError):
    """Something on the compute host failed; another host may do better."""

    code, http, retryable, fmt = "host_problem", 500, True, "{reason}"


class ImageUnacceptable(MinicloudError):
    """The image is not what it says, or refers to other files: no host will take it."""

    code, http, fmt = "image_unacceptable", 400, "Image {id} is unacceptable: {reason}"


# -- somebody else is away -----------------------------------------------------------------------
class Unavailable(MinicloudError):
    """``service`` does not answer; trying again may help."""

    code, http, retryable = "unavailable", 503, True
    fmt = "{service} is not reachable right now: {reason}"


class NotImplementedHere(MinicloudError):
    code, http, fmt = "not_implemented", 501, "{reason}"


class Remote(MinicloudError):
    """Another service's REST answer that has no class of ours: its status and its words."""

    code, http, fmt = "remote", 502, "{service} answered {status}: {reason}"


def rebuilt(code: str, facts: dict[str, Any]) -> MinicloudError:
    """The error of that stable code, with those facts."""
    return _rebuild(_BY_CODE.get(code, MinicloudError), facts)


def _all_below(kind: type[MinicloudError]) -> list[type[MinicloudError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in _all_below(child))]


_BY_CODE = {kind.code: kind for kind in _all_below(MinicloudError)}
