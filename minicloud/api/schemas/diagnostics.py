"""What a guest uses, in the shape of all hypervisors and in libvirt's of old."""

from __future__ import annotations

from typing import Any

from minicloud.api.schemas.older import Rich
from minicloud.domain.models import Diagnostics, Server
from minicloud.kit import clock
from minicloud.kit.web.versions import Json


def diagnostics_view(server: Server, found: Diagnostics) -> dict[str, Any]:
    uptime = None if server.launched_at is None else int(clock.now() - server.launched_at)
    view = {
        "state": server.power_state.name.lower(),
        "driver": "libvirt",
        "hypervisor": found.virt_type,
        "hypervisor_os": "linux",
        "uptime": uptime,
        "config_drive": server.config_drive,
        "num_cpus": len(found.cpu_times_ns),
        "num_nics": len(found.nics),
        "num_disks": len(found.disks),
        "disk_details": [
            {
                "read_bytes": disk.read_bytes,
                "read_requests": disk.read_requests,
                "write_bytes": disk.write_bytes,
                "write_requests": disk.write_requests,
                "errors_count": disk.errors,
            }
            for disk in found.disks
        ],
        "cpu_details": [
            {"id": number, "time": time, "utilisation": None}
            for number, time in enumerate(found.cpu_times_ns)
        ],
        "nic_details": [
            {
                "mac_address": nic.mac,
                "rx_octets": nic.rx_octets,
                "rx_errors": nic.rx_errors,
                "rx_drop": nic.rx_drop,
                "rx_packets": nic.rx_packets,
                "rx_rate": None,
                "tx_octets": nic.tx_octets,
                "tx_errors": nic.tx_errors,
                "tx_drop": nic.tx_drop,
                "tx_packets": nic.tx_packets,
                "tx_rate": None,
            }
            for nic in found.nics
        ],
        "memory_details": {"maximum": found.memory_mb, "used": found.memory_used_mb},
    }
    return Rich(view, {"of_old": _of_old(found)})


def _of_old(found: Diagnostics) -> dict[str, Any]:
    view: dict[str, Any] = {
        f"cpu{number}_time": time for number, time in enumerate(found.cpu_times_ns)
    }
    view["memory"] = found.memory_mb << 10
    view.update((f"memory-{name}", value) for name, value in found.memory_stats.items())
    for disk in found.disks:
        view[f"{disk.target}_read"] = disk.read_bytes
        view[f"{disk.target}_read_req"] = disk.read_requests
        view[f"{disk.target}_write"] = disk.write_bytes
        view[f"{disk.target}_write_req"] = disk.write_requests
        view[f"{disk.target}_errors"] = disk.errors
    for nic in found.nics:
        for way in ("rx", "tx"):
            view[f"{nic.tap}_{way}"] = getattr(nic, f"{way}_octets")
            view[f"{nic.tap}_{way}_packets"] = getattr(nic, f"{way}_packets")
            view[f"{nic.tap}_{way}_errors"] = getattr(nic, f"{way}_errors")
            view[f"{nic.tap}_{way}_drop"] = getattr(nic, f"{way}_drop")
    return view


def _as_of_old(body: Json) -> Json:
    assert isinstance(body, Rich)
    of_old: Json = body.facts["of_old"]
    return of_old


DOWN = [((2, 48), _as_of_old)]
