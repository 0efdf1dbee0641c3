"""What guests read at 169.254.169.254: OpenStack's documents and EC2's tree.

Only the hosts' proxies may ask, and they say for which server: the id is signed with a secret
that they share with this service. Nothing that a guest sends is believed.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from typing import Any

from minicloud.api.lookups import Lookups
from minicloud.db import servers
from minicloud.domain.errors import (
    Conflict,
    Invalid,
    MinicloudError,
    NotAllowed,
    NotFound,
    RouteNotFound,
    Unauthenticated,
)
from minicloud.domain.metadata_docs import DATES, decoded_user_data, documents, ec2_tree
from minicloud.domain.models import Server
from minicloud.kit.context import Context
from minicloud.kit.db import Database
from minicloud.kit.policy import PUBLIC, Policy
from minicloud.kit.web import Call, Reply, Route, Service

LOG = logging.getLogger(__name__)
_EC2_VERSIONS = ("1.0", "2007-01-19", "2007-03-01", "2007-08-29", "2007-10-10", "2007-12-15",
                 "2008-02-01", "2008-09-01", "2009-04-04", "latest")  # fmt: skip
_OPENSTACK_VERSIONS = (*DATES, "latest")
_TEXT = "text/plain; charset=UTF-8"
_SEALED = "password"
_SEALED_PATH = "/openstack/{version}/password"
_SEALED_BYTES = 1020


class MetadataService:
    """``secret``: shared with the proxies; without one nobody is answered."""

    def __init__(self, database: Database, lookups: Lookups, *, secret: str) -> None:
        self._database = database
        self._lookups = lookups
        self._secret = secret.encode()
        if not secret:
            LOG.warning("[metadata] shared_secret is not set: guests get no metadata")

    def answer(self, call: Call) -> Reply:
        server = self._asking(call)
        words = [word for word in call.path.split("/") if word]
        if not words:
            return _text("\n".join((*_EC2_VERSIONS, "openstack")))
        if words[0] == "openstack":
            return self._openstack(server, words[1:])
        if words[0] in _EC2_VERSIONS:
            return _ec2(server, words[1:])
        raise RouteNotFound()

    def keep_password(self, call: Call) -> Reply:
        """Keep the password that a guest has made and sealed, once. Conflict, Invalid."""
        server = self._asking(call)
        if call.params["version"] not in _OPENSTACK_VERSIONS:
            raise RouteNotFound()
        try:
            sealed = call.stream.read(_SEALED_BYTES + 1).decode()
        except (OSError, ValueError):  # the guest went away, or this is no text
            raise Invalid(reason="The password must be sent as text.") from None
        if len(sealed.encode()) > _SEALED_BYTES:
            raise Invalid(reason="Request is too large.")
        if "\0" in sealed:
            raise Invalid(reason="The password must be sent as text.")
        with self._database.write() as tx:
            if not servers.guest_password_first(tx, server.id, sealed):
                raise Conflict(reason="There is a password already.")
        return _text("")

    def _asking(self, call: Call) -> Server:
        """The server that asks. NotAllowed without a true signature, NotFound.

        A host's proxy also says, signed along, at which address of which network it was asked:
        a server that is known not to be on that network is not the one.
        """
        server_id = call.headers.get("X-Instance-ID", "")
        self._check(server_id, call.headers.get("X-Instance-ID-Signature", ""))
        network_id = call.headers.get("X-Minicloud-Network-ID", "")
        address = call.headers.get("X-Forwarded-For", "")
        if network_id:
            place = f"{server_id}\n{network_id}\n{address}"
            self._check(place, call.headers.get("X-Minicloud-Place-Signature", ""))
        with self._database.read() as tx:
            server = servers.server_get(tx, server_id)
        if network_id and server.nics and network_id not in {n.network_id for n in server.nics}:
            LOG.warning("Server %s is not on network %s", server_id, network_id)
            raise NotFound(kind="Server", id=server_id)
        return server

    def _check(self, text: str, signature: str) -> None:
        right = hmac.new(self._secret, text.encode(), hashlib.sha256).hexdigest()
        if not self._secret or not hmac.compare_digest(right.encode(), signature.encode()):
            raise NotAllowed(reason="Invalid proxy request signature.")

    def _openstack(self, server: Server, words: list[str]) -> Reply:
        if not words:
            return _text("\n".join(_OPENSTACK_VERSIONS))
        if words[0] not in _OPENSTACK_VERSIONS or len(words) > 2:
            raise RouteNotFound()
        if words[1:] == [_SEALED]:
            with self._database.read() as tx:
                return _text(servers.guest_password_get(tx, server.id))
        wants_networks = words[1:] == ["network_data.json"]
        networks = [nic.network_id for nic in server.nics] if wants_networks else []
        found = {
            path.removeprefix("openstack/latest/"): content
            for path, content in documents(server, mtus=self._lookups.mtus(networks)).items()
            if path.startswith("openstack/latest/")
        }
        if len(words) == 1:
            return _text("\n".join(sorted((*found, _SEALED))))
        content = found.get(words[1])
        if content is None:
            raise RouteNotFound()
        kind = "application/json" if words[1].endswith(".json") else "application/octet-stream"
        return Reply(body=content, headers={"Content-Type": kind})


def _ec2(server: Server, words: list[str]) -> Reply:
    user_data = decoded_user_data(server)
    if not words:
        return _text("meta-data/" if user_data is None else "meta-data/\nuser-data")
    if words == ["user-data"] and user_data is not None:
        return Reply(body=user_data, headers={"Content-Type": "application/octet-stream"})
    if words[0] != "meta-data":
        raise RouteNotFound()
    node: Any = ec2_tree(server)
    for word in words[1:]:
        if not isinstance(node, dict) or word not in node or word == "_name":
            raise RouteNotFound()
        node = node[word]
    return _text(_listing(node) if isinstance(node, dict) else str(node))


def _listing(node: dict[str, Any]) -> str:
    lines = []
    for name, value in sorted(node.items()):
        if isinstance(value, dict):
            lines.append(value.get("_name", f"{name}/"))
        elif name != "_name":
            lines.append(name)
    return "\n".join(lines)


def _text(words: str) -> Reply:
    return Reply(body=words.encode(), headers={"Content-Type": _TEXT})


def _plain(error: MinicloudError, _accept: str) -> tuple[int, bytes, dict[str, str]]:
    """Errors as one line of text: guests read no JSON here."""
    return error.http, f"{error.http} {error.message}\n".encode(), {"Content-Type": _TEXT}


def _nobody(_headers: Any, _timings: dict[str, float], _request_id: str) -> Context:
    raise Unauthenticated()  # never asked: every row is public, signatures are checked instead


def metadata_service(service: MetadataService, policy: Policy) -> Service:
    return Service(
        name="metadata",
        routes=[
            *(
                Route(method="GET", path=path, handler=service.answer, policy=PUBLIC,
                      summary="What a server is told about itself.")
                for path in ("/", "/{path:path}")
            ),
            Route(method="GET", path=_SEALED_PATH, handler=service.answer, policy=PUBLIC,
                  summary="What a server said its password is."),
            Route(method="POST", path=_SEALED_PATH, handler=service.keep_password,
                  policy=PUBLIC, raw=True, summary="Say what the password is, sealed."),
        ],
        policy=policy,
        dialect=_plain,
        authenticate=_nobody,
        document_path="",
    )  # fmt: skip
