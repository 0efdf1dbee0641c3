"""What the API asks of the image and the network service, with the caller's token.

Only what a request cannot be judged without: the image, the networks and ports a launch names,
and what a server's ports are when a client lists them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from minicloud.client.identity import ServiceSession
from minicloud.client.image import Image, ImageClient
from minicloud.client.network import NetworkClient, versioned
from minicloud.client.rest import RestClient
from minicloud.client.volume import Volume, VolumeClient
from minicloud.domain.errors import MinicloudError, NotFound
from minicloud.kit.context import Context


class Network(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    project_id: str
    shared: bool
    external: bool
    has_subnets: bool


class Port(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    network_id: str
    device_id: str
    status: str
    mac: str
    fixed_ips: Sequence[Mapping[str, str]]
    """``{"subnet_id": ..., "ip_address": ...}``"""
    security_groups: Sequence[str]
    """Ids."""


class Lookups(Protocol):
    """The other services, as the caller sees them. Every method may raise Unavailable."""

    def image(self, ctx: Context, image_id: str) -> Image:
        """NotFound."""

    def networks(self, ctx: Context, ids: Sequence[str] = ()) -> Sequence[Network]:
        """The networks the caller sees; of ``ids`` where some are given."""

    def ports(self, ctx: Context, ids: Sequence[str]) -> Sequence[Port]:
        """Those of ``ids`` that the caller sees."""

    def ports_of_server(self, ctx: Context, server_id: str) -> Sequence[Port]: ...

    def floating_ips(self, ctx: Context, port_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        """Port id -> the floating IPs that lead to it."""

    def security_groups(self, ctx: Context, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        """Security groups as the network service shows them."""

    def groups_of_project(self, ctx: Context) -> Sequence[Mapping[str, Any]]:
        """The security groups of the caller's project."""

    def volume(self, ctx: Context, volume_id: str) -> Volume:
        """NotFound."""

    def snapshot_size(self, ctx: Context, snapshot_id: str) -> int:
        """GiB. NotFound."""

    def volume_types(self, ctx: Context) -> Mapping[str, str]:
        """Name or id of a volume type -> its name."""

    def change_groups(self, ctx: Context, port_id: str, groups: Sequence[str]) -> None:
        """The port has just the security groups of these ids. NotFound."""

    def mtus(self, network_ids: Sequence[str]) -> Mapping[str, int]:
        """Network id -> bytes, asked as this service itself; what is not known is left out."""


class RestLookups:
    """``Lookups`` over REST."""

    def __init__(self, session: ServiceSession) -> None:
        self._session = session

    def image(self, ctx: Context, image_id: str) -> Image:
        return ImageClient(self._rest("image", ctx)).image_get(image_id).value

    def networks(self, ctx: Context, ids: Sequence[str] = ()) -> Sequence[Network]:
        query = {"id": list(ids)} if ids else {}
        answer = self._network(ctx).get("/networks", **query)
        return [
            Network(
                id=network["id"],
                name=network["name"],
                project_id=network.get("project_id") or network["tenant_id"],
                shared=bool(network.get("shared")),
                external=bool(network.get("router:external")),
                has_subnets=bool(network.get("subnets")),
            )
            for network in answer.json["networks"]
        ]

    def ports(self, ctx: Context, ids: Sequence[str]) -> Sequence[Port]:
        return self._ports(ctx, id=list(ids))

    def ports_of_server(self, ctx: Context, server_id: str) -> Sequence[Port]:
        return self._ports(ctx, device_id=server_id)

    def _ports(self, ctx: Context, **query: Any) -> Sequence[Port]:
        answer = self._network(ctx).get("/ports", **query)
        return [
            Port(
                id=port["id"],
                network_id=port["network_id"],
                device_id=port.get("device_id") or "",
                status=port["status"],
                mac=port["mac_address"],
                fixed_ips=port.get("fixed_ips") or [],
                security_groups=port.get("security_groups") or [],
            )
            for port in answer.json["ports"]
        ]

    def floating_ips(self, ctx: Context, port_ids: Sequence[str]) -> Mapping[str, Sequence[str]]:
        return NetworkClient(self._rest("network", ctx)).floating_ips(port_ids).value

    def security_groups(self, ctx: Context, ids: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        return self._groups(ctx, id=list(ids))

    def groups_of_project(self, ctx: Context) -> Sequence[Mapping[str, Any]]:
        return self._groups(ctx, project_id=ctx.project_id)

    def _groups(self, ctx: Context, **query: Any) -> Sequence[Mapping[str, Any]]:
        groups: list[Mapping[str, Any]] = (
            self._network(ctx).get("/security-groups", **query).json["security_groups"]
        )
        return groups

    def volume(self, ctx: Context, volume_id: str) -> Volume:
        return self._volume(ctx).volume_get(volume_id).value

    def snapshot_size(self, ctx: Context, snapshot_id: str) -> int:
        return self._volume(ctx).snapshot_size(snapshot_id).value

    def volume_types(self, ctx: Context) -> Mapping[str, str]:
        return self._volume(ctx).volume_types(ctx.project_id).value

    def change_groups(self, ctx: Context, port_id: str, groups: Sequence[str]) -> None:
        body = {"port": {"security_groups": list(groups)}}
        self._network(ctx).put(f"/ports/{port_id}", body)

    def _volume(self, ctx: Context) -> VolumeClient:
        return VolumeClient(self._rest("block-storage", ctx))

    def mtus(self, network_ids: Sequence[str]) -> Mapping[str, int]:
        if not network_ids:
            return {}
        try:
            answer = self._network(Context()).get("/networks", id=list(network_ids))
        except MinicloudError:
            return {}  # the guest learns it by DHCP all the same
        return {n["id"]: n["mtu"] for n in answer.json["networks"] if n.get("mtu")}

    def _network(self, ctx: Context) -> RestClient:
        return self._rest("network", ctx).below(versioned)

    def _rest(self, service_type: str, ctx: Context) -> RestClient:
        mine = self._session.token()
        headers = {"X-Auth-Token": ctx.token or mine, "X-Openstack-Request-Id": ctx.request_id}
        if ctx.token:
            headers["X-Service-Token"] = mine
        return RestClient(
            service_type,
            lambda: self._session.endpoint(service_type),
            lambda: headers,
            session=self._session.http,
        )


def usable_image(lookups: Lookups, ctx: Context, image_id: str) -> Image | None:
    """The image, or None where the caller has none of that id."""
    try:
        return lookups.image(ctx, image_id)
    except NotFound:
        return None
