"""Placement is a pure function: it never picks a host without room, and it can explain itself."""

from hypothesis import given
from hypothesis import strategies as st

from minicloud.domain.models import Flavor, Host
from minicloud.domain.placement import Request, Rules, choose

RULES = Rules(
    cpu_ratio=4.0,
    memory_ratio=1.0,
    disk_ratio=2.0,
    reserved_memory_mb=512,
    service_down_s=30,
    now=1000.0,
)


def host(name: str = "a", **facts) -> Host:
    values = {
        "id": name, "name": name, "vcpus": 4, "memory_mb": 8192, "disk_gb": 100, "vcpus_used": 0,
        "memory_mb_used": 0, "disk_gb_used": 0, "disk_free_gb": 50, "servers": 0,
        "hypervisor_type": "QEMU", "hypervisor_version": 1, "virt_type": "qemu",
        "virt_type_reason": "", "cpu_arch": "x86_64", "cpu_model": "", "epoch": 1,
        "last_seen": 995.0,
    }  # fmt: skip
    return Host(**{**values, **facts})


def flavor(vcpus: int = 1, ram: int = 128, disk: int = 1) -> Flavor:
    return Flavor(id="1", name="f", vcpus=vcpus, ram=ram, disk=disk)


def test_the_emptier_host_is_preferred() -> None:
    choice = choose(
        [host("full", memory_mb_used=6000), host("empty")], Request(flavor=flavor()), RULES
    )
    assert choice.ranked == ["empty", "full"]
    assert choice.verdicts == {}


def test_each_refusal_names_its_filter_and_reason() -> None:
    hosts = [
        host("down", last_seen=900.0),
        host("off", disabled=True),
        host("busy", vcpus_used=16),
        host("small", memory_mb=600),
        host("tried"),
        host("filled", disk_free_gb=0),
    ]
    choice = choose(
        hosts, Request(flavor=flavor(), excluded={"tried": "it failed this launch already"}), RULES
    )
    assert choice.ranked == []
    words = choice.explain()
    for part in (
        "down: ServiceUpFilter: its service has not reported for 100 s",
        "off: ServiceEnabledFilter: its service is disabled",
        "busy: CoreFilter: 1 VCPUs wanted, 0 left",
        "small: RamFilter: 128 MiB of memory wanted, 88 left",
        "tried: RetryFilter: it failed this launch already",
        "filled: DiskNotFullFilter: its disk is full",
    ):
        assert part in words


def test_no_host_at_all_is_said_so() -> None:
    assert choose([], Request(flavor=flavor()), RULES).explain() == "There is no compute host yet."


def test_a_zone_is_kept_to() -> None:
    choice = choose([host()], Request(flavor=flavor(), availability_zone="other"), RULES)
    assert choice.verdicts == {"a": "AvailabilityZoneFilter: it is in zone nova, not other"}


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 9000), st.integers(0, 250)), max_size=6),
    st.integers(1, 8),
    st.integers(1, 4096),
    st.integers(0, 60),
)
def test_a_ranked_host_always_has_room_and_the_choice_is_repeatable(used, vcpus, ram, disk) -> None:
    hosts = [
        host(f"h{n}", vcpus_used=c, memory_mb_used=m, disk_gb_used=d)
        for n, (c, m, d) in enumerate(used)
    ]
    request = Request(flavor=flavor(vcpus, ram, disk))
    choice = choose(hosts, request, RULES)
    assert choice == choose(hosts, request, RULES)
    assert set(choice.ranked) | set(choice.verdicts) == {h.name for h in hosts}
    for h in hosts:
        if h.name in choice.ranked:
            assert h.vcpus_used + vcpus <= 16
            assert h.memory_mb_used + ram <= 8192 - 512
            assert h.disk_gb_used + disk <= 200
