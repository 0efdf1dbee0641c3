"""Whether a launch can be: its networks, data and place, resolved or refused.

Every refusal says what is wrong. Asks the network service once, and for ports
only when some are named.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import UNSET

from minicloud.api.lookups import Lookups, Network
from minicloud.api.schemas.fields import whole
from minicloud.api.schemas.server_bodies import File, ServerCreate
from minicloud.domain.errors import Conflict, Invalid, NotAllowed
from minicloud.domain.models import Host, RequestedNic
from minicloud.kit.context import Context
from minicloud.kit.web import Call


# -- networks --------------------------------------------------------------------------------------
def requested_nics(
    body: ServerCreate, lookups: Lookups, ctx: Context, *, several: bool
) -> Sequence[RequestedNic]:
    """A NIC for each network or port that the launch names, or what ``auto`` comes to.

    ``several``: whether more than one server may be made of it.
    """
    if body.networks == "none":
        return []
    if isinstance(body.networks, str) or not body.networks:
        return the_only_network(lookups, ctx)
    if several and any(wish.port or wish.fixed_ip for wish in body.networks):
        raise Invalid(
            reason="Unable to launch multiple instances with a single configured port ID or "
            "fixed IP. Please launch your instance one by one with different ports."
        )
    named = [wish.port for wish in body.networks if wish.port]
    if len(set(named)) != len(named):
        raise Invalid(reason="Bad networks format: a port is named twice.")
    wanted = sorted({wish.uuid for wish in body.networks if wish.uuid and not wish.port})
    networks = {n.id: n for n in lookups.networks(ctx, wanted)} if wanted else {}
    ports = {p.id: p for p in lookups.ports(ctx, named)} if named else {}
    nics: list[RequestedNic] = []
    for number, wish in enumerate(body.networks):
        tag, fixed_ip = wish.tag or "", wish.fixed_ip or ""
        if wish.port:
            port = ports.get(wish.port)
            if port is None:
                raise Invalid(reason=f"Port id {wish.port} could not be found.")
            if port.device_id:
                raise Conflict(reason=f"Port {port.id} is still in use.")
            if fixed_ip:
                raise Invalid(reason="Bad networks format: a port has its fixed IP already.")
            nic = RequestedNic(number=number, network_id=port.network_id, port_id=port.id, tag=tag)
            nics.append(nic)
        elif wish.uuid:
            network = usable_network(networks.get(wish.uuid), wish.uuid, ctx)
            nic = RequestedNic(number=number, network_id=network.id, fixed_ip=fixed_ip, tag=tag)
            nics.append(nic)
        else:
            raise Invalid(reason="Bad networks format: name a network by uuid, or a port.")
    return nics


def the_only_network(lookups: Lookups, ctx: Context) -> Sequence[RequestedNic]:
    """A NIC on the one network that the project can use. Conflict where there are several."""
    found = [
        network
        for network in lookups.networks(ctx)
        if (network.project_id == ctx.project_id or network.shared)
        and network.has_subnets
        and not network.external
    ]
    if len(found) > 1:
        raise Conflict(
            reason="Multiple possible networks found, use a Network ID to be more specific."
        )
    return [
        RequestedNic(number=number, network_id=network.id) for number, network in enumerate(found)
    ]


def usable_network(network: Network | None, network_id: str, ctx: Context) -> Network:
    """The network, on which the caller's servers can have NICs. Invalid, NotAllowed."""
    if network is None:
        raise Invalid(reason=f"Network {network_id} could not be found.")
    if network.external and not network.shared and not ctx.is_admin:
        raise NotAllowed(
            reason=f"It is not allowed to create an interface on external network {network_id}"
        )
    if not network.has_subnets:
        raise Invalid(reason=f"Network {network_id} requires a subnet in order to boot on it.")
    return network


