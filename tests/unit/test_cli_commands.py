"""The CLI against a cloud that answers as the real services do: what it asks, shows, exits with."""

from __future__ import annotations

import json
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from fake_cloud import PASSWORD, FakeCloud, environment, fake_cloud

from minicloud.cli.main import cli


class Terminal:
    """A person's shell with that cloud's credentials in its environment."""

    def __init__(self, cloud: FakeCloud) -> None:
        self.environment = environment(cloud)

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(cli, list(words), env=self.environment)

    def json(self, *words: str) -> Any:
        result = self(*words, "-o", "json")
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)


@pytest.fixture
def cloud() -> Iterator[FakeCloud]:
    with fake_cloud() as running:
        yield running


@pytest.fixture
def run(cloud: FakeCloud) -> Terminal:
    return Terminal(cloud)


# -- servers ---------------------------------------------------------------------------------------
def test_a_list_is_a_table_json_or_ids(cloud: FakeCloud, run: Terminal) -> None:
    server = cloud.add_server("web")
    table = run("list").stdout.splitlines()
    assert table[0].split() == ["ID", "NAME", "STATUS", "TASK", "ADDRESSES", "FLAVOR"]
    assert table[1].split() == [server["id"], "web", "ACTIVE", "-", "10.0.0.5", "m1.nano"]
    assert run.json("list")[0]["addresses"] == server["addresses"]
    assert run("list", "-q").stdout == f"{server['id']}\n"
    assert yaml.safe_load(run("list", "-o", "yaml").stdout)[0]["name"] == "web"


def test_an_empty_list_prints_nothing_into_a_pipe(run: Terminal) -> None:
    result = run("list")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "Nothing here" in result.stderr


def test_every_page_of_a_list_is_read(cloud: FakeCloud, run: Terminal) -> None:
    cloud.page = 2
    for number in range(5):
        cloud.add_server(f"s{number}")
    assert len(run("list", "-q").stdout.split()) == 5


@pytest.mark.parametrize("length", [6, 8, 36])
def test_the_first_characters_of_an_id_name_a_server(
    cloud: FakeCloud, run: Terminal, length: int
) -> None:
    cloud.add_server("other")
    server = cloud.add_server("web")
    assert run("show", server["id"][:length], "-q").stdout.strip() == server["id"]


def test_a_name_that_two_servers_have_is_refused_with_their_ids(
    cloud: FakeCloud, run: Terminal
) -> None:
    ids = [cloud.add_server("twin")["id"] for _ in range(2)]
    result = run("delete", "twin")
    assert result.exit_code == 5
    assert all(server_id in result.stderr for server_id in ids)
    assert len(cloud.servers) == 2


def test_show_says_why_a_server_failed_a_line_a_verdict(cloud: FakeCloud, run: Terminal) -> None:
    message = "No valid host was found. lab1: RamFilter: too little; lab2: CoreFilter: too few"
    cloud.add_server("db", status="ERROR", fault={"code": 500, "message": message})
    assert [
        line.split("  ")[-1].strip() for line in run("show", "db").stdout.splitlines()[-3:]
    ] == [
        "No valid host was found.",
        "lab1: RamFilter: too little",
        "lab2: CoreFilter: too few",
    ]


def test_delete_waits_until_they_are_gone(cloud: FakeCloud, run: Terminal) -> None:
    cloud.add_server("one")
    cloud.add_server("two")
    assert run("delete", "one", "two", "one").stdout == "Deleted one\nDeleted two\n"
    assert not cloud.servers


def test_nothing_is_deleted_when_one_of_the_names_is_wrong(cloud: FakeCloud, run: Terminal) -> None:
    cloud.add_server("one")
    result = run("delete", "one", "tow")
    assert result.exit_code == 4
    assert "minicloud list" in result.stderr
    assert cloud.servers


def test_stop_start_and_the_state_in_the_way(cloud: FakeCloud, run: Terminal) -> None:
    cloud.add_server("web")
    assert run("stop", "web").stdout == "web is SHUTOFF\n"
    refused = run("reboot", "web")
    assert refused.exit_code == 5
    assert "Cannot 'reboot'" in refused.stderr
    assert run("start", "web").stdout == "web is ACTIVE\n"


@pytest.mark.parametrize(
    ("verb", "status", "back"),
    [
        ("pause", "PAUSED", "unpause"),
        ("suspend", "SUSPENDED", "resume"),
        ("rescue", "RESCUE", "unrescue"),
        ("shelve", "SHELVED_OFFLOADED", "unshelve"),
    ],
)
def test_there_and_back(cloud: FakeCloud, run: Terminal, verb: str, status: str, back: str) -> None:
    cloud.add_server("web")
    assert run(verb, "web").stdout == f"web is {status}\n"
    assert run(verb, "web").exit_code == 5
    assert run(back, "web").stdout == "web is ACTIVE\n"
    assert cloud.actions == [{verb: None}, {verb: None}, {back: None}]


