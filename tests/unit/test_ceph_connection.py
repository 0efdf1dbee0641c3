"""Where hosts are told that a cluster of Ceph is."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicloud.volume.backends.disks import RbdImage
from minicloud.volume.ceph_connection import ceph_connection, monitors


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("mon_host = 10.0.0.7", [("10.0.0.7", "6789")]),
        ("mon host = 10.0.0.7:6790, mon2.example.org", [("10.0.0.7", "6790"),
                                                        ("mon2.example.org", "6789")]),
        ("mon-host=[fd00::8]:6789 10.0.0.7 # both", [("fd00::8", "6789"), ("10.0.0.7", "6789")]),
        ("mon_host = [v2:10.0.0.7:3300/0,v1:10.0.0.7:6789/0],[v2:[fd00::8]:3300/0]",
         [("10.0.0.7", "6789"), ("fd00::8", "3300")]),
        ("mon_host = v1:10.0.0.7:6789/0", [("10.0.0.7", "6789")]),
        ("mon_hosts = 10.0.0.7", []),
        ("; mon_host = 10.0.0.7", []),
    ],
)  # fmt: skip
def test_the_monitors_of_a_configuration(line: str, found: list[tuple[str, str]]) -> None:
    assert monitors(f"[global]\nfsid = x\n{line}\n[client]\nkeyring = /k\n") == found


def test_a_connection_as_cinder_sends_it(tmp_path: Path) -> None:
    conf = tmp_path / "ceph.conf"
    disk = RbdImage(conf=conf, user="volumes", pool="pool", image="volume-1")
    assert ceph_connection(disk)["hosts"] == [], "hosts go by their own configuration"
    conf.write_text("[global]\nmon_host = 10.0.0.7\n")
    assert ceph_connection(disk) == {
        "driver_volume_type": "rbd",
        "name": "pool/volume-1",
        "hosts": ["10.0.0.7"],
        "ports": ["6789"],
        "cluster_name": "ceph",
        "auth_enabled": True,
        "auth_username": "volumes",
        "secret_type": "ceph",
        "secret_uuid": None,
    }
