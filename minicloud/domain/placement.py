"""Where a server may go, and where it should: pure functions over a snapshot of hosts.

A filter answers why a host will not do, or None. A weigher answers a number, larger is better.
The choice is a ranking; whether the best host really has room is decided by the claim
(``db.hosts.host_claim``), which may say no and send the scheduler to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from minicloud.domain import host_query
from minicloud.domain.models import Flavor, Host, ServerGroup


class Company(msgspec.Struct, frozen=True, kw_only=True):
    """A server's group, and where its other members are."""

    group: ServerGroup
    members: Mapping[str, int] = {}
    """Host -> other members there."""

    def verdict(self, host: str) -> str | None:
        """Why the group keeps the server from ``host``, or None."""
        here = self.members.get(host, 0)
        if self.group.policy == "anti-affinity" and here >= self.group.max_per_host:
            return f"{here} of group {self.group.name} are there already"
        if self.group.policy == "affinity" and self.members and not here:
            return f"group {self.group.name} is on {', '.join(sorted(self.members))}"
        return None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be placed."""

    flavor: Flavor
    availability_zone: str | None = None
    excluded: Mapping[str, str] = {}
    """Host -> why it is out (it failed this launch already)."""
    host: str | None = None
    """The only host that will do; None: any."""
    company: Company | None = None
    beside: frozenset[str] | None = None
    """Hosts of which it must be one: those of servers it wants to be beside."""
    apart: frozenset[str] = frozenset()
    """Hosts of servers it wants to be apart from."""
    query: Any = None
    """A condition over the host's facts, see ``domain.host_query``."""


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How full a host may get, and when it counts as down."""

    cpu_ratio: float
    memory_ratio: float
    disk_ratio: float
    reserved_memory_mb: int
    service_down_s: float
    now: float


Filter = Callable[[Host, Request, Rules], "str | None"]
Weigher = Callable[[Host, Request, Rules], float]


def _up(host: Host, _request: Request, rules: Rules) -> str | None:
    if host.forced_down:
        return "its service is forced down"
    silence = rules.now - host.last_seen
    if silence > rules.service_down_s:
        return f"its service has not reported for {silence:.0f} s"
    return None


def _enabled(host: Host, _request: Request, _rules: Rules) -> str | None:
    return "its service is disabled" if host.disabled else None


def _not_excluded(host: Host, request: Request, _rules: Rules) -> str | None:
    return request.excluded.get(host.name)


def _wanted(host: Host, request: Request, _rules: Rules) -> str | None:
    if request.host in (None, host.name):
        return None
    return f"{request.host} was asked for"


def _same_host(host: Host, request: Request, _rules: Rules) -> str | None:
    if request.beside is None or host.name in request.beside:
        return None
    return "it has none of the servers of the hint same_host"


def _different_host(host: Host, request: Request, _rules: Rules) -> str | None:
    if host.name not in request.apart:
        return None
    return "it has one of the servers of the hint different_host"


def _group(host: Host, request: Request, _rules: Rules) -> str | None:
    return None if request.company is None else request.company.verdict(host.name)


def _query(host: Host, request: Request, _rules: Rules) -> str | None:
    if request.query is None or host_query.holds(request.query, host):
        return None
    return "the hint query does not hold"


_SCOPE = "aggregate_instance_extra_specs:"


def _extra_specs(host: Host, request: Request, _rules: Rules) -> str | None:
    """What the flavor asks of its host's aggregates: each key by one of them."""
    for key, wanted in request.flavor.extra_specs.items():
        if not key.startswith(_SCOPE):
            continue
        name = key.removeprefix(_SCOPE)
        found = [metadata[name] for metadata in host.aggregates if name in metadata]
        if not any(host_query.fits(wanted, value) for value in found):
            return f"no aggregate of it has {name} {wanted}"
    return None


def _zone(host: Host, request: Request, _rules: Rules) -> str | None:
    if request.availability_zone in (None, host.availability_zone):
        return None
    return f"it is in zone {host.availability_zone}, not {request.availability_zone}"


