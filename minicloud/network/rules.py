"""What a security group rule may say, and how it is spelled once it is accepted. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_network
from typing import Any

from minicloud.domain.errors import Invalid
from minicloud.domain.ids import derive
from minicloud.network.schemas import RuleCreate

_ETHERTYPES: Mapping[str, str] = {"ipv4": "IPv4", "ipv6": "IPv6"}
PROTOCOLS: Mapping[str, int] = {
    "ah": 51,
    "dccp": 33,
    "egp": 8,
    "esp": 50,
    "gre": 47,
    "icmp": 1,
    "icmpv6": 58,
    "igmp": 2,
    "ipip": 4,
    "ipv6-encap": 41,
    "ipv6-frag": 44,
    "ipv6-icmp": 58,
    "ipv6-nonxt": 59,
    "ipv6-opts": 60,
    "ipv6-route": 43,
    "ospf": 89,
    "pgm": 113,
    "rsvp": 46,
    "sctp": 132,
    "tcp": 6,
    "udp": 17,
    "udplite": 136,
    "vrrp": 112,
}
"""Name -> IANA number."""
_WITH_PORTS = {6, 17, 33, 132, 136}
_ICMP = {1, 58}


def rule_values(body: RuleCreate) -> dict[str, Any]:
    """The rule's columns. Invalid, with Neutron's type, for one that makes no sense.

    ``fingerprint`` is the same for two rules that say the same.
    """
    remotes = (body.remote_group_id, body.remote_ip_prefix, body.remote_address_group_id)
    if sum(remote is not None for remote in remotes) > 1:
        raise Invalid(
            type="SecurityGroupMultipleRemoteEntites",
            reason="A rule has one of remote_group_id, remote_ip_prefix and "
            "remote_address_group_id.",
        )
    ethertype = _ethertype(body.ethertype)
    protocol = _protocol(body.protocol)
    prefix = _prefix(body.remote_ip_prefix, ethertype)
    _check_ports(body, protocol)
    number = PROTOCOLS.get(protocol or "", protocol)
    return {
        "security_group_id": body.security_group_id,
        "remote_group_id": body.remote_group_id,
        "remote_address_group_id": body.remote_address_group_id,
        "direction": body.direction,
        "ethertype": ethertype,
        "protocol": protocol,
        "port_range_min": body.port_range_min,
        "port_range_max": body.port_range_max,
        "remote_ip_prefix": prefix,
        "fingerprint": derive(
            "rule", body.security_group_id, body.direction, ethertype, str(number),
            str(body.port_range_min), str(body.port_range_max), str(prefix),
            str(body.remote_group_id),
            *((body.remote_address_group_id,) if body.remote_address_group_id else ()),
        ),
    }  # fmt: skip


def _ethertype(text: str | None) -> str:
    if text is None:
        return "IPv4"
    try:
        return _ETHERTYPES[text.lower()]
    except KeyError:
        raise Invalid(
            type="SecurityGroupRuleInvalidEtherType",
            reason=f"Ethertype '{text}' is neither IPv4 nor IPv6.",
        ) from None


def _protocol(value: str | int | None) -> str | None:
    """A name of ``PROTOCOLS``, a number from 0 to 255 as text, or None for any."""
    if value is None:
        return None
    text = str(value).lower()
    if text in ("any", ""):
        return None
    if text in PROTOCOLS or (re.fullmatch(r"[0-9]{1,3}", text) and int(text) <= 255):
        return text
    raise Invalid(
        type="SecurityGroupRuleInvalidProtocol",
        reason=f"Security group rule protocol {text[:32]} not supported. "
        "Use a name that IANA knows or a number from 0 to 255.",
    )


def _prefix(text: str | None, ethertype: str) -> str | None:
    if text is None:
        return None
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise Invalid(
            type="InvalidInput", reason=f"'{text}' is not a valid remote_ip_prefix."
        ) from None
    if f"IPv{network.version}" != ethertype:
        raise Invalid(
            type="SecurityGroupRuleParameterConflict",
            reason=f"Conflicting value ethertype {ethertype} for CIDR {text}",
        )
    return str(network)


def _check_ports(body: RuleCreate, protocol: str | None) -> None:
    low, high = body.port_range_min, body.port_range_max
    if low is None and high is None:
        return
    number = None if protocol is None else int(PROTOCOLS.get(protocol, protocol))
    if number in _ICMP:
        if low is None:
            raise Invalid(
                type="SecurityGroupMissingIcmpType", reason="An ICMP code needs an ICMP type."
            )
        if not all(0 <= value <= 255 for value in (low, high) if value is not None):
            raise Invalid(
                type="SecurityGroupInvalidIcmpValue",
                reason="ICMP types and codes are from 0 to 255.",
            )
        return
    if number not in _WITH_PORTS:
        raise Invalid(
            type="SecurityGroupProtocolRequiredWithPorts",
            reason="Ports need a protocol that has ports: tcp, udp, sctp, dccp or udplite.",
        )
    if low is None or high is None or not 1 <= low <= high:
        raise Invalid(
            type="SecurityGroupInvalidPortRange",
            reason="port_range_min must be from 1 to port_range_max; give both.",
        )
