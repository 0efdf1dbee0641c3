"""Each service as a table of routes with nothing behind it, for what is made from the tables.

No handler is ever called: databases are empty, and what a daemon would be connected to is absent.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minicloud.kit.db import Database
from minicloud.kit.policy import Policy
from minicloud.kit.web import Service

_ABSENT: Any = None
_NO_LIMITS: Mapping[str, int] = collections.defaultdict(lambda: -1)


def _identity(directory: Path, database: Database) -> Service:
    from minicloud.identity import routes
    from minicloud.identity.keys import ensure_keys

    ensure_keys(directory)
    return routes.rest_service(
        database,
        key_dir=directory,
        credential_key_dir=directory,
        token_lifetime_s=3600,
        passwords=_ABSENT,
    )


def _image(directory: Path, database: Database) -> Service:
    from minicloud.cmd import image
    from minicloud.image import policies
    from minicloud.image.stores.files import FileStore
    from minicloud.image.transfer import Limits

    settings = image.Settings(
        directory=directory,
        stores=[FileStore(directory / "data")],
        limits=Limits(size=0, virtual_size=0),
        quotas=lambda _project: _NO_LIMITS,
    )
    return image.build(settings, database, Policy(policies.RULES), _ABSENT).service


def _network(_directory: Path, database: Database) -> Service:
    from minicloud.network import routes
    from minicloud.network.service import NetworkService, Settings

    return routes.rest_service(NetworkService(database, Settings(quota=_NO_LIMITS)), _ABSENT)


def _volume(directory: Path, database: Database) -> Service:
    from minicloud.cmd import volume

    settings = volume.Settings(host="", data_dir=directory, export_dir=directory, quotas=_NO_LIMITS)
    return volume.build(settings, database, _ABSENT).service


def _compute(_directory: Path, database: Database) -> Service:
    from minicloud.api import policies, service

    parts = service.Parts(
        database=database,
        placer=_ABSENT,
        compute=_ABSENT,
        lookups=_ABSENT,
        facts=_ABSENT,
        limits=_NO_LIMITS,
        service_down_s=0,
        host="",
    )
    return service.rest_service(parts, Policy(policies.RULES), _ABSENT)


_MAKERS: Mapping[str, Callable[[Path, Database], Service]] = {
    "identity": _identity,
    "image": _image,
    "network": _network,
    "volume": _volume,
    "compute": _compute,
}
NAMES = tuple(_MAKERS)


def described(name: str, directory: Path) -> Service:
    """The service ``name``; ``directory`` is empty and goes when the service does."""
    database = Database(f"sqlite:///{directory / name}.sqlite")
    try:
        return _MAKERS[name](directory, database)
    finally:
        database.close()
