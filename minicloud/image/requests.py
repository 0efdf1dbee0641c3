"""What the handlers read out of requests: ids, page sizes, ranges, choices. Refusals are 400s."""

from __future__ import annotations

import re

from werkzeug.datastructures import MultiDict

from minicloud.domain.errors import Invalid, NotFound
from minicloud.image.uploads import Span
from minicloud.kit.web import Call

PAGE = 1000
"""Rows on a page at most, and where no limit is asked for."""

_ID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")
_GREATEST = 2**62


def image_id(call: Call) -> str:
    """The id in the path; what cannot be one is not found."""
    given = call.params["id"]
    if not _ID.fullmatch(given):
        raise NotFound(kind="Image", id=given)
    return given.lower()


def number(key: str, value: str) -> int:
    if value.isascii() and value.isdigit() and len(value) < 20 and int(value) <= _GREATEST:
        return int(value)
    raise Invalid(reason=f"{key} must be a whole number of 0 or more, not '{value[:64]}'.")


def page_size(query: MultiDict[str, str]) -> int:
    limit = query.get("limit")
    return PAGE if limit is None else min(PAGE, number("limit", limit))


def choice(key: str, value: str, choices: tuple[str, ...]) -> str:
    if value not in choices:
        words = ", ".join(one for one in choices if one)
        raise Invalid(reason=f"'{value[:64]}' is no {key}; use one of: {words}.")
    return value


def body_length(call: Call) -> int | None:
    """How many bytes the request brings; None for a chunked body that does not say."""
    declared = _bytes(call, "X-OpenStack-Image-Size")
    if "chunked" in call.headers.get("Transfer-Encoding", "").lower():
        return declared
    length = _bytes(call, "Content-Length") or 0
    if declared not in (None, length):
        raise Invalid(reason="X-OpenStack-Image-Size and Content-Length do not agree.")
    return length


def _bytes(call: Call, name: str) -> int | None:
    header = call.headers.get(name)
    if header is None:
        return None
    if not (header.isascii() and header.isdigit() and len(header) < 20):
        raise Invalid(reason=f"{name} must be a number of bytes.")
    return int(header)


def content_range(header: str) -> Span:
    """``bytes 0-99/200``, or ``*`` for a total that is not known yet."""
    match = _CONTENT_RANGE.fullmatch(header.strip())
    if match is not None:
        start, last = int(match[1]), int(match[2])
        total = None if match[3] == "*" else int(match[3])
        if start <= last and (total is None or last < total):
            return Span(start=start, length=last + 1 - start, total=total)
    raise Invalid(reason="Content-Range must be 'bytes FIRST-LAST/TOTAL', with * if unknown.")


def span(header: str, size: int) -> tuple[int, int] | None:
    """First byte and the one behind the last that a Range header asks for; None: it cannot be."""
    match = _RANGE.fullmatch(header.strip())
    if match is None or not (match[1] or match[2]):
        return None
    if not match[1]:  # the last so many bytes
        start, end = max(0, size - int(match[2])), size
    else:
        start = int(match[1])
        end = min(size, int(match[2]) + 1) if match[2] else size
    return (start, end) if start < end else None
