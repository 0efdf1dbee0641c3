"""Launches and deletes at once on PostgreSQL, where transactions really run side by side."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cloud import Cloud, running, wait_until
from postgresql import PostgresqlServer

from minicloud.db import hosts


@pytest.fixture
def cloud(tmp_path: Path, database_server: PostgresqlServer) -> Iterator[Cloud]:
    services = ("compute", "network", "volume", "image", "identity")
    urls = {name: database_server.new_database() for name in services}
    with running(tmp_path, hosts=("lab1", "lab2"), urls=urls) as cloud:
        yield cloud


def test_many_at_once(cloud: Cloud) -> None:
    user = cloud.user()
    with ThreadPoolExecutor(8) as clients:
        made = list(clients.map(lambda _: user.launch(cloud.image_id), range(8)))
        cloud.settle()
        assert {user.status(server_id) for server_id in made} == {"ACTIVE"}
        assert sorted(cloud.claims()) == sorted(made)
        list(clients.map(user.delete, made))
    cloud.settle()
    assert all(cloud.traces(server_id) == {} for server_id in made)


def test_deletes_right_after_launches(cloud: Cloud) -> None:
    """Wherever the launch is: before its host is chosen, on its way there, at work."""
    user = cloud.user()

    def launch_and_delete(number: int) -> str:
        server_id: str = user.launch(cloud.image_id)
        wait_until(lambda: False, 0.02 * number)
        user.delete(server_id)
        return server_id

    with ThreadPoolExecutor(8) as clients:
        made = list(clients.map(launch_and_delete, range(8)))
    cloud.settle()
    cloud.turn()
    assert {user.status(server_id) for server_id in made} == {""}
    assert all(cloud.traces(server_id) == {} for server_id in made)
    with cloud.database.read() as tx:
        assert [host.vcpus_used for host in hosts.host_list(tx)] == [0, 0]
