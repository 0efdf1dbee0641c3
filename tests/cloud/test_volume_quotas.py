"""Quotas hold when everybody asks at once, on both kinds of database."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from tokens import DEMO
from volume import VolumeCloud, volume_cloud

LIMITS = {"volumes": 5, "gigabytes": 20, "per_volume_gigabytes": -1}


@pytest.fixture
def cloud(database_url: str, tmp_path: Path) -> Iterator[VolumeCloud]:
    with volume_cloud(tmp_path, url=database_url, quotas=LIMITS) as running:
        yield running


def at_once(cloud: VolumeCloud, number: int, size: int, token: str = "demo") -> list[int]:
    def create(_number: int) -> int:
        answer = cloud.call("POST", "/volumes", token, json={"volume": {"size": size}})
        return int(answer.status_code)

    with ThreadPoolExecutor(number) as pool:
        return sorted(pool.map(create, range(number)))


def usage(cloud: VolumeCloud) -> tuple[int, int]:
    shown = cloud.ask("GET", f"/os-quota-sets/{DEMO}?usage=True", 200)["quota_set"]
    return shown["volumes"]["in_use"], shown["gigabytes"]["in_use"]


def test_no_more_volumes_than_the_quota(cloud: VolumeCloud) -> None:
    assert at_once(cloud, 12, size=1) == [202] * 5 + [413] * 7
    assert usage(cloud) == (5, 5)
    assert at_once(cloud, 2, size=1, token="alt") == [202, 202], "each project has its own"
    refusal = cloud.call("POST", "/volumes", json={"volume": {"size": 1}})
    assert refusal.headers["Retry-After"] == "0"
    fault: dict[str, Any] = refusal.json()["overLimit"]
    assert (fault["code"], fault["retryAfter"]) == (413, "0")
    assert "volumes" in fault["message"]


def test_no_more_space_than_the_quota(cloud: VolumeCloud) -> None:
    assert at_once(cloud, 5, size=6) == [202] * 3 + [413] * 2
    assert usage(cloud) == (3, 18)


def test_growth_counts(cloud: VolumeCloud) -> None:
    volumes = [cloud.create(8)["id"] for _ in range(2)]

    def extend(volume_id: str) -> int:
        body = {"os-extend": {"new_size": 12}}
        return int(cloud.call("POST", f"/volumes/{volume_id}/action", json=body).status_code)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(extend, volumes)) == [202, 413]
    assert usage(cloud) == (2, 20)


def test_what_is_deleted_is_free_again(cloud: VolumeCloud) -> None:
    for _ in range(3):
        volume = cloud.create(20)
        cloud.ask("POST", "/volumes", 413, json={"volume": {"size": 1}})
        cloud.ask("DELETE", f"/volumes/{volume['id']}", 202)
    assert usage(cloud) == (0, 0)


def test_the_operator_sets_limits_and_takes_them_back(cloud: VolumeCloud) -> None:
    path = f"/os-quota-sets/{DEMO}"
    cloud.ask("PUT", path, 403, json={"quota_set": {"volumes": 9}})
    body = {"quota_set": {"volumes": "1", "per_volume_gigabytes": 2, "gigabytes": -1}}
    changed = cloud.ask("PUT", path, 200, "admin", json=body)["quota_set"]
    assert (changed["volumes"], changed["gigabytes"], changed["per_volume_gigabytes"]) == (
        1,
        -1,
        2,
    )
    cloud.ask("POST", "/volumes", 413, json={"volume": {"size": 3}})
    cloud.create(2)
    cloud.ask("POST", "/volumes", 413, json={"volume": {"size": 1}})
    limits = cloud.ask("GET", "/limits", 200)["limits"]["absolute"]
    assert (limits["maxTotalVolumes"], limits["totalVolumesUsed"]) == (1, 1)
    cloud.ask("GET", f"/os-quota-sets/{DEMO}", 403, "alt")
    assert cloud.ask("GET", f"{path}/defaults", 200)["quota_set"]["volumes"] == 5
    cloud.ask("DELETE", path, 200, "admin")
    assert cloud.ask("GET", path, 200)["quota_set"]["volumes"] == 5
    for wrong in ({"volumes": -2}, {"volumes": "x"}, {"colour": 1}, {"volumes": 2**31}):
        cloud.ask("PUT", path, 400, "admin", json={"quota_set": wrong})
    cloud.ask("GET", "/os-quota-sets/%00", 400, "admin")


def test_a_claim_is_one_claim_on_every_database(cloud: VolumeCloud) -> None:
    volume = cloud.create()["id"]

    def fight(number: int) -> int:
        if number % 2:
            return int(cloud.call("DELETE", f"/volumes/{volume}").status_code)
        server = f"{number:08d}-2222-4333-8444-555555555555"
        claim = {"attachment": {"volume_uuid": volume, "instance_uuid": server}}
        return int(cloud.call("POST", "/attachments", json=claim).status_code)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(fight, range(8)))
    claims = [each for number, each in enumerate(answers) if number % 2 == 0]
    assert all(each < 500 for each in answers), answers
    left = cloud.ask("GET", f"/attachments?volume_id={volume}", 200)["attachments"]
    if 200 in claims:
        assert claims.count(200) == len(left) == 1
        assert cloud.show(volume)["status"] == "reserved"
        cloud.ask("DELETE", f"/attachments/{left[0]['id']}", 200)
    else:
        cloud.ask("GET", f"/volumes/{volume}", 404)
