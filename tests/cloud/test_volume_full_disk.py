"""A full disk below the volumes: a clear error, nothing half made, and all goes on afterwards."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rest_services import RestServices
from user import User
from volume import end_exporters

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("qemu-storage-daemon"),
    reason="needs root, to mount a small disk, and QEMU",
)
NEWEST = {"OpenStack-API-Version": "volume 3.71"}
MIB = 1024**2


class Cloud:
    """identity, image and volume, with 32 MiB for the volumes."""

    def __init__(self, rest: RestServices, disk: Path) -> None:
        self.rest, self.disk = rest, disk
        self.user = User(rest, "demo")

    def ask(self, method: str, path: str, status: int, **more: Any) -> Any:
        more = {"headers": NEWEST, **more}
        answer = self.user.ask(
            "volume", method, f"/v3/{self.user.project_id}{path}", status, **more
        )
        assert self.rest.volume_jobs.wait_idle(60)
        return answer

    def make(self, noun: str, **values: Any) -> dict[str, Any]:
        body = {noun: values}
        made: dict[str, Any] = self.ask("POST", f"/{noun}s", 202, json=body)[noun]
        return made

    def status(self, noun: str, thing: dict[str, Any]) -> str:
        return str(self.ask("GET", f"/{noun}s/{thing['id']}", 200)[noun]["status"])

    def said_of(self, thing: dict[str, Any]) -> list[str]:
        messages = self.ask("GET", "/messages", 200)["messages"]
        return [each["user_message"] for each in messages if each["resource_uuid"] == thing["id"]]

    def fill(self, left: int = 0) -> Path:
        """Take all space there is but ``left`` bytes."""
        path = self.disk / "full"
        with path.open("wb") as file:
            free = os.statvfs(self.disk)
            os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_bsize - left, 4096))
        return path

    def files(self) -> set[str]:
        """What there is besides what fills the disk."""
        return {str(path.relative_to(self.disk)) for path in self.disk.rglob("*")
                if path.name not in ("full", "lock") and not path.is_dir()}  # fmt: skip


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    disk = tmp_path / "volume-data"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "small", disk], check=True)
    rest = RestServices(tmp_path, host="lab1", token_cache_s=60.0, urls={})
    try:
        rest.bootstrap()
        yield Cloud(rest, disk)
    finally:
        end_exporters(rest.volume_dir)
        rest.close()
        subprocess.run(["umount", "--lazy", disk], check=True)


def test_what_finds_no_space_says_so_and_leaves_nothing(cloud: Cloud) -> None:
    data = b"boot me " * (2 * MIB)
    image_id = cloud.user.make_image("system", data)
    volume = cloud.make("volume", size=1)
    disk = (cloud.disk / "volumes" / volume["id"]).resolve()
    with disk.open("r+b") as file:
        file.write(os.urandom(4 * MIB))
    assert cloud.status("volume", volume) == "available"

    full, before = cloud.fill(), cloud.files()
    failed = [
        ("volume", cloud.make("volume", size=1, imageRef=image_id)),
        ("snapshot", cloud.make("snapshot", volume_id=volume["id"])),
        ("volume", cloud.make("volume", size=1, source_volid=volume["id"])),
        ("backup", cloud.make("backup", volume_id=volume["id"])),
    ]
    for noun, thing in failed:
        assert cloud.status(noun, thing) == "error", noun
        (said,) = cloud.said_of(thing)
        assert "no space left" in said.lower() or "no space is left" in said
        assert str(cloud.disk) not in said
    assert cloud.files() == before
    assert cloud.status("volume", volume) == "available"

    full.unlink()
    for noun, thing in failed:
        cloud.ask("DELETE", f"/{noun}s/{thing['id']}", 202)
    cloud.rest.volume_turn()
    cloud.rest.volume_jobs.wait_idle(60)
    for noun, made in (
        ("snapshot", cloud.make("snapshot", volume_id=volume["id"])),
        ("backup", cloud.make("backup", volume_id=volume["id"])),
    ):
        assert cloud.status(noun, made) == "available"
