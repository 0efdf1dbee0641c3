"""How hosts ask for their wiring: minicloud's own part of the API, for services alone."""

from __future__ import annotations

from typing import Any

import msgspec

from minicloud.domain.errors import Invalid
from minicloud.kit.web import Body, Call, Route
from minicloud.network.calls import text_of
from minicloud.network.host_store import HostReport
from minicloud.network.ipam import number_of
from minicloud.network.service import NetworkService

_PATH = "/v2.0/minicloud-host-wiring/{host}"
Json = dict[str, Any]


class ReportBody(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    tunnel_address: str = ""
    is_gateway: bool = False
    physical_networks: list[str] = []
    unreachable: list[str] | None = None
    """The addresses of routers that do not answer; none: the host does not try."""


def host_routes(service: NetworkService) -> list[Route]:
    def show(call: Call) -> Json:
        return {"wiring": service.host_wirings.show(text_of(call.params["host"]))}

    def report(call: Call) -> Json:
        body = call.body
        if body.tunnel_address:
            number_of(body.tunnel_address)
        if not all(name and name.isprintable() for name in body.physical_networks):
            raise Invalid(reason="A physical network has a name of printable characters.")
        said = HostReport(
            tunnel_address=body.tunnel_address,
            is_gateway=body.is_gateway,
            physical_networks=sorted(set(body.physical_networks)),
        )
        host = text_of(call.params["host"])
        return {"wiring": service.host_wirings.report(host, said, body.unreachable)}

    return [
        Route(method="GET", path=_PATH, policy="get_host_wiring", handler=show,
              summary="Show all that a host has to wire"),
        Route(method="PUT", path=_PATH, policy="get_host_wiring", handler=report,
              body=Body(type=ReportBody, wrapper="host"),
              summary="Report a host as alive, and show all that it has to wire"),
    ]  # fmt: skip
