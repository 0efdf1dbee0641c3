"""The routers that this host carries: each a namespace with a leg on every network it connects.

A router that moved here says so to the neighbours of its addresses. A floating IP that goes, or
goes to another guest, takes the connections along that it carried.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence

from minicloud.domain.errors import HostProblem
from minicloud.hostnet import names
from minicloud.hostnet.announce import announce
from minicloud.hostnet.kernel import Kernel
from minicloud.hostnet.router_plan import Leg, plan_inside
from minicloud.hostnet.router_rules import router_table, router_table_6
from minicloud.hostnet.view import HostView, Space
from minicloud.hostnet.wiring import RouterWiring

LOG = logging.getLogger(__name__)
_FORWARDING = {
    "ipv4/ip_forward": "1",
    "ipv6/conf/all/forwarding": "1",
    # It is the router: what others advertise is not for it.
    "ipv6/conf/all/accept_ra": "0",
    "ipv6/conf/default/accept_ra": "0",
}


class Routers:
    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._seen: dict[str, RouterWiring] = {}
        """The routers as they were last set up by this process."""

    def make_spaces(self, routers: Iterable[RouterWiring], view: HostView) -> None:
        """Make the namespaces that are missing, as routers before they have any device."""
        for router in routers:
            name = names.router_space(router.id)
            if view.spaces.get(name) is None:
                self._kernel.ip_remove([f"netns del {name}"] if name in view.spaces else [])
                self._kernel.ip_batch([f"netns add {name}"])
                self._kernel.set_sysctls(_FORWARDING, name)

    def set_up(
        self, router: RouterWiring, mtus: Mapping[str, int], space: Space, remade: Iterable[str]
    ) -> list[str]:
        """Make the namespace, whose pairs are there, what it has to be; what was done, in words.

        HostProblem, after everything was done that can be.
        """
        name = names.router_space(router.id)
        plan = plan_inside(router, mtus, space, remade)
        words = [f"set up router {router.id}"] if plan.lines or plan.routes else []
        self._kernel.ip_batch(plan.lines, name)
        tables = [router_table(router), router_table_6(router)]
        texts = [table.text() for table in tables if not table.is_loaded(space.tables)]
        if texts:
            self._kernel.nft("".join(texts), name)
            words.append(f"loaded the rules of router {router.id}")
            self._drop_flows(name, changed_addresses(self._seen.get(router.id), router))
        if not (space.ip_forward and space.ip6_forward):
            self._kernel.set_sysctls(_FORWARDING, name)
        self._announce(name, plan.fresh)
        self._seen[router.id] = router
        self._kernel.ip_batch(plan.routes, name)
        return words

    def forget(self, router_id: str) -> None:
        self._seen.pop(router_id, None)

    def _announce(self, name: str, legs: Sequence[Leg]) -> None:
        for leg in legs:
            held = [text.partition("/")[0] for text in leg.addresses if ":" not in text]
            announce(name, leg.device, leg.port.mac, held)

    def _drop_flows(self, name: str, addresses: Iterable[str]) -> None:
        for address in addresses:
            for side in ("--orig-src", "--orig-dst"):
                # It fails where there is nothing to drop.
                with contextlib.suppress(HostProblem):
                    self._kernel.run(["conntrack", "-D", side, address], "", name)


def changed_addresses(old: RouterWiring | None, new: RouterWiring) -> list[str]:
    """The addresses whose translation is another now; all, where the old one is not known."""
    before = _translations(old) if old is not None else set()
    pairs = before ^ _translations(new)
    return sorted({address for pair in pairs for address in pair})


def _translations(router: RouterWiring) -> set[tuple[str, str]]:
    pairs = set(router.floating_ips)
    pairs |= {(item.floating_ip, item.internal_ip) for item in router.forwardings}
    return {(outer, inner) for outer, inner in pairs if ":" not in outer}