def test_a_resize_is_confirmed_or_reverted(cloud: FakeCloud, run: Terminal) -> None:
    cloud.add_server("web")
    for wrong in (["web"], ["web", "m1.nano", "--confirm"]):
        assert run("resize", *wrong).exit_code == 2
    for end in ("confirm", "revert"):
        assert "VERIFY_RESIZE" in run("resize", "web", "m1.nano").stdout
        assert run("resize", "web", f"--{end}").stdout == "web is ACTIVE\n"
        assert cloud.actions[-1] == {f"{end}Resize": None}


def test_a_snapshot_is_an_image(cloud: FakeCloud, run: Terminal) -> None:
    cloud.add_server("web")
    told = run("snapshot", "web", "friday").stdout
    [image] = [image for image in cloud.images.values() if image["name"] == "friday"]
    assert told == f"Image friday is active: {image['id']}\n"


def test_a_screen_is_a_url(cloud: FakeCloud, run: Terminal) -> None:
    cloud.add_server("web")
    assert run("console", "web", "--url").stdout == "http://console/novnc\n"


def test_log_prints_the_last_lines(cloud: FakeCloud, run: Terminal) -> None:
    cloud.add_server("web")
    assert run("log", "web", "-n", "2").stdout == "line 4\nline 5\n"


def test_trace_draws_a_line_a_step(cloud: FakeCloud, run: Terminal) -> None:
    cloud.add_server("web")
    lines = run("trace", "web").stdout.splitlines()
    assert len(lines) == 30
    assert "start_domain" in lines[-1]
    assert max(map(len, lines)) <= 80


