"""The endpoints about the cloud itself: its hosts as agents and zones, addresses that are left,
and a project's first network.
"""

from __future__ import annotations

from typing import Any

from minicloud.domain.errors import Invalid
from minicloud.kit.web import Body, Call, Route
from minicloud.network.calls import caller_of, id_in, other_id_in, text_of
from minicloud.network.nouns import chosen
from minicloud.network.query import Kind, ListQuery, parse
from minicloud.network.schemas import AgentRouter, AgentUpdate
from minicloud.network.service import NetworkService
from minicloud.network.short_lists import listed

Json = dict[str, Any]
_AGENT: dict[str, Kind] = {
    "id": "text", "agent_type": "text", "binary": "text", "topic": "text", "host": "text",
    "availability_zone": "text", "description": "text", "admin_state_up": "flag", "alive": "flag",
}  # fmt: skip
_ZONE: dict[str, Kind] = {"name": "text", "resource": "text", "state": "text"}
_AVAILABILITY: dict[str, Kind] = {
    "network_id": "text", "network_name": "text", "project_id": "text", "tenant_id": "text",
    "total_ips": "number", "used_ips": "number", "ip_version": "number",
}  # fmt: skip
_PROVIDER: dict[str, Kind] = {"service_type": "text", "name": "text", "default": "flag"}


def cloud_routes(service: NetworkService) -> list[Route]:
    return [*_agents(service), *_placed(service), *_figures(service), *_topology(service)]


def _agents(service: NetworkService) -> list[Route]:
    agents = service.agents

    def list_(call: Call) -> Json:
        return listed(call.query, "agents", agents.find(), _AGENT)

    def show(call: Call) -> Json:
        view = agents.show(id_in(call, "agent"))
        return {"agent": chosen(view, parse(call.query, {}).fields)}

    def put(call: Call) -> Json:
        return {"agent": agents.update(id_in(call, "agent"), call.body)}

    def delete(call: Call) -> None:
        agents.delete(id_in(call, "agent"))

    def zones(call: Call) -> Json:
        return listed(call.query, "availability_zones", agents.zones(), _ZONE)

    item = "/v2.0/agents/{id}"
    return [
        Route(method="GET", path="/v2.0/agents", policy="get_agent", handler=list_,
              summary="List the hosts that wire themselves, as agents"),
        Route(method="GET", path=item, policy="get_agent", handler=show, summary="Show an agent"),
        Route(method="PUT", path=item, policy="update_agent", handler=put,
              body=Body(type=AgentUpdate, wrapper="agent"), summary="Change an agent"),
        Route(method="DELETE", path=item, policy="delete_agent", handler=delete, status=204,
              summary="Forget an agent that is down"),
        Route(method="GET", path="/v2.0/availability_zones", policy="get_availability_zone",
              handler=zones, summary="List availability zones"),
    ]  # fmt: skip


def _placed(service: NetworkService) -> list[Route]:
    agents = service.agents

    def networks(call: Call) -> Json:
        names = ListQuery(filters={"id": agents.network_ids(id_in(call, "agent"))})
        return {"networks": service.networks.find(caller_of(call), names)}

    def routers(call: Call) -> Json:
        names = ListQuery(filters={"id": agents.router_ids(id_in(call, "agent"))})
        return {"routers": service.routers.find(caller_of(call), names)}

    def router_add(call: Call) -> Json:
        agents.router_put(caller_of(call), id_in(call, "agent"), call.body.router_id)
        return {}

    def router_remove(call: Call) -> None:
        agents.router_take(caller_of(call), id_in(call, "agent"), other_id_in(call, "Router"))

    def of_network(call: Call) -> Json:
        return {"agents": agents.of_network(caller_of(call), id_in(call, "network"))}

    def of_router(call: Call) -> Json:
        return {"agents": agents.of_router(caller_of(call), id_in(call, "router"))}

    item = "/v2.0/agents/{id}"
    return [
        Route(method="GET", path=item + "/dhcp-networks", policy="get_agent", handler=networks,
              summary="List the networks that an agent serves"),
        Route(method="GET", path=item + "/l3-routers", policy="get_agent", handler=routers,
              summary="List the routers that an agent carries"),
        Route(method="POST", path=item + "/l3-routers", policy="update_agent", status=201,
              body=AgentRouter, handler=router_add, summary="Let an agent carry a router"),
        Route(method="DELETE", path=item + "/l3-routers/{other}", policy="update_agent",
              status=204, handler=router_remove, summary="Take a router from an agent"),
        Route(method="GET", path="/v2.0/networks/{id}/dhcp-agents", policy="get_agent",
              handler=of_network, summary="List the agents that serve a network"),
        Route(method="GET", path="/v2.0/routers/{id}/l3-agents", policy="get_agent",
              handler=of_router, summary="List the agents that carry a router"),
    ]  # fmt: skip


def _figures(service: NetworkService) -> list[Route]:
    availability = service.ip_availability

    def list_(call: Call) -> Json:
        query = parse(call.query, _AVAILABILITY)
        versions = query.filters.get("ip_version", (None,))
        views = availability.find(versions[0])
        for view in views:
            view["ip_version"] = versions[0]
        found = listed(call.query, "network_ip_availabilities", views, _AVAILABILITY)
        for view in found["network_ip_availabilities"]:
            view.pop("ip_version", None)
        return found

    def show(call: Call) -> Json:
        view = availability.show(id_in(call, "network"))
        return {"network_ip_availability": chosen(view, parse(call.query, {}).fields)}

    def providers(call: Call) -> Json:
        found = [{"service_type": "L3_ROUTER_NAT", "name": "minicloud", "default": True}]
        return listed(call.query, "service_providers", found, _PROVIDER)

    path = "/v2.0/network-ip-availabilities"
    return [
        Route(method="GET", path=path, policy="get_network_ip_availability", handler=list_,
              summary="List how many addresses networks have left"),
        Route(method="GET", path=path + "/{id}", policy="get_network_ip_availability",
              handler=show, summary="Show how many addresses a network has left"),
        Route(method="GET", path="/v2.0/service-providers", policy="get_service_provider",
              handler=providers, summary="List who provides services"),
    ]  # fmt: skip


def _topology(service: NetworkService) -> list[Route]:
    topology = service.auto_topology

    def show(call: Call) -> Json:
        caller, project_id = caller_of(call), _project(call)
        call.check("get_auto_allocated_topology", {"project_id": project_id})
        if "dry-run" in parse(call.query, {}).fields:
            topology.check()
            return {"auto_allocated_topology": {"id": "dry-run=pass", "tenant_id": project_id}}
        return {"auto_allocated_topology": topology.ensure(caller, project_id)}

    def delete(call: Call) -> None:
        project_id = _project(call)
        call.check("delete_auto_allocated_topology", {"project_id": project_id})
        topology.delete(caller_of(call), project_id)

    path = "/v2.0/auto-allocated-topology/{project_id}"
    return [
        Route(method="GET", path=path, policy="get_auto_allocated_topology", handler=show,
              summary="Show a project's first network, made unless it exists"),
        Route(method="DELETE", path=path, policy="delete_auto_allocated_topology", status=204,
              handler=delete, summary="Remove a project's first network"),
    ]  # fmt: skip


def _project(call: Call) -> str:
    """The project in the path; ``None`` and ``null`` are what clients write for their own."""
    text = text_of(call.params["project_id"])
    found = caller_of(call).project_id if text in ("None", "null") else text
    if not found:
        raise Invalid(reason="The token is not scoped to a project: name one.")
    return found
