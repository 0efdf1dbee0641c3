"""Which cloud, and as whom: OS_* variables, clouds.yaml, or the one on this machine."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from minicloud.cli.problems import NoCredentials

_PLACES = (
    Path("clouds.yaml"),
    Path("~/.config/openstack/clouds.yaml"),
    Path("/etc/openstack/clouds.yaml"),
    Path("/etc/minicloud/clouds.yaml"),
)
_VARIABLES = {
    "OS_AUTH_URL": "auth_url",
    "OS_USERNAME": "username",
    "OS_PASSWORD": "password",
    "OS_PROJECT_NAME": "project_name",
    "OS_PROJECT_ID": "project_id",
    "OS_USER_DOMAIN_NAME": "user_domain_name",
    "OS_USER_DOMAIN_ID": "user_domain_id",
    "OS_PROJECT_DOMAIN_NAME": "project_domain_name",
    "OS_PROJECT_DOMAIN_ID": "project_domain_id",
    "OS_TOKEN": "token",
}
DEFAULT_CLOUD = "minicloud"


def find(name: str | None) -> Mapping[str, Any]:
    """The ``auth`` values, and ``region_name`` and ``interface`` where given. NoCredentials."""
    name = name or os.environ.get("OS_CLOUD") or None
    if name is None and os.environ.get("OS_AUTH_URL"):
        return _complete(_from_environment(), "the environment", _variable)
    found = _from_files(name or DEFAULT_CLOUD)
    if found is None:
        raise NoCredentials(
            f"No cloud named {name or DEFAULT_CLOUD} in "
            f"{', '.join(map(str, _files())) or 'any clouds.yaml'}. Set OS_CLOUD, or OS_AUTH_URL "
            "and its companions, or run 'sudo tools/up' to have a cloud on this machine."
        )
    return found


def _complete(
    auth: Mapping[str, Any], where: str, spelled: Callable[[str], str] = str
) -> Mapping[str, Any]:
    """``auth``, if it is enough to sign in with."""
    needed = ("auth_url",) if auth.get("token") else ("auth_url", "username", "password")
    missing = [spelled(key) for key in needed if not auth.get(key)]
    if missing:
        raise NoCredentials(f"{' and '.join(missing)} missing in {where}.")
    return auth


def _variable(key: str) -> str:
    return f"OS_{key.upper()}"


def _from_environment() -> Mapping[str, Any]:
    values = {key: os.environ[var] for var, key in _VARIABLES.items() if os.environ.get(var)}
    values["region_name"] = os.environ.get("OS_REGION_NAME", "")
    values["interface"] = os.environ.get("OS_INTERFACE", "public")
    return values


def _files() -> list[Path]:
    named = os.environ.get("OS_CLIENT_CONFIG_FILE")
    places = ([Path(named)] if named else []) + list(_PLACES)
    return [path for path in (p.expanduser() for p in places) if os.access(path, os.R_OK)]


def _from_files(name: str) -> Mapping[str, Any] | None:
    import yaml

    for path in _files():
        try:
            document = yaml.safe_load(path.read_text(encoding="utf-8"))
        except yaml.YAMLError as problem:
            reason = " ".join(str(problem).split())
            raise NoCredentials(f"{path} cannot be read: {reason}") from problem
        clouds = (document or {}).get("clouds") or {}
        if name in clouds:
            cloud = clouds[name]
            auth = {
                **(cloud.get("auth") or {}),
                "region_name": cloud.get("region_name", ""),
                "interface": cloud.get("interface", "public"),
            }
            return _complete(auth, f"cloud {name} of {path}")
    return None
