"""How guests open a volume in Ceph for themselves: what Cinder's RBD driver tells of one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from minicloud.volume.backends.disks import RbdImage

_PORT = "6789"
_MONITOR = re.compile(
    r"(?:(?P<protocol>v1|v2|any):)?(?P<host>\[[0-9a-fA-F:.]+\]|[\w.-]+)(?::(?P<port>\d+))?(?:/\d+)?"
)


def ceph_connection(disk: RbdImage) -> dict[str, Any]:
    """The key is not in it: hosts have it in a secret of their own."""
    found = monitors(_text(disk.conf))
    return {
        "driver_volume_type": "rbd",
        "name": f"{disk.pool}/{disk.image}",
        "hosts": [host for host, _ in found],
        "ports": [port for _, port in found],
        "cluster_name": disk.conf.stem,
        "auth_enabled": True,
        "auth_username": disk.user,
        "secret_type": "ceph",
        "secret_uuid": None,
    }


def monitors(conf: str) -> list[tuple[str, str]]:
    """(host, port) of each monitor that a configuration of Ceph names, once where it has several
    protocols. None: hosts go by their own configuration.
    """
    found: dict[str, str] = {}
    for line in conf.splitlines():
        name, equals, value = line.partition("=")
        if not equals or re.sub(r"[ _-]+", "_", name.strip()) != "mon_host":
            continue
        for each in _MONITOR.finditer(re.split("[#;]", value)[0]):
            host = each["host"].strip("[]")
            if host not in found or each["protocol"] == "v1":
                found[host] = each["port"] or _PORT
    return list(found.items())


def _text(conf: Path) -> str:
    try:
        return conf.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
