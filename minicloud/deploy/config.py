"""Stage: the daemons' configuration files, written from one table.

Only secrets, URLs and addresses are written: everything else is the options' own defaults. An
operator's own settings belong in the daemons' files, below a line that is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from minicloud.deploy import files, pki
from minicloud.deploy.names import DAEMONS
from minicloud.deploy.places import USER, Places
from minicloud.deploy.settings import Settings

DATABASES = {
    "identity": ("identity",),
    "image": ("image",),
    "network": ("network",),
    "volume": ("volume",),
    "compute": ("api", "scheduler", "conductor"),
}
"""Whose database it is, and the daemons that use it."""

BROKER_HOST = "127.0.0.1"
BROKER_PORT = 5672
IDENTITY_PORT = 5000
TLS = Path("/etc/minicloud/tls")
"""The volume service's credentials towards other hosts."""

NOVNC = Path("/opt/minicloud/novnc/usr/share/novnc")
"""The pages that tools/bootstrap.sh unpacks where the distribution's package is not installed."""

OWN_LINES = "# Below this line are your own settings; they are kept. They win over those above.\n"

Sections = Mapping[str, Mapping[str, str]]


def database_url(base: str, service: str) -> str:
    """The URL of ``service``'s database: that of ``base`` with ``_service`` after its name."""
    parts = urlsplit(base)
    name = parts.path.rstrip("/") or "/minicloud"
    return urlunsplit(parts._replace(path=f"{name}_{service}"))


def transport_url(settings: Settings) -> str:
    password = quote(settings.rabbitmq_password, safe="")
    return f"rabbit://minicloud:{password}@{BROKER_HOST}:{BROKER_PORT}/minicloud"


def shared(settings: Settings) -> Sections:
    """minicloud.conf: what every daemon reads."""
    return {
        "auth": {
            "url": f"http://127.0.0.1:{IDENTITY_PORT}/v3",
            "password": settings.service_password,
        },
        "metadata": {"shared_secret": settings.metadata_secret},
        "rpc": {"transport_url": transport_url(settings)},
        "web": {"listen": settings.listen},
    }


def of_daemon(daemon: str, settings: Settings) -> Sections:
    """<daemon>.conf: what only this one needs."""
    sections: dict[str, Mapping[str, str]] = {}
    for service, users in DATABASES.items():
        if daemon in users and settings.database_url:
            sections["database"] = {"url": database_url(settings.database_url, service)}
    if daemon == "api" and not settings.is_local:
        sections["metadata"] = {"listen": settings.listen}
    if daemon == "compute" and settings.tunnel_address:
        sections["compute"] = {"tunnel_address": settings.tunnel_address}
    if daemon == "consoleproxy" and NOVNC.is_dir():
        sections["consoleproxy"] = {"novnc_dir": str(NOVNC)}
    if daemon == "volume" and settings.tunnel_address:
        sections["volume"] = {
            "nbd_address": settings.tunnel_address,
            "tls_dir": str(TLS),
            "tls_peer": pki.PEER,
        }
    return sections


def render(sections: Sections) -> str:
    """An ini file as oslo.config reads it: a dollar sign would start a reference to an option."""
    lines = ["# Written by tools/up."]
    for section, options in sections.items():
        lines += ["", f"[{section}]"]
        lines += [f"{name} = {value.replace('$', '$$')}" for name, value in options.items()]
    return "\n".join(lines) + "\n"


def merged(rendered: str, existing: str) -> str:
    """``rendered`` with the operator's own lines of the ``existing`` file."""
    _, mark, own = existing.partition(OWN_LINES)
    return f"{rendered}\n{OWN_LINES}{own if mark else ''}"


def ensure(places: Places, settings: Settings) -> str:
    """Every file, readable by root and the daemons alone; tells whether any changed."""
    _, gid = files.ids(USER, USER)
    if settings.tunnel_address:
        pki.ensure_server(places, settings.tunnel_address)
    wanted = {"minicloud": shared(settings)}
    wanted.update({daemon: of_daemon(daemon, settings) for daemon in DAEMONS})
    changed = []
    for name, sections in wanted.items():
        path = places.config / f"{name}.conf"
        existing = path.read_text(encoding="utf-8") if path.exists() else ""
        text = merged(render(sections), existing)
        if files.write(path, text, mode=0o640, gid=gid):
            changed.append(name)
    return f"wrote {len(changed)} files" if changed else "unchanged"
