"""What routers and floating IPs can be filtered and sorted by; see ``attributes.py``."""

from __future__ import annotations

import sqlalchemy as sa

from minicloud.network.attributes import Attribute, Collection, columns, standard
from minicloud.network.models import floating_ips, routers

ROUTERS = Collection(
    plural="routers",
    table=routers,
    source=routers,
    attributes={
        **standard(routers),
        **columns(routers, "admin_state_up", "enable_snat", kind="flag"),
        "status": Attribute(constant="ACTIVE"),
        "distributed": Attribute(constant=False, kind="flag"),
        "ha": Attribute(constant=False, kind="flag"),
        "flavor_id": Attribute(constant=None),
    },
)

FLOATING_IPS = Collection(
    plural="floatingips",
    table=floating_ips,
    source=floating_ips,
    attributes={
        **standard(floating_ips),
        **columns(floating_ips, "floating_network_id", "port_id", "router_id"),
        **columns(floating_ips, "dns_name", "dns_domain"),
        "floating_ip_address": Attribute(column=floating_ips.c.floating_number, kind="address"),
        "fixed_ip_address": Attribute(column=floating_ips.c.fixed_number, kind="address"),
        "status": Attribute(
            column=sa.case((floating_ips.c.router_id.is_not(None), "ACTIVE"), else_="DOWN")
        ),
    },
)
