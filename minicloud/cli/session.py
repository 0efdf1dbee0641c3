"""A signed-in conversation with a cloud: one token, one connection a service."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import click

from minicloud.cli import clouds
from minicloud.domain.errors import Conflict, NotFound, Unavailable

if TYPE_CHECKING:
    from minicloud.client.rest import RestClient

_COMPUTE_VERSION = {"OpenStack-API-Version": "compute 2.96"}
_SHORT_ID = re.compile(r"[0-9a-f]{6,}[0-9a-f-]*")
_WHOLE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
Thing = dict[str, Any]
"""A server, image, flavor and so on, as its service shows it."""


class Cloud:
    """The cloud called ``name`` in clouds.yaml; ``timeout_s``: seconds an answer may take."""

    def __init__(self, name: str | None, *, timeout_s: float = 30.0) -> None:
        # Loaded here, so that showing help and completing words go without HTTP.
        from minicloud.client.rest import new_session

        self._auth = clouds.find(name)
        self._http = new_session()
        self._timeout_s = timeout_s

    @cached_property
    def _token(self) -> tuple[str, Mapping[str, Any]]:
        answer = self._rest("identity", self._identity_url(), {}).post(
            "/auth/tokens", {"auth": self._credentials()}
        )
        return answer.headers["X-Subject-Token"], answer.json["token"]

    def _credentials(self) -> dict[str, Any]:
        auth = self._auth
        domain = _reference(auth, "user_domain", {"id": "default"})
        if auth.get("token"):
            identity: dict[str, Any] = {"methods": ["token"], "token": {"id": auth["token"]}}
        else:
            user = {"name": auth["username"], "password": auth["password"], "domain": domain}
            identity = {"methods": ["password"], "password": {"user": user}}
        if auth.get("project_id"):
            return {"identity": identity, "scope": {"project": {"id": auth["project_id"]}}}
        if auth.get("project_name"):
            project_domain = _reference(auth, "project_domain", domain)
            project = {"name": auth["project_name"], "domain": project_domain}
            return {"identity": identity, "scope": {"project": project}}
        return {"identity": identity}

    def _identity_url(self) -> str:
        url = str(self._auth["auth_url"]).rstrip("/")
        return url if url.endswith("/v3") else f"{url}/v3"

    def _endpoint(self, *types: str) -> str:
        wanted = self._auth.get("region_name")
        for entry in self._token[1].get("catalog", ()):
            if entry["type"] in types:
                for endpoint in entry["endpoints"]:
                    if endpoint["interface"] == self._auth.get("interface", "public") and (
                        not wanted or endpoint["region"] == wanted
                    ):
                        return str(endpoint["url"]).rstrip("/")
        raise Unavailable(service=types[0], reason="the cloud's catalog does not have it")

    def _client(self, service: str, suffix: str, *types: str, **headers: str) -> RestClient:
        url = self._endpoint(*types) + suffix
        return self._rest(service, url, {"X-Auth-Token": self._token[0], **headers})

    def _rest(self, service: str, url: str, headers: Mapping[str, str]) -> RestClient:
        from minicloud.client.rest import RestClient

        return RestClient(
            service, lambda: url, lambda: headers, session=self._http, timeout_s=self._timeout_s
        )

    @cached_property
    def compute(self) -> RestClient:
        return self._client("compute", "", "compute", **_COMPUTE_VERSION)

    @cached_property
    def image(self) -> RestClient:
        return self._client("image", "/v2", "image")

    @cached_property
    def network(self) -> RestClient:
        return self._client("network", "/v2.0", "network")

    @cached_property
    def volume(self) -> RestClient:
        return self._client("volume", "", "block-storage", "volumev3")

    # -- things ----------------------------------------------------------------------------------
    def servers(self, **query: Any) -> list[Thing]:
        """All servers, in full."""
        return everything(self.compute, "/servers/detail", "servers", **query)

    def images(self) -> list[Thing]:
        return everything(self.image, "/images", "images")

    def flavors(self) -> list[Thing]:
        return everything(self.compute, "/flavors/detail", "flavors")

    def networks(self) -> list[Thing]:
        return everything(self.network, "/networks", "networks")

    def volumes(self) -> list[Thing]:
        return everything(self.volume, "/volumes/detail", "volumes")

    def keys(self) -> list[Thing]:
        """The user's key pairs."""
        answer = self.compute.get("/os-keypairs").json
        return [item["keypair"] for item in answer["keypairs"]]

    def server(self, name: str, among: Sequence[Thing] | None = None) -> Thing:
        """The server that ``name`` means, in full. NotFound, Conflict.

        ``among``: the project's servers, where the caller has them already. An administrator's
        whole id may mean another project's server.
        """
        try:
            return pick(self.servers() if among is None else among, name, "server")
        except NotFound:
            if not _WHOLE_ID.fullmatch(name):
                raise
        found: Thing = self.compute.get(f"/servers/{name}").json["server"]
        return found


def everything(client: RestClient, path: str, key: str, **query: Any) -> list[Thing]:
    """Every page of a list."""
    found: list[Thing] = []
    while True:
        body = client.get(path, **query).json
        page: list[Thing] = body[key]
        found += page
        links = body.get(f"{key}_links", ())
        more = body.get("next") or any(link["rel"] == "next" for link in links)
        if not page or not more:
            return found
        query["marker"] = page[-1]["id"]


def pick(things: Sequence[Thing], name: str, noun: str) -> Thing:
    """The one whose id or name is ``name``, or else whose id begins so (six characters or more).

    NotFound, or Conflict where several are meant.
    """
    for thing in things:
        if str(thing.get("id")) == name:
            return thing
    meant = [thing for thing in things if thing.get("name") == name]
    how = f"named {name}"
    if not meant and _SHORT_ID.fullmatch(name):
        meant = [thing for thing in things if str(thing.get("id")).startswith(name)]
        how = f"meant by {name}"
    if len(meant) == 1:
        return meant[0]
    if meant:
        ids = ", ".join(str(thing["id"]) for thing in meant[:3])
        raise Conflict(reason=f"{len(meant)} {noun}s are {how}; use an id: {ids}")
    raise NotFound(kind=noun.capitalize(), id=name)


def _reference(auth: Mapping[str, Any], key: str, default: dict[str, str]) -> dict[str, str]:
    if auth.get(f"{key}_id"):
        return {"id": auth[f"{key}_id"]}
    if auth.get(f"{key}_name"):
        return {"name": auth[f"{key}_name"]}
    return default


def cloud() -> Cloud:
    """The cloud that the command line names."""
    return Cloud(click.get_current_context().find_root().params["cloud"])
