"""What a launch asks for: the choices left open are made here, the request body is built here."""

from __future__ import annotations

import base64
import math
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from minicloud.cli.session import Cloud, Thing, pick
from minicloud.domain.errors import Invalid

DEMO_KEY = "demo"
_GIB = 1 << 30
_UNFIT = re.compile(r"[^a-z0-9-]+")
_WORDS = ("auto", "none")


def smallest_flavor(flavors: Sequence[Thing], image: Mapping[str, Any]) -> Thing:
    """The flavor with the least memory, then disk, that ``image`` fits into. Invalid: none."""
    memory = image.get("min_ram") or 0
    size = max(image.get("size") or 0, image.get("virtual_size") or 0)
    disk = max(image.get("min_disk") or 0, math.ceil(size / _GIB))
    # A flavor whose disk is 0 takes the image's own size.
    fit = [f for f in flavors if f["ram"] >= memory and (not f["disk"] or f["disk"] >= disk)]
    if not fit:
        raise Invalid(
            reason=f"No flavor has the {memory} MB of memory and {disk} GB of disk that image "
            f"{image['name']} needs; see 'minicloud flavor list'."
        )
    return min(fit, key=lambda f: (f["ram"], f["disk"], f["vcpus"]))


def default_key(keys: Sequence[Thing]) -> str | None:
    """The user's only key pair, or the one named demo."""
    names = [key["name"] for key in keys]
    if len(names) == 1:
        return str(names[0])
    return DEMO_KEY if DEMO_KEY in names else None


def networks(cloud: Cloud, names: Sequence[str]) -> str | list[dict[str, str]]:
    """The ``networks`` of the request: ``auto`` when none is named."""
    if len(names) == 1 and names[0] in _WORDS:
        return names[0]
    if not names:
        return "auto"
    there = cloud.networks()
    return [{"uuid": pick(there, name, "network")["id"]} for name in names]


def server_name(image: Mapping[str, Any]) -> str:
    """A name for a server of ``image``: cirros-3f9a."""
    stem = _UNFIT.sub("-", str(image.get("name") or "server").lower()).strip("-")
    return f"{stem[:40] or 'server'}-{secrets.token_hex(2)}"


def body(
    *,
    name: str,
    image: Mapping[str, Any],
    flavor: Mapping[str, Any],
    networks: str | list[dict[str, str]],
    key: str | None,
    volumes: Sequence[int],
    user_data: Path | None,
    metadata: Mapping[str, str],
    config_drive: bool,
) -> dict[str, Any]:
    """The request. ``volumes``: sizes in GiB of blank volumes that live as long as the server."""
    server: dict[str, Any] = {
        "name": name,
        "imageRef": image["id"],
        "flavorRef": flavor["id"],
        "networks": networks,
    }
    if key:
        server["key_name"] = key
    if volumes:
        server["block_device_mapping_v2"] = [_image_disk(image), *map(_volume_disk, volumes)]
    if user_data is not None:
        server["user_data"] = base64.b64encode(user_data.read_bytes()).decode()
    if metadata:
        server["metadata"] = dict(metadata)
    if config_drive:
        server["config_drive"] = True
    return {"server": server}


def _image_disk(image: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "source_type": "image",
        "destination_type": "local",
        "uuid": image["id"],
        "boot_index": 0,
        "delete_on_termination": True,
    }


def _volume_disk(size_gb: int) -> dict[str, Any]:
    return {
        "source_type": "blank",
        "destination_type": "volume",
        "volume_size": size_gb,
        "boot_index": -1,
        "delete_on_termination": True,
    }
