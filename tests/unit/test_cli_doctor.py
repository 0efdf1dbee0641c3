"""``minicloud doctor``: each symptom is made for real, and found."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from minicloud.cli.doctor import ceph, hypervisor, networking, resources, services
from minicloud.cli.doctor.finding import STATUSES
from minicloud.cli.doctor.machine import Machine
from minicloud.cli.doctor.registry import CHECKS, look
from minicloud.cli.main import cli
from minicloud.domain.ids import derive
from minicloud.hostnet import namespaces
from minicloud.kit.context import Context
from minicloud.kit.policy import Policy
from minicloud.kit.web import Service, WebServer, build_app, dialects

DAEMONS = ("identity", "image", "network", "volume", "api")
STORES = ("identity", "image", "network", "volume", "compute")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make namespaces")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose daemons are configured to be where nobody else is."""
    monkeypatch.setenv("MINICLOUD_CONFIG_DIR", str(tmp_path))
    (tmp_path / "minicloud.conf").write_text(
        f"[DEFAULT]\nstate_dir = {tmp_path}/state\n"
        f"[rpc]\ntransport_url = rabbit://mini:s3cret@127.0.0.1:{free_port()}/cloud\n"
        "[web]\nlisten = 127.0.0.1\n"
    )
    for daemon in DAEMONS:
        (tmp_path / f"{daemon}.conf").write_text(f"[web]\nport = {free_port()}\n")
    for store in STORES:
        make_database(tmp_path, store).execute("CREATE TABLE t (x)")
    return tmp_path


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def make_database(directory: Path, store: str) -> sqlite3.Connection:
    path = directory / "state" / store / f"{store}.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    return sqlite3.connect(path, isolation_level=None)


# -- configuration ---------------------------------------------------------------------------------
def test_a_machine_without_a_cloud_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINICLOUD_CONFIG_DIR", str(tmp_path))
    machine = Machine()
    for check in (lambda m: m.configuration, services.broker, services.databases):
        assert look(machine, check).status == "unknown"
    assert machine.option("libvirt", "uri") == "qemu:///system"


def test_a_file_that_cannot_be_understood_is_found(config: Path) -> None:
    (config / "volume.conf").write_text("this is no ini file\n")
    found = Machine().configuration
    assert found.status == "fail"
    assert "volume.conf" in found.sentence


# -- Ceph ------------------------------------------------------------------------------------------
def test_what_guests_need_to_open_volumes_in_ceph(config: Path, tmp_path: Path) -> None:
    assert ceph.guests(Machine()).status == "ok"
    chosen = "[libvirt]\nrbd_user = cinder\n"
    (config / "compute.conf").write_text(chosen)
    assert "together" in ceph.guests(Machine()).sentence
    keyring = tmp_path / "keyring"
    chosen += f"rbd_secret_uuid = {derive('a secret')}\nrbd_keyring = {keyring}\n"
    (config / "compute.conf").write_text(chosen)
    found = ceph.guests(Machine())
    assert found.status == "fail"
    assert str(keyring) in found.sentence or "qemu-block-extra" in found.mend


@pytest.mark.skipif(
    not list(Path("/usr/lib").glob("*/qemu/block-rbd.so")), reason="needs QEMU's driver of Ceph"
)
def test_a_host_with_a_key_for_ceph(config: Path, tmp_path: Path) -> None:
    keyring = tmp_path / "keyring"
    keyring.write_text("[client.cinder]\n\tkey = bm90IGEga2V5\n")
    (config / "compute.conf").write_text(
        f"[libvirt]\nrbd_user = cinder\nrbd_secret_uuid = {derive('a secret')}\n"
        f"rbd_keyring = {keyring}\n"
    )
    found = ceph.guests(Machine())
    assert (found.status, "bm90" in found.sentence) == ("ok", False)


# -- broker ----------------------------------------------------------------------------------------
def test_a_broker_that_is_not_there_is_found_without_telling_its_password(config: Path) -> None:
    found = services.broker(Machine())
    assert found.status == "fail"
    assert "Connection refused" in found.sentence
    assert "s3cret" not in " ".join(found)