def _vcpus(host: Host, request: Request, rules: Rules) -> str | None:
    free = host.vcpus * rules.cpu_ratio - host.vcpus_used
    if request.flavor.vcpus <= free:
        return None
    return f"{request.flavor.vcpus} VCPUs wanted, {max(free, 0):.0f} left"


def _memory(host: Host, request: Request, rules: Rules) -> str | None:
    free = free_memory_mb(host, rules)
    if request.flavor.ram <= free:
        return None
    return f"{request.flavor.ram} MiB of memory wanted, {max(free, 0):.0f} left"


def _disk(host: Host, request: Request, rules: Rules) -> str | None:
    free = host.disk_gb * rules.disk_ratio - host.disk_gb_used
    if request.flavor.total_disk_gb <= free:
        return None
    return f"{request.flavor.total_disk_gb} GiB of disk wanted, {max(free, 0):.0f} left"


def _disk_not_full(host: Host, _request: Request, _rules: Rules) -> str | None:
    return "its disk is full" if host.disk_free_gb < 1 else None


FILTERS: Mapping[str, Filter] = {
    "ServiceUp": _up,
    "ServiceEnabled": _enabled,
    "Retry": _not_excluded,
    "RequestedHost": _wanted,
    "AvailabilityZone": _zone,
    "AggregateInstanceExtraSpecs": _extra_specs,
    "SameHost": _same_host,
    "DifferentHost": _different_host,
    "ServerGroup": _group,
    "Json": _query,
    "Core": _vcpus,
    "Ram": _memory,
    "Disk": _disk,
    "DiskNotFull": _disk_not_full,
}
"""Asked in this order; the first that says no decides."""


def free_memory_mb(host: Host, rules: Rules) -> float:
    return (host.memory_mb - rules.reserved_memory_mb) * rules.memory_ratio - host.memory_mb_used


def _spread_memory(host: Host, _request: Request, rules: Rules) -> float:
    """Prefer the host with the larger share of its memory free."""
    return free_memory_mb(host, rules) / max(host.memory_mb, 1)


def _spread_vcpus(host: Host, _request: Request, rules: Rules) -> float:
    total = host.vcpus * rules.cpu_ratio
    return (total - host.vcpus_used) / max(total, 1)


def _soft_group(host: Host, request: Request, _rules: Rules) -> float:
    """Follow a soft group's wish before anything else."""
    company = request.company
    if company is None:
        return 0.0
    here = company.members.get(host.name, 0)
    if company.group.policy == "soft-affinity":
        return float(here)
    return -float(here) if company.group.policy == "soft-anti-affinity" else 0.0


WEIGHERS: Mapping[str, tuple[float, Weigher]] = {
    "Ram": (1.0, _spread_memory),
    "Cpu": (0.5, _spread_vcpus),
    "SoftGroup": (1000.0, _soft_group),
}
"""Name -> (factor, weigher); their weighted sum ranks the hosts."""


class Choice(msgspec.Struct, frozen=True, kw_only=True):
    ranked: Sequence[str]
    """Host names that passed, best first."""
    verdicts: Mapping[str, str]
    """Host name -> ``Filter: reason`` for those that did not."""

    def explain(self) -> str:
        """One sentence that names each host's verdict."""
        if not self.verdicts:
            return "There is no compute host yet."
        return "; ".join(f"{host}: {verdict}" for host, verdict in sorted(self.verdicts.items()))


def choose(hosts: Sequence[Host], request: Request, rules: Rules) -> Choice:
    """Rank the hosts for ``request``. The same snapshot gives the same choice."""
    verdicts: dict[str, str] = {}
    passed: list[tuple[float, str]] = []
    for host in hosts:
        verdict = _verdict(host, request, rules)
        if verdict is not None:
            verdicts[host.name] = verdict
            continue
        weight = sum(factor * weigh(host, request, rules) for factor, weigh in WEIGHERS.values())
        passed.append((-weight, host.name))
    return Choice(ranked=[name for _, name in sorted(passed)], verdicts=verdicts)


def _verdict(host: Host, request: Request, rules: Rules) -> str | None:
    for name, check in FILTERS.items():
        reason = check(host, request, rules)
        if reason is not None:
            return f"{name}Filter: {reason}"
    return None
