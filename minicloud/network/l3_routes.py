"""The endpoints of routers, floating IPs and port forwardings."""

from __future__ import annotations

from typing import Any

import msgspec

from minicloud.domain.errors import Invalid
from minicloud.kit.web import Body, Call, Route
from minicloud.network.calls import caller_of, id_in, other_id_in
from minicloud.network.l3_attributes import FLOATING_IPS, ROUTERS
from minicloud.network.l3_schemas import (
    FloatingIpPost,
    FloatingIpUpdate,
    ForwardingPost,
    ForwardingUpdate,
    InterfaceBody,
    RouterPost,
    RouterUpdate,
    RoutesBody,
)
from minicloud.network.l3_views import forwarding_view
from minicloud.network.nouns import Noun, chosen, noun_routes
from minicloud.network.query import Kind
from minicloud.network.service import NetworkService
from minicloud.network.short_lists import listed

Json = dict[str, Any]
_FORWARDING: dict[str, Kind] = {
    "id": "text",
    "protocol": "text",
    "description": "text",
    "internal_port_id": "text",
    "internal_ip_address": "text",
    "internal_port": "number",
    "external_port": "number",
    "internal_port_range": "text",
    "external_port_range": "text",
}


def l3_routes(service: NetworkService) -> list[Route]:
    return [
        *noun_routes(
            Noun(
                name="router",
                path="/v2.0/routers",
                collection=ROUTERS,
                post=RouterPost,
                put=RouterUpdate,
                create=service.routers.create,
                find=service.routers.find,
                show=service.routers.show,
                update=service.routers.update,
                delete=service.routers.delete,
            )
        ),
        *_router_actions(service),
        *noun_routes(
            Noun(
                name="floatingip",
                path="/v2.0/floatingips",
                collection=FLOATING_IPS,
                post=FloatingIpPost,
                put=FloatingIpUpdate,
                create=service.floating_ips.create,
                find=service.floating_ips.find,
                show=service.floating_ips.show,
                update=service.floating_ips.update,
                delete=service.floating_ips.delete,
            )
        ),
        *_forwardings(service),
    ]


def _router_actions(service: NetworkService) -> list[Route]:
    item = "/v2.0/routers/{id}"
    interfaces, routers = service.router_interfaces, service.routers

    def add(call: Call) -> Json:
        return interfaces.add(caller_of(call), id_in(call, "router"), call.body)

    def remove(call: Call) -> Json:
        return interfaces.remove(caller_of(call), id_in(call, "router"), call.body)

    def routes_add(call: Call) -> Json:
        return {"router": routers.routes_add(caller_of(call), id_in(call, "router"), call.body)}

    def routes_remove(call: Call) -> Json:
        return {"router": routers.routes_remove(caller_of(call), id_in(call, "router"), call.body)}

    routes = Body(type=RoutesBody, wrapper="router")
    return [
        Route(method="PUT", path=item + "/add_router_interface", policy="add_router_interface",
              body=InterfaceBody, handler=add, summary="Connect a subnet to a router"),
        Route(method="PUT", path=item + "/remove_router_interface",
              policy="remove_router_interface", body=InterfaceBody, handler=remove,
              summary="Disconnect a subnet from a router"),
        Route(method="PUT", path=item + "/add_extraroutes", policy="add_extraroutes",
              body=routes, handler=routes_add, summary="Add extra routes to a router"),
        Route(method="PUT", path=item + "/remove_extraroutes", policy="remove_extraroutes",
              body=routes, handler=routes_remove, summary="Remove extra routes of a router"),
    ]  # fmt: skip


def _forwardings(service: NetworkService) -> list[Route]:
    path = "/v2.0/floatingips/{id}/port_forwardings"
    item = path + "/{other}"
    forwardings = service.forwardings

    def create(call: Call) -> Json:
        one, many = call.body.port_forwarding, call.body.port_forwardings
        if (one is msgspec.UNSET) == (many is msgspec.UNSET):
            raise Invalid(
                reason="The request body has either 'port_forwarding' or 'port_forwardings'."
            )
        caller, floating_id = caller_of(call), id_in(call, "floating IP")
        if many is msgspec.UNSET:
            return {"port_forwarding": forwardings.create(caller, floating_id, [one])[0]}
        return {"port_forwardings": forwardings.create(caller, floating_id, many)}

    def list_(call: Call) -> Json:
        found = forwardings.find(caller_of(call), id_in(call, "floating IP"))
        views = [forwarding_view(each) for each in found]
        return listed(call.query, "port_forwardings", views, _FORWARDING)

    def show(call: Call) -> Json:
        caller, floating_id = caller_of(call), id_in(call, "floating IP")
        view = forwardings.show(caller, floating_id, other_id_in(call, "Port Forwarding"))
        return {"port_forwarding": chosen(view, call.query.getlist("fields"))}

    def put(call: Call) -> Json:
        caller, floating_id = caller_of(call), id_in(call, "floating IP")
        other = other_id_in(call, "Port Forwarding")
        return {"port_forwarding": forwardings.update(caller, floating_id, other, call.body)}

    def delete(call: Call) -> None:
        caller, floating_id = caller_of(call), id_in(call, "floating IP")
        forwardings.delete(caller, floating_id, other_id_in(call, "Port Forwarding"))

    noun = "floatingip_port_forwarding"
    return [
        Route(method="POST", path=path, policy=f"create_{noun}", status=201, body=ForwardingPost,
              handler=create, summary="Forward ports of a floating IP"),
        Route(method="GET", path=path, policy=f"get_{noun}", handler=list_,
              summary="List a floating IP's port forwardings"),
        Route(method="GET", path=item, policy=f"get_{noun}", handler=show,
              summary="Show a port forwarding"),
        Route(method="PUT", path=item, policy=f"update_{noun}", handler=put,
              body=Body(type=ForwardingUpdate, wrapper="port_forwarding"),
              summary="Change a port forwarding"),
        Route(method="DELETE", path=item, policy=f"delete_{noun}", status=204, handler=delete,
              summary="Remove a port forwarding"),
    ]  # fmt: skip
