"""Volumes in Ceph: the connections that Cinder's driver sends, and whose key a host has."""

from __future__ import annotations

import base64
import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from minicloud.client.volume import Attachment
from minicloud.compute.recipes.volumes import volume_disk
from minicloud.domain.errors import HostProblem
from minicloud.domain.models import BlockDevice
from minicloud.virt.driver import RbdDisk
from minicloud.virt.libvirt import monitors
from minicloud.virt.libvirt.keyring import CephUser, ceph_user, key_of

SECRET = "457eb676-33da-42ec-9a8c-9293d545c337"
VOLUME = "5f7a25a0-95fa-42b5-a0b4-0b1e5f9d1a3c"
CINDER: dict[str, Any] = {
    "name": f"volumes/volume-{VOLUME}",
    "hosts": ["10.0.0.7", "[fd00::8]"],
    "ports": ["6789", "6789"],
    "cluster_name": "ceph",
    "auth_enabled": True,
    "auth_username": "cinder",
    "secret_type": "ceph",
    "secret_uuid": SECRET.upper(),
    "volume_id": VOLUME,
    "discard": True,
    "qos_specs": None,
    "access_mode": "rw",
    "encrypted": False,
    "cacheable": False,
}
KEY = base64.b64encode(b"not a key of any cluster").decode()
KEYRING = f"""[client.other]
\tkey = b3RoZXI=
[client.cinder]
\tkey = {KEY}
\tcaps mon = "profile rbd"
"""


def disk(device_type: str = "disk", **values: Any) -> RbdDisk:
    attachment = Attachment(
        id="a", volume_id=VOLUME, server_id="s", status="attaching",
        connection_info={"driver_volume_type": "rbd", "data": {**CINDER, **values}},
    )  # fmt: skip
    wanted = BlockDevice(
        number=1, device="vdb", device_type=device_type, source_type="volume",
        destination_type="volume", volume_id=VOLUME,
    )  # fmt: skip
    found = volume_disk(attachment, wanted)
    assert isinstance(found, RbdDisk)
    return found


def test_a_connection_of_cinders() -> None:
    assert disk() == RbdDisk(
        image=f"volumes/volume-{VOLUME}",
        target="vdb",
        monitors=[("10.0.0.7", 6789), ("fd00::8", 6789)],
        user="cinder",
        secret_uuid=SECRET,
        serial=VOLUME,
    )


def test_what_a_connection_may_say_besides() -> None:
    assert disk(access_mode="ro").readonly
    assert disk("cdrom").cdrom
    assert not disk(discard=False).discard
    assert disk(hosts=[], ports=[]).monitors == []


@pytest.mark.parametrize(
    "values",
    [{"auth_enabled": False}, {"auth_username": None, "secret_uuid": None}],
)
def test_a_volume_of_no_user_is_the_hosts_own_to_open(values: dict[str, Any]) -> None:
    found = disk(**values)
    assert (found.user, found.secret_uuid) == ("", "")


@pytest.mark.parametrize(
    "values",
    [{"encrypted": True}, {"name": None}, {"hosts": "10.0.0.7"}, {"ports": ["x", "y"]}],
)
def test_a_connection_that_is_not_understood(values: dict[str, Any]) -> None:
    with pytest.raises(HostProblem, match=VOLUME):
        disk(**values)


def test_the_key_of_a_keyring(tmp_path: Path) -> None:
    file = tmp_path / "keyring"
    file.write_text(KEYRING)
    user = CephUser(name="cinder", secret_uuid=SECRET, keyring=file)
    assert key_of(user) == b"not a key of any cluster"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read.*No such file.*rbd_keyring"),
        ("[client.cinder]\n", "has no key of client.cinder"),
        (f"[client.cinder.more]\nkey = {KEY}\n", "has no key of client.cinder"),
        (f"[client.cinder]\nkey = !{KEY}\n", "has no key of client.cinder"),
    ],
)
def test_a_keyring_without_the_key(tmp_path: Path, content: str | None, words: str) -> None:
    file = tmp_path / "keyring"
    if content is not None:
        file.write_text(content)
    with pytest.raises(HostProblem, match=words) as caught:
        key_of(CephUser(name="cinder", secret_uuid=SECRET, keyring=file))
    assert KEY not in str(caught.value)


def test_the_options_of_a_host() -> None:
    assert ceph_user(None, None, None) == CephUser()
    found = ceph_user("cinder", SECRET.upper(), None)
    assert found.secret_uuid == SECRET
    assert found.keyring == Path("/etc/ceph/ceph.client.cinder.keyring")
    assert ceph_user("cinder", SECRET, "/k").keyring == Path("/k")


@pytest.mark.parametrize(
    ("user", "secret", "words"),
    [("cinder", None, "together"), (None, SECRET, "together"), ("cinder", "x", "no UUID")],
)
def test_options_that_do_not_go_together(user: str | None, secret: str | None, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        ceph_user(user, secret, None)


def listening(first: bytes) -> tuple[str, int]:
    """Where somebody says ``first`` to whoever comes in."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(first)

    threading.Thread(target=serve, daemon=True).start()
    return ("127.0.0.1", int(listener.getsockname()[1]))


def test_one_monitor_that_answers_is_enough() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        gone = ("127.0.0.1", int(closed.getsockname()[1]))
    other, old, new = map(listening, (b"HTTP/1.1", b"ceph v027", b"ceph v2\n"))
    monitors.check([])
    monitors.check([gone, old])
    monitors.check([other, new])
    for silent in ([gone], [gone, other]):
        with pytest.raises(HostProblem, match=f":{silent[-1][1]}"):
            monitors.check(silent)
