"""Guests that stand still for want of space on a disk: what users see, and who has them go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud import Cloud, running, wait_until

from minicloud.domain.states import Power


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    with running(tmp_path, place_wait_s=0.3) as cloud:
        yield cloud


def shown(cloud: Cloud, server: str) -> tuple[str, int]:
    found = cloud.user().server(server)
    return found["status"], found["OS-EXT-STS:power_state"]


def test_a_guest_goes_on_when_there_is_space(cloud: Cloud) -> None:
    user, driver = cloud.user(), cloud.hosts["lab1"].driver
    server, paused = user.launch(cloud.image_id), user.launch(cloud.image_id)
    cloud.settle()
    driver.fill_disk(server)
    driver.fill_disk(paused)
    user.act(paused, pause=None)
    cloud.settle()

    def turned(state: Power, tries: int) -> bool:
        cloud.turn()
        return shown(cloud, server) == ("ACTIVE", int(state)) and driver.tries(server) > tries

    assert wait_until(lambda: turned(Power.PAUSED, 2)), shown(cloud, server)
    tries = driver.tries(paused)
    driver.free_disk(server)
    driver.free_disk(paused)
    assert wait_until(lambda: turned(Power.RUNNING, 3)), shown(cloud, server)
    assert shown(cloud, paused) == ("PAUSED", int(Power.PAUSED))
    assert driver.tries(paused) == tries, "that is its user's to end"
    user.act(paused, unpause=None)
    cloud.settle()
    assert shown(cloud, paused) == ("ACTIVE", int(Power.RUNNING))


def test_tries_are_far_apart(cloud: Cloud) -> None:
    host = cloud.hosts["lab1"]
    host.stop()
    host.retry_s = 3600.0
    host.start()
    server = cloud.user().launch(cloud.image_id)
    cloud.settle()
    host.driver.fill_disk(server)
    for _ in range(3):
        host.manager.retry_writes([server], host.manager.begun)
    assert host.driver.tries(server) == 1
    host.driver.free_disk(server)
    host.manager.retry_writes([], host.manager.begun)
    host.manager.retry_writes([server], host.manager.begun - 1)
    assert host.driver.tries(server) == 1, "an operation may have paused it since"
    host.manager.retry_writes([server], host.manager.begun)
    assert host.driver.get(server).power is Power.RUNNING
