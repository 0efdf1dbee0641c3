"""What a server is told about itself, as documents: for the metadata service and the config drive.

Pure: from a Server to bytes. Both doors answer the same documents because both are filled here.
Must not look anything up: who calls knows the server's NICs and their MTUs.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import msgspec

from minicloud.domain.ids import tap_name
from minicloud.domain.models import Server

DATES = (
    "2012-08-10",
    "2013-04-04",
    "2013-10-17",
    "2015-10-15",
    "2016-06-30",
    "2016-10-06",
    "2017-02-22",
    "2018-08-27",
    "2020-10-14",
)
"""Editions of the OpenStack documents that guests ask for by date; all are the latest."""

_DEFAULT_ZONE = "nova"
_encode = msgspec.json.Encoder(order="deterministic").encode


def documents(server: Server, *, mtus: Mapping[str, int]) -> Mapping[str, bytes]:
    """Path -> content, ``openstack/latest/meta_data.json`` and so on, without a leading slash.

    ``mtus``: network id -> bytes; a network that is not in it shows no MTU. ``user_data`` is
    there only when the server has some.
    """
    user_data = decoded_user_data(server)
    latest = {
        "meta_data.json": _encode(meta_data(server)),
        "network_data.json": _encode(network_data(server, mtus=mtus)),
        "vendor_data.json": b"{}",
        "vendor_data2.json": b"{}",
    }
    ec2 = {"meta-data.json": _encode(ec2_tree(server))}
    if user_data is not None:
        latest["user_data"] = user_data
        ec2["user-data"] = user_data
    found = {f"openstack/latest/{name}": content for name, content in latest.items()}
    found.update((f"ec2/latest/{name}", content) for name, content in ec2.items())
    return found


def decoded_user_data(server: Server) -> bytes | None:
    """The server's user data as the guest gets it; None: none was given."""
    return None if server.user_data is None else base64.b64decode(server.user_data)


def meta_data(server: Server) -> dict[str, Any]:
    """``meta_data.json``."""
    document: dict[str, Any] = {
        "uuid": server.id,
        "name": server.name,
        "hostname": server.hostname,
        "project_id": server.project_id,
        "availability_zone": server.availability_zone or _DEFAULT_ZONE,
        "launch_index": server.launch_index,
        "meta": dict(server.metadata),
        "devices": _tagged_devices(server),
        "dedicated_cpus": [],
    }
    if server.key_name and server.public_key:
        key = server.public_key.strip() + "\n"
        document["public_keys"] = {server.key_name: key}
        kind = "x509" if "BEGIN CERTIFICATE" in key else "ssh"
        document["keys"] = [{"name": server.key_name, "type": kind, "data": key}]
    return document


def _tagged_devices(server: Server) -> list[dict[str, Any]]:
    """NICs and disks with a tag, and what a guest finds them by."""
    found = [
        {"type": "nic", "mac": nic.mac, "tags": [nic.tag], **_place(nic.address)}
        for nic in server.nics
        if nic.tag
    ]
    found += [
        {
            "type": "disk",
            "serial": volume.volume_id,
            "path": volume.device,
            "tags": [volume.tag],
            **_place(volume.address),
        }
        for volume in server.volumes
        if volume.tag
    ]
    found += [
        {"type": "disk", "path": f"/dev/{disk.device}", "tags": [disk.tag], **_place("")}
        for disk in server.block_devices
        if disk.tag and not disk.is_volume
    ]
    return found


def _place(address: str) -> dict[str, str]:
    return {"bus": "pci", "address": address} if address else {"bus": "none", "address": "none"}


def network_data(server: Server, *, mtus: Mapping[str, int]) -> dict[str, Any]:
    """``network_data.json``: a link for each NIC, and DHCP on it."""
    links = []
    networks = []
    for number, nic in enumerate(server.nics):
        name = tap_name(nic.port_id)
        link: dict[str, Any] = {
            "id": name,
            "vif_id": nic.port_id,
            "type": "bridge",
            "ethernet_mac_address": nic.mac,
        }
        if nic.network_id in mtus:
            link["mtu"] = mtus[nic.network_id]
        links.append(link)
        networks.append(
            {
                "id": f"network{number}",
                "type": "ipv4_dhcp",
                "link": name,
                "network_id": nic.network_id,
            }
        )
    return {"links": links, "networks": networks, "services": []}


def ec2_tree(server: Server) -> dict[str, Any]:
    """EC2's ``meta-data`` as a tree: a dict is a directory, anything else a file's text."""
    addresses = [a for nic in server.nics for a in nic.addresses if ":" not in a]
    number = server.id.replace("-", "")[:8]
    tree: dict[str, Any] = {
        "ami-id": f"ami-{(server.image_id or server.id).replace('-', '')[:8]}",
        "ami-launch-index": str(server.launch_index),
        "ami-manifest-path": "",
        "block-device-mapping": _block_devices(server),
        "hostname": server.hostname,
        "instance-action": "none",
        "instance-id": f"i-{number}",
        "instance-type": server.flavor.name,
        "local-hostname": server.hostname,
        "local-ipv4": addresses[0] if addresses else "",
        "placement": {"availability-zone": server.availability_zone or _DEFAULT_ZONE},
        "public-hostname": server.hostname,
        "public-ipv4": "",
        "reservation-id": server.reservation_id,
        "security-groups": "\n".join(server.security_groups),
    }
    if server.key_name and server.public_key:
        tree["public-keys"] = {
            "0": {"_name": f"0={server.key_name}", "openssh-key": server.public_key.strip()}
        }
    return tree


def _block_devices(server: Server) -> dict[str, str]:
    found = {"ami": server.root_device, "root": f"/dev/{server.root_device}"}
    ephemerals = 0
    for disk in server.block_devices:
        if disk.is_volume:
            continue
        if disk.guest_format == "swap":
            found["swap"] = f"/dev/{disk.device}"
        else:
            found[f"ephemeral{ephemerals}"] = f"/dev/{disk.device}"
            ephemerals += 1
    for number, volume in enumerate(server.volumes):
        found[f"ebs{number}"] = volume.device
    return found
