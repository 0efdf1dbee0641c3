"""The demo guest image, booted: what the rest of minicloud relies on, seen from outside.

One module-wide build (its package cache is the machine's), two guests under software emulation.
Without a network of its own: QEMU's user networking forwards a loopback port to ssh.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
BOOT_LIMIT_S = 120.0
"""Generous: an idle core needs 7 s, a shared one many times that."""

pytestmark = [
    pytest.mark.host,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs QEMU"),
    pytest.mark.skipif(shutil.which("genisoimage") is None, reason="needs genisoimage"),
]

USER_DATA = "#!/bin/sh\necho user-data-says $(hostname)\n"


class Guest:
    """A QEMU process with its serial console in a file and ssh on a loopback port."""

    def __init__(self, directory: Path, image: Path, key: Path, *, netdev: str) -> None:
        self.directory = directory
        self.key = key
        self.console_log = directory / "console.log"
        self.monitor = directory / "monitor.sock"
        self.ssh_port = free_port()
        overlay, second = directory / "root.qcow2", directory / "second.raw"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", str(image)]
        subprocess.run([*create, str(overlay), "1G"], check=True)
        with second.open("wb") as file:
            file.truncate(32 * 1024 * 1024)
        self.command = [
            *("qemu-system-x86_64", "-machine", "q35,accel=tcg", "-m", "128", "-nodefaults"),
            *("-display", "none", "-serial", f"file:{self.console_log}"),
            *("-monitor", f"unix:{self.monitor},server,nowait"),
            *("-drive", f"file={overlay},if=virtio,format=qcow2"),
            *("-drive", f"file={second},if=virtio,format=raw"),
            *("-device", "virtio-rng-pci", "-device", "virtio-balloon-pci"),
            *("-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22{netdev}"),
            *("-device", "virtio-net-pci,netdev=n0,romfile="),
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def add_config_drive(self, iso: Path) -> None:
        self.command += ["-device", "virtio-scsi-pci", "-device", "scsi-cd,drive=cd0"]
        self.command += ["-drive", f"id=cd0,if=none,format=raw,readonly=on,file={iso}"]

    def start(self) -> None:
        self.process = subprocess.Popen(self.command)

    def console(self) -> str:
        return self.console_log.read_text(errors="replace") if self.console_log.exists() else ""

    def wait_for_console(self, text: str) -> None:
        """Look four times a second; fail with what the console says, or when QEMU has ended."""
        assert self.process is not None
        deadline = time.monotonic() + BOOT_LIMIT_S
        while text not in self.console():
            if self.process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the console never said {text!r}:\n{self.console()}")
            time.sleep(0.25)

    def ssh(self, command: str, *, user: str = "cirros") -> str:
        options = ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
        options += ["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-o", "ConnectTimeout=60"]
        done = subprocess.run(
            [
                "ssh",
                *options,
                "-i",
                self.key,
                "-p",
                str(self.ssh_port),
                f"{user}@127.0.0.1",
                command,
            ],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=BOOT_LIMIT_S,
        )
        return done.stdout.strip()

    def press_power_button(self) -> None:
        prompt, said = b"(qemu) ", b""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(10)
            monitor.connect(str(self.monitor))
            while not said.endswith(prompt):
                said += monitor.recv(1024)
            monitor.sendall(b"system_powerdown\n")
            while said.count(prompt) < 2:
                said += monitor.recv(1024)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("image") / "tiny.qcow2"
    subprocess.run([REPOSITORY / "tools" / "build-image", output], check=True)
    return output


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


@pytest.fixture
def latest(tmp_path: Path, key: Path) -> Path:
    """A directory with what both data sources serve: openstack/latest."""
    directory = tmp_path / "metadata" / "openstack" / "latest"
    directory.mkdir(parents=True)
    public_key = key.with_suffix(".pub").read_text()
    document = {
        "uuid": "5d1c1ff0-0000-4000-8000-000000000001",
        "hostname": "web-1.novalocal",
        "meta": {'odd "name"': "a\\b\né", "empty": {}},
        "keys": [{"name": "mine", "type": "ssh", "data": public_key}],
        "public_keys": {"mine": public_key},
    }
    (directory / "meta_data.json").write_text(json.dumps(document, indent=1))
    (directory / "user_data").write_text(USER_DATA)
    return directory


@pytest.fixture
def config_drive_guest(tmp_path: Path, image: Path, key: Path, latest: Path) -> Iterator[Guest]:
    iso = tmp_path / "config.iso"
    tree = latest.parents[1]
    subprocess.run(
        ["genisoimage", "-quiet", "-R", "-J", "-V", "config-2", "-o", iso, tree], check=True
    )
    guest = Guest(tmp_path, image, key, netdev="")
    guest.add_config_drive(iso)
    guest.start()
    yield guest
    guest.kill()


@pytest.fixture
def metadata_guest(tmp_path: Path, image: Path, key: Path, latest: Path) -> Iterator[Guest]:
    """QEMU runs a small program for each connection to 169.254.169.254: no server is needed."""
    answer = tmp_path / "answer"
    answer.write_text(
        "#!/bin/sh\n"
        "read -r method path rest\n"
        'while read -r header && [ "$header" != "$(printf "\\r")" ]; do :; done\n'
        f'file={latest.parents[1]}"$path"\n'
        'if [ -f "$file" ]; then printf "HTTP/1.0 200 OK\\r\\n\\r\\n"; cat "$file"\n'
        'else printf "HTTP/1.0 404 Not Found\\r\\n\\r\\n"; fi\n'
    )
    answer.chmod(0o755)
    netdev = f",net=169.254.169.0/24,guestfwd=tcp:169.254.169.254:80-cmd:{answer}"
    guest = Guest(tmp_path, image, key, netdev=netdev)
    guest.start()
    yield guest
    guest.kill()


def test_a_guest_with_a_config_drive(config_drive_guest: Guest) -> None:
    guest = config_drive_guest
    guest.wait_for_console("login:")
    assert "tiny: datasource: config drive" in guest.console()
    guest.wait_for_console("user-data-says web-1")

    assert guest.ssh("hostname") == "web-1"
    assert guest.ssh("sudo -n id -u") == "0"
    assert guest.ssh("id -u", user="root") == "0"
    assert "vdb" in guest.ssh("lsblk -n --nodeps -o NAME")
    guest.ssh("sudo mkfs.ext4 -q /dev/vdb && sudo mount /dev/vdb /mnt && mount | grep -q /mnt")
    size_kb = int(guest.ssh("df -k / | awk 'NR == 2 {print $2}'"))
    assert size_kb > 900_000, "the root file system fills the 1 GiB disk"
    assert guest.ssh("ping -c 1 -W 5 10.0.2.2 >/dev/null && echo ok") == "ok"

    guest.press_power_button()
    assert guest.process is not None
    assert guest.process.wait(timeout=BOOT_LIMIT_S) == 0


def test_a_guest_with_the_metadata_service(metadata_guest: Guest) -> None:
    guest = metadata_guest
    guest.wait_for_console("tiny: datasource: metadata service")
    guest.wait_for_console("user-data-says web-1")
    guest.wait_for_console("tiny: sshd up")
    assert guest.ssh("hostname") == "web-1"
