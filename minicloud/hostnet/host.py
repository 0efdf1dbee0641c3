"""A host's networking: makes the kernel agree with a desired state, and keeps it so.

Holds the order of things and nothing else: what to change is computed in ``plan``, ``rules``
and ``gateway``, and done by ``kernel`` and ``services``. A port's rules are loaded before its
TAP comes up. Whatever this process remembers only spares it a look at the kernel.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import msgspec

from minicloud.domain import ids
from minicloud.domain.errors import HostProblem
from minicloud.hostnet import foreign, names, namespaces, rules
from minicloud.hostnet.desired import has_any, knows_all_about, normal, with_port, without_port
from minicloud.hostnet.filter import Filter
from minicloud.hostnet.forwarding import port_lines
from minicloud.hostnet.kernel import Kernel
from minicloud.hostnet.metadata import MetadataProxy
from minicloud.hostnet.outside import is_routed, plan_reach, sysctls
from minicloud.hostnet.plan import (
    Changes,
    Strays,
    new_port,
    plan_network,
    plan_removal,
    plan_strays,
)
from minicloud.hostnet.recency import Recency
from minicloud.hostnet.router_plan import legs_of
from minicloud.hostnet.routers import Routers
from minicloud.hostnet.services import Services
from minicloud.hostnet.state import StateFile, Stored
from minicloud.hostnet.view import HostView, Space
from minicloud.hostnet.wiring import HostWiring, NetworkWiring, PortWiring, RouterWiring

LOG = logging.getLogger(__name__)
_NO_ROUTER = {f"ipv6/conf/{names.TENANT}/accept_ra": "0"}
"""A network's namespace takes no address or route that a router of the guests' advertises."""


class HostNetwork:
    """``HostNetworking`` on a real kernel; needs root.

    ``state_dir``: a directory of its own. ``metadata``: None for guests without a metadata
    service. ``physical_networks``: name -> the device by which this host is on it.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        metadata: MetadataProxy | None,
        physical_networks: Mapping[str, str] | None = None,
    ) -> None:
        self.kernel = Kernel()
        self._filter = Filter(self.kernel)
        self._routers = Routers(self.kernel)
        self._services = Services(state_dir, self.kernel, metadata)
        self._physical = dict(physical_networks or {})
        self._state = StateFile(state_dir / "hostnet.json")
        self._recency = Recency(time.monotonic)
        self._lock = threading.RLock()
        # What this process has itself seen complete, so that it need not look again.
        self._networks: dict[str, NetworkWiring] = {}
        self._ports: dict[str, PortWiring] = {}
        self._skipped: dict[str, list[str]] = {}

    # -- what the compute daemon asks for --------------------------------------------------------
    def ensure_port(self, network: NetworkWiring, port: PortWiring) -> str:
        with self._lock:
            self._recency.note(port.id)
            before = self._state.value.wiring
            wanted = with_port(before, network, port)
            network = next(item for item in wanted.networks if item.id == network.id)
            port = next(item for item in wanted.ports if item.id == port.id)
            tap = ids.tap_name(port.id)
            served = self._services.are_running(network, _ports_of(before, network))
            seen = self._networks.get(network.id) == network and served
            plugged = self.kernel.has_link(tap)
            if seen and plugged and self._ports.get(port.id) == port:
                return tap
            self._state.write_wiring(wanted)
            if not (seen and not plugged and self._plug(network, port)):
                self._converge({network.id})
            return tap

    def is_told(self, port_id: str) -> bool:
        with self._lock:
            wiring = self._state.value.wiring
            port = next((item for item in wiring.ports if item.id == port_id), None)
            return port is not None and knows_all_about(wiring, port)

    def has_any(self, things: Collection[str]) -> bool:
        with self._lock:
            return has_any(self._state.value.wiring, things)

    def ensure_no_port(self, port_id: str) -> None:
        with self._lock:
            self._recency.note(port_id)
            before = self._state.value.wiring
            port = next((item for item in before.ports if item.id == port_id), None)
            if port is None:
                return
            after = without_port(before, port_id)
            self._ports.pop(port_id, None)
            network = next((item for item in after.networks if item.id == port.network_id), None)
            if network is None:
                self._forget_network(port.network_id)
                view = self.kernel.read([ids.netns_name(port.network_id)])
                self._delete(plan_removal(port.network_id, [port_id], view))
            elif self.kernel.has_link(ids.tap_name(port_id)):
                self._delete(Strays(links=[ids.tap_name(port_id)]))
            self._state.write_wiring(after)
            self._filter.load(self._state.value)
            if network is not None:
                self._serve(network, after)

    def sync(self, desired: HostWiring, *, as_of: float | None = None) -> list[str]:
        with self._lock:
            if self._recency.is_outdated(as_of):
                return []
            before = self._state.value.wiring
            self._state.write_wiring(self._recency.merged(before, normal(desired), as_of))
            return self._converge(None, [port.id for port in before.ports])

    def restore(self) -> list[str]:
        with self._lock:
            return self._converge(None)

    def ports(self) -> frozenset[str]:
        with self._lock:
            return frozenset(port.id for port in self._state.value.wiring.ports)

    def purge(self) -> list[str]:
        with self._lock:
            known = [port.id for port in self._state.value.wiring.ports]
            view = self.kernel.read(_our_namespaces())
            strays = plan_strays(HostWiring(), known, view)
            words = self._remove(strays, self._services.known())
            words += self._reach(HostWiring(), view.root)
            words += self._filter.ensure(Stored(), view.root.tables)
            for version, family in ((4, "ip"), (6, "ip6")):
                if (family, "filter") in view.root.tables:
                    words += foreign.remove_forwarding(self.kernel, version)
            if self._state.value.switched_on_forwarding:
                self.kernel.set_ip_forward(False)
                words.append("switched IP forwarding off again")
            self._services.remove_directory()
            self._state.remove()
            self._networks.clear()
            self._ports.clear()
            return words

    # -- one new port on a network that is there -------------------------------------------------
    def _plug(self, network: NetworkWiring, port: PortWiring) -> bool:
        """The short way, without a look at the kernel; False if it did not agree."""
        wiring = self._state.value.wiring
        try:
            self._filter.load(self._state.value)
            self.kernel.ip_batch(new_port(port, network.mtu))
            self.kernel.bridge_batch(port_lines(port))
        except HostProblem as problem:
            LOG.warning("Port %s: %s; looking at the whole network", port.id, problem)
            return False
        if not self._serve(network, wiring):
            return False
        self._ports[port.id] = port
        return True

    def _serve(self, network: NetworkWiring, wiring: HostWiring) -> bool:
        """Tell a network's services who is there; False if its namespace is not as it was."""
        try:
            self._services.ensure(network, _ports_of(wiring, network))
        except HostProblem as problem:
            LOG.warning("Network %s: %s; the next pass mends it", network.id, problem)
            self._networks.pop(network.id, None)
            return False
        return True

    # -- the whole, or some networks of it -------------------------------------------------------
    def _converge(self, scope: set[str] | None, known: Iterable[str] = ()) -> list[str]:
        """Compare with the kernel and apply the difference; ``scope`` None is everything.

        A network that fails keeps no other from being set up. Raises HostProblem at the end.
        """
        wiring = self._state.value.wiring
        networks = [item for item in wiring.networks if scope is None or item.id in scope]
        carried = [router for router in wiring.routers if _is_on(router, networks)]
        wanted = {ids.netns_name(network.id) for network in networks}
        wanted |= {names.router_space(router.id) for router in carried}
        view = self.kernel.read(wanted | (_our_namespaces() if scope is None else set()))
        words: list[str] = []
        if scope is None:
            strays = plan_strays(wiring, known, view)
            kept = {port.network_id for port in wiring.ports}
            words += self._remove(
                strays, [name for name in self._services.known() if name not in kept]
            )
            view = view.without(set(strays.links), set(strays.namespaces))
        words += self._set_up_host(wiring, view.root)
        self._routers.make_spaces(carried, view)
        problems: list[str] = []
        remade: set[str] = set()
        for network in networks:
            try:
                changes, done = self._set_up_network(network, wiring, view)
                words += done
                remade |= set(changes.legs)
                view = view.with_routes(changes.claims)
            except HostProblem as problem:
                self._networks.pop(network.id, None)
                problems.append(f"network {network.id}: {problem}")
        mtus = {network.id: network.mtu for network in wiring.networks}
        for router in carried:
            space = view.spaces.get(names.router_space(router.id)) or Space()
            try:
                words += self._routers.set_up(router, mtus, space, remade)
                words += self._services.ensure_router(router, wiring)
            except HostProblem as problem:
                problems.append(f"router {router.id}: {problem}")
        if scope is None:
            words += self._reach(wiring, view.root)
        if problems:
            raise HostProblem(reason="; ".join(problems))
        for line in words:
            LOG.info("Host network: %s", line)
        return words

    def _set_up_host(self, wiring: HostWiring, root: Space) -> list[str]:
        if wiring.networks:
            self.kernel.ensure_bridge_tracking()
        words = self._filter.ensure(self._state.value, root.tables)
        if not wiring.networks:
            return words
        if not root.ip_forward:
            stored = msgspec.structs.replace(self._state.value, switched_on_forwarding=True)
            self._state.write(stored)
            self.kernel.set_ip_forward(True)
            words.append("switched IP forwarding on")
        for version, drops in ((4, root.forward_drops), (6, root.forward_drops_6)):
            if drops:
                words += foreign.ensure_forwarding(self.kernel, version)
        return words

    def _set_up_network(
        self, network: NetworkWiring, wiring: HostWiring, view: HostView
    ) -> tuple[Changes, list[str]]:
        name = ids.netns_name(network.id)
        ports = _ports_of(wiring, network)
        changes = plan_network(
            network,
            view,
            ports,
            tunnel_ip=wiring.tunnel_ip,
            routers=wiring.routers,
            wires=self._physical,
        )
        words = list(changes.words)
        self.kernel.ip_remove(changes.remove)
        self.kernel.ip_batch(changes.root)
        self.kernel.bridge_batch(changes.forwards)
        if is_routed(network) and changes.root:
            self.kernel.set_sysctls(sysctls(network))
        if ports:
            if changes.rebuilt:
                self.kernel.set_sysctls(_NO_ROUTER, name)
            self.kernel.ip_batch(changes.inside, name)
            words += self._set_up_routing(name, view.spaces.get(name) or Space())
            words += self._services.ensure(network, ports, rebuilt=changes.rebuilt)
        self._tell_skipped(network.id, list(changes.skipped))
        self._networks[network.id] = network
        self._ports.update({port.id: port for port in ports})
        return changes, words

    def _reach(self, wiring: HostWiring, root: Space) -> list[str]:
        come, gone = plan_reach(wiring, root)
        self.kernel.ip_remove([*gone, *come])
        return ["set the routes to other hosts' external addresses"] if come or gone else []

    def _set_up_routing(self, name: str, inside: Space) -> list[str]:
        words: list[str] = []
        table = rules.namespace_table()
        if not table.is_loaded(inside.tables):
            self.kernel.nft(table.text(), name)
            words.append(f"loaded the rules of {name}")
        if not inside.ip_forward:
            self.kernel.set_ip_forward(True, name)
            words.append(f"switched IP forwarding on in {name}")
        return words

    def _remove(self, strays: Strays, networks: Iterable[str]) -> list[str]:
        """Remove devices and namespaces, and first whatever runs in them."""
        words: list[str] = []
        spaces = {names.network_of_namespace(name) for name in strays.namespaces}
        for network_id in sorted({*networks, *filter(None, spaces)}):
            words += self._forget_network(network_id)
        gone = {*filter(None, map(names.router_of_space, strays.namespaces))}
        carried = {router.id for router in self._state.value.wiring.routers}
        for router_id in sorted(gone | set(self._services.known_routers()) - carried):
            self._routers.forget(router_id)
            words += self._services.stop_router(router_id)
        self._delete(strays)
        return words + strays.words

    def _delete(self, strays: Strays) -> None:
        """A TAP that stays although its rules go would be an open door: better fail."""
        self.kernel.ip_remove(strays.lines)
        left = [name for name in strays.links if self.kernel.has_link(name)]
        if left:
            raise HostProblem(reason=f"{', '.join(left)} could not be removed")

    def _forget_network(self, network_id: str) -> list[str]:
        self._networks.pop(network_id, None)
        self._skipped.pop(network_id, None)
        return self._services.stop(network_id)

    def _tell_skipped(self, network_id: str, sentences: list[str]) -> None:
        if self._skipped.get(network_id, []) != sentences:
            for sentence in sentences:
                LOG.warning("%s", sentence)
        self._skipped[network_id] = sentences


def _ports_of(wiring: HostWiring, network: NetworkWiring) -> list[PortWiring]:
    return [port for port in wiring.ports if port.network_id == network.id]


def _is_on(router: RouterWiring, networks: Iterable[NetworkWiring]) -> bool:
    here = {network.id for network in networks}
    return any(leg.port.network_id in here for leg in legs_of(router)) or not router.legs


def _our_namespaces() -> set[str]:
    return {
        name
        for name in namespaces.listed()
        if names.network_of_namespace(name) or names.router_of_space(name)
    }
