"""What hangs on a server's row: metadata, tags, addresses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minicloud.api.schemas.server_views import addresses
from minicloud.api.scope import check_unlocked, server_of
from minicloud.db import quotas, servers
from minicloud.domain.errors import Invalid, NotAllowed, NotFound, WrongState
from minicloud.domain.models import Server
from minicloud.domain.states import VmState
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Reply

_MOST_TAGS = 50
_WRITABLE = frozenset({VmState.ACTIVE, VmState.PAUSED, VmState.SUSPENDED, VmState.STOPPED})


class Metadata:
    """``limits``: the configured quota, of which metadata_items is asked."""

    def __init__(self, database: Database, limits: Mapping[str, int]) -> None:
        self._database = database
        self._limits = limits

    def index(self, call: Call) -> Any:
        return {"metadata": self._of(call).metadata}

    def show(self, call: Call) -> Any:
        key = call.params["key"]
        return {"meta": {key: _item(self._of(call), key)}}

    def add(self, call: Call) -> Any:
        """POST: the keys given, beside those there are."""
        given = call.body.metadata
        return {"metadata": self._write(call, lambda known: {**known, **given})}

    def replace(self, call: Call) -> Any:
        """PUT: the keys given and no other."""
        given = call.body.metadata
        return {"metadata": self._write(call, lambda _known: given)}

    def set_one(self, call: Call) -> Any:
        key, given = call.params["key"], call.body.meta
        if list(given) != [key]:
            raise Invalid(reason="Request body and URI mismatch")
        self._write(call, lambda known: {**known, **given})
        return {"meta": given}

    def delete_one(self, call: Call) -> Reply:
        key = call.params["key"]

        def without(known: Mapping[str, str]) -> Mapping[str, str]:
            if key not in known:
                raise NotFound(kind="Metadata item", id=key)
            return {name: value for name, value in known.items() if name != key}

        self._write(call, without)
        return Reply(status=204)

    def _of(self, call: Call) -> Server:
        with self._database.read() as tx:
            return server_of(tx, call)

    def _write(
        self, call: Call, change: Callable[[Mapping[str, str]], Mapping[str, str]]
    ) -> Mapping[str, str]:
        with self._database.write() as tx:
            server = server_of(tx, call, lock=True)
            check_unlocked(call.ctx, server)
            _check_writable(server, "update metadata")
            metadata = change(server.metadata)
            limits = quotas.quota_limits(
                tx, server.project_id, self._limits, user_id=call.ctx.user_id
            )
            allowed = limits["metadata_items"]
            if 0 <= allowed < len(metadata):
                raise NotAllowed(reason=f"Maximum number of metadata items exceeds {allowed}")
            servers.server_update(tx, server.id, metadata=metadata)
        return metadata


def _check_writable(server: Server, verb: str) -> None:
    """Raise WrongState unless the server's metadata and tags may be changed now."""
    if server.vm_state not in _WRITABLE:
        raise WrongState(
            verb=verb, id=server.id, attribute="vm_state", state=str(server.vm_state),
            allowed=sorted(map(str, _WRITABLE)),
        )  # fmt: skip


def _item(server: Server, key: str) -> str:
    try:
        return server.metadata[key]
    except KeyError:
        raise NotFound(kind="Metadata item", id=key) from None


class Tags:
    def __init__(self, database: Database) -> None:
        self._database = database

    def index(self, call: Call) -> Any:
        with self._database.read() as tx:
            return {"tags": server_of(tx, call).tags}

    def show(self, call: Call) -> Reply:
        with self._database.read() as tx:
            server = server_of(tx, call)
        _known_tag(server, call.params["tag"])
        return Reply(status=204)

    def replace(self, call: Call) -> Any:
        wanted = list(dict.fromkeys(call.body.tags))
        return {"tags": self._write(call, "update tags", lambda _server: wanted)}

    def add(self, call: Call) -> Reply:
        tag = call.params["tag"]
        if not 0 < len(tag) <= 60 or "," in tag or not tag.isprintable():
            raise Invalid(reason="Invalid input for field/attribute tag: 1 to 60 characters, "
                          "without comma and slash.")  # fmt: skip
        known = False

        def with_tag(server: Server) -> list[str]:
            nonlocal known
            known = tag in server.tags
            return [*server.tags] if known else [*server.tags, tag]

        self._write(call, "update tag", with_tag)
        href = f"{call.base_url}{call.path}"
        return Reply(status=204 if known else 201, headers={"Location": href})

    def delete_one(self, call: Call) -> Reply:
        tag = call.params["tag"]

        def without(server: Server) -> list[str]:
            _known_tag(server, tag)
            return [known for known in server.tags if known != tag]

        self._write(call, "delete tag", without)
        return Reply(status=204)

    def delete_all(self, call: Call) -> Reply:
        self._write(call, "delete tags", lambda _server: [])
        return Reply(status=204)

    def _write(self, call: Call, verb: str, change: Callable[[Server], list[str]]) -> list[str]:
        with self._database.write() as tx:
            server = server_of(tx, call, lock=True)
            _check_writable(server, verb)
            tags = change(server)
            if len(tags) > _MOST_TAGS:
                raise Invalid(reason=f"The number of tags exceeded the per-server limit "
                              f"{_MOST_TAGS}")  # fmt: skip
            servers.server_update(tx, server.id, tags=tags)
        return tags


def _known_tag(server: Server, tag: str) -> None:
    if tag not in server.tags:
        raise NotFound(kind=f"Tag of server {server.id}", id=tag)


class Addresses:
    """A server's addresses, from its row."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def ips(self, call: Call) -> Any:
        return {"addresses": _plain(self._of(call))}

    def ips_of_network(self, call: Call) -> Any:
        name = call.params["network"]
        found = _plain(self._of(call))
        if name not in found:
            raise NotFound(kind="Network name", id=name)
        return {name: found[name]}

    def _of(self, call: Call) -> Server:
        with self._database.read() as tx:
            return server_of(tx, call)


def _plain(server: Server) -> dict[str, list[dict[str, Any]]]:
    return {
        name: [{"version": a["version"], "addr": a["addr"]} for a in found]
        for name, found in addresses(server.nics).items()
    }