def security_groups(body: ServerCreate, lookups: Lookups, ctx: Context) -> Sequence[str]:
    """The groups named, by name where it is the only one of that name, else by id.

    Just ``default`` when none is named.
    """
    named = list(dict.fromkeys(group.name for group in body.security_groups))
    if not named or named == ["default"]:
        return ["default"]
    known = lookups.groups_of_project(ctx)
    names = [group["name"] for group in known]
    found = []
    for name in named:
        fitting = [group for group in known if name in (group["id"], group["name"])]
        if not fitting:
            raise Invalid(reason=f"Security group {name} not found for project {ctx.project_id}.")
        if len(fitting) > 1:
            raise Conflict(
                reason=f"Multiple security groups found matching '{name}'. "
                "Use an ID to be more specific."
            )
        only = names.count(fitting[0]["name"]) == 1
        found.append(fitting[0]["name" if only else "id"])
    return list(dict.fromkeys(found))


# -- the rest --------------------------------------------------------------------------------------
def counts(body: ServerCreate) -> tuple[int, int]:
    """How many servers at least and at most."""
    least = most = 1
    if body.min_count is not UNSET:
        least = most = whole(body.min_count, "min_count", least=1, most=1000)
    if body.max_count is not UNSET:
        most = whole(body.max_count, "max_count", least=1, most=1000)
    if body.min_count is UNSET:
        least = min(least, most)
    if least > most:
        raise Invalid(reason="min_count must be <= max_count")
    return least, most


def refuse_unsupported(body: ServerCreate) -> None:
    """Raise Invalid for what would be taken and not done."""
    refuse_files(body.personality)
    check_certificates(body.trusted_image_certificates, by_volume=not body.image_ref)


def refuse_files(files: Sequence[File]) -> None:
    """Raise Invalid where files are to be put into the guest."""
    if files:
        raise Invalid(reason="Not supported yet: personality (file injection); use user_data.")


def check_certificates(wanted: Sequence[str] | None, *, by_volume: bool) -> None:
    """Raise Invalid where an image's signature would have to be verified.

    ``by_volume``: the server's root is a volume, of which that is not to be had anywhere.
    """
    if not wanted:
        return
    if len(set(wanted)) < len(wanted):
        raise Invalid(reason="trusted_image_certificates has non-unique elements.")
    why = " when booting from volume" if by_volume else ": no image's signature is verified here"
    raise Invalid(reason=f"Image certificate validation is not supported{why}")


# -- place -----------------------------------------------------------------------------------------
def place(call: Call, hosts: Callable[[], Sequence[Host]]) -> tuple[str | None, str | None]:
    """The availability zone and the one host asked for, which exist. Invalid, Forbidden.

    ``hosts``: asked only where the launch names either.
    """
    body: ServerCreate = call.body
    zone = body.availability_zone or None
    host = body.host or body.hypervisor_hostname or None
    if host is not None:
        call.check("compute:servers:create:requested_destination")
        if body.host and body.hypervisor_hostname and body.host != body.hypervisor_hostname:
            raise Invalid(
                reason=f"Compute host {body.host} has no hypervisor {body.hypervisor_hostname}."
            )
    if zone is not None and ":" in zone:
        zone, host = _forced(call, zone)
    known = [] if zone is None and host is None else hosts()
    if host is not None and host not in {each.name for each in known}:
        raise Invalid(reason=f"Compute host {host} could not be found.")
    if zone is not None and zone not in {each.availability_zone for each in known}:
        raise Invalid(reason="The requested availability zone is not available")
    return zone, host


def _forced(call: Call, text: str) -> tuple[str | None, str | None]:
    """``zone:host``, ``zone:host:node`` or ``zone::node``, of which an operator may say each."""
    call.check("os_compute_api:servers:create:forced_host")
    zone, *names = text.split(":")
    given = {name for name in names if name}
    if len(names) > 2 or len(given) != 1:
        raise Invalid(reason="Invalid input for field/attribute availability_zone: ZONE:HOST.")
    return zone or None, given.pop()
