"""Every option of every daemon, one module a group. The only importer of oslo.config besides kit.

A daemon reads ``/etc/minicloud/minicloud.conf`` and then ``/etc/minicloud/<daemon>.conf``; the
later file wins. Options are read once, in ``cmd/``, and handed on as arguments.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oslo_config import cfg

from minicloud.conf import (
    auth,
    compute,
    conductor,
    consoleproxy,
    database,
    default,
    image,
    libvirt,
    metadata,
    metrics,
    quota,
    rpc,
    scheduler,
    volume,
    web,
)
from minicloud.conf import identity as identity_group
from minicloud.conf import network as network_group

GROUPS: Sequence[Any] = (
    default,
    auth,
    compute,
    conductor,
    consoleproxy,
    database,
    identity_group,
    image,
    libvirt,
    metadata,
    metrics,
    network_group,
    quota,
    rpc,
    scheduler,
    volume,
    web,
)

CONFIG_DIR = Path("/etc/minicloud")
DAEMONS = (
    "identity",
    "image",
    "network",
    "volume",
    "api",
    "scheduler",
    "conductor",
    "compute",
    "consoleproxy",
)


def list_opts() -> list[tuple[str, list[Any]]]:
    """(group, options) pairs: the sample configuration is generated from them."""
    return [(group.GROUP, group.OPTS) for group in GROUPS]


def load(daemon: str, argv: Sequence[str] | None = None) -> Any:
    """The configuration of ``daemon``; ``argv`` takes ``--config-file`` and ``--config-dir``."""
    conf = cfg.ConfigOpts()
    for group, opts in list_opts():
        conf.register_opts(opts, group=None if group == "DEFAULT" else group)
    directory = Path(os.environ.get("MINICLOUD_CONFIG_DIR", CONFIG_DIR))
    files = [
        str(path)
        for path in (directory / "minicloud.conf", directory / f"{daemon}.conf")
        if path.exists()
    ]
    conf(
        list(argv or ()),
        project="minicloud",
        prog=f"minicloud-{daemon}",
        default_config_files=files,
        default_config_dirs=[],
    )
    return conf
