"""A signed-in conversation with a cloud: one token, one connection a service."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import click

from minicloud.cli import clouds
from minicloud.client.rest import Answer, RestClient, new_session
from minicloud.domain.errors import Conflict, NotFound, Unavailable

_COMPUTE_VERSION = {"OpenStack-API-Version": "compute 2.96"}


class Cloud:
    def __init__(self, name: str | None) -> None:
        self._auth = clouds.find(name)
        self._http = new_session()

    @cached_property
    def _token(self) -> tuple[str, Mapping[str, Any]]:
        auth = self._auth
        domain = _reference(auth, "user_domain", {"id": "default"})
        scope: dict[str, Any] | None = None
        if auth.get("project_id"):
            scope = {"project": {"id": auth["project_id"]}}
        elif auth.get("project_name"):
            project_domain = _reference(auth, "project_domain", domain)
            scope = {"project": {"name": auth["project_name"], "domain": project_domain}}
        if auth.get("token"):
            identity: dict[str, Any] = {"methods": ["token"], "token": {"id": auth["token"]}}
        else:
            user = {"name": auth["username"], "password": auth["password"], "domain": domain}
            identity = {"methods": ["password"], "password": {"user": user}}
        body: dict[str, Any] = {"auth": {"identity": identity}}
        if scope:
            body["auth"]["scope"] = scope
        client = RestClient("identity", self._identity_url, dict, session=self._http)
        answer = client.post("/auth/tokens", body)
        return answer.headers["X-Subject-Token"], answer.json["token"]

    def _identity_url(self) -> str:
        url = str(self._auth["auth_url"]).rstrip("/")
        return url if url.endswith("/v3") else f"{url}/v3"

    @property
    def user_id(self) -> str:
        return str(self._token[1]["user"]["id"])

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
        return RestClient(
            service,
            lambda: self._endpoint(*types) + suffix,
            lambda: {"X-Auth-Token": self._token[0], **headers},
            session=self._http,
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

    def find(
        self, client: RestClient, path: str, key: str, name: str, noun: str, **query: Any
    ) -> dict[str, Any]:
        """The thing whose id or name is ``name``, from a list. NotFound, or Conflict if several."""
        answer: Answer = client.get(path, **query)
        things: list[dict[str, Any]] = answer.json[key]
        for thing in things:
            if str(thing.get("id")) == name:
                return thing
        named = [thing for thing in things if thing.get("name") == name]
        if len(named) == 1:
            return named[0]
        if named:
            raise Conflict(reason=f"{len(named)} {noun}s are named {name}; use an id.")
        raise NotFound(kind=noun.capitalize(), id=name)

    def server(self, name: str) -> dict[str, Any]:
        """The server, in full, by id or name."""
        return self.find(self.compute, "/servers/detail", "servers", name, "server")


def _reference(auth: Mapping[str, Any], key: str, default: dict[str, str]) -> dict[str, str]:
    if auth.get(f"{key}_id"):
        return {"id": auth[f"{key}_id"]}
    if auth.get(f"{key}_name"):
        return {"name": auth[f"{key}_name"]}
    return default


def cloud() -> Cloud:
    """The cloud that the command line names."""
    return Cloud(click.get_current_context().obj["cloud"])
