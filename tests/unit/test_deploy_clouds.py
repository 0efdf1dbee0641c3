"""clouds.yaml: our entries go in and out, a person's own file stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from minicloud.deploy import clouds
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.settings import Settings

SETTINGS = Settings(demo_password="d", admin_password="a", alt_password="l", host="10.0.0.5")
OURS = clouds.entries(SETTINGS)
THEIRS = """\
# my clouds
clouds:

    # the big one
    work:
        auth: {auth_url: "https://work/v3", username: me}   # keep
        region_name: W
    devstack:
        auth: {auth_url: http://elsewhere/v3}
cache: {expiration_time: 5}
"""


def test_a_new_file_has_every_cloud() -> None:
    document = yaml.safe_load(clouds.merged("", OURS))["clouds"]
    assert set(document) == {
        *("minicloud", "minicloud-admin", "minicloud-alt"),
        *("devstack", "devstack-admin", "devstack-alt"),
    }
    assert document["minicloud-admin"]["auth"] == {
        "auth_url": "http://10.0.0.5:5000/v3",
        "username": "admin",
        "password": "a",
        "project_name": "admin",
        "user_domain_name": "Default",
        "project_domain_name": "Default",
    }
    assert document["minicloud"]["region_name"] == "RegionOne"


def test_an_ipv6_host_is_bracketed() -> None:
    entry = clouds.entries(Settings(host="fd00::5"))["minicloud"]
    assert entry["auth"]["auth_url"] == "http://[fd00::5]:5000/v3"


def test_the_rest_of_a_file_stays_to_the_letter_and_its_clouds_win() -> None:
    text = clouds.merged(THEIRS, OURS)
    document = yaml.safe_load(text)
    assert document["clouds"]["devstack"] == {"auth": {"auth_url": "http://elsewhere/v3"}}
    assert document["clouds"]["work"]["region_name"] == "W"
    assert "minicloud" in document["clouds"]
    assert document["cache"] == {"expiration_time": 5}
    assert clouds.without_ours(text) == THEIRS


def test_merging_again_changes_nothing_and_new_passwords_replace_old_ones() -> None:
    once = clouds.merged(THEIRS, OURS)
    assert clouds.merged(once, OURS) == once
    other = clouds.merged(once, clouds.entries(Settings(demo_password="new")))
    assert yaml.safe_load(other)["clouds"]["minicloud"]["auth"]["password"] == "new"
    assert other.count("username: demo") == 1


def test_a_file_without_clouds_gets_them() -> None:
    text = clouds.merged("cache: {expiration_time: 5}", OURS)
    assert set(yaml.safe_load(text)) == {"cache", "clouds"}


@pytest.mark.parametrize("text", ["clouds: [1]\n", "- a\n", "clouds: {work: {a: 1}}\n", "a: [\n"])
def test_what_a_block_does_not_fit_into_is_refused(text: str) -> None:
    with pytest.raises((ValueError, yaml.YAMLError)):
        clouds.merged(text, OURS)


def test_purging_removes_our_entries_and_files_that_had_nothing_else(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "deploy" / "state.json")
    shared, own, missing = tmp_path / "shared", tmp_path / "own", tmp_path / "missing"
    shared.write_text(clouds.merged(THEIRS, OURS))
    own.write_text(clouds.merged("", OURS))
    ledger.record.client_files = [str(shared), str(own), str(missing)]
    clouds.purge(ledger)
    assert shared.read_text() == THEIRS
    assert not own.exists()
