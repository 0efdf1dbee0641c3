"""``minicloud launch`` and ``ssh`` against a cloud whose servers come up look by look."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fake_cloud import FakeCloud, environment, fake_cloud

from minicloud.cli import guest
from minicloud.cli.main import cli
from minicloud.cli.problems import Unreachable


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with fake_cloud() as running:
        running.add_image("tiny", os_admin_user="cirros")
        yield running


def launch(cloud: FakeCloud, *words: str) -> Result:
    return CliRunner().invoke(cli, ["launch", *words], env=environment(cloud))


def stages(result: Result) -> list[str]:
    """What a launch told, without marks and times."""
    lines = [line for line in result.stdout.splitlines() if line[0] in "✔✘"]
    return [line[2:].split("  ")[0].strip() for line in lines]


def test_every_stage_is_told_as_it_comes(cloud: FakeCloud) -> None:
    result = launch(cloud, "tiny", "web")
    assert result.exit_code == 0, result.output
    assert stages(result) == [
        "accepted", "placed", "image ready", "network ready", "guest started", "ACTIVE",
    ]  # fmt: skip
    assert "on lab1" in result.stdout
    assert "10.0.0.7" in result.stdout
    assert "\r" not in result.stdout  # no terminal, no spinner


def test_what_is_left_open_is_chosen(cloud: FakeCloud) -> None:
    cloud.key_create({"keypair": {"name": "mine", "public_key": "k"}})
    launch(cloud, "tiny")
    asked = cloud.asked[0]
    assert asked["name"].startswith("tiny-")
    assert len(asked["name"]) == len("tiny-") + 4
    assert asked["flavorRef"] == "3"  # m1.nano, the smallest
    assert (asked["networks"], asked["key_name"]) == ("auto", "mine")
    assert not {"config_drive", "user_data", "metadata", "block_device_mapping_v2"} & set(asked)


@pytest.mark.parametrize(
    ("needs", "flavor"),
    [({"min_ram": 300}, "2"), ({"virtual_size": 5 << 30}, "1"), ({"min_disk": 2}, "1")],
)
def test_the_flavor_is_the_smallest_that_the_image_fits_into(
    cloud: FakeCloud, needs: dict[str, int], flavor: str
) -> None:
    cloud.add_image("big", **needs)
    launch(cloud, "big", "--wait", "none")
    assert cloud.asked[0]["flavorRef"] == flavor


def test_an_image_that_fits_nowhere_is_refused_here(cloud: FakeCloud) -> None:
    cloud.add_image("huge", min_ram=10**6)
    result = launch(cloud, "huge")
    assert result.exit_code == 1
    assert "No flavor has the 1000000 MB" in result.stderr
    assert not cloud.asked


def test_of_several_keys_the_one_called_demo_is_taken_or_none(cloud: FakeCloud) -> None:
    for name in ("a", "b"):
        cloud.key_create({"keypair": {"name": name, "public_key": "k"}})
    assert "no key" in launch(cloud, "tiny", "--wait", "none").stdout
    cloud.key_create({"keypair": {"name": "demo", "public_key": "k"}})
    launch(cloud, "tiny", "--wait", "none")
    assert [asked.get("key_name") for asked in cloud.asked] == [None, "demo"]


def test_everything_that_is_asked_for_is_sent(cloud: FakeCloud, tmp_path: Path) -> None:
    network = cloud.add_network("lab", "10.1.0.0/24")
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    result = launch(
        cloud, "tiny", "web", "--flavor", "m1.small", "--network", "lab", "--network",
        network["id"], "--volume", "2", "--volume", "5", "--user-data", str(script),
        "--property", "role=web", "--property", "a=b=c", "--config-drive",
    )  # fmt: skip
    assert "volumes ready" in stages(result)
    asked = cloud.asked[0]
    assert asked["networks"] == [{"uuid": network["id"]}] * 2
    assert base64.b64decode(asked["user_data"]) == b"#!/bin/sh\n"
    assert asked["metadata"] == {"role": "web", "a": "b=c"}
    assert (asked["config_drive"], asked["flavorRef"]) == (True, "1")
    disks = asked["block_device_mapping_v2"]
    assert [(d["source_type"], d["boot_index"], d.get("volume_size")) for d in disks] == [
        ("image", 0, None), ("blank", -1, 2), ("blank", -1, 5),
    ]  # fmt: skip


def test_json_is_all_there_is_on_stdout(cloud: FakeCloud) -> None:
    result = launch(cloud, "tiny", "web", "-o", "json")
    assert json.loads(result.stdout)["status"] == "ACTIVE"
    assert "image ready" in result.stderr
    quiet = launch(cloud, "tiny", "web2", "-q")
    assert quiet.stdout.strip() in cloud.servers
    assert quiet.stderr == ""


def test_without_waiting_the_server_is_still_building(cloud: FakeCloud) -> None:
    result = launch(cloud, "tiny", "web", "--wait", "none")
    assert stages(result) == ["accepted"]
    assert "BUILD" in result.stdout


def test_a_failed_launch_prints_the_fault_and_ends_with_7(cloud: FakeCloud) -> None:
    cloud.fails_with = "No valid host was found. lab1: RamFilter: full; lab2: CoreFilter: full"
    result = launch(cloud, "tiny", "web")
    assert result.exit_code == 7
    assert result.stderr.splitlines()[:4] == [
        "Error: web went to ERROR:", "  No valid host was found.", "  lab1: RamFilter: full",
        "  lab2: CoreFilter: full",
    ]  # fmt: skip


def test_taking_too_long_ends_with_8_and_leaves_the_server(cloud: FakeCloud) -> None:
    result = launch(cloud, "tiny", "web", "--timeout", "0")
    assert result.exit_code == 8
    assert "web is still BUILD (looking for a host) after 0 s" in result.stderr
    assert cloud.servers


def test_a_service_that_is_away_for_a_moment_is_waited_for(cloud: FakeCloud) -> None:
    cloud.away = 2
    result = launch(cloud, "tiny", "web")
    assert result.exit_code == 0, result.stderr
    assert (cloud.away, "ACTIVE" in result.stdout) == (0, True)


def test_a_launch_that_moves_to_another_host_tells_so(cloud: FakeCloud) -> None:
    cloud.moves = True
    result = launch(cloud, "tiny", "web")
    assert [line.split("  ")[-1] for line in result.stdout.splitlines() if "placed" in line] == [
        "on lab1",
        "on lab2 (it failed elsewhere)",
    ]
    assert stages(result).count("image ready") == 2
    assert stages(result)[-1] == "ACTIVE"


def test_a_service_that_knows_no_trace_is_watched_all_the_same(cloud: FakeCloud) -> None:
    cloud.without_trace = True
    assert stages(launch(cloud, "tiny", "web")) == ["accepted", "ACTIVE"]


# -- ssh -------------------------------------------------------------------------------------------
def _serving(said: bytes) -> int:
    """The port of a server that says so to whoever comes first."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        with connection, listener:
            connection.sendall(said)

    threading.Thread(target=serve, daemon=True).start()
    return int(listener.getsockname()[1])


