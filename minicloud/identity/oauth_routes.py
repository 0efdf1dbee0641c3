"""/v3/OS-OAUTH1: consumers, the way to an access token, and the access tokens of a user."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.domain.errors import Invalid, NotAllowed, NotFound, Unauthenticated
from minicloud.identity import audit, schemas
from minicloud.identity.audit import Attempt
from minicloud.identity.links import Links
from minicloud.identity.oauth import Issued, OAuth
from minicloud.identity.oauth_signatures import Signed
from minicloud.identity.records import AccessToken, Consumer, Role
from minicloud.identity.schemas import Id, Name, Text
from minicloud.kit import clock
from minicloud.kit.policy import PUBLIC
from minicloud.kit.web import Body, Call, Reply, Route
from minicloud.kit.web.decode import convert

Json = dict[str, Any]
_TOP = "/v3/OS-OAUTH1"


class ConsumerBody(schemas.Fields):
    description: Text | UnsetType | None = UNSET


class RoleRef(msgspec.Struct, forbid_unknown_fields=True):
    """One of them."""

    id: Id | None = None
    name: Name | None = None


class Authorization(msgspec.Struct):
    roles: Annotated[list[RoleRef], Meta(max_length=100)]


class OAuthRoutes:
    def __init__(self, oauth: OAuth, links: Links) -> None:
        self._oauth = oauth
        self._links = links

    def routes(self) -> list[Route]:
        consumers = f"{_TOP}/consumers"
        consumer = f"{consumers}/{{consumer_id}}"
        tokens = "/v3/users/{user_id}/OS-OAUTH1/access_tokens"
        token = f"{tokens}/{{access_token_id}}"
        body = Body(type=Json, shape=ConsumerBody, wrapper="consumer")
        return [
            _row("GET", consumers, self.list, "list_consumers"),
            _row("POST", consumers, self.create, "create_consumer", 201, body=body),
            _row("GET", consumer, self.show, "get_consumer"),
            _row("PATCH", consumer, self.update, "update_consumer", body=body),
            _row("DELETE", consumer, self.delete, "delete_consumer", 204),
            # The signature proves who asks.
            Route(method="POST", path=f"{_TOP}/request_token", handler=self.request_token,
                  policy=PUBLIC, status=201),
            Route(method="POST", path=f"{_TOP}/access_token", handler=self.access_token,
                  policy=PUBLIC, status=201),
            _row("PUT", f"{_TOP}/authorize/{{request_token_id}}", self.authorize,
                 "authorize_request_token", body=Body(type=Authorization)),
            _row("GET", tokens, self.access_tokens, "list_access_tokens"),
            _row("GET", token, self.show_access_token, "get_access_token"),
            _row("DELETE", token, self.delete_access_token, "delete_access_token", 204),
            _row("GET", f"{token}/roles", self.roles, "list_access_token_roles"),
            _row("GET", f"{token}/roles/{{role_id}}", self.role, "get_access_token_role"),
        ]  # fmt: skip

    # -- consumers --------------------------------------------------------------------------------
    def list(self, call: Call) -> Json:
        found = [self._consumer(call, each) for each in self._oauth.consumers()]
        links = {"next": None, "self": self._links.here(call), "previous": None}
        return {"consumers": found, "links": links}

    def create(self, call: Call) -> Json:
        consumer, secret = self._oauth.consumer_create(_values(call))
        return {"consumer": {**self._consumer(call, consumer), "secret": secret}}

    def show(self, call: Call) -> Json:
        found = self._oauth.consumer(call.params["consumer_id"])
        return {"consumer": self._consumer(call, found)}

    def update(self, call: Call) -> Json:
        id_ = call.params["consumer_id"]
        if not call.body or "secret" in call.body:
            raise Invalid(reason="Of a consumer anything can be changed but its secret.")
        if call.body.get("id", id_) != id_:
            raise Invalid(reason="The id in the body is not the one in the path.")
        return {"consumer": self._consumer(call, self._oauth.consumer_update(id_, _values(call)))}

    def delete(self, call: Call) -> None:
        self._oauth.consumer_delete(call.params["consumer_id"])

    # -- the way to an access token ---------------------------------------------------------------
    def request_token(self, call: Call) -> Reply:
        project_id = call.headers.get("Requested-Project-Id", "")
        if not project_id:
            raise Invalid(reason="Expecting to find Requested-Project-Id in request.")
        convert(project_id, Id)
        return self._issued(
            call,
            f"a request token for project {project_id}",
            lambda signed: self._oauth.request_token(signed, project_id),
        )

    def authorize(self, call: Call) -> Json:
        _check_primary(call)
        roles = [(each.id, each.name) for each in call.body.roles]
        if any((id_ is None) == (name is None) for id_, name in roles):
            raise Invalid(reason="Each role needs an id or a name.")
        verifier = self._oauth.authorize(call.params["request_token_id"], call.ctx.user_id, roles)
        return {"token": {"oauth_verifier": verifier}}

    def access_token(self, call: Call) -> Reply:
        return self._issued(call, "an access token", self._oauth.access_token)

    def _issued(self, call: Call, what: str, issue: Callable[[Signed], Issued]) -> Reply:
        signed = self._links.signed(call)
        attempt = Attempt(peer=call.peer, methods="oauth1", claimed="a consumer", scope=what)
        try:
            issued = issue(signed)
        except Unauthenticated as problem:
            audit.refused(attempt, problem)
            raise
        text = f"oauth_token={issued.id}&oauth_token_secret={issued.secret}"
        if issued.expires_at is not None:
            text += f"&oauth_expires_at={clock.iso_micro(issued.expires_at, 'Z')}"
        return Reply(
            body=text.encode(), headers={"Content-Type": "application/x-www-form-urlencoded"}
        )

    # -- access tokens ----------------------------------------------------------------------------
    def access_tokens(self, call: Call) -> Json:
        _check_primary(call)
        found = self._oauth.access_tokens(call.params["user_id"])
        links = {"next": None, "self": self._links.here(call), "previous": None}
        return {"access_tokens": [self._token(call, each) for each in found], "links": links}

    def show_access_token(self, call: Call) -> Json:
        _check_primary(call)
        return {"access_token": self._token(call, self._mine(call))}

    def delete_access_token(self, call: Call) -> None:
        _check_primary(call)
        self._oauth.access_token_delete(self._mine(call).id)

    def roles(self, call: Call) -> Json:
        found = self._oauth.access_token_roles(self._mine(call))
        links = {"next": None, "self": self._links.here(call), "previous": None}
        return {"roles": [self._role(call, each) for each in found], "links": links}

    def role(self, call: Call) -> Json:
        role_id = call.params["role_id"]
        for role in self._oauth.access_token_roles(self._mine(call)):
            if role.id == role_id:
                return {"role": self._role(call, role)}
        raise NotFound(kind="Role", id=role_id)

    def _mine(self, call: Call) -> AccessToken:
        """NotFound where the user in the path has no such token."""
        id_ = call.params["access_token_id"]
        token = self._oauth.access_token_get(id_)
        if token.user_id != call.params["user_id"]:
            raise NotFound(kind="Access token", id=id_)
        return token

    # -- as shown ---------------------------------------------------------------------------------
    def _consumer(self, call: Call, consumer: Consumer) -> Json:
        return schemas.view(consumer, "OS-OAUTH1/consumers", self._links.base(call))

    def _token(self, call: Call, token: AccessToken) -> Json:
        path = f"users/{token.user_id}/OS-OAUTH1/access_tokens/{token.id}"
        url = f"{self._links.base(call)}/{path}"
        return {
            "id": token.id,
            "consumer_id": token.consumer_id,
            "project_id": token.project_id,
            "authorizing_user_id": token.user_id,
            "expires_at": clock.iso_micro(token.expires_at, "Z"),
            "links": {"self": url, "roles": f"{url}/roles"},
        }

    def _role(self, call: Call, role: Role) -> Json:
        shown = schemas.view(role, "roles", self._links.base(call))
        del shown["description"]
        return shown


def _values(call: Call) -> Json:
    values = schemas.read(ConsumerBody, call.body)
    values["extra"].pop("secret", None)
    if "description" in call.body:
        values["description"] = call.body["description"]
    return values


def _check_primary(call: Call) -> None:
    if call.ctx.delegated:
        raise NotAllowed(reason="A delegated token cannot manage tokens of OAuth's.")


def _row(
    method: str, path: str, handler: Any, policy: str, status: int = 200, **more: Any
) -> Route:
    return Route(method=method, path=path, handler=handler, policy=f"identity:{policy}",
                 status=status, **more)  # fmt: skip
