"""What another host is given to join this cloud: accounts with the rights of a compute host only.

One user of RabbitMQ's and one of identity's for each host, so that any can be shut out alone.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from minicloud.client.identity import Credentials, ServiceSession
from minicloud.deploy import files, pki
from minicloud.deploy.broker import VHOST, Broker, host_user
from minicloud.deploy.config import BROKER_PORT, IDENTITY_PORT, Sections, render
from minicloud.deploy.places import Places
from minicloud.deploy.seed import Account
from minicloud.deploy.settings import Settings
from minicloud.deploy.stage import StageFailed
from minicloud.domain.errors import Conflict, MinicloudError, Unauthenticated

_DOMAIN = "default"
_PROJECT = _ROLE = "service"
_METADATA_PORT = 8775


def _random() -> str:
    return secrets.token_urlsafe(24)


class HostAccess(msgspec.Struct, frozen=True, kw_only=True):
    """The passwords of one host's users; kept in a file that only root reads."""

    name: str
    rabbitmq_password: str = msgspec.field(default_factory=_random)
    service_password: str = msgspec.field(default_factory=_random)
    tls: pki.Credentials | None = None
    """By which it gets its servers' volumes. None in files of before there were any."""


def ensure(
    places: Places, settings: Settings, broker: Broker, names: Sequence[str]
) -> list[HostAccess]:
    """Every host of ``names`` has its users, with passwords that stay."""
    found = [_remembered(places, name) for name in names]
    broker.admit({access.name: access.rabbitmq_password for access in found})
    try:
        admin = Account(settings, "admin", settings.admin_password)
        for access in found:
            _ensure_user(admin, settings, access)
    except MinicloudError as problem:
        raise StageFailed(
            "The hosts' users could not be made.", problem.message, "is the cloud up? sudo tools/up"
        ) from problem
    return found


def remove(places: Places, settings: Settings, broker: Broker, names: Iterable[str]) -> None:
    """Shut these hosts out. Unknown ones are fine."""
    known = [name for name in names if _file(places, name).exists()]
    broker.dismiss(known)
    try:
        admin = Account(settings, "admin", settings.admin_password)
        for name in known:
            # A host that reports no more is forgotten; one with servers on it is not.
            for service in admin.compute.get("/os-services", host=name).json["services"]:
                admin.compute.delete(f"/os-services/{service['id']}")
            for user in _users(admin, name):
                admin.identity.delete(f"/users/{user['id']}")
            _file(places, name).unlink()
    except Conflict as problem:
        raise StageFailed(
            "The cloud does not let go of a host.", problem.message, "delete its servers first"
        ) from problem
    except MinicloudError as problem:
        raise StageFailed(
            "The hosts' users could not be removed.", problem.message, "is the cloud up?"
        ) from problem


def known(places: Places) -> list[str]:
    """The hosts that were given access."""
    return sorted(path.stem for path in _directory(places).glob("*.json"))


def configuration(
    settings: Settings, access: HostAccess, *, controller: str, tunnel_address: str
) -> str:
    """minicloud.conf for the host; ``controller`` is where it reaches this one."""
    at = in_url(controller)
    password = quote(access.rabbitmq_password, safe="")
    broker = f"{host_user(access.name)}:{password}@{at}:{BROKER_PORT}"
    sections: Sections = {
        "DEFAULT": {"host": access.name},
        "auth": {
            "url": f"http://{at}:{IDENTITY_PORT}/v3",
            "username": host_user(access.name),
            "password": access.service_password,
        },
        "compute": {"tunnel_address": tunnel_address},
        "metadata": {
            "url": f"http://{at}:{_METADATA_PORT}",
            "shared_secret": settings.metadata_secret,
        },
        "rpc": {"transport_url": f"rabbit://{broker}/{VHOST}"},
    }
    return render(sections)


def in_url(address: str) -> str:
    """A name or an address as URLs have it."""
    return f"[{address}]" if ":" in address else address


def _ensure_user(admin: Account, settings: Settings, access: HostAccess) -> None:
    name = host_user(access.name)
    users = _users(admin, access.name)
    if not users:
        body = {"name": name, "domain_id": _DOMAIN, "password": access.service_password}
        users = [admin.identity.post("/users", {"user": body}).json["user"]]
    project = admin.identity.get("/projects", name=_PROJECT, domain_id=_DOMAIN).json["projects"][0]
    role = admin.identity.get("/roles", name=_ROLE).json["roles"][0]
    user_id = users[0]["id"]
    admin.identity.put(f"/projects/{project['id']}/users/{user_id}/roles/{role['id']}")
    try:
        ServiceSession(
            Credentials(
                url=f"http://{settings.host}:{IDENTITY_PORT}/v3",
                username=name,
                password=access.service_password,
                project_name=_PROJECT,
                domain_name="Default",
            )
        ).token()
    except Unauthenticated:
        body = {"password": access.service_password}
        admin.identity.request("PATCH", f"/users/{user_id}", body={"user": body})


def _users(admin: Account, host: str) -> list[dict[str, Any]]:
    answer = admin.identity.get("/users", name=host_user(host), domain_id=_DOMAIN)
    found: list[dict[str, Any]] = answer.json["users"]
    return found


def _remembered(places: Places, name: str) -> HostAccess:
    path = _file(places, name)
    try:
        access = msgspec.json.decode(path.read_bytes(), type=HostAccess)
    except FileNotFoundError:
        access = HostAccess(name=name)
    if access.tls is None:
        access = msgspec.structs.replace(access, tls=pki.issue(places, name))
        files.directory(_directory(places), mode=0o700)
        files.write(path, msgspec.json.encode(access).decode(), mode=0o600)
    return access


def _directory(places: Places) -> Path:
    return places.state / "deploy" / "hosts"


def _file(places: Places, name: str) -> Path:
    return _directory(places) / f"{name}.json"
