"""Networks and ports over REST, as compute and api need them: find, make, bind, let go.

Speaks Neutron's API v2.0, so Neutron can stand at the other end; only ``host_report`` and a bound
port's ``wiring`` are our own network service's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from minicloud.client.rest import Answer, RestClient, Timed
from minicloud.domain.errors import Conflict, InUse, Invalid, NoAddressLeft, NotFound
from minicloud.domain.ids import is_uuid

_INDEX_KEY = "minicloud_index"
_MIGRATION_KEY = "migrating_to"
_PAGE = 1000
Json = Mapping[str, Any]


class Network(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    project_id: str
    mtu: int
    shared: bool
    external: bool
    subnets: Sequence[str]


class SecurityGroup(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    project_id: str


class Port(msgspec.Struct, frozen=True, kw_only=True):
    """A port. What only services and administrators see is empty for others."""

    id: str
    mac: str
    network_id: str
    network_name: str
    """Empty while the port is not bound."""
    project_id: str
    device_id: str
    index: int | None
    """Which of the device's interfaces it was made for."""
    fixed_ips: Sequence[tuple[str, str]]
    """(subnet id, address) pairs."""
    security_groups: Sequence[str]
    host: str
    profile: Json
    wiring: Json | None
    """``network`` and ``port``, each as ``hostnet/wiring.py`` describes it; None while the port
    is not bound.
    """


class NetworkClient:
    """``rest``: a client of the catalog's network endpoint, with or without ``/v2.0``."""

    def __init__(self, rest: RestClient) -> None:
        self._rest = rest.below(versioned)

    # -- networks and groups ---------------------------------------------------------------------
    def networks_visible(self, project_id: str) -> Timed[list[Network]]:
        """The networks that the project's servers can use: its own, then the shared ones."""
        answer, own = self._all("/networks", "networks", project_id=project_id)
        _, shared = self._all("/networks", "networks", shared="true")
        found = {body["id"]: _network(body) for body in (*own, *shared)}
        return self._rest.timed(answer, list(found.values()))

    def network_get(self, network_id: str) -> Timed[Network]:
        """NotFound."""
        answer = self._one("GET", "Network", "/networks", network_id)
        return self._rest.timed(answer, _network(answer.json["network"]))

    def security_groups(self, project_id: str) -> Timed[list[SecurityGroup]]:
        """The project's groups; asking makes its default group."""
        answer, found = self._all("/security-groups", "security_groups", project_id=project_id)
        groups = [
            SecurityGroup(id=body["id"], name=body["name"], project_id=body["project_id"])
            for body in found
        ]
        return self._rest.timed(answer, groups)

    # -- ports -----------------------------------------------------------------------------------
    def ports_of_server(self, server_id: str) -> Timed[list[Port]]:
        """In the order of the server's interfaces."""
        answer, found = self._all("/ports", "ports", device_id=server_id)
        ports = sorted((_port(body) for body in found), key=_by_index)
        return self._rest.timed(answer, ports)

    def floating_ips(self, port_ids: Sequence[str]) -> Timed[dict[str, list[str]]]:
        """Port id -> the floating IPs that lead to it, of those of ``port_ids`` that have some."""
        found: dict[str, list[str]] = {}
        query = {"port_id": list(port_ids) or ["none"]}
        answer = self._rest.request("GET", "/floatingips", query=query)
        for body in answer.json["floatingips"]:
            found.setdefault(body["port_id"], []).append(body["floating_ip_address"])
        return self._rest.timed(answer, found)

    def port_get(self, port_id: str) -> Timed[Port]:
        """NotFound."""
        answer = self._one("GET", "Port", "/ports", port_id)
        return self._rest.timed(answer, _port(answer.json["port"]))

    def port_create(
        self,
        server_id: str,
        project_id: str,
        network_id: str,
        host: str,
        az: str,
        index: int,
        fixed_ip: str | None = None,
        hostname: str = "",
        security_groups: Sequence[str] | None = None,
    ) -> Timed[Port]:
        """The port of the server's interface ``index``, bound to ``host``; made unless it exists.

        ``security_groups``: ids or names; None: the project's default group. NoAddressLeft;
        NotFound for network or group; Invalid for an address that does not fit; Conflict.
        """
        body: dict[str, Any] = {
            "network_id": network_id,
            "project_id": project_id,
            "device_id": server_id,
            "device_owner": f"compute:{az}",
            "binding:host_id": host,
            "binding:profile": {_INDEX_KEY: index},
        }
        if fixed_ip:
            body["fixed_ips"] = [{"ip_address": fixed_ip}]
        if label := _dns_label(hostname):
            body["dns_name"] = label
        if security_groups is not None:
            body["security_groups"] = self._group_ids(project_id, security_groups)
        try:
            answer = self._rest.post("/ports", {"port": body})
        except NotFound:
            raise NotFound(kind="Network", id=network_id) from None
        except Conflict as problem:
            # Another try of the same step may have made it.
            for port in self.ports_of_server(server_id).value:
                if port.index == index:
                    return self.port_bind(port.id, server_id, host, az)
            if problem.facts.get("type") == "IpAddressGenerationFailure":
                raise NoAddressLeft(network_id=network_id) from None
            raise
        return self._rest.timed(answer, _port(answer.json["port"]))

    def port_bind(self, port_id: str, server_id: str, host: str, az: str = "nova") -> Timed[Port]:
        """Give the port to the server on ``host``; may be repeated. InUse: another server has it;
        NotFound.
        """
        body = {
            "device_id": server_id,
            "device_owner": f"compute:{az}",
            "binding:host_id": host,
        }
        try:
            answer = self._one("PUT", "Port", "/ports", port_id, {"port": body})
        except Conflict as problem:
            if problem.facts.get("type") == "PortInUse":
                raise InUse(kind="Port", id=port_id, reason="another server has it") from None
            raise
        return self._rest.timed(answer, _port(answer.json["port"]))

    def port_await(self, port: Port, host: str) -> Timed[Port]:
        """The port's guest is on its way to ``host``, which gets ready for it while the port stays
        bound where it is; "": on its way no more. NotFound.
        """
        profile = {key: value for key, value in port.profile.items() if key != _MIGRATION_KEY}
        if host:
            profile[_MIGRATION_KEY] = host
        body = {"port": {"binding:profile": profile}}
        answer = self._one("PUT", "Port", "/ports", port.id, body)
        return self._rest.timed(answer, _port(answer.json["port"]))

    def port_unbind(self, port_id: str) -> Timed[Port]:
        """Let the port go: it belongs to no server and no host then. NotFound."""
        body = {
            "device_id": "",
            "device_owner": "",
            "binding:host_id": "",
            "binding:profile": {},
        }
        answer = self._one("PUT", "Port", "/ports", port_id, {"port": body})
        return self._rest.timed(answer, _port(answer.json["port"]))

    def port_leave_host(self, port_id: str) -> Timed[Port]:
        """No host has the port; its server keeps it. NotFound."""
        body = {"port": {"binding:host_id": ""}}
        answer = self._one("PUT", "Port", "/ports", port_id, body)
        return self._rest.timed(answer, _port(answer.json["port"]))

    def port_delete(self, port_id: str) -> Timed[None]:
        """NotFound: it is gone already."""
        return self._rest.timed(self._one("DELETE", "Port", "/ports", port_id), None)

    def host_report(
        self,
        host: str,
        *,
        tunnel_address: str = "",
        is_gateway: bool = False,
        physical_networks: Sequence[str] = (),
        unreachable: Sequence[str] = (),
    ) -> Timed[Json]:
        """Say that a host lives; all that it has to wire, as a ``HostWiring`` of
        ``hostnet/wiring.py`` in JSON, and as ``silent`` the addresses of routers to be tried.

        ``unreachable``: those of them that do not answer.
        """
        body = {
            "tunnel_address": tunnel_address,
            "is_gateway": is_gateway,
            "physical_networks": list(physical_networks),
            "unreachable": list(unreachable),
        }
        path = f"/minicloud-host-wiring/{quote(host, safe='')}"
        answer = self._rest.request("PUT", path, body={"host": body})
        wiring: Json = answer.json["wiring"]
        return self._rest.timed(answer, wiring)

    def _group_ids(self, project_id: str, wanted: Sequence[str]) -> list[str]:
        """Ids of groups given by id or name. NotFound; Invalid for a name that several have."""
        if all(is_uuid(name) for name in wanted):
            return list(wanted)
        groups = self.security_groups(project_id).value
        found = []
        for name in wanted:
            fitting = [group.id for group in groups if name in (group.id, group.name)]
            if not fitting:
                raise NotFound(kind="Security group", id=name)
            if len(fitting) > 1 and name not in fitting:
                raise Invalid(reason=f"Several security groups are named '{name}': use an id.")
            found.append(name if name in fitting else fitting[0])
        return found

    def _one(self, method: str, kind: str, path: str, identity: str, body: Any = None) -> Answer:
        try:
            return self._rest.request(method, f"{path}/{quote(identity, safe='')}", body=body)
        except NotFound:
            raise NotFound(kind=kind, id=identity) from None

    def _all(self, path: str, key: str, **query: str) -> tuple[Answer, list[Json]]:
        """Every page of a list, and the last page's answer."""
        found: list[Json] = []
        wanted: dict[str, str] = {**query, "limit": str(_PAGE)}
        while True:
            answer = self._rest.request("GET", path, query=wanted)
            page: Sequence[Json] = answer.json[key]
            found.extend(page)
            if len(page) < _PAGE:
                return answer, found
            wanted["marker"] = page[-1]["id"]


