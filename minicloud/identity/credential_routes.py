"""Credentials on the wire: /v3/credentials, EC2 keys of a user, and tokens for signed requests.

A delegated token, made from a trust or an application credential, sees none of them: a key is
good for all that its user may do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from minicloud.domain.errors import Invalid, NotAllowed, NotFound, Unauthenticated
from minicloud.identity import audit, auth_schemas, schemas, signatures, targets
from minicloud.identity.audit import Attempt, Refused
from minicloud.identity.credentials import EC2, Credentials, Key, key_of
from minicloud.identity.links import Links
from minicloud.identity.records import Credential
from minicloud.identity.schemas import Id, Line, Name, Text
from minicloud.identity.service import Authentication
from minicloud.identity.signatures import Signed
from minicloud.identity.targets import Target
from minicloud.kit.web import Body, Call, Query, Reply, Route

Json = dict[str, Any]
_FILTERS = ("user_id", "type")


class CredentialUpdate(schemas.Fields):
    blob: Text | UnsetType = UNSET
    type: Name | UnsetType = UNSET
    user_id: Id | UnsetType = UNSET
    project_id: Id | UnsetType | None = UNSET


class CredentialCreate(CredentialUpdate):
    blob: Text
    type: Name
    user_id: Id


class KeyCreate(msgspec.Struct):
    tenant_id: Id


class Ec2Asked(msgspec.Struct):
    """A signed request as ec2api passes it on."""

    access: Line
    signature: Line = ""
    host: Line = ""
    verb: Line = ""
    path: str = ""
    params: dict[str, str] = {}
    headers: dict[str, str] = {}
    body_hash: Line = ""
    token: str = ""
    """What was signed, of S3 alone."""


class Ec2Tokens(msgspec.Struct):
    """Clients use one of three names for the same."""

    credentials: Ec2Asked | None = None
    credential: Ec2Asked | None = None
    ec2Credentials: Ec2Asked | None = None


class CredentialRoutes:
    def __init__(
        self, credentials: Credentials, authentication: Authentication, links: Links
    ) -> None:
        self._credentials = credentials
        self._authentication = authentication
        self._links = links

    def routes(self) -> list[Route]:
        every, keys = "/v3/credentials", "/v3/users/{user_id}/credentials/OS-EC2"
        one, key = f"{every}/{{credential_id}}", f"{keys}/{{access}}"

        def row(method: str, path: str, handler: Any, policy: str, target: Any,
                status: int = 200, **more: Any) -> Route:  # fmt: skip
            return Route(method=method, path=path, handler=handler, status=status, target=target,
                         policy=f"identity:{policy}", **more)  # fmt: skip

        def body(shape: type[Any]) -> Body:
            return Body(type=Json, shape=shape, wrapper="credential")

        return [
            row("GET", every, self.list, "list_credentials", None,
                query=Query(names=frozenset(_FILTERS), strict_from=None)),
            row("POST", every, self.create, "create_credential", _new, 201,
                body=body(CredentialCreate)),
            row("GET", one, self.show, "get_credential", self._one),
            row("PATCH", one, self.update, "update_credential", self._one,
                body=body(CredentialUpdate)),
            row("DELETE", one, self.delete, "delete_credential", self._one, 204),
            row("GET", keys, self.keys, "ec2_list_credentials", _path),
            row("POST", keys, self.create_key, "ec2_create_credential", _path, 201,
                body=Body(type=KeyCreate)),
            row("GET", key, self.key, "ec2_get_credential", self._key),
            row("DELETE", key, self.delete_key, "ec2_delete_credential", self._key, 204),
            row("POST", "/v3/ec2tokens", self.ec2_token, "ec2tokens_validate", None,
                body=Body(type=Ec2Tokens)),
            row("POST", "/v3/s3tokens", self.s3_token, "s3tokens_validate", None,
                body=Body(type=Ec2Tokens)),
        ]  # fmt: skip

    # -- any credential ---------------------------------------------------------------------------
    def list(self, call: Call) -> Json:
        """Those that the caller may see."""
        _check_primary(call)
        equal = {key: call.query[key] for key in _FILTERS if key in call.query}
        sees_all = call.allowed("identity:get_credential", {"target.scope": call.ctx.scope})
        mine = call.ctx.user_id
        if not sees_all and equal.setdefault("user_id", mine) != mine:
            return self._listing(call, [])
        found = [
            each
            for each in self._credentials.list(equal)
            if call.allowed("identity:get_credential", _target(each))
        ]
        return self._listing(call, [self._view(call, each) for each in found])

    def create(self, call: Call) -> Json:
        _check_primary(call)
        values = schemas.read(CredentialCreate, call.body)
        return {"credential": self._view(call, self._credentials.create(values))}

    def show(self, call: Call) -> Json:
        _check_primary(call)
        found = self._credentials.get(call.params["credential_id"])
        return {"credential": self._view(call, found)}

    def update(self, call: Call) -> Json:
        _check_primary(call)
        changes = schemas.read(CredentialUpdate, call.body)
        if "user_id" in changes:
            call.check("identity:update_credential",
                       targets.of("credential", {"user_id": changes["user_id"]}))  # fmt: skip
        found = self._credentials.update(call.params["credential_id"], changes)
        return {"credential": self._view(call, found)}

    def delete(self, call: Call) -> None:
        _check_primary(call)
        self._credentials.delete(call.params["credential_id"])

    # -- EC2 keys ---------------------------------------------------------------------------------
    def keys(self, call: Call) -> Json:
        _check_primary(call)
        found = self._credentials.list({"user_id": call.params["user_id"], "type": EC2})
        keys = [key for each in found if (key := key_of(each)) is not None]
        return self._listing(call, [self._key_view(call, key) for key in keys])

    def create_key(self, call: Call) -> Json:
        _check_primary(call)
        key = self._credentials.create_key(call.params["user_id"], call.body.tenant_id)
        return {"credential": self._key_view(call, key)}

    def key(self, call: Call) -> Json:
        _check_primary(call)
        return {"credential": self._key_view(call, self._mine(call))}

    def delete_key(self, call: Call) -> None:
        _check_primary(call)
        self._credentials.delete_key(self._mine(call))

    def _mine(self, call: Call) -> Key:
        """NotFound where the user in the path has no such key."""
        key = self._credentials.key(call.params["access"])
        if key is None or key.user_id != call.params["user_id"]:
            raise NotFound(kind="Credential", id=call.params["access"])
        return key

    # -- tokens for signed requests ---------------------------------------------------------------
    def ec2_token(self, call: Call) -> Reply:
        asked = _asked(call)
        return self._token(call, asked, lambda secret: signatures.check(_signed(asked), secret))

    def s3_token(self, call: Call) -> Reply:
        asked = _asked(call)
        return self._token(
            call,
            asked,
            lambda secret: signatures.check_text(asked.token, asked.signature, secret),
        )

    def _token(self, call: Call, asked: Ec2Asked, check: Any) -> Reply:
        key = self._credentials.key(asked.access)
        try:
            if key is None:
                raise Refused(why="no such EC2 key")
            check(key.secret)
        except Unauthenticated as problem:
            attempt = Attempt(
                peer=call.peer, methods="ec2credential", claimed=f"EC2 key {asked.access}",
                scope="its project",
            )  # fmt: skip
            audit.refused(attempt, problem)
            raise
        sealed, token = self._authentication.by_key(
            key.user_id, key.project_id, began=call.arrived, peer=call.peer, access=key.access
        )
        return Reply(
            body=auth_schemas.token_view(token, with_catalog=True),
            headers={"X-Subject-Token": sealed},
        )

    # -- what policies are asked about ------------------------------------------------------------
    def _one(self, call: Call) -> Target:
        return _target(self._credentials.find(call.params["credential_id"]))

    def _key(self, call: Call) -> Target:
        """The key's owner; that of the path where there is no such key, who is then told so."""
        key = self._credentials.key(call.params["access"])
        owner = call.params["user_id"] if key is None else key.user_id
        return {**call.params, **targets.of("credential", {"user_id": owner})}

    # -- as shown ---------------------------------------------------------------------------------
    def _listing(self, call: Call, found: Sequence[Json]) -> Json:
        return {
            "credentials": found,
            "links": {"next": None, "self": self._links.here(call), "previous": None},
        }

    def _view(self, call: Call, credential: Credential) -> Json:
        shown = msgspec.structs.asdict(credential)
        links = {"self": f"{self._links.base(call)}/credentials/{credential.id}"}
        return {**shown.pop("extra"), **shown, "links": links}

    def _key_view(self, call: Call, key: Key) -> Json:
        base = self._links.base(call)
        links = {"self": f"{base}/users/{key.user_id}/credentials/OS-EC2/{key.access}"}
        return {
            "access": key.access,
            "secret": key.secret,
            "user_id": key.user_id,
            "tenant_id": key.project_id,
            "trust_id": None,
            "links": links,
        }


def _check_primary(call: Call) -> None:
    if call.ctx.delegated:
        raise NotAllowed(reason="A delegated token cannot reach credentials.")


def _target(credential: Credential | None) -> Target:
    if credential is None:
        return {"target.credential": "none"}
    return targets.of("credential", {"id": credential.id, "user_id": credential.user_id})


def _path(call: Call) -> Target:
    user_id = call.params["user_id"]
    return {**call.params, **targets.of("credential", {"user_id": user_id})}


def _new(call: Call) -> Target:
    return targets.of("credential", {"user_id": str(call.body.get("user_id"))})


def _asked(call: Call) -> Ec2Asked:
    body: Ec2Tokens = call.body
    asked = body.credentials or body.credential or body.ec2Credentials
    if asked is None:
        raise Invalid(reason="Expecting to find credentials in the request body.")
    return asked


def _signed(asked: Ec2Asked) -> Signed:
    return Signed(
        access=asked.access,
        signature=asked.signature,
        host=asked.host,
        verb=asked.verb,
        path=asked.path,
        params=asked.params,
        headers=asked.headers,
        body_hash=asked.body_hash,
    )
