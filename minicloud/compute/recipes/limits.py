"""What a guest is kept to: by its flavor's ``quota:`` extra specs, and by the qualities of service
of its volumes' types.

All are texts of an operator's, which nobody need have looked at before. HostProblem: one is none of
the whole numbers from 0 on. What is not named here is somebody else's to read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from minicloud.domain.errors import HostProblem
from minicloud.domain.models import Flavor

_RATES = [f"{way}_{unit}_sec" for way in ("total", "read", "write") for unit in ("bytes", "iops")]
_OF_VOLUMES = [*_RATES, *(f"{rate}_max" for rate in _RATES), "size_iops_sec"]
_OF_NICS = [
    f"{way}_{what}" for way in ("inbound", "outbound") for what in ("average", "peak", "burst")
]


def volume_limits(volume_id: str, specs: Mapping[str, object] | None) -> dict[str, int]:
    """By the names of ``virt.driver.FileDisk.limits``, out of a connection's ``qos_specs``."""
    return _numbers(f"volume {volume_id}", "", _OF_VOLUMES, specs or {})


def disk_limits(flavor: Flavor) -> dict[str, int]:
    """By the same names: for each disk of a server's that is no volume."""
    return _of_flavor(flavor, "disk", _RATES)


def cpu_limits(flavor: Flavor) -> dict[str, int]:
    """By the names of ``virt.driver.DomainSpec.cpu_limits``."""
    return _of_flavor(flavor, "cpu", ("shares", "period", "quota"))


def nic_limits(flavor: Flavor) -> dict[str, int]:
    """By the names of ``virt.driver.Nic.limits``."""
    return _of_flavor(flavor, "vif", _OF_NICS)


def _of_flavor(flavor: Flavor, noun: str, names: Iterable[str]) -> dict[str, int]:
    return _numbers(f"flavor {flavor.name}", f"quota:{noun}_", names, flavor.extra_specs)


def _numbers(
    owner: str, prefix: str, names: Iterable[str], given: Mapping[str, object]
) -> dict[str, int]:
    return {
        name: _number(owner, prefix + name, given[prefix + name])
        for name in names
        if prefix + name in given
    }


def _number(owner: str, name: str, value: object) -> int:
    try:
        number = int(str(value))
    except ValueError:
        number = -1
    if number < 0:
        raise HostProblem(reason=f"{name} of {owner} is no whole number from 0 on: {value!r:.80}")
    return number
