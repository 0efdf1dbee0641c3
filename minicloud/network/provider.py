"""How a network is made: in VXLAN, or flat on a physical network. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicloud.domain.errors import Invalid
from minicloud.network.schemas import NetworkCreate, given


def checked_provider(body: NetworkCreate, physical_networks: Sequence[str]) -> dict[str, Any]:
    """The columns network_type, physical_network and segment; a segment that is None is for the
    service to choose. Invalid.
    """
    asked = given(body, "network_type", "physical_network", "segment")
    kind = asked.get("network_type") or "vxlan"
    physical, segment = asked.get("physical_network") or None, asked.get("segment")
    if kind == "vxlan":
        if physical is not None:
            raise _unfit("provider:physical_network specified for vxlan network")
    elif kind == "flat":
        if physical is None:
            raise _unfit("physical_network required for flat provider network")
        if segment is not None:
            raise _unfit("provider:segmentation_id specified for flat network")
        if physical not in physical_networks:
            known = ", ".join(physical_networks) or "none"
            raise _unfit(
                f"physical_network '{physical}' unknown for flat provider network: there is {known}"
            )
    else:
        raise _unfit(f"provider:network_type '{kind}' not supported: use vxlan or flat")
    return {"network_type": kind, "physical_network": physical, "segment": segment}


def _unfit(reason: str) -> Invalid:
    return Invalid(type="InvalidInput", reason=f"Invalid input for operation: {reason}.")
