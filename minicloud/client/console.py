"""Console tokens over REST, as the console proxy needs them.

Speaks the OpenStack compute API and nothing of ours. A token must not get into an error's words:
they are logged.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

import msgspec

from minicloud.client.identity import ServiceSession
from minicloud.client.rest import Answer, RestClient
from minicloud.domain.errors import NotFound, Unauthenticated

_VERSION = "compute 2.31"


class Console(msgspec.Struct, frozen=True, kw_only=True):
    """A door to a guest's console, opened by the guest's host for one connection."""

    server_id: str
    host: str
    port: int
    key: str
    """A secret of the host's, and the fingerprint of its certificate."""

    def __repr__(self) -> str:
        return f"Console({self.server_id} at {self.host}:{self.port})"


class ConsoleClient:
    """Asks with the service's own token, which uses the console's token up."""

    def __init__(self, session: ServiceSession) -> None:
        self._session = session
        self._rest = RestClient(
            "compute",
            lambda: session.endpoint("compute"),
            self._headers,
            session=session.http,
        )

    def console_open(self, token: str) -> Console:
        """What ``token`` opens, this once. NotFound, Unavailable and others of a RestClient."""
        path = f"/os-console-auth-tokens/{quote(token, safe='')}"
        try:
            found = self._get(path).json["console"]
        except NotFound:
            raise NotFound(kind="The console", id="of this token") from None
        return Console(
            server_id=found["instance_uuid"],
            host=found["host"],
            port=int(found["port"]),
            key=found["internal_access_path"] or "",
        )

    def _get(self, path: str) -> Answer:
        try:
            return self._rest.get(path)
        except Unauthenticated:
            self._session.forget()  # identity was set up anew, or lost its keys
            return self._rest.get(path)

    def _headers(self) -> Mapping[str, str]:
        return {"X-Auth-Token": self._session.token(), "OpenStack-API-Version": _VERSION}
