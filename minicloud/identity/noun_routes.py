"""The nouns of identity on the wire, five routes each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from minicloud.domain.errors import Forbidden, Invalid
from minicloud.identity import filters, records, schemas, targets
from minicloud.identity.directory import Domains, Groups, Roles, Users
from minicloud.identity.links import Links
from minicloud.identity.nouns import Noun
from minicloud.identity.passwords import Passwords
from minicloud.identity.places import Endpoints, Policies, Regions, Services
from minicloud.identity.targets import Builder, Target
from minicloud.kit.db import Database
from minicloud.kit.web import Body, Call, Query, Route

Json = dict[str, Any]


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """How a noun looks from outside."""

    one: str
    noun: Noun[Any]
    create: type[Any]
    update: type[Any]
    filters: Mapping[str, str] = {}
    """Query parameter -> column it must equal."""
    plural: str = ""
    of_domain: str = ""
    """The column with the domain that a caller with a token for a domain sees things of."""

    @property
    def many(self) -> str:
        return self.plural or f"{self.one}s"


class NounRoutes:
    """create, list, show, update and delete of one noun."""

    def __init__(self, wire: Wire, links: Links, database: Database) -> None:
        self._wire = wire
        self._links = links
        self._database = database

    def routes(self) -> list[Route]:
        one, many = self._wire.one, self._wire.many
        each = f"/v3/{many}/{{{one}_id}}"
        target = self.target
        query = Query(
            names=filters.names(self._wire.filters) | {"marker", "limit"} | self.more_names,
            strict_from=None,
        )

        def body(shape: type[Any]) -> Body:
            return Body(type=Json, shape=shape, wrapper=one)

        return [
            _row("GET", f"/v3/{many}", self.list, f"identity:list_{many}",
                 targets.own_domain(one), query=query),
            _row("POST", f"/v3/{many}", self.create, f"identity:create_{one}",
                 self.new_target if self._wire.of_domain == "domain_id" else None, 201,
                 body=body(self._wire.create)),
            _row("GET", each, self.show, f"identity:get_{one}", target),
            _row("PATCH", each, self.update, f"identity:update_{one}", target,
                 body=body(self._wire.update)),
            _row("DELETE", each, self.delete, f"identity:delete_{one}", target, 204),
        ]  # fmt: skip

    more_names: frozenset[str] = frozenset()
    """Query parameters of the list that are no filters."""

    def target(self, call: Call) -> Target:
        """The object in the path, for its policy."""
        with self._database.read() as tx:
            found = self._wire.noun.rows.find(tx, id=call.params[f"{self._wire.one}_id"])
        return dict(call.params) | ({} if found is None else targets.record(self._wire.one, found))

    def new_target(self, call: Call) -> Target:
        values = schemas.read(self._wire.create, call.body)
        found = self._wire.noun.target(call.ctx, values)
        return targets.of(self._wire.one, {"name": values.get("name"), **found})

    def list(self, call: Call) -> Json:
        found, more = self.page(call)
        following = self._links.following(call, found[-1].id) if more else None
        return schemas.listing(
            self._wire.many, found, self._links.base(call), self._links.here(call), following
        )

    def page(self, call: Call) -> tuple[Any, bool]:
        equal, matches = filters.read(call, self._wire.filters)
        if not self.narrow(call, equal):
            return [], False
        return self._wire.noun.page(
            equal,
            matches=matches,
            marker=call.query.get("marker"),
            limit=call.number("limit", least=1),
        )

    def narrow(self, call: Call, equal: Json) -> bool:
        """Cut a list to the caller's domain; False where nothing can be left."""
        column, mine = self._wire.of_domain, call.ctx.domain_id
        if not column or not mine:
            return True
        return bool(equal.setdefault(column, mine) == mine)

    def create(self, call: Call) -> Json:
        values = schemas.read(self._wire.create, call.body)
        return self.shown(call, self._wire.noun.create(call.ctx, values))

    def show(self, call: Call) -> Json:
        return self.shown(call, self._wire.noun.get(self.id(call)))

    def update(self, call: Call) -> Json:
        values = schemas.read(self._wire.update, call.body)
        return self.shown(call, self._wire.noun.update(self.id(call), values))

    def delete(self, call: Call) -> None:
        self._wire.noun.delete(self.id(call))

    def id(self, call: Call) -> str:
        return call.params[f"{self._wire.one}_id"]

    def shown(self, call: Call, record: Any) -> Json:
        return {self._wire.one: schemas.view(record, self._wire.many, self._links.base(call))}


