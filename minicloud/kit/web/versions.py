"""Microversions: negotiation, and the conversions between the newest shape and older ones.

Only the newest version has logic. A request of an older version goes up, its reply comes down;
handlers never see a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from werkzeug.datastructures import Headers

from minicloud.domain.errors import Invalid, NotAcceptable

Version = tuple[int, int]
Json = dict[str, Any]
Conversion = tuple[Version, Callable[[Json], Json]]
"""(version, function): the function is applied when the request's version is older."""

_NUMBER = re.compile(r"^([1-9]\d*)\.(0|[1-9]\d*)$")


def text(version: Version) -> str:
    return f"{version[0]}.{version[1]}"


class Versions(msgspec.Struct, frozen=True, kw_only=True):
    """What a service speaks. ``service_type`` is the word in ``OpenStack-API-Version``."""

    service_type: str
    lowest: Version
    newest: Version
    legacy_header: str = ""
    """The header from before, with the bare number: ``X-OpenStack-Nova-API-Version``."""

    def negotiate(self, headers: Headers) -> Version:
        """The version the request asks for; the lowest where it asks for none."""
        asked = ""
        for part in headers.get("OpenStack-API-Version", "").split(","):
            words = part.split()
            if len(words) == 2 and words[0].lower() == self.service_type:
                asked = words[1]
        if not asked and self.legacy_header:
            asked = headers.get(self.legacy_header, "").strip()
        if not asked:
            return self.lowest
        if asked.lower() == "latest":
            return self.newest
        match = _NUMBER.match(asked)
        if match is None:
            raise Invalid(
                reason=f"API Version String {asked} is of invalid format. "
                "Must be of format MajorNum.MinorNum."
            )
        version = (int(match[1]), int(match[2]))
        if not self.lowest <= version <= self.newest:
            raise NotAcceptable(
                reason=f"Version {asked} is not supported by the API. "
                f"Minimum is {text(self.lowest)} and maximum is {text(self.newest)}."
            )
        return version

    def reply_headers(self, version: Version | None) -> dict[str, str]:
        names = ["OpenStack-API-Version"] + ([self.legacy_header] if self.legacy_header else [])
        headers = {"Vary": ", ".join(names)}
        if version is not None:
            headers["OpenStack-API-Version"] = f"{self.service_type} {text(version)}"
            if self.legacy_header:
                headers[self.legacy_header] = text(version)
        return headers


def down(body: Json, version: Version | None, conversions: Sequence[Conversion]) -> Json:
    """``body`` as ``version`` shows it; ``conversions`` are ordered newest first."""
    if version is not None:
        for since, convert in conversions:
            if version < since:
                body = convert(body)
    return body
