"""The nouns of identity on the wire, five routes each, and the whole service put together."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from minicloud.identity import schemas, versions
from minicloud.identity.auth_routes import AuthRoutes
from minicloud.identity.directory import Domains, Groups, Projects, Roles, Users
from minicloud.identity.grant_routes import GrantRoutes
from minicloud.identity.grants import Grants
from minicloud.identity.keys import Keys
from minicloud.identity.links import Links
from minicloud.identity.nouns import Noun
from minicloud.identity.passwords import Passwords
from minicloud.identity.places import Endpoints, Regions, Services
from minicloud.identity.policies import RULES
from minicloud.identity.service import Authentication
from minicloud.identity.tokens import Tokens
from minicloud.kit.db import Database
from minicloud.kit.policy import Policy
from minicloud.kit.web import Body, Call, Route, Service, dialects

Json = dict[str, Any]


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """How a noun looks from outside."""

    one: str
    noun: Noun[Any]
    create: type[Any]
    update: type[Any]
    filters: Mapping[str, str] = {}
    """Query parameter -> column it must equal."""
    owner: str = ""
    """The name that the policy of showing gives to the id: its owner may see it."""

    @property
    def many(self) -> str:
        return f"{self.one}s"


class NounRoutes:
    """create, list, show, update and delete of one noun."""

    def __init__(self, wire: Wire, links: Links) -> None:
        self._wire = wire
        self._links = links

    def routes(self) -> list[Route]:
        one, many = self._wire.one, self._wire.many
        body = Body(type=Json, wrapper=one)
        each = f"/v3/{many}/{{id}}"
        showing = "any" if self._wire.owner else f"identity:get_{one}"

        return [
            _row("GET", f"/v3/{many}", self.list, f"identity:list_{many}"),
            _row("POST", f"/v3/{many}", self.create, f"identity:create_{one}", 201, body),
            _row("GET", each, self.show, showing),
            _row("PATCH", each, self.update, f"identity:update_{one}", 200, body),
            _row("DELETE", each, self.delete, f"identity:delete_{one}", 204),
        ]

    def list(self, call: Call) -> Json:
        equal: Json = {}
        for name, column in self._wire.filters.items():
            if name in call.query:
                equal[column] = call.flag(name) if column == "enabled" else call.query[name]
        part = call.query.get("name__contains", "") if "name" in self._wire.filters else ""
        found, more = self._wire.noun.page(
            equal,
            name_contains=part,
            marker=call.query.get("marker"),
            limit=call.number("limit", least=1),
        )
        following = self._links.following(call, found[-1].id) if more else None
        return schemas.listing(
            self._wire.many, found, self._links.base(call), self._links.here(call), following
        )

    def create(self, call: Call) -> Json:
        values = schemas.read(self._wire.create, call.body)
        return self._shown(call, self._wire.noun.create(call.ctx, values))

    def show(self, call: Call) -> Json:
        id_ = call.params["id"]
        if self._wire.owner:
            call.check(f"identity:get_{self._wire.one}", {self._wire.owner: id_})
        return self._shown(call, self._wire.noun.get(id_))

    def update(self, call: Call) -> Json:
        values = schemas.read(self._wire.update, call.body)
        return self._shown(call, self._wire.noun.update(call.params["id"], values))

    def delete(self, call: Call) -> None:
        self._wire.noun.delete(call.params["id"])

    def _shown(self, call: Call, record: Any) -> Json:
        return {self._wire.one: schemas.view(record, self._wire.many, self._links.base(call))}


def _row(
    method: str,
    path: str,
    handler: Callable[[Call], Any],
    policy: str,
    status: int = 200,
    body: Body | None = None,
) -> Route:
    return Route(method=method, path=path, handler=handler, policy=policy, status=status, body=body)


def _wires(database: Database, passwords: Passwords) -> list[Wire]:
    return [
        Wire(
            one="domain",
            noun=Domains(database),
            create=schemas.DomainCreate,
            update=schemas.DomainUpdate,
            filters={"name": "name", "enabled": "enabled"},
            owner="domain_id",
        ),
        Wire(
            one="project",
            noun=Projects(database),
            create=schemas.ProjectCreate,
            update=schemas.ProjectUpdate,
            filters={
                "name": "name",
                "domain_id": "domain_id",
                "parent_id": "parent_id",
                "enabled": "enabled",
            },
            owner="project_id",
        ),
        Wire(
            one="user",
            noun=Users(database, passwords),
            create=schemas.UserCreate,
            update=schemas.UserUpdate,
            filters={"name": "name", "domain_id": "domain_id", "enabled": "enabled"},
            owner="user_id",
        ),
        Wire(
            one="group",
            noun=Groups(database),
            create=schemas.GroupCreate,
            update=schemas.GroupUpdate,
            filters={"name": "name", "domain_id": "domain_id"},
        ),
        Wire(
            one="role",
            noun=Roles(database),
            create=schemas.RoleCreate,
            update=schemas.RoleUpdate,
            filters={"name": "name"},
        ),
        Wire(
            one="region",
            noun=Regions(database),
            create=schemas.RegionCreate,
            update=schemas.RegionUpdate,
            filters={"parent_region_id": "parent_region_id"},
        ),
        Wire(
            one="service",
            noun=Services(database),
            create=schemas.ServiceCreate,
            update=schemas.ServiceUpdate,
            filters={"name": "name", "type": "type"},
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
    ]


class UserProjects:
    """/v3/users/{id}/projects"""

    def __init__(self, projects: Projects, users: Users, links: Links) -> None:
        self._projects = projects
        self._users = users
        self._links = links

    def list(self, call: Call) -> Json:
        user_id = call.params["user_id"]
        call.check("identity:list_user_projects", {"user_id": user_id})
        self._users.get(user_id)
        found = self._projects.of_user(user_id, only_enabled=False)
        return schemas.listing("projects", found, self._links.base(call), self._links.here(call))


def rest_service(
    database: Database,
    *,
    key_dir: Path,
    token_lifetime_s: float,
    passwords: Passwords,
    public_url: str = "",
    policy_file: str | None = None,
) -> Service:
    """Identity over ``database``, whose tables are current, with keys in ``key_dir``."""
    links = Links(public_url)
    tokens = Tokens(database, Keys(key_dir), lifetime_s=token_lifetime_s)
    authentication = Authentication(database, tokens, passwords)
    projects, users = Projects(database), Users(database, passwords)
    rows = [
        *versions.routes(links),
        *AuthRoutes(database, authentication, tokens, links).routes(),
        *GrantRoutes(Grants(database), users, Groups(database), links).routes(),
        Route(
            method="GET",
            path="/v3/users/{user_id}/projects",
            handler=UserProjects(projects, users, links).list,
            policy="any",
        ),
    ]
    for wire in _wires(database, passwords):
        rows += NounRoutes(wire, links).routes()
    return Service(
        name="identity",
        routes=rows,
        policy=Policy(RULES, policy_file=policy_file),
        dialect=dialects.keystone,
        authenticate=authentication.authenticate,
        vary="X-Auth-Token",
        unauthenticated_headers={"WWW-Authenticate": f'Keystone uri="{public_url or "/v3"}"'},
    )