class RoleRoutes(NounRoutes):
    """Roles of the cloud, and roles of one domain, which have policies of their own."""

    more_names = frozenset({"domain_id"})

    def page(self, call: Call) -> tuple[Any, bool]:
        equal, matches = filters.read(call, self._wire.filters)
        domain_id = call.query.get("domain_id")
        if domain_id is not None:
            call.check("identity:list_domain_roles", targets.own_domain("role")(call))
        equal["domain_id"] = domain_id
        return self._wire.noun.page(
            equal,
            matches=matches,
            marker=call.query.get("marker"),
            limit=call.number("limit", least=1),
        )

    def create(self, call: Call) -> Json:
        self._check(call, "create", call.body.get("domain_id"))
        return super().create(call)

    def show(self, call: Call) -> Json:
        role: records.Role = self._wire.noun.get(self.id(call))
        self._check(call, "get", role.domain_id)
        return self.shown(call, role)

    def update(self, call: Call) -> Json:
        self._check(call, "update", self._wire.noun.get(self.id(call)).domain_id)
        return super().update(call)

    def delete(self, call: Call) -> None:
        self._check(call, "delete", self._wire.noun.get(self.id(call)).domain_id)
        super().delete(call)

    def _check(self, call: Call, verb: str, domain_id: Any) -> None:
        if domain_id is not None:
            call.check(f"identity:{verb}_domain_role", {"target.role.domain_id": str(domain_id)})


class RegionRoutes(NounRoutes):
    """Regions, whose id may be in the path as well."""

    def routes(self) -> list[Route]:
        body = Body(type=Json, shape=schemas.RegionCreate, wrapper="region")
        return [
            *super().routes(),
            _row("PUT", "/v3/regions/{region_id}", self.create_named, "identity:create_region",
                 None, 201, body=body),
        ]  # fmt: skip

    def create_named(self, call: Call) -> Json:
        if call.body.get("id", self.id(call)) != self.id(call):
            raise Invalid(reason="The id in the body is not the one in the path.")
        values = schemas.read(schemas.RegionCreate, {**call.body, "id": self.id(call)})
        return self.shown(call, self._wire.noun.create(call.ctx, values))


class UserRoutes(NounRoutes):
    """Users, and what is shown of nothing but users."""

    def routes(self) -> list[Route]:
        return [
            *super().routes(),
            _row("DELETE", "/v3/users/{user_id}/tokens", self.end_tokens,
                 "identity:revoke_tokens_for_user", self.target, 204),
        ]  # fmt: skip

    def end_tokens(self, call: Call) -> None:
        if call.ctx.delegated:
            raise Forbidden(action="identity:revoke_tokens_for_user")
        users: Users = self._wire.noun  # type: ignore[assignment]  # of this wire it is
        users.end_tokens(self.id(call))


def _row(
    method: str,
    path: str,
    handler: Callable[[Call], Any],
    policy: str,
    target: Builder | None,
    status: int = 200,
    *,
    body: Body | None = None,
    query: Query | None = None,
) -> Route:
    return Route(method=method, path=path, handler=handler, policy=policy, target=target,
                 status=status, body=body, query=query)  # fmt: skip


def rows(database: Database, passwords: Passwords, links: Links) -> list[Route]:
    """The routes of every noun but projects."""
    _named = {"name": "name"}
    plain = [
        Wire(
            one="domain",
            noun=Domains(database),
            create=schemas.DomainCreate,
            update=schemas.DomainUpdate,
            filters={**_named, "enabled": "enabled"},
            of_domain="id",
        ),
        Wire(
            one="group",
            noun=Groups(database),
            create=schemas.GroupCreate,
            update=schemas.GroupUpdate,
            filters={**_named, "domain_id": "domain_id"},
            of_domain="domain_id",
        ),
        Wire(
            one="service",
            noun=Services(database),
            create=schemas.ServiceCreate,
            update=schemas.ServiceUpdate,
            filters={**_named, "type": "type"},
        ),
        Wire(
            one="endpoint",
            noun=Endpoints(database),
            create=schemas.EndpointCreate,
            update=schemas.EndpointUpdate,
            filters={
                "interface": "interface",
                "service_id": "service_id",
                "region": "region_id",
                "region_id": "region_id",
                "enabled": "enabled",
            },
        ),
        Wire(
            one="policy",
            plural="policies",
            noun=Policies(database),
            create=schemas.PolicyCreate,
            update=schemas.PolicyUpdate,
            filters={"type": "type"},
        ),
    ]
    user = Wire(
        one="user",
        noun=Users(database, passwords),
        create=schemas.UserCreate,
        update=schemas.UserUpdate,
        filters={**_named, "domain_id": "domain_id", "enabled": "enabled"},
        of_domain="domain_id",
    )
    role = Wire(
        one="role",
        noun=Roles(database),
        create=schemas.RoleCreate,
        update=schemas.RoleUpdate,
        filters=_named,
    )
    region = Wire(
        one="region",
        noun=Regions(database),
        create=schemas.RegionCreate,
        update=schemas.RegionUpdate,
        filters={"parent_region_id": "parent_region_id"},
    )
    return [
        *RegionRoutes(region, links, database).routes(),
        *UserRoutes(user, links, database).routes(),
        *RoleRoutes(role, links, database).routes(),
        *(row for wire in plain for row in NounRoutes(wire, links, database).routes()),
    ]