def versioned(endpoint: str) -> str:
    """``http://h:9696/v2.0``, which the catalog may give without the version."""
    return re.sub(r"/(v2\.0)?/?$", "", endpoint) + "/v2.0"


def _dns_label(hostname: str) -> str:
    """What of ``hostname`` can be a DNS label."""
    label = re.sub(r"[^a-z0-9-]+", "-", hostname.lower().split(".")[0])
    return label[:63].strip("-")


def _by_index(port: Port) -> tuple[bool, int, str]:
    return port.index is None, port.index or 0, port.id


def _network(body: Json) -> Network:
    return Network(
        id=body["id"],
        name=body["name"],
        project_id=body["project_id"],
        mtu=body["mtu"],
        shared=body["shared"],
        external=body.get("router:external", False),
        subnets=body["subnets"],
    )


def _port(body: Json) -> Port:
    details: Json = body.get("binding:vif_details") or {}
    profile: Json = body.get("binding:profile") or {}
    return Port(
        id=body["id"],
        mac=body["mac_address"],
        network_id=body["network_id"],
        network_name=details.get("network_name", ""),
        project_id=body["project_id"],
        device_id=body["device_id"],
        index=profile.get(_INDEX_KEY),
        fixed_ips=[(fixed["subnet_id"], fixed["ip_address"]) for fixed in body["fixed_ips"]],
        security_groups=body["security_groups"],
        host=body.get("binding:host_id") or "",
        profile=profile,
        wiring=details.get("wiring"),
    )