def test_a_banner_is_what_counts_as_ssh() -> None:
    port = _serving(b"SSH-2.0-dropbear\r\nmore")
    assert guest.ssh_banner("127.0.0.1", port=port) == "SSH-2.0-dropbear"
    assert guest.ssh_banner("127.0.0.1", port=_serving(b"HTTP/1.1 400\r\n")) is None
    assert guest.ssh_banner("127.0.0.1", port=1) is None


def test_no_way_to_the_guest_is_told_at_once() -> None:
    # A network namespace without devices has no way to anywhere but itself.
    script = (
        "from minicloud.cli import guest\n"
        "from minicloud.cli.problems import Unreachable\n"
        "try: guest.ssh_banner('10.0.0.7')\n"
        "except Unreachable as problem: print(problem)\n"
    )
    done = subprocess.run(
        ["unshare", "--map-root-user", "--net", sys.executable, "-c", script],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "unshare" in done.stderr:
        pytest.skip("this machine makes no network namespaces")
    assert "no way to 10.0.0.7" in done.stdout
    assert issubclass(Unreachable, Exception)


def test_waiting_for_ssh_in_vain_says_how_guests_are_reached(cloud: FakeCloud) -> None:
    cloud.address = "127.0.0.9"  # nobody listens there on port 22
    result = launch(cloud, "tiny", "web", "--wait", "ssh", "--timeout", "1.5")
    assert result.exit_code == 8
    assert "no ssh server answers at 127.0.0.9" in result.stderr
    assert "security group" in result.stderr
    assert "minicloud log web" in result.stderr


def _ssh(cloud: FakeCloud, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run it as a program, with an ``ssh`` on the path that prints its words."""
    ssh = tmp_path / "ssh"
    ssh.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\nexit 5\n')
    ssh.chmod(0o755)
    env = {**os.environ, **environment(cloud), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    return subprocess.run(
        [sys.executable, "-m", "minicloud.cli.main", "ssh", *words],
        capture_output=True, text=True, check=False, env=env,
    )  # fmt: skip


def test_ssh_becomes_the_real_ssh(cloud: FakeCloud, tmp_path: Path) -> None:
    image = next(iter(cloud.images.values()))
    image["os_admin_user"] = "alpine"
    cloud.add_server("web", image={"id": image["id"]})
    done = _ssh(cloud, tmp_path, "web", "--", "uname", "-a")
    assert done.returncode == 5, done.stderr
    words = done.stdout.splitlines()
    assert words[-6:] == ["-l", "alpine", "--", "10.0.0.5", "uname", "-a"]
    assert "StrictHostKeyChecking=accept-new" in words
    assert "UserKnownHostsFile=/dev/null" in words


def test_ssh_takes_another_user_and_key(cloud: FakeCloud, tmp_path: Path) -> None:
    cloud.add_server("web")
    key = tmp_path / "key"
    key.write_text("k")
    words = _ssh(cloud, tmp_path, "web", "--user", "root", "--key", str(key)).stdout.splitlines()
    assert words[-6:] == ["-i", str(key), "-l", "root", "--", "10.0.0.5"]


def test_ssh_to_a_server_that_is_off_says_what_to_do(cloud: FakeCloud, tmp_path: Path) -> None:
    cloud.add_server("web", status="SHUTOFF")
    done = _ssh(cloud, tmp_path, "web")
    assert done.returncode == 5
    assert "minicloud start web" in done.stderr


def test_a_floating_ip_is_preferred() -> None:
    nics = [
        {"version": 6, "addr": "fd00::5", "OS-EXT-IPS:type": "fixed"},
        {"version": 4, "addr": "10.0.0.5", "OS-EXT-IPS:type": "fixed"},
        {"version": 4, "addr": "172.24.4.9", "OS-EXT-IPS:type": "floating"},
    ]
    server = {"name": "web", "status": "ACTIVE", "addresses": {"private": nics}}
    assert guest.ssh_address(server) == "172.24.4.9"
    assert guest.ssh_address({**server, "addresses": {"private": nics[:2]}}) == "10.0.0.5"
