"""What a guest is kept to, out of what operators write."""

from __future__ import annotations

import pytest

from minicloud.compute.recipes.limits import cpu_limits, disk_limits, nic_limits, volume_limits
from minicloud.domain.errors import HostProblem
from minicloud.domain.models import Flavor
from minicloud.volume.limits import limits_of


def flavor(**specs: str) -> Flavor:
    given = {f"quota:{name}": value for name, value in specs.items()}
    return Flavor(id="1", name="small", vcpus=1, ram=64, disk=1, extra_specs=given)


def test_a_flavor_limits_disks_processors_and_nics() -> None:
    given = flavor(
        disk_read_iops_sec="5", disk_total_bytes_sec="0", disk_read_iops_sec_max="9",
        disk_io_limit="7", cpu_shares="512", cpu_quota="1000", cpu_limit="3",
        vif_inbound_average="100", vif_outbound_burst="8", vif_limit="1",
    )  # fmt: skip
    assert disk_limits(given) == {"read_iops_sec": 5, "total_bytes_sec": 0}
    assert cpu_limits(given) == {"shares": 512, "quota": 1000}
    assert nic_limits(given) == {"inbound_average": 100, "outbound_burst": 8}


@pytest.mark.parametrize("value", ["", "x", "-1", "1.5", "1 M"])
def test_what_is_no_number_is_refused_by_name(value: str) -> None:
    with pytest.raises(HostProblem, match="quota:cpu_shares of flavor small is no whole number"):
        cpu_limits(flavor(cpu_shares=value))
    with pytest.raises(HostProblem, match="read_bytes_sec_max of volume v-1 is no whole number"):
        volume_limits("v-1", {"read_bytes_sec_max": value})


def test_a_hypervisor_reads_what_it_knows_of_a_volume() -> None:
    specs = {"total_iops_sec": 900, "size_iops_sec": "4096", "mine": "x", "read_iops_sec_per_gb": 1}
    assert volume_limits("v-1", specs) == {"total_iops_sec": 900, "size_iops_sec": 4096}
    assert volume_limits("v-1", None) == {}


PER_GB = {
    "write_iops_sec_per_gb_min": "800", "write_iops_sec_per_gb": "30",
    "total_iops_sec_per_gb_min": "900000", "total_iops_sec_per_gb": "300000",
    "total_iops_sec_max": "15000000",
    "read_bytes_sec_per_gb_min": "30", "read_bytes_sec_per_gb": "10",
    "write_bytes_sec": "7", "write_bytes_sec_max": "9", "mine": "x",
}  # fmt: skip


@pytest.mark.parametrize(
    ("size_gb", "write_iops", "total_iops", "read_bytes"),
    [(1, 800, 900000, 30), (100, 3000, 15000000, 1000)],
)
def test_limits_that_grow_with_the_volume(
    size_gb: int, write_iops: int, total_iops: int, read_bytes: int
) -> None:
    assert limits_of(PER_GB, size_gb) == {
        "write_iops_sec": write_iops, "total_iops_sec": total_iops, "read_bytes_sec": read_bytes,
        "write_bytes_sec": "7", "write_bytes_sec_max": "9", "mine": "x",
    }  # fmt: skip


@pytest.mark.parametrize("part", ["per_gb", "per_gb_min", "max"])
def test_a_limit_that_cannot_be_computed_is_left_for_the_host_to_refuse(part: str) -> None:
    specs = {"read_iops_sec_per_gb": "1", f"read_iops_sec_{part}": "many"}
    with pytest.raises(HostProblem, match="read_iops_sec of volume v-1"):
        volume_limits("v-1", limits_of(specs, 10))
