"""minicloud-network: the network service's object graph."""

from __future__ import annotations

import logging
import sys

from minicloud.client.compute import ComputeClient
from minicloud.client.rest import RestClient
from minicloud.cmd import wire
from minicloud.kit import daemon
from minicloud.kit.context import Context
from minicloud.kit.db import migrate
from minicloud.network.hints import Hint, Hints
from minicloud.network.routes import rest_service
from minicloud.network.server_events import ServerEvents
from minicloud.network.service import NetworkService, Settings
from minicloud.rpc import compute

LOG = logging.getLogger(__name__)


def main() -> None:
    options = wire.configure("network")
    database = wire.database(options, "network")
    if not migrate.is_current("network", database):
        LOG.critical("The tables are behind this version: run minicloud-manage db upgrade")
        sys.exit(1)
    limits = options.quota
    settings = Settings(
        quota={
            "network": limits.networks,
            "subnet": limits.subnets,
            "port": limits.ports,
            "router": limits.routers,
            "floatingip": limits.floating_ips,
            "subnetpool": limits.subnet_pools,
            "rbac_policy": limits.rbac_policies,
            "security_group": limits.security_groups,
            "security_group_rule": limits.security_group_rules,
        },
        mtu=options.network.mtu,
        physical_networks=options.network.physical_networks,
        mac_prefix=options.network.mac_prefix,
        dns_domain=options.network.dns_domain,
        dns_servers=options.network.dns_servers,
        host_down_s=options.network.host_down_s,
    )
    transport = wire.transport(options)
    hosts = transport.client(compute.ComputeRPC, topic=compute.TOPIC, fanout=True)

    def send(hint: Hint) -> None:
        hosts.network_changed(Context(), things=sorted(hint.things), origin=hint.origin)

    hints = Hints(send)
    session = wire.service_session(options)
    api = ComputeClient(
        RestClient(
            "compute",
            lambda: session.endpoint("compute"),
            lambda: {"X-Auth-Token": session.token()},
            session=session.http,
        )
    )
    events = ServerEvents(api.network_changed)
    tokens = wire.token_validator(options, session)
    service = rest_service(
        NetworkService(
            database, settings, routers_moved=hints.changed, servers_changed=events.changed
        ),
        tokens.authenticate,
        policy_file=options.policy_file,
        auth_url=options.auth.url,
        hints=hints,
    )
    web = wire.web_server(options, "network", service)
    daemon.run(
        "network",
        start=[hints.start, events.start, web.start],
        stop=[web.stop, hints.stop, events.stop, transport.close, database.close],
    )


if __name__ == "__main__":
    main()
