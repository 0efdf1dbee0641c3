"""The first content of an identity database: domain, roles, projects, users, catalog.

Running it again changes only passwords and URLs that differ; it takes nothing away. It must not
read configuration or files: who calls it hands over what it needs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import msgspec

from minicloud.identity import assignments, records, store
from minicloud.identity.directory import DEFAULT_DOMAIN
from minicloud.identity.nouns import new_id
from minicloud.identity.passwords import Passwords
from minicloud.identity.standing import login_get
from minicloud.identity.store import Rows
from minicloud.kit.db import Database, Transaction

PROJECTS = ("admin", "service", "demo", "alt_demo")
ROLES = ("admin", "manager", "member", "reader", "service")
IMPLIED = (("admin", "manager"), ("manager", "member"), ("member", "reader"))
INTERFACES = ("public", "internal", "admin")

_ON_PROJECTS: Sequence[tuple[str, str, str]] = (
    ("admin", "admin", "admin"),
    ("admin", "admin", "demo"),
    ("admin", "admin", "alt_demo"),
    ("demo", "member", "demo"),
    ("demo", "reader", "demo"),
    ("alt_demo", "member", "alt_demo"),
    ("alt_demo", "reader", "alt_demo"),
)
"""(user, role, project)"""

R = TypeVar("R", bound=records.Record)


class Accounts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The passwords of the first users. ``services``: user name -> password."""

    admin: str
    demo: str
    alt_demo: str
    services: dict[str, str] = {}

    def __repr__(self) -> str:
        return "<Accounts>"

    def all(self) -> dict[str, str]:
        people = {"admin": self.admin, "demo": self.demo, "alt_demo": self.alt_demo}
        return {**self.services, **people}


class CatalogEntry(msgspec.Struct, frozen=True):
    type: str
    name: str
    url: str


def catalog_of(host: str) -> list[CatalogEntry]:
    """The services of a cloud whose controller answers at ``host``, a name or an address."""
    at = f"http://[{host}]" if ":" in host else f"http://{host}"
    volume = f"{at}:8776/v3/$(project_id)s"
    return [
        CatalogEntry("identity", "keystone", f"{at}:5000/v3"),
        CatalogEntry("compute", "nova", f"{at}:8774/v2.1"),
        CatalogEntry("image", "glance", f"{at}:9292"),
        CatalogEntry("network", "neutron", f"{at}:9696"),
        CatalogEntry("block-storage", "cinder", volume),
        CatalogEntry("volumev3", "cinderv3", volume),
    ]


def bootstrap(
    database: Database,
    passwords: Passwords,
    *,
    accounts: Accounts,
    catalog: Sequence[CatalogEntry],
    region: str,
) -> list[str]:
    """Fill ``database``, whose tables are current. What changed, a few words each."""
    hashes = _hashes(database, passwords, accounts.all())
    done: list[str] = []
    with database.write() as tx:
        _people(tx, hashes, accounts, done)
        _catalog(tx, catalog, region, done)
        if done:
            store.generation_raise(tx)
    return done


def _hashes(
    database: Database, passwords: Passwords, wanted: Mapping[str, str]
) -> dict[str, str | None]:
    """User name -> hash of a password that is new; None where it is the one there is."""
    hashes: dict[str, str | None] = {}
    for name, password in wanted.items():
        with database.read() as tx:
            login = login_get(
                tx, user_id=None, name=name, domain_id=DEFAULT_DOMAIN, domain_name=None
            )
        same = login is not None and passwords.proves(login.password_hash, password)
        hashes[name] = None if same else passwords.hash(password)
    return hashes


def _people(
    tx: Transaction, hashes: Mapping[str, str | None], accounts: Accounts, done: list[str]
) -> None:
    if store.domains.find(tx, id=DEFAULT_DOMAIN) is None:
        store.domains.insert(tx, records.Domain(id=DEFAULT_DOMAIN, name="Default"))
        done.append("created domain Default")
    roles = {
        name: _ensure(tx, store.roles, {"name": name}, records.Role(id=new_id(), name=name), done)
        for name in ROLES
    }
    graph = assignments.role_graph(tx)
    for prior, implied in IMPLIED:
        if roles[implied].id not in graph.implied.get(roles[prior].id, ()):
            assignments.implication_add(tx, roles[prior].id, roles[implied].id)
            done.append(f"made role {prior} imply {implied}")
    projects = {
        name: _ensure(
            tx,
            store.projects,
            {"name": name, "domain_id": DEFAULT_DOMAIN},
            records.Project(id=new_id(), name=name, domain_id=DEFAULT_DOMAIN),
            done,
        )
        for name in PROJECTS
    }
    users = {name: _ensure_user(tx, name, hashed, done) for name, hashed in hashes.items()}
    given = [*_ON_PROJECTS, *((name, "service", "service") for name in accounts.services)]
    wanted = [
        records.Assignment(
            role_id=roles[role].id, user_id=users[user], project_id=projects[project].id
        )
        for user, role, project in given
    ]
    wanted.append(
        records.Assignment(role_id=roles["admin"].id, user_id=users["admin"], system=True)
    )
    for assignment in wanted:
        if not assignments.assignment_has(tx, assignment):
            assignments.assignment_add(tx, assignment)
            done.append("gave a role")


def _ensure(tx: Transaction, rows: Rows[R], named: Mapping[str, Any], new: R, done: list[str]) -> R:
    there = rows.find(tx, **named)
    if there is not None:
        return there
    rows.insert(tx, new)
    done.append(f"created {rows.kind.lower()} {named.get('name') or new.id}")
    return new


def _ensure_user(tx: Transaction, name: str, hashed: str | None, done: list[str]) -> str:
    there = store.users.find(tx, name=name, domain_id=DEFAULT_DOMAIN)
    if there is None:
        new = records.User(id=new_id(), name=name, domain_id=DEFAULT_DOMAIN)
        store.users.insert(tx, new, password_hash=hashed, token_generation=0)
        done.append(f"created user {name}")
        return new.id
    if hashed is not None:
        store.users.update(tx, there.id, {"password_hash": hashed, **store.END_TOKENS})
        done.append(f"set another password for user {name}")
    return there.id


def _catalog(
    tx: Transaction, catalog: Sequence[CatalogEntry], region: str, done: list[str]
) -> None:
    _ensure(tx, store.regions, {"id": region}, records.Region(id=region), done)
    for entry in catalog:
        named = {"type": entry.type, "name": entry.name}
        new = records.Service(id=new_id(), type=entry.type, name=entry.name)
        service = _ensure(tx, store.services, named, new, done)
        for interface in INTERFACES:
            _endpoint(tx, service.id, interface, region, entry, done)


def _endpoint(
    tx: Transaction,
    service_id: str,
    interface: str,
    region: str,
    entry: CatalogEntry,
    done: list[str],
) -> None:
    place = {"service_id": service_id, "interface": interface, "region_id": region}
    found = store.endpoints.list(tx, place)
    if not found:
        new = records.Endpoint(
            id=new_id(),
            service_id=service_id,
            interface=interface,
            region_id=region,
            url=entry.url,
        )
        store.endpoints.insert(tx, new)
        done.append(f"created the {interface} endpoint of {entry.type}")
    elif found[0].url != entry.url:
        store.endpoints.update(tx, found[0].id, {"url": entry.url})
        done.append(f"changed the {interface} endpoint of {entry.type}")
