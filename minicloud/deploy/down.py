"""Stopping the cloud, and removing every trace of it: what ``tools/down`` does.

Undoes what the ledger says was done here, and what carries our own names or lies below our own
directories; nothing else on the machine is touched.
"""

from __future__ import annotations

from pathlib import Path

from minicloud.deploy import (
    account,
    clouds,
    files,
    host_access,
    join,
    lab,
    links,
    processes,
    settings,
)
from minicloud.deploy.broker import Broker
from minicloud.deploy.hypervisor import Libvirt
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import Places
from minicloud.deploy.stage import Stage, StageFailed, run_stages
from minicloud.deploy.supervise import Keeper
from minicloud.deploy.up import keeper
from minicloud.domain.errors import MinicloudError
from minicloud.domain.states import Power
from minicloud.hostnet.host import HostNetwork
from minicloud.virt.libvirt.driver import LibvirtDriver

_GRACE_S = 10.0
_LIBVIRT_URI = "qemu:///system"
_LIBVIRT_LOGS = Path("/var/log/libvirt/qemu")
_HELPERS = ("qemu-nbd", "qemu-storage-daemon", "dnsmasq")
"""Programs that the daemons leave running for guests."""


def down(places: Places, checkout: Path, *, purge: bool) -> bool:
    """Stop everything, and with ``purge`` remove it; False when a stage failed and said so."""
    ledger = Ledger(places.ledger)
    chosen = settings.load(places) or settings.Settings()
    broker = Broker(places, ledger, chosen)
    libvirt = Libvirt(places, ledger)
    daemons = keeper(places, ledger, checkout)

    def stop_daemons() -> str:
        return f"stopped {len(daemons.stop())}"

    def stop_servers() -> str:
        if purge:
            # What is defined can only be removed by a libvirt that runs.
            libvirt.begin()
            libvirt.ensure()
        return _servers(purge)

    def stop_broker() -> str:
        if purge:
            broker.purge(host_access.known(places))
        return "stopped" if broker.stop() else "none of ours runs"

    def stop_libvirt() -> str:
        if purge:
            libvirt.purge()
        return "stopped" if libvirt.stop() else "none of ours runs"

    stages = [
        Stage("lab hosts", lambda: lab.stop_all(places, ledger)),
        Stage("daemons", stop_daemons),
        Stage("servers", stop_servers),
        Stage("networking", lambda: _networking(places)),
        Stage("helpers", lambda: _helpers(places)),
        Stage("RabbitMQ", stop_broker),
        Stage("libvirt", stop_libvirt),
    ]
    if purge:
        stages += [
            Stage("client access", lambda: _client_access(places, ledger)),
            Stage("supervision", lambda: _supervision(daemons)),
            Stage("files and user", lambda: _files(places, ledger)),
        ]
    return run_stages(stages)


def _servers(purge: bool) -> str:
    """Shut off, or with ``purge`` remove, every domain that minicloud defined."""
    try:
        driver = LibvirtDriver(_LIBVIRT_URI, "qemu", "only to stop servers")
        try:
            domains = driver.list_domains()
            for domain in domains:
                if purge:
                    driver.ensure_absent(domain.server_id)
                elif domain.power is not Power.SHUTDOWN:
                    driver.ensure_stopped(domain.server_id, grace_s=_GRACE_S)
        finally:
            driver.close()
    except MinicloudError as error:
        if not purge:
            return "libvirt does not answer: none runs"
        raise StageFailed(
            "The servers could not be removed.", str(error), "start libvirtd and repeat"
        ) from error
    return f"{'removed' if purge else 'shut off'} {len(domains)}"


def _networking(places: Places) -> str:
    network = HostNetwork(state_dir=places.state / "compute" / "network", metadata=None)
    try:
        removed = network.purge()
    except MinicloudError as error:
        raise StageFailed("The networks could not be removed.", str(error)) from error
    return f"removed {len(removed)} things" if removed else "nothing there"


def _helpers(places: Places) -> str:
    ended = 0
    for process in processes.with_argument(f"{places.state}/", _HELPERS):
        ended += processes.end(process)
    return f"ended {ended}"


def _client_access(places: Places, ledger: Ledger) -> str:
    clouds.purge(ledger)
    links.purge(places, ledger)
    return "entries and links removed"


def _files(places: Places, ledger: Ledger) -> str:
    account.remove_user(ledger)
    join.remove_credentials(ledger)
    for log in _LIBVIRT_LOGS.glob("minicloud-*.log*"):
        files.remove(log)
    for path in (places.config, places.run, places.state, places.logs, places.cache):
        files.remove(path)
    return "removed"


def _supervision(daemons: Keeper) -> str:
    daemons.remove()
    return "removed"
