"""/v3/OS-TRUST/trusts"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from minicloud.domain.errors import Invalid, NotAllowed, NotFound
from minicloud.identity import schemas, targets
from minicloud.identity.links import Links
from minicloud.identity.records import Trust
from minicloud.identity.schemas import Id, Line, Name
from minicloud.identity.targets import Target
from minicloud.identity.trusts import Asked, Trusts
from minicloud.kit import clock
from minicloud.kit.web import Body, Call, Query, Route

Json = dict[str, Any]
_SIDES = ("trustor_user_id", "trustee_user_id")


class RoleRef(msgspec.Struct):
    id: Id | None = None
    name: Name | None = None


class TrustCreate(msgspec.Struct):
    trustor_user_id: Id
    trustee_user_id: Id
    impersonation: bool
    project_id: Id | None = None
    roles: Annotated[list[RoleRef], Meta(max_length=100)] = []
    expires_at: Line | None = None
    remaining_uses: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    allow_redelegation: bool | None = None
    redelegation_count: Annotated[int, Meta(ge=0, le=2**31 - 1)] | None = None


class TrustRoutes:
    def __init__(self, trusts: Trusts, links: Links) -> None:
        self._trusts = trusts
        self._links = links

    def routes(self) -> list[Route]:
        every = "/v3/OS-TRUST/trusts"
        one = f"{every}/{{trust_id}}"
        roles = f"{one}/roles"

        def row(method: str, path: str, handler: Any, policy: str, **more: Any) -> Route:
            return Route(method=method, path=path, handler=handler, policy=f"identity:{policy}",
                         **{"target": self._target, **more})  # fmt: skip

        return [
            # Whose trusts are asked for decides which rule is.
            Route(method="GET", path=every, handler=self.list, policy="any",
                query=Query(names=frozenset(_SIDES), strict_from=None)),
            row("POST", every, self.create, "create_trust", target=_new, status=201,
                body=Body(type=TrustCreate, wrapper="trust")),
            row("GET", one, self.show, "get_trust"),
            row("DELETE", one, self.delete, "delete_trust", status=204),
            row("GET", roles, self.roles, "list_roles_for_trust"),
            row("GET", f"{roles}/{{role_id}}", self.role, "get_role_for_trust"),
        ]  # fmt: skip

    def list(self, call: Call) -> Json:
        equal = {side: call.query[side] for side in _SIDES if side in call.query}
        rule, target = "identity:list_trusts", {"target.scope": call.ctx.scope}
        if equal:
            side = next(iter(equal))
            rule = f"identity:list_trusts_for_{side.removesuffix('_user_id')}"
            target = targets.of("trust", equal)
        call.check(rule, target)
        _check_primary(call)
        found = self._trusts.list(**equal)
        return {
            "trusts": [self._view(call, each) for each in found],
            "links": {"next": None, "self": self._links.here(call), "previous": None},
        }

    def create(self, call: Call) -> Json:
        _check_primary(call)
        trust = self._trusts.create(call.ctx, _asked(call.body))
        return {"trust": self._whole(call, trust)}

    def show(self, call: Call) -> Json:
        _check_primary(call)
        return {"trust": self._whole(call, self._trusts.get(call.params["trust_id"]))}

    def delete(self, call: Call) -> None:
        _check_primary(call)
        self._trusts.delete(call.params["trust_id"])

    def roles(self, call: Call) -> Json:
        found = self._trusts.roles(self._trusts.get(call.params["trust_id"]))
        return schemas.listing("roles", found, self._links.base(call), self._links.here(call))

    def role(self, call: Call) -> Json:
        role_id = call.params["role_id"]
        for role in self._trusts.roles(self._trusts.get(call.params["trust_id"])):
            if role.id == role_id:
                return {"role": schemas.view(role, "roles", self._links.base(call))}
        raise NotFound(kind="Role", id=role_id)

    def _target(self, call: Call) -> Target:
        """The trust's two sides. NotFound for everybody where there is none, as in Keystone."""
        trust = self._trusts.get(call.params["trust_id"])
        return targets.of("trust", {side: getattr(trust, side) for side in _SIDES})

    def _view(self, call: Call, trust: Trust) -> Json:
        return {
            **trust.extra,
            "id": trust.id,
            "trustor_user_id": trust.trustor_user_id,
            "trustee_user_id": trust.trustee_user_id,
            "project_id": trust.project_id,
            "impersonation": trust.impersonation,
            "expires_at": clock.iso_micro(trust.expires_at, "Z"),
            "remaining_uses": trust.remaining_uses,
            "deleted_at": None,
            "redelegation_count": trust.redelegation_count,
            "redelegated_trust_id": trust.redelegated_trust_id,
            "links": {"self": f"{self._links.base(call)}/OS-TRUST/trusts/{trust.id}"},
        }

    def _whole(self, call: Call, trust: Trust) -> Json:
        base = self._links.base(call)
        links = {
            "self": f"{base}/OS-TRUST/trusts/{trust.id}/roles", "next": None, "previous": None
        }  # fmt: skip
        roles = [schemas.view(role, "roles", base) for role in self._trusts.roles(trust)]
        return {**self._view(call, trust), "roles": roles, "roles_links": links}


def _new(call: Call) -> Target:
    body: TrustCreate = call.body
    return targets.of("trust", {side: getattr(body, side) for side in _SIDES})


def _check_primary(call: Call) -> None:
    """Application credentials and EC2 keys manage no trusts; a trust's own token may."""
    if call.ctx.delegated and not call.ctx.trust_id:
        raise NotAllowed(reason="A delegated token cannot manage trusts.")


def _asked(body: TrustCreate) -> Asked:
    for role in body.roles:
        if role.id is None and role.name is None:
            raise Invalid(reason="Each role needs an id or a name.")
    return Asked(
        trustor_user_id=body.trustor_user_id,
        trustee_user_id=body.trustee_user_id,
        project_id=body.project_id,
        impersonation=body.impersonation,
        roles=[(role.id, role.name) for role in body.roles],
        expires_at=None
        if body.expires_at is None
        else schemas.moment("expires_at", body.expires_at),
        remaining_uses=body.remaining_uses,
        allow_redelegation=bool(body.allow_redelegation),
        redelegation_count=body.redelegation_count,
        extra={},
    )
