"""Names that can be computed again."""

import pytest

from minicloud.domain.ids import bridge_name, derive, disk_name, is_uuid, tap_name

PORT = "0f4ad1de-9b1c-4a57-8f3e-1b0d6c0a9e11"


@pytest.mark.parametrize(
    ("index", "name"),
    [
        (0, "vda"),
        (1, "vdb"),
        (25, "vdz"),
        (26, "vdaa"),
        (27, "vdab"),
        (701, "vdzz"),
        (702, "vdaaa"),
    ],
)
def test_disks_are_named_as_the_kernel_names_them(index: int, name: str) -> None:
    assert disk_name(index) == name


def test_interface_names_fit_the_kernel() -> None:
    assert tap_name(PORT) == "tap0f4ad1de-9b"
    assert len(tap_name(PORT)) < 16
    assert len(bridge_name(PORT)) < 16


def test_derived_ids_are_the_same_each_time_and_differ_by_their_parts() -> None:
    assert derive("a", 1) == derive("a", 1)
    assert derive("a", 1) != derive("a", 2)
    assert is_uuid(derive("a", 1))


@pytest.mark.parametrize("text", ["", "foo", PORT[:-1], f"{PORT}0", "{" + PORT[:10]])
def test_what_is_no_uuid_is_told(text: str) -> None:
    assert not is_uuid(text)