# -- images, flavors, networks ---------------------------------------------------------------------
def test_an_image_is_uploaded_as_what_its_first_bytes_say(
    cloud: FakeCloud, run: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "tiny.qcow2"
    file.write_bytes(b"QFI\xfb" + b"x" * 300_000)
    made = run.json("image", "create", str(file), "--property", "os_admin_user=cirros")
    assert (made["name"], made["disk_format"], made["status"]) == ("tiny", "qcow2", "active")
    assert made["os_admin_user"] == "cirros"
    assert cloud.data[made["id"]] == file.read_bytes()
    assert "300.0 kB" in run("image", "list").stdout


def test_no_image_is_left_of_a_refused_upload(
    cloud: FakeCloud, run: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(b"\0" * 1000)
    result = run("image", "create", str(file), "--format", "qcow2")
    assert result.exit_code == 1
    assert "it is no qcow2" in result.stderr
    assert not cloud.images


def test_images_for_all_are_for_administrators_to_make(run: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "disk.img"
    file.write_bytes(b"\0")
    assert run("image", "create", str(file), "--public").exit_code == 5


def test_image_show_and_delete(cloud: FakeCloud, run: Terminal) -> None:
    cloud.add_image("tiny", os_admin_user="cirros")
    shown = run("image", "show", "tiny").stdout
    assert "21.7 MB" in shown
    assert "os_admin_user: cirros" in shown
    assert run("image", "delete", "tiny").stdout == "Deleted tiny\n"
    assert run("image", "show", "tiny").exit_code == 4


def test_flavors_come_smallest_first(run: Terminal) -> None:
    names = [line.split()[0] for line in run("flavor", "list").stdout.splitlines()]
    assert names == ["NAME", "m1.nano", "m1.tiny", "m1.small"]
    assert "memory_mb" in run("flavor", "show", "m1.tiny").stdout


def test_a_network_is_made_with_its_subnet_or_not_at_all(cloud: FakeCloud, run: Terminal) -> None:
    shown = run("network", "create", "lab", "--subnet", "10.1.0.0/24").stdout
    assert "10.1.0.0/24" in shown
    assert "10.1.0.1" in shown
    result = run("network", "create", "bad", "--subnet", "10.1")
    assert "not a valid IP subnet" in result.stderr
    assert [network["name"] for network in cloud.networks.values()] == ["lab"]


def test_a_network_in_use_is_not_deleted(cloud: FakeCloud, run: Terminal) -> None:
    cloud.add_network("lab", "10.1.0.0/24")
    cloud.add_server("web")
    result = run("network", "delete", "lab")
    assert result.exit_code == 5
    assert "still in use" in result.stderr


# -- keys ------------------------------------------------------------------------------------------
def test_a_private_key_is_printed_once_and_never_sent(cloud: FakeCloud, run: Terminal) -> None:
    result = run("key", "create", "mine")
    assert result.stdout.startswith("-----BEGIN OPENSSH PRIVATE KEY-----")
    assert result.stdout.endswith("-----END OPENSSH PRIVATE KEY-----\n")
    assert set(cloud.keys["mine"]) >= {"public_key"}
    assert "PRIVATE" not in json.dumps(cloud.keys)


def test_ssh_takes_the_key_file_which_is_the_owners_alone(
    cloud: FakeCloud, run: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "key"
    assert run("key", "create", "mine", "--private-key-file", str(file)).exit_code == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    public = subprocess.run(
        ["ssh-keygen", "-y", "-f", str(file)], capture_output=True, text=True, check=True
    )
    assert public.stdout.split()[:2] == cloud.keys["mine"]["public_key"].split()[:2]


def test_a_key_file_is_never_overwritten_nor_left_behind(
    cloud: FakeCloud, run: Terminal, tmp_path: Path
) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("precious")
    assert "File exists" in run("key", "create", "a", "--private-key-file", str(old)).stderr
    assert old.read_text() == "precious"
    run("key", "create", "taken")
    assert run("key", "create", "taken", "--private-key-file", str(new)).exit_code == 5
    assert not new.exists()
    assert list(cloud.keys) == ["taken"]


def test_importing_a_private_key_is_refused_before_it_is_sent(
    cloud: FakeCloud, run: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "id"
    file.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert run("key", "import", "mine", str(file)).exit_code == 2
    file.write_text("ssh-ed25519 AAAA me\n")
    assert run("key", "import", "mine", str(file)).exit_code == 0
    assert cloud.keys["mine"]["public_key"] == "ssh-ed25519 AAAA me"
    assert "aa:bb:cc" in run("key", "list").stdout
    assert run("key", "delete", "mine").exit_code == 0
    assert run("key", "delete", "mine").exit_code == 4


# -- volumes and hosts -----------------------------------------------------------------------------
def test_a_volume_is_waited_for_and_deleted(cloud: FakeCloud, run: Terminal) -> None:
    assert run.json("volume", "create", "3", "data")["status"] == "available"
    assert run("volume", "list").stdout.splitlines()[1].split()[1:4] == ["data", "available", "3"]
    assert run("volume", "delete", "data").stdout == "Deleted data\n"
    assert not cloud.volumes


def test_hosts_are_shown_to_administrators(cloud: FakeCloud, run: Terminal) -> None:
    refused = run("host", "list")
    assert refused.exit_code == 5
    assert "--cloud minicloud-admin" in refused.stderr
    cloud.is_admin = True
    rows = [line.split() for line in run("host", "list").stdout.splitlines()]
    assert rows[1] == ["lab1", "up", "yes", "QEMU", "1", "1/4", "512/8192", "1/100"]
    assert rows[2][1] == "down"
    assert "x86_64 Skylake-Server" in run("host", "show", "lab1").stdout


# -- who and where ---------------------------------------------------------------------------------
def test_a_wrong_password_is_exit_code_3_and_is_not_shown(run: Terminal) -> None:
    run.environment["OS_PASSWORD"] = "wr0ng"
    result = run("list")
    assert result.exit_code == 3
    assert "wr0ng" not in result.output


def test_a_variable_that_is_missing_is_named(run: Terminal) -> None:
    run.environment["OS_PASSWORD"] = ""
    result = run("list")
    assert result.exit_code == 3
    assert "OS_PASSWORD" in result.stderr


def test_a_cloud_that_does_not_answer_is_exit_code_6(run: Terminal) -> None:
    run.environment["OS_AUTH_URL"] = "http://127.0.0.1:1"
    result = run("list")
    assert result.exit_code == 6
    assert "minicloud doctor" in result.stderr


def test_clouds_yaml_is_read_and_its_mistakes_are_told(
    cloud: FakeCloud, run: Terminal, tmp_path: Path
) -> None:
    file = tmp_path / "clouds.yaml"
    auth = {"auth_url": cloud.url, "username": "demo", "password": PASSWORD}
    file.write_text(yaml.safe_dump({"clouds": {"lab": {"auth": auth}, "half": {}}}))
    run.environment |= {"OS_CLIENT_CONFIG_FILE": str(file), "OS_AUTH_URL": ""}
    assert run("--cloud", "lab", "list").exit_code == 0
    half = run("--cloud", "half", "list")
    assert half.exit_code == 3
    assert "auth_url and username and password" in half.stderr
    file.write_text("clouds: [")
    broken = run("--cloud", "lab", "list")
    assert broken.exit_code == 3
    assert str(file) in broken.stderr


def test_debug_shows_where_an_error_comes_from(run: Terminal) -> None:
    assert run("--debug", "show", "nothing").exc_info[2] is not None
    assert not isinstance(run("--debug", "show", "nothing").exception, SystemExit)
