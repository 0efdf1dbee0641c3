"""What a guest uses, out of libvirt's counters: pure, and content with what a hypervisor counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minicloud.domain.models import Diagnostics, DiskUse, NicUse

Stats = Mapping[str, Any]
_BALLOON = "balloon."
_NO_STATS = ("current", "maximum", "last-update")
_DISK = {
    "read_bytes": "rd.bytes",
    "read_requests": "rd.reqs",
    "write_bytes": "wr.bytes",
    "write_requests": "wr.reqs",
}
_NIC = {
    "rx_octets": "rx.bytes",
    "rx_packets": "rx.pkts",
    "rx_errors": "rx.errs",
    "rx_drop": "rx.drop",
    "tx_octets": "tx.bytes",
    "tx_packets": "tx.pkts",
    "tx_errors": "tx.errs",
    "tx_drop": "tx.drop",
}


def diagnostics_of(stats: Stats, macs: Mapping[str, str], virt_type: str) -> Diagnostics:
    """``macs``: TAP -> MAC address of the NIC behind it."""
    maximum = int(stats.get("balloon.maximum", 0))
    memory = {
        name.removeprefix(_BALLOON).replace("-", "_"): int(value)
        for name, value in stats.items()
        if name.startswith(_BALLOON) and name.removeprefix(_BALLOON) not in _NO_STATS
    }
    unused = memory.get("unused")
    used = maximum if unused is None else memory.get("available", maximum) - unused
    return Diagnostics(
        virt_type=virt_type,
        cpu_times_ns=[int(stats.get(f"vcpu.{n}.time", 0)) for n in _numbers(stats, "vcpu.current")],
        memory_mb=maximum >> 10,
        memory_used_mb=max(used, 0) >> 10,
        memory_stats=memory,
        disks=[_disk(stats, n) for n in _numbers(stats, "block.count")],
        nics=[_nic(stats, n, macs) for n in _numbers(stats, "net.count")],
    )


def _numbers(stats: Stats, counter: str) -> range:
    return range(int(stats.get(counter, 0)))


def _disk(stats: Stats, number: int) -> DiskUse:
    prefix = f"block.{number}."
    counts = {mine: int(stats.get(prefix + theirs, 0)) for mine, theirs in _DISK.items()}
    return DiskUse(target=str(stats.get(prefix + "name", "")), **counts)


def _nic(stats: Stats, number: int, macs: Mapping[str, str]) -> NicUse:
    prefix = f"net.{number}."
    tap = str(stats.get(prefix + "name", ""))
    counts = {mine: int(stats.get(prefix + theirs, 0)) for mine, theirs in _NIC.items()}
    return NicUse(tap=tap, mac=macs.get(tap, ""), **counts)
