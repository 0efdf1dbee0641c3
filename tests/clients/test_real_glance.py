"""A real Glance takes minicloud-image's place by its endpoint in the catalog; launches go on."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import real_glance

openstack = pytest.importorskip("openstack")
pytestmark = [pytest.mark.clients, pytest.mark.host]
CONFIG = Path("/etc/minicloud")


@pytest.fixture
def glance(live_cloud, tmp_path: Path) -> Iterator[Path]:
    with real_glance.running(tmp_path, CONFIG) as log:
        yield log


@pytest.fixture
def admin(live_cloud) -> Any:
    return live_cloud.connect("minicloud-admin")


@pytest.fixture
def swapped(admin: Any, glance: Path) -> Iterator[None]:
    """The catalog leads to Glance, and the daemons go by it; both as before at the end."""
    (service,) = admin.identity.services(type="image")
    before = {one.id: one.url for one in admin.identity.endpoints(service_id=service.id)}
    try:
        _lead(admin, dict.fromkeys(before, real_glance.URL))
        yield
    finally:
        _lead(admin, before)


def _lead(admin: Any, urls: dict[str, str]) -> None:
    for endpoint, url in urls.items():
        admin.identity.update_endpoint(endpoint, url=url)
    for daemon in ("api", "compute"):
        _restart(daemon)

    def is_back() -> bool:
        try:
            found = list(admin.compute.services())
        except openstack.exceptions.SDKException:
            return False
        return all(one.state == "up" for one in found)

    _until(is_back)


def _restart(daemon: str) -> None:
    """The supervisor starts a daemon that ended."""
    old = _until(lambda: _process_of(daemon))
    os.kill(old, signal.SIGKILL)
    _until(lambda: _process_of(daemon) not in (None, old))


def _process_of(daemon: str) -> int | None:
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "cmdline").read_bytes().split(b"\0")[0] == f"minicloud-{daemon}".encode():
                return int(entry.name)
    return None


def _until(answer: Callable):
    give_up_at = time.monotonic() + 120
    while True:
        found = answer()
        if found:
            return found
        assert time.monotonic() < give_up_at, "it never came"
        time.sleep(0.1)


def test_a_server_of_an_image_in_glance(live_cloud, glance: Path, tmp_path: Path, request) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"
    disk = tmp_path / "tiny.qcow2"
    live_cloud.openstack("image", "save", "--file", str(disk), "tiny")
    request.getfixturevalue("swapped")
    image = live_cloud.openstack_json(
        "image", "create", "--disk-format", "qcow2", "--container-format", "bare", "--file",
        str(disk), name,
    )  # fmt: skip
    assert [path.name for path in (tmp_path / "images").iterdir()] == [image["id"]]
    demo = live_cloud.connect()
    assert demo.image.get_image(image["id"]).size == disk.stat().st_size
    try:
        server = live_cloud.openstack_json(
            "server", "create", "--image", name, "--flavor", "m1.nano", "--network", "private",
            "--wait", name,
        )  # fmt: skip
        assert server["status"] == "ACTIVE", server
        domains = subprocess.run(
            ["virsh", "-q", "-c", "qemu:///system", "list", "--name"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        assert f"minicloud-{server['id']}" in domains
        assert f'"GET /v2/images/{image["id"]}/file' in glance.read_text()
    finally:
        for one in demo.compute.servers(name=name):
            demo.compute.delete_server(one)
            demo.compute.wait_for_delete(one, wait=120)
        demo.image.delete_image(image["id"])
    assert list((tmp_path / "images").iterdir()) == []
