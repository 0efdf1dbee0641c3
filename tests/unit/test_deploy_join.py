"""What a host is given that joins another machine's cloud, and who is refused."""

from __future__ import annotations

import base64
import io
import re
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from minicloud import conf
from minicloud.deploy import config, host_access, join, settings
from minicloud.deploy.host_access import HostAccess
from minicloud.deploy.join import Invitation, accept, dismiss, invite, script
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.names import COMPUTE_ONLY, DAEMONS
from minicloud.deploy.places import Places
from minicloud.deploy.settings import Settings
from minicloud.deploy.stage import StageFailed

REPOSITORY = Path(__file__).parents[2]
ACCESS = HostAccess(name="second", rabbitmq_password="a/b$c", service_password="d'e$f")
INVITATION = Invitation(controller="192.0.2.1", metadata_secret="s%s", access=ACCESS)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(config=tmp_path / "config", state=tmp_path / "state")


def set_up(places: Places, **how: Any) -> None:
    places.config.mkdir()
    settings.write(places, Settings(**how))


def test_the_script_has_the_code_and_the_invitation(tmp_path: Path) -> None:
    text = script(INVITATION, REPOSITORY)
    file = tmp_path / "join.sh"
    file.write_text(text)
    subprocess.run(["sh", "-n", str(file)], check=True)
    found = re.search(r"<<'END_OF_INVITATION'\n(.*)\nEND_OF_INVITATION\n", text)
    assert found is not None
    assert msgspec.json.decode(found[1], type=Invitation) == INVITATION
    code = re.search(r"<<'END_OF_CODE'.*?\n(.*)\nEND_OF_CODE\n", text, re.DOTALL)
    assert code is not None
    with tarfile.open(fileobj=io.BytesIO(base64.b64decode(code[1]))) as archive:
        names = archive.getnames()
        assert all(member.uid == 0 for member in archive)
    assert {"tools/join", "minicloud/cmd/compute.py", "setup.cfg"} <= set(names)
    assert not [name for name in names if name.endswith(".pyc") or name.startswith(".")]


def test_a_host_reads_what_was_meant(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    places.config.mkdir()
    text = host_access.configuration(
        Settings(metadata_secret="s%s"), ACCESS, controller="fd00::1", tunnel_address="fd00::2"
    )
    (places.config / "minicloud.conf").write_text(text)
    monkeypatch.setenv("MINICLOUD_CONFIG_DIR", str(places.config))
    options = conf.load("compute", [])
    assert options.host == "second"
    assert options.auth.url == "http://[fd00::1]:5000/v3"
    assert (options.auth.username, options.auth.password) == ("minicloud-second", "d'e$f")
    assert options.metadata.url == "http://[fd00::1]:8775"
    assert options.metadata.shared_secret == "s%s"
    assert options.compute.tunnel_address == "fd00::2"
    assert options.rpc.transport_url == (
        "rabbit://minicloud-second:a%2Fb%24c@[fd00::1]:5672/minicloud"
    )
    assert not options.database.url


@pytest.mark.parametrize("name", ["", "UPPER", "a b", "a/b", "-a", "lab1", "x" * 64, "a$(id)"])
def test_names_that_no_host_can_have(places: Places, name: str) -> None:
    set_up(places, host="192.0.2.1")
    with pytest.raises(StageFailed, match="cannot be the name"):
        invite(places, REPOSITORY, name, ssh="", file=None)


def test_a_cloud_that_others_do_not_reach(places: Places) -> None:
    set_up(places)
    with pytest.raises(StageFailed, match="Other machines do not reach"):
        invite(places, REPOSITORY, "second", ssh="", file=None)
    with pytest.raises(StageFailed, match="was not given access"):
        dismiss(places, "second")


def test_a_machine_with_a_cloud_of_its_own_does_not_join(places: Places) -> None:
    set_up(places)
    with pytest.raises(StageFailed, match="a cloud of its own"):
        accept(places, REPOSITORY, INVITATION)
    assert Ledger(places.ledger).record.daemons == DAEMONS


def test_where_the_cloud_is_for_other_hosts() -> None:
    assert Settings().tunnel_address == ""
    assert Settings(host="192.0.2.1").tunnel_address == "192.0.2.1"
    assert Settings(host="cloud.example").tunnel_address == ""
    assert Settings(lab_address="10.210.0.1").tunnel_address == "10.210.0.1"
    reached = Settings(host="192.0.2.1")
    assert config.of_daemon("compute", reached) == {"compute": {"tunnel_address": "192.0.2.1"}}
    assert config.of_daemon("volume", reached)["volume"]["nbd_address"] == "192.0.2.1"
    assert config.of_daemon("api", reached)["metadata"] == {"listen": "0.0.0.0"}
    assert config.of_daemon("api", Settings()) == {}


def test_the_stages_are_counted_alike() -> None:
    text = (REPOSITORY / "tools" / "join").read_text()
    found = re.search(r"STAGES=(\d+)", text)
    assert found is not None
    assert int(found[1]) == join.STAGES
    assert set(COMPUTE_ONLY) <= set(DAEMONS)


def test_what_runs_on_a_host_is_remembered(places: Places) -> None:
    ledger = Ledger(places.ledger)
    ledger.record.daemons = COMPUTE_ONLY
    ledger.save()
    assert Ledger(places.ledger).record.daemons == COMPUTE_ONLY
    assert stat.S_IMODE(places.ledger.stat().st_mode) == 0o600
