"""``tools/lab``: compute hosts as namespaces on one machine, beside the cloud that runs there.

A lab host joins as any other host does: with accounts of its own and no way to this machine's
files but its own directory.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minicloud.deploy import config, databases, host_access, lab_network, processes, settings
from minicloud.deploy.broker import Broker
from minicloud.deploy.daemons import Daemons, code_digest
from minicloud.deploy.lab_host import LabHost, all_hosts, directory_of_all
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import Places
from minicloud.deploy.seed import Account
from minicloud.deploy.stage import Stage, StageFailed, run_stages
from minicloud.deploy.up import keeper
from minicloud.domain.errors import MinicloudError, NotFound

MOST = 20
_REPORT_LIMIT_S = 120.0
_DELETE_LIMIT_S = 120.0


class Lab:
    """The lab of one installation. ``checkout``: the tree of the daemons' code."""

    def __init__(self, places: Places, checkout: Path) -> None:
        found = settings.load(places)
        if found is None:
            raise StageFailed("No cloud is set up here.", advice="sudo tools/up")
        self._places = places
        self._settings = found
        self._ledger = Ledger(places.ledger)
        self._checkout = checkout
        self._broker = Broker(places, self._ledger, found)

    # -- what a person asks for ------------------------------------------------------------------
    def up(self, count: int) -> bool:
        """``count`` lab hosts run and have reported; False when a stage failed and said so."""
        hosts = [LabHost(self._places, self._ledger, number) for number in range(1, count + 1)]
        stages = [
            Stage("network of the hosts", self._network),
            Stage("databases", self._databases),
            Stage("this machine's daemons", lambda: self._own_daemons(lab_network.ADDRESS)),
            Stage("accounts", lambda: self._accounts(hosts)),
            *(Stage(host.name, functools.partial(self._start, host)) for host in hosts),
            Stage("reports", lambda: self._reports(hosts)),
        ]
        if not run_stages(stages):
            return False
        print(_WHAT_NEXT.format(name=hosts[-1].name))
        return True

    def down(self) -> bool:
        """No trace of the lab; False when a stage failed and said so."""
        hosts = all_hosts(self._places, self._ledger)
        stages = [
            Stage("servers of the hosts", lambda: self._delete_servers(hosts)),
            Stage("hosts", lambda: self._stop(hosts)),
            Stage("accounts", lambda: self._dismiss(hosts)),
            Stage("network of the hosts", lambda: _words(lab_network.remove(), "removed")),
            Stage("databases", self._databases),
            Stage("this machine's daemons", lambda: self._own_daemons("")),
            Stage("files", lambda: self._remove(hosts)),
        ]
        return run_stages(stages)

    def enter(self, name: str, words: Sequence[str]) -> None:
        """Become ``words`` inside the host ``name``. StageFailed if it does not run."""
        for host in all_hosts(self._places, self._ledger):
            if host.name == name:
                command = host.enter([*words] or ["/bin/bash"])
                os.execvp(command[0], command)  # noqa: S606 - no shell, as everywhere
        raise StageFailed(
            f"There is no lab host {name}.", advice="sudo tools/lab N makes N of them"
        )

    # -- up --------------------------------------------------------------------------------------
    def _network(self) -> str:
        made = lab_network.ensure(cloud_is_local=self._settings.is_local)
        return f"{lab_network.ADDRESS}, {'made' if made else 'in place'}"

    def _databases(self) -> str:
        """The code may be newer than the daemons that run; they are about to be started anew."""
        return databases.ensure(self._places, self._ledger, self._settings, self._checkout)

    def _own_daemons(self, address: str) -> str:
        """This machine is a host among the others, at ``address``; "" for on its own again."""
        self._settings.lab_address = address
        settings.write(self._places, self._settings)
        config.ensure(self._places, self._settings)
        chosen = keeper(self._places, self._ledger, self._checkout)
        daemons = Daemons(self._places, self._ledger, chosen, self._checkout)
        return daemons.ensure()

    def _accounts(self, hosts: Sequence[LabHost]) -> str:
        names = [host.name for host in hosts]
        found = host_access.ensure(self._places, self._settings, self._broker, names)
        self._access = {access.name: access for access in found}
        return f"{len(found)} hosts"

    def _start(self, host: LabHost) -> str:
        access = self._access[host.name]
        assert access.tls is not None  # ensured with the rest
        configuration = host_access.configuration(
            self._settings,
            access,
            controller=self._settings.host,
            tunnel_address=host.address,
        )
        code = code_digest(self._checkout)
        return f"{host.address}, {host.ensure(configuration, access.tls, code)}"

    def _reports(self, hosts: Sequence[LabHost]) -> str:
        wanted = {host.name for host in hosts}
        admin = Account(self._settings, "admin", self._settings.admin_password)
        up: set[str] = set()

        def reported() -> bool:
            answer = admin.compute.get("/os-services", binary="nova-compute")
            up.clear()
            up.update(s["host"] for s in answer.json["services"] if s["state"] == "up")
            return wanted <= up

        try:
            if processes.wait_until(reported, limit_s=_REPORT_LIMIT_S, pause_s=0.3):
                return f"{', '.join(sorted(up))} up"
            why = f"{', '.join(sorted(wanted - up))} did not report"
        except MinicloudError as problem:
            why = problem.message
        first = next(host for host in hosts if host.name not in up)
        raise StageFailed(
            "Not every lab host came up.", why, log=first.directory / "log" / "compute.log"
        )

    # -- down ------------------------------------------------------------------------------------
    def _delete_servers(self, hosts: Sequence[LabHost]) -> str:
        """While the hosts can still give back what their servers have."""
        if not any(host.pid for host in hosts):
            return "no host runs"
        try:
            admin = Account(self._settings, "admin", self._settings.admin_password)
            servers = [server for host in hosts for server in _servers_on(admin, host.name)]
            for server in servers:
                admin.compute.delete(f"/servers/{server['id']}")
            gone = processes.wait_until(
                lambda: not any(_servers_on(admin, host.name) for host in hosts),
                limit_s=_DELETE_LIMIT_S,
                pause_s=0.3,
            )
        except NotFound:
            return self._delete_servers(hosts)  # somebody else deleted it meanwhile
        except MinicloudError as problem:
            raise StageFailed(
                "The lab's servers could not be deleted.", problem.message, "sudo tools/up, first"
            ) from problem
        if not gone:
            raise StageFailed("Some of the lab's servers are still there.", "see minicloud list")
        return f"deleted {len(servers)}"

    def _stop(self, hosts: Sequence[LabHost]) -> str:
        return f"ended {sum([host.stop() for host in hosts])}"

    def _dismiss(self, hosts: Sequence[LabHost]) -> str:
        names = [host.name for host in hosts]
        host_access.remove(self._places, self._settings, self._broker, names)
        return f"removed {len(names)}"

    def _remove(self, hosts: Sequence[LabHost]) -> str:
        for host in hosts:
            host.remove()
        directory = directory_of_all(self._places)
        if directory.is_dir():
            directory.rmdir()
        return "removed"


def stop_all(places: Places, ledger: Ledger) -> str:
    """End every lab host and their network, for ``tools/down``: their files stay."""
    ended = sum([host.stop() for host in all_hosts(places, ledger)])
    lab_network.remove()
    chosen = settings.load(places)
    if chosen is not None and chosen.lab_address:
        chosen.lab_address = ""
        settings.write(places, chosen)
    return f"ended {ended}" if ended else "none runs"


def _servers_on(admin: Account, host: str) -> list[dict[str, Any]]:
    answer = admin.compute.get("/servers", all_tenants=1, host=host)
    found: list[dict[str, Any]] = answer.json["servers"]
    return found


def _words(done: bool, words: str) -> str:
    return words if done else "none there"


_WHAT_NEXT = """
  The lab is up. What next:

    minicloud --cloud minicloud-admin host list
    sudo tools/lab sh {name} virsh list     # a command on a lab host; without one, a shell
    sudo tools/lab down                     # end the hosts, their servers and all traces
"""
