"""The set-up as a list of stages: the whole of what ``tools/up`` does once Python is there.

``tools/bootstrap.sh`` does the stages before these and counts them all.
"""

from __future__ import annotations

import dataclasses
import os
import time
from pathlib import Path

from minicloud.deploy import account, clouds, config, databases, hosts, links, settings
from minicloud.deploy.broker import Broker
from minicloud.deploy.daemons import Daemons
from minicloud.deploy.first_launch import FirstLaunch
from minicloud.deploy.hypervisor import Libvirt
from minicloud.deploy.image import AUTO, DemoImage
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import Places
from minicloud.deploy.processes import has_systemd
from minicloud.deploy.seed import IMAGE, Seed
from minicloud.deploy.stage import Stage, run_stages
from minicloud.deploy.supervise import Keeper
from minicloud.deploy.supervisord import Supervisord
from minicloud.deploy.systemd import Systemd
from minicloud.deploy.virt_type import VirtType

BASH_STAGES = 2
"""Packages and the Python environment."""

STAGES = 14
"""All of them. tools/bootstrap.sh has the same number."""


@dataclasses.dataclass(frozen=True)
class Wishes:
    """What the operator asked for; "" leaves a choice as it was."""

    checkout: Path
    host: str = ""
    database_url: str = ""
    image: str = AUTO
    launch: bool = True


def keeper(places: Places, ledger: Ledger, checkout: Path) -> Keeper:
    daemons = ledger.record.daemons
    return Systemd(checkout, daemons) if has_systemd() else Supervisord(places, ledger)


def up(places: Places, wishes: Wishes) -> bool:
    """Run every stage; False when one failed and said so."""
    ledger = Ledger(places.ledger)
    accounts = Stage("user and directories", lambda: account.ensure(places, ledger))
    number = BASH_STAGES + 1
    # The other stages need the directories before they can be put together.
    if not run_stages([accounts], first=number, total=STAGES):
        return False
    if not run_stages(later_stages(places, ledger, wishes), first=number + 1, total=STAGES):
        return False
    if wishes.launch:
        print(f"\n{FirstLaunch(places).trace()}", end="")
    print(_what_next(places))
    return True


def later_stages(places: Places, ledger: Ledger, wishes: Wishes) -> list[Stage]:
    chosen = settings.ensure(places, host=wishes.host, database_url=wishes.database_url)
    checkout = wishes.checkout
    broker = Broker(places, ledger, chosen)
    libvirt = Libvirt(places, ledger)
    image = DemoImage(places, checkout, wishes.image)
    virt_type = VirtType(places)
    daemons = Daemons(places, ledger, keeper(places, ledger, checkout), checkout)
    return [
        Stage("RabbitMQ", broker.ensure, broker.begin),
        Stage("libvirt", libvirt.ensure, libvirt.begin),
        Stage("KVM or emulation", virt_type.ensure, virt_type.begin),
        Stage("configuration", lambda: config.ensure(places, chosen)),
        Stage("databases", lambda: databases.ensure(places, ledger, chosen, checkout)),
        Stage("daemons", daemons.ensure),
        Stage("host", lambda: hosts.ensure_reported(places, chosen)),
        Stage("demo image", image.ensure, image.begin),
        Stage("client access", lambda: _client_access(places, ledger, chosen)),
        Stage("first contents", Seed(places, chosen).ensure),
        Stage("first server", FirstLaunch(places).ensure if wishes.launch else lambda: "left out"),
    ]


def _client_access(places: Places, ledger: Ledger, chosen: settings.Settings) -> str:
    links.ensure(places, ledger)
    return clouds.ensure(places, ledger, chosen)


def _what_next(places: Places) -> str:
    """For a person who wants to go on: what to type, and where things are."""
    since = float(os.environ.get("MINICLOUD_UP_SINCE", time.time()))
    clouds_file, _ = clouds.personal_file()
    return f"""
  The cloud is up, after {time.time() - since:.0f} s. What next:

    minicloud list
    minicloud launch {IMAGE} my-server --wait=ssh
    minicloud ssh my-server
    minicloud trace my-server       # the 28 steps of its launch, with times
    minicloud --help

  Any OpenStack client works too: export OS_CLOUD=minicloud (user demo) or minicloud-admin;
  both are in {clouds_file}.

    settings {places.config}   logs {places.logs}   stop: sudo tools/down
"""