def test_something_else_at_the_brokers_port_is_found(config: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        (config / "compute.conf").write_text(
            f"[rpc]\ntransport_url = rabbit://mini:s3cret@127.0.0.1:{port}/cloud\n"
        )

        def answer() -> None:
            connection, _ = listener.accept()
            connection.recv(100)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        found = services.broker(Machine())
        thread.join()
    assert found.status == "fail"


def test_daemons_that_talk_without_rabbitmq_need_none(config: Path) -> None:
    (config / "compute.conf").write_text("[rpc]\ntransport_url = fake:///\n")
    assert services.broker(Machine()).status == "ok"


# -- databases -------------------------------------------------------------------------------------
def test_databases_that_are_there_are_ok_and_left_as_they_are(config: Path) -> None:
    assert services.databases(Machine()).status == "ok"
    assert len(list((config / "state" / "image").iterdir())) == 1


def test_missing_empty_and_damaged_databases_are_told_apart(config: Path) -> None:
    (config / "state/image/image.sqlite").unlink()
    make_database(config, "network").execute("PRAGMA user_version = 1")
    (config / "state/volume/volume.sqlite").write_bytes(b"rubbish" * 1000)
    found = services.databases(Machine())
    assert found.status == "fail"
    for words in ("image has no", "network.sqlite has no tables", "volume.sqlite is damaged"):
        assert words in found.sentence
    assert "identity" not in found.sentence


def test_a_postgresql_that_does_not_answer_is_found_without_its_password(config: Path) -> None:
    url = f"postgresql+psycopg://mini:s3cret@127.0.0.1:{free_port()}/image"
    (config / "image.conf").write_text(f"[database]\nurl = {url}\n")
    found = services.databases(Machine())
    assert found.status == "fail"
    assert "image's PostgreSQL" in found.sentence
    assert "s3cret" not in " ".join(found)


# -- ports -----------------------------------------------------------------------------------------
def _port_of(config: Path, daemon: str) -> int:
    return int((config / f"{daemon}.conf").read_text().rpartition("=")[2])


@pytest.fixture
def stranger(config: Path) -> Iterator[None]:
    """Another program at the volume service's port."""
    server = HTTPServer(("127.0.0.1", _port_of(config, "volume")), BaseHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield
    server.shutdown()
    thread.join()
    server.server_close()


def test_services_that_do_not_answer_are_named(config: Path) -> None:
    service = Service(
        name="t", routes=[], policy=Policy({}), dialect=dialects.nova,
        authenticate=lambda _headers, _timings, request_id: Context(request_id=request_id),
    )  # fmt: skip
    webs = [
        WebServer(build_app(service), host="127.0.0.1", port=_port_of(config, daemon))
        for daemon in DAEMONS
    ]
    for web in webs[:-1]:
        web.start()
    try:
        found = services.ports(Machine())
        assert found.status == "fail"
        assert found.sentence == f"api ({_port_of(config, 'api')}) does not answer."
        webs[-1].start()
        assert services.ports(Machine()).status == "ok"
    finally:
        for web in webs:
            web.stop()


@pytest.mark.usefixtures("stranger")
def test_another_program_at_a_port_of_ours_is_found(config: Path) -> None:
    found = services.ports(Machine())
    assert found.status == "fail"
    assert f"{_port_of(config, 'volume')} (volume's)" in found.sentence


# -- this machine ----------------------------------------------------------------------------------
def test_emulation_by_configuration_is_told(config: Path) -> None:
    (config / "compute.conf").write_text("[libvirt]\nvirt_type = qemu\n")
    found = hypervisor.kvm(Machine())
    assert found.status == "warn"
    assert "configuration" in found.sentence


def test_a_state_directory_that_is_not_there_yet_is_measured_where_it_will_be(
    config: Path,
) -> None:
    found = resources.disk(Machine())
    assert found.status in ("ok", "warn")
    assert f"{config}/state" in found.sentence


@needs_root
def test_trying_the_network_leaves_nothing_behind() -> None:
    before = namespaces.listed()
    machine = Machine()
    assert networking.devices(machine).status in ("ok", "fail")
    assert networking.nftables(machine).status in ("ok", "fail")
    assert namespaces.listed() == before


def test_every_check_tells_and_the_exit_code_says_whether_any_failed(config: Path) -> None:
    result = CliRunner().invoke(cli, ["doctor", "-o", "json"])
    told = json.loads(result.stdout)
    assert [finding["check"] for finding in told] == [name for name, _ in CHECKS]
    assert {finding["status"] for finding in told} <= set(STATUSES)
    assert all(finding["sentence"].endswith(".") for finding in told)
    assert all(f["mend"] for f in told if f["status"] in ("warn", "fail"))
    assert result.exit_code == 1  # neither broker nor services are there


def test_a_check_that_cannot_look_is_no_end_of_the_others() -> None:
    def broken(_machine: Machine) -> None:
        raise PermissionError(13, "Permission denied", "/secret")

    assert look(Machine(), broken).status == "unknown"
