"""What a port may have besides addresses: allowed address pairs and DHCP options. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from minicloud.domain.errors import Conflict, Invalid
from minicloud.network.allocation import checked_mac
from minicloud.network.records import Port
from minicloud.network.schemas import AddressPair, DhcpOption, PortUpdate, given

_MOST_PAIRS = 10
_MOST_OPTIONS = 20


def checked_pairs(body: PortUpdate, mac: str) -> dict[str, Any]:
    """The column of the allowed address pairs that ``body`` names; one without a MAC has the
    port's. Invalid.
    """
    asked = given(body, "allowed_address_pairs")
    if not asked:
        return {}
    wanted: Sequence[AddressPair] = asked["allowed_address_pairs"] or ()
    if len(wanted) > _MOST_PAIRS:
        raise Invalid(
            type="AllowedAddressPairExhausted",
            reason=f"The number of allowed address pair exceeds the maximum {_MOST_PAIRS}.",
        )
    pairs = [
        (_address(pair.ip_address), checked_mac(pair.mac_address) if pair.mac_address else mac)
        for pair in wanted
    ]
    if len(set(pairs)) < len(pairs):
        raise Invalid(
            type="DuplicateAddressPairInRequest",
            reason="Request contains duplicate address pair.",
        )
    return {"allowed_address_pairs": pairs}


def checked_options(body: PortUpdate, current: Port | None) -> dict[str, Any]:
    """The column of the DHCP options, with those that ``body`` adds, changes or takes away."""
    asked = given(body, "extra_dhcp_opts")
    if not asked:
        return {}
    wanted: Sequence[DhcpOption] = asked["extra_dhcp_opts"] or ()
    found = {(name, version): value for name, value, version in current.extra_dhcp_opts} if (
        current is not None
    ) else {}  # fmt: skip
    names = [(option.opt_name, option.ip_version or 4) for option in wanted]
    if len(set(names)) < len(names):
        raise Invalid(
            reason="Invalid input for extra_dhcp_opts. Reason: Duplicate items in the list."
        )
    for name, option in zip(names, wanted, strict=True):
        if option.opt_value is None:
            found.pop(name, None)
        else:
            found[name] = option.opt_value
    if len(found) > _MOST_OPTIONS:
        raise Invalid(reason=f"A port has no more than {_MOST_OPTIONS} DHCP options.")
    return {"extra_dhcp_opts": [(name, value, version) for (name, version), value in found.items()]}


def check_security(port_security_enabled: bool, pairs: Sequence[Any]) -> None:
    """Conflict: pairs are exceptions from a rule that has to be there."""
    if pairs and not port_security_enabled:
        raise Conflict(
            type="AddressPairAndPortSecurityRequired",
            reason="Port Security must be enabled in order to have allowed address pairs on a "
            "port.",
        )


def _address(text: str) -> str:
    """An address, or a CIDR, in its usual spelling."""
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise Invalid(reason=f"'{text}' is not a valid IP address or CIDR.") from None
    return str(network) if "/" in text else str(network.network_address)
