"""The extra specs that are known, and what they may say: asked from microversion 2.86 on.

A name in a known namespace must be a known one; other namespaces are anybody's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from minicloud.domain.errors import Invalid

_FLAG = r"(?i:true|false|yes|no|on|off|y|n|t|f|0|1)"
_COUNT, _SIZE = r"\d{1,9}", r"\d{1,15}"
_ANY = r".*"
_KNOWN: Mapping[str, str] = {
    r"hw:boot_menu": _FLAG,
    r"hw:cdrom_bus|hw:disk_bus": r"virtio|scsi|ide|usb|sata|fdc|lxc|uml|xen",
    r"hw:cpu_cores|hw:cpu_sockets|hw:cpu_threads": r"[1-9]\d{0,8}",
    r"hw:cpu_max_(cores|sockets|threads)": r"[1-9]\d{0,8}",
    r"hw:cpu_policy": r"dedicated|shared|mixed",
    r"hw:cpu_thread_policy": r"prefer|isolate|require",
    r"hw:cpu_dedicated_mask|hw:cpu_realtime_mask": r"\^?[\d,^-]+",
    r"hw:cpu_realtime|hw:emulator_threads_policy": r"share|isolate|" + _FLAG,
    r"hw:hide_hypervisor_id|hw:mem_encryption|hw:pmu|hw:locked_memory": _FLAG,
    r"hw:input_bus": r"usb|virtio",
    r"hw:machine_type": r"[\w.-]{1,64}",
    r"hw:maxphysaddr_bits": _COUNT,
    r"hw:maxphysaddr_mode": r"passthrough|emulate",
    r"hw:mem_page_size": r"(small|large|any|[1-9]\d{0,8}(kB|MB|GB|KB)?)",
    r"hw:numa_nodes": r"[1-9]\d{0,3}",
    r"hw:numa_(cpus|mem)\.\d{1,3}": r"[\d,^-]+",
    r"hw:pci_numa_affinity_policy": r"required|preferred|legacy|socket",
    r"hw:pointer_model": r"ps2mouse|usbtablet",
    r"hw:pmem": _ANY,
    r"hw:rescue_bus|hw:rescue_device": r"[a-z]{1,16}",
    r"hw:serial_port_count": _COUNT,
    r"hw:time_hpet": _FLAG,
    r"hw:tpm_model": r"tpm-tis|tpm-crb",
    r"hw:tpm_version": r"1\.2|2\.0",
    r"hw:tpm_secret_security": r"user|host|deployment",
    r"hw:vif_multiqueue_enabled": _FLAG,
    r"hw:video_ram|hw:virtio_packed_ring|hw:sound_model|hw:usb_model|hw:redirected_usb_ports": _ANY,
    r"hw:viommu_model": r"none|intel|smmuv3|virtio|auto",
    r"hw:watchdog_action": r"none|pause|poweroff|reset|disabled",
    r"hw_rng:allowed": _FLAG,
    r"hw_rng:rate_(bytes|period)": _SIZE,
    r"hw_video:ram_max_mb": _COUNT,
    r"os:secure_boot": r"required|disabled|optional",
    r"quota:(cpu|memory|disk_io|vif)_shares_level": _ANY,
    r"trait\d*:(CUSTOM_)?[A-Z0-9_]{1,255}": r"required|forbidden",
    r"resources\d*:(CUSTOM_)?[A-Z0-9_]{1,255}": _COUNT,
}
"""Pattern of names -> pattern of values."""
_NUMBERS = re.compile(
    r"quota:(cpu|memory|disk_io|vif)_(limit|reservation|shares_share)"
    r"|(?P<natural>quota:(cpu_(shares|period|quota)|disk_(read|write|total)_(bytes|iops)_sec"
    r"|vif_(in|out)bound_(average|burst|peak)))"
)
"""Names of whole numbers; ``natural``: from 0 on."""
_COMPILED = [(re.compile(names), re.compile(values)) for names, values in _KNOWN.items()]
_NAMESPACES = frozenset(("hw", "hw_rng", "hw_video", "os", "quota", "trait", "resources"))


def check(specs: Mapping[str, str]) -> None:
    """Raise Invalid for a name that its namespace does not have, and a value that is none."""
    for name, value in specs.items():
        if name.partition(":")[0].rstrip("0123456789") not in _NAMESPACES or ":" not in name:
            continue
        if number := _NUMBERS.fullmatch(name):
            _check_number(value, natural=number["natural"] is not None)
            continue
        fitting = [values for names, values in _COMPILED if names.fullmatch(name)]
        if not fitting:
            raise Invalid(reason=f"Validation failed; extra spec '{name}' does not appear to be a "
                          "valid extra spec.")  # fmt: skip
        if not any(values.fullmatch(value) for values in fitting):
            raise Invalid(reason=f"Validation failed; '{value[:64]}' is not a valid value for "
                          f"extra spec '{name}'.")  # fmt: skip


def _check_number(value: str, *, natural: bool) -> None:
    try:
        number = int(value)
    except ValueError:
        raise Invalid(
            reason=f"Validation failed; '{value[:64]}' is not a valid integer value."
        ) from None
    if natural and number < 0:
        raise Invalid(reason=f"Validation failed; '{number}' is less than the min value of '0'.")
