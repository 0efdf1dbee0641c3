"""minicloud-compute: one on every host that runs guests. Has no database."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from minicloud.cmd import wire
from minicloud.compute.address import own_address
from minicloud.compute.clients import Clients
from minicloud.compute.host import HostReporter
from minicloud.compute.image_sweep import ImageSweep
from minicloud.compute.images import ImageCache
from minicloud.compute.manager import ComputeManager
from minicloud.compute.passages import Passages
from minicloud.compute.recipes import HostTools
from minicloud.compute.storage import FakeStorage, FileStorage, Storage
from minicloud.compute.wiring import NetworkPass, Place
from minicloud.hostnet.contract import HostNetworking
from minicloud.kit.context import Context
from minicloud.kit.daemon import Periodic, run
from minicloud.rpc import compute as contract
from minicloud.rpc import conductor
from minicloud.virt.driver import Driver

LOG = logging.getLogger(__name__)
_SWEEP_S = 600.0


def main() -> None:
    options = wire.configure("compute")
    session = wire.service_session(options)
    transport = wire.transport(options)
    tools = host_tools(options)
    own = Clients(session, Context())
    network = NetworkPass(
        tools.name, tools.place, tools.network, own, every_s=options.compute.reconcile_s
    )
    calls = transport.client(conductor.ConductorRPC, topic=conductor.TOPIC)
    manager = ComputeManager(
        tools,
        calls,
        lambda ctx: Clients(session, ctx),
        operations=options.compute.operations,
        network_changed=network.hint,
        console_address=options.compute.tunnel_address or "127.0.0.1",
    )
    address = options.compute.tunnel_address or own_address()
    reporter = HostReporter(tools, calls, manager, own, address=address)
    report = Periodic("report", options.compute.report_s, reporter.run)
    sweep = ImageSweep(tools, unused_s=options.compute.unused_images_s)
    images = Periodic("images", _SWEEP_S, sweep.run)
    server = transport.server(contract.ComputeRPC, manager, topic=contract.TOPIC, host=options.host)
    tools.images.clean()
    restored = tools.network.restore()
    if restored:
        LOG.info("Networking restored: %s", "; ".join(restored))
    run(
        "compute",
        start=[server.start, report.start, network.start, images.start],
        stop=[
            report.stop, network.stop, images.stop, server.stop, server.wait, manager.stop,
            tools.driver.close, transport.close,
        ],
    )  # fmt: skip


def physical_networks(options: Any) -> dict[str, str]:
    """Name -> device of the flat networks that this host is on; exits if one is not so said."""
    found: dict[str, str] = {}
    for item in options.compute.physical_networks:
        name, colon, device = item.rpartition(":")
        if not colon or not name or not device:
            LOG.error("[compute] physical_networks: %r is not NAME:DEVICE", item)
            raise SystemExit(1)
        found[name] = device
    return found


def host_tools(options: Any) -> HostTools:
    """The real host, or the fake one where ``[compute] driver`` says so."""
    state = Path(options.state_dir) / "compute"
    places = (Path(options.compute.instances_dir), Path(options.compute.image_cache_dir))
    driver: Driver
    network: HostNetworking
    storage: Storage
    if options.compute.driver == "fake":
        from minicloud.hostnet.fake import FakeHostNetwork
        from minicloud.virt.fake import FakeDriver

        driver, storage = FakeDriver(state / "fake-domains"), FakeStorage(*places)
        network = FakeHostNetwork(state / "fake-network")
    else:
        from minicloud.hostnet.host import HostNetwork
        from minicloud.hostnet.metadata import MetadataProxy
        from minicloud.virt import probe
        from minicloud.virt.libvirt.driver import LibvirtDriver
        from minicloud.virt.libvirt.keyring import ceph_user

        decision = probe.decide(options.libvirt.virt_type, state)
        LOG.info("Guests run with %s: %s", decision.virt_type, decision.reason)
        chosen = options.libvirt
        try:
            ceph = ceph_user(chosen.rbd_user, chosen.rbd_secret_uuid, chosen.rbd_keyring)
        except ValueError as problem:
            LOG.error("[libvirt] %s", problem)
            raise SystemExit(1) from None
        driver = LibvirtDriver(chosen.uri, decision.virt_type, decision.reason, ceph)
        storage = FileStorage(*places)
        network = HostNetwork(
            state_dir=state / "network",
            physical_networks=physical_networks(options),
            metadata=MetadataProxy(
                upstream=options.metadata.url, secret=options.metadata.shared_secret
            ),
        )
    return HostTools(
        name=options.host,
        driver=driver,
        network=network,
        storage=storage,
        images=ImageCache(storage),
        shutdown_s=options.compute.shutdown_s,
        detach_s=options.compute.detach_s,
        always_config_drive=options.compute.config_drive,
        place=Place(
            tunnel_address=options.compute.tunnel_address,
            is_gateway=options.compute.gateway,
            physical_networks=sorted(physical_networks(options)),
        ),
        passages=Passages(address=options.compute.tunnel_address or own_address()),
    )
