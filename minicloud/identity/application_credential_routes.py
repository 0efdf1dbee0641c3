"""Application credentials and access rules on the wire."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from minicloud.domain.errors import Invalid, NotAllowed
from minicloud.identity import filters, schemas
from minicloud.identity.application_credentials import (
    ApplicationCredentials,
    Asked,
    RuleAsked,
    Shown,
)
from minicloud.identity.links import Links
from minicloud.identity.records import AccessRule
from minicloud.identity.schemas import Id, Line, Name, Password, Text
from minicloud.identity.targets import Targets
from minicloud.kit import clock
from minicloud.kit.web import Body, Call, Query, Route

Json = dict[str, Any]
_NAME = {"name": "name"}
_RULE = {"service": "service", "method": "method", "path": "path"}
Method = Literal["DELETE", "GET", "HEAD", "PATCH", "POST", "PUT"]
RulePath = Annotated[str, Meta(min_length=1, max_length=225, pattern=r"\A/[^\x00-\x1f\x7f]*\Z")]


class RoleRef(msgspec.Struct):
    id: Id | None = None
    name: Name | None = None


class RuleRef(msgspec.Struct):
    id: Id | None = None
    service: Line | None = None
    method: Method | None = None
    path: RulePath | None = None


class ApplicationCredentialCreate(msgspec.Struct):
    name: Name
    description: Text | None = None
    secret: Password | None = None
    roles: Annotated[list[RoleRef], Meta(max_length=100)] | None = None
    unrestricted: bool | None = None
    expires_at: Line | None = None
    access_rules: Annotated[list[RuleRef], Meta(max_length=100)] | None = None
    project_id: Id | None = None
    """Clients may send it; the token's project is meant whatever it says."""

    def __repr__(self) -> str:
        return f"<ApplicationCredentialCreate {self.name}>"


class ApplicationCredentialRoutes:
    def __init__(self, service: ApplicationCredentials, links: Links, targets: Targets) -> None:
        self._service = service
        self._links = links
        self._targets = targets

    def routes(self) -> list[Route]:
        every = "/v3/users/{user_id}/application_credentials"
        one = f"{every}/{{application_credential_id}}"
        rules = "/v3/users/{user_id}/access_rules"
        rule = f"{rules}/{{access_rule_id}}"
        credential = "application_credential"

        def row(method: str, path: str, handler: Any, policy: str, status: int = 200,
                **more: Any) -> Route:  # fmt: skip
            return Route(
                method=method,
                path=path,
                handler=handler,
                status=status,
                policy=f"identity:{policy}",
                target=self._targets.path,
                **more,
            )

        def query(columns: dict[str, str]) -> Query:
            return Query(names=filters.names(columns), strict_from=None)

        return [
            row("GET", every, self.list, f"list_{credential}s", query=query(_NAME)),
            row("POST", every, self.create, f"create_{credential}", 201,
                body=Body(type=ApplicationCredentialCreate, wrapper=credential)),
            row("GET", one, self.show, f"get_{credential}"),
            row("DELETE", one, self.delete, f"delete_{credential}", 204),
            row("GET", rules, self.rules, "list_access_rules", query=query(_RULE)),
            row("GET", rule, self.rule, "get_access_rule"),
            row("DELETE", rule, self.delete_rule, "delete_access_rule", 204),
        ]  # fmt: skip

    def list(self, call: Call) -> Json:
        equal, matches = filters.read(call, _NAME)
        found = self._service.list(call.params["user_id"], name=equal.get("name"), matches=matches)
        return {
            "application_credentials": [self._view(call, each) for each in found],
            "links": {"next": None, "self": self._links.here(call), "previous": None},
        }

    def create(self, call: Call) -> Json:
        _check_unrestricted(call)
        shown, secret = self._service.create(call.ctx, _asked(call.body))
        return {"application_credential": {**self._view(call, shown), "secret": secret}}

    def show(self, call: Call) -> Json:
        found = self._service.get(call.params["user_id"], _id(call))
        return {"application_credential": self._view(call, found)}

    def delete(self, call: Call) -> None:
        _check_unrestricted(call)
        self._service.delete(call.params["user_id"], _id(call))

    def rules(self, call: Call) -> Json:
        equal, matches = filters.read(call, _RULE)
        found = self._service.rules(call.params["user_id"], equal, matches)
        return {
            "access_rules": [self._rule_view(call, each) for each in found],
            "links": {"next": None, "self": self._links.here(call), "previous": None},
        }

    def rule(self, call: Call) -> Json:
        found = self._service.rule(call.params["user_id"], call.params["access_rule_id"])
        return {"access_rule": self._rule_view(call, found)}

    def delete_rule(self, call: Call) -> None:
        _check_unrestricted(call)
        self._service.delete_rule(call.params["user_id"], call.params["access_rule_id"])

    def _view(self, call: Call, shown: Shown) -> Json:
        one = shown.credential
        base = f"{self._links.base(call)}/users/{one.user_id}/application_credentials/{one.id}"
        view: Json = {
            "id": one.id,
            "name": one.name,
            "description": one.description,
            "project_id": one.project_id,
            "user_id": one.user_id,
            "roles": [
                {"id": role.id, "name": role.name, "domain_id": role.domain_id}
                for role in shown.roles
            ],
            "unrestricted": one.unrestricted,
            "expires_at": clock.iso_micro(one.expires_at),
            "links": {"self": base},
        }
        if one.ruled:
            view["access_rules"] = [_rule(each) for each in shown.rules]
        return view

    def _rule_view(self, call: Call, rule: AccessRule) -> Json:
        base = self._links.base(call)
        links = {"self": f"{base}/users/{rule.user_id}/access_rules/{rule.id}"}
        return {**_rule(rule), "links": links}


def _rule(rule: AccessRule) -> Json:
    return {"id": rule.id, "service": rule.service, "method": rule.method, "path": rule.path}


def _id(call: Call) -> str:
    return call.params["application_credential_id"]


def _check_unrestricted(call: Call) -> None:
    """A delegated token makes no credentials, unless it came from one that may."""
    if call.ctx.delegated and not call.ctx.unrestricted:
        raise NotAllowed(reason="A delegated token cannot manage application credentials.")


def _asked(body: ApplicationCredentialCreate) -> Asked:
    for role in body.roles or ():
        if role.id is None and role.name is None:
            raise Invalid(reason="Each role needs an id or a name.")
    expires_at = None
    if body.expires_at is not None:
        expires_at = schemas.moment("expires_at", body.expires_at)
    return Asked(
        name=body.name,
        description=body.description or "",
        secret=body.secret,
        roles=[(role.id, role.name) for role in body.roles or ()],
        unrestricted=bool(body.unrestricted),
        expires_at=expires_at,
        access_rules=[
            RuleAsked(id=each.id, service=each.service, method=each.method, path=each.path)
            for each in body.access_rules or ()
        ],
    )
