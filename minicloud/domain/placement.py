"""Where a server may go, and where it should: pure functions over a snapshot of hosts.

A filter answers why a host will not do, or None. A weigher answers a number, larger is better.
The choice is a ranking; whether the best host really has room is decided by the claim
(``db.hosts.host_claim``), which may say no and send the scheduler to the next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from minicloud.domain.models import Flavor, Host


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be placed."""

    flavor: Flavor
    availability_zone: str | None = None
    excluded: Mapping[str, str] = {}
    """Host -> why it is out (it failed this launch already)."""
    host: str | None = None
    """The only host that will do; None: any."""


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


WEIGHERS: Mapping[str, tuple[float, Weigher]] = {
    "Ram": (1.0, _spread_memory),
    "Cpu": (0.5, _spread_vcpus),
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
