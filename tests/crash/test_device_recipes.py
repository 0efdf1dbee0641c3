"""Every step of the recipes by which servers get and lose devices: failed, repeated and killed.

At each end the guest, the server's row and the other services must agree on what the server has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import pytest
from cloud import Cloud, running, wait_until
from test_recipes import DEVICES, Killed, Trouble, aside, doubled, live_again, troubled
from user import User

from minicloud.compute.recipes import RECIPES
from minicloud.domain.errors import HostProblem
from minicloud.domain.states import RETRIED
from minicloud.virt.driver import NbdDisk

VOLUMES: dict[str, str] = {}
"""Server -> the volume that it gets and loses."""


def volumes_path(server: str) -> str:
    return f"/v2.1/servers/{server}/os-volume_attachments"


def nics_path(server: str) -> str:
    return f"/v2.1/servers/{server}/os-interface"


def attach_volume(user: User, server: str) -> None:
    volume = VOLUMES[server] = user.make_volume()
    aside(user, volumes_path(server), {"volumeAttachment": {"volumeId": volume}})


def detach_volume(user: User, server: str) -> None:
    user.ask("compute", "DELETE", f"{volumes_path(server)}/{VOLUMES[server]}", 202)


def extend_volume(user: User, server: str) -> None:
    event = {"name": "volume-extended", "server_uuid": server, "tag": VOLUMES[server]}
    path = "/v2.1/os-server-external-events"
    user.as_admin().ask("compute", "POST", path, 200, json={"events": [event]})


def attach_interface(user: User, server: str) -> None:
    aside(user, nics_path(server), {"interfaceAttachment": {}})


def detach_interface(user: User, server: str) -> None:
    nics = user.ask("compute", "GET", nics_path(server), 200)["interfaceAttachments"]
    user.ask("compute", "DELETE", f"{nics_path(server)}/{nics[0]['port_id']}", 202)


def swap_volume(user: User, server: str) -> None:
    """As the volume service begins it, of a volume that an administrator moves."""
    where = {"os-migrate_volume": {"host": "lab1@fast#fast"}}
    path = f"/v3/{user.project_id}/volumes/{VOLUMES[server]}/action"
    user.as_admin().ask("volume", "POST", path, 202, json=where)


BEGIN: Mapping[str, Callable[[User, str], None]] = {
    "attach_volume": attach_volume,
    "detach_volume": detach_volume,
    "extend_volume": extend_volume,
    "swap_volume": swap_volume,
    "attach_interface": attach_interface,
    "detach_interface": detach_interface,
}
WITH_VOLUME = ("detach_volume", "extend_volume", "swap_volume")
HAS = {
    # recipe -> the guest's volumes and NICs before it, and when it is done
    "attach_volume": ((0, 1), (1, 1)),
    "detach_volume": ((1, 1), (0, 1)),
    "detach_volume:end": ((0, 1), (0, 1)),
    "extend_volume": ((1, 1), (1, 1)),
    "swap_volume": ((1, 1), (1, 1)),
    "swap_volume:end": ((1, 1), (1, 1)),
    "attach_interface": ((0, 1), (0, 2)),
    "detach_interface": ((0, 1), (0, 0)),
    "detach_interface:end": ((0, 0), (0, 0)),
}
CASES = [
    pytest.param(recipe, step.name, after, id=f"{recipe}-{step.name}-{after}")
    for recipe in HAS
    for step in RECIPES[recipe].steps
    for after in (False, True)
]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with running(tmp_path_factory.mktemp("devices"), place_wait_s=0.3) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def user(cloud: Cloud) -> User:
    return cloud.user()


def begin(cloud: Cloud, user: User, recipe: str, recipes: Mapping[str, object]) -> str:
    """A server on which the recipe's verb is under way on a host that has ``recipes``."""
    verb = recipe.partition(":")[0]
    server_id: str = user.launch(cloud.image_id)
    cloud.settle()
    if verb in WITH_VOLUME:
        attach_volume(user, server_id)
        assert wait_until(lambda: cloud.operations(server_id)[0].state == "done")
        assert cloud.operations(server_id)[0].verb == "attach_volume" or wait_until(
            lambda: cloud.operations(server_id)[0].verb == "attach_volume"
        )
        cloud.settle()
    live_again(cloud, recipes)  # type: ignore[arg-type]  # of jobs
    BEGIN[verb](user, server_id)
    return server_id


def check(
    cloud: Cloud,
    user: User,
    recipe: str,
    server_id: str,
    *,
    done: bool,
    moved: bool | None = None,
) -> None:
    """``moved``: whether a volume that moves has done so; None: as ``done`` says."""
    volumes, nics = HAS[recipe][done]
    assert user.status(server_id) == "ACTIVE"
    found = cloud.hosts["lab1"].driver.diagnostics(server_id)
    assert found is not None
    assert (len(found.disks) - 2, len(found.nics)) == (volumes, nics), "root and config drive"
    server = user.server(server_id)
    assert server["OS-EXT-STS:task_state"] is None
    assert len(server["os-extended-volumes:volumes_attached"]) == volumes
    assert sum(map(len, server["addresses"].values())) == nics
    traces = cloud.traces(server_id)
    assert len(traces.get("attachments", ())) == volumes
    assert len(traces.get("ports", ())) == nics
    assert len(traces.get("wired on lab1", ())) == nics
    if server_id in VOLUMES:
        path = f"/v3/{user.project_id}/volumes/{VOLUMES[server_id]}"
        shown = user.ask("volume", "GET", path, 200)["volume"]["status"]
        assert shown == ("in-use" if volumes else "available")
    if recipe.startswith("swap_volume"):
        check_place(cloud, user, server_id, moved=done if moved is None else moved)


def check_place(cloud: Cloud, user: User, server_id: str, *, moved: bool) -> None:
    """The volume is in one place, where its guest has it, and nothing is left in the other."""
    cloud.rest.volume_turn()
    volume = user.as_admin().ask(
        "volume", "GET", f"/v3/{user.project_id}/volumes/{VOLUMES[server_id]}", 200
    )["volume"]
    assert volume["os-vol-host-attr:host"] == ("lab1@fast#fast" if moved else "lab1@files#files")
    assert volume["migration_status"] == ("success" if moved else "error")
    name = volume["os-vol-mig-status-attr:name_id"] or volume["id"]
    assert (name != volume["id"]) == moved
    (disk,) = [
        each
        for each in cloud.hosts["lab1"].driver.domain(server_id).disks
        if each.serial == volume["id"]
    ]
    assert isinstance(disk, NbdDisk)
    assert disk.socket.endswith(f"{name}.sock")
    (attachment,) = cloud.service_clients().volume.attachments_of_server(server_id).value
    assert (attachment.id, attachment.volume_id) == (disk.export, volume["id"])
    places = {"volume-data": not moved, "volume-fast": moved}
    for directory, here in places.items():
        names = {path.name for path in (cloud.directory / directory / "volumes").iterdir()}
        assert (name in names) == here
        assert not names & ({volume["id"]} - {name})


def end(cloud: Cloud, user: User, server_id: str) -> None:
    """The server can be deleted, and then there is nothing left of it anywhere."""
    user.delete(server_id)
    cloud.settle()
    assert user.status(server_id) == ""
    assert cloud.traces(server_id) == {}


def test_every_recipe_is_here() -> None:
    mine = {name for name in RECIPES if name.partition(":")[0] in DEVICES}
    assert set(HAS) == mine


@pytest.mark.parametrize(("recipe", "step", "after"), CASES)
def test_killed(cloud: Cloud, user: User, recipe: str, step: str, after: bool) -> None:
    trouble = Trouble(Killed(), after=after)
    server_id = begin(cloud, user, recipe, troubled(recipe, step, trouble))
    assert wait_until(trouble.happened.is_set)
    live_again(cloud, RECIPES)
    cloud.settle()
    check(cloud, user, recipe, server_id, done=True)
    end(cloud, user, server_id)


@pytest.mark.parametrize(("recipe", "step", "after"), CASES)
def test_failed(cloud: Cloud, user: User, recipe: str, step: str, after: bool) -> None:
    trouble = Trouble(HostProblem(reason="the disk is on fire"), after=after)
    server_id = begin(cloud, user, recipe, troubled(recipe, step, trouble))
    assert wait_until(trouble.happened.is_set)
    if recipe in RETRIED:
        live_again(cloud, RECIPES)  # it tries again at once in a new life
        cloud.settle()
    else:
        cloud.settle()
        operation = cloud.operations(server_id)[0]
        assert operation.state == "failed"
        assert "the disk is on fire" in (operation.message or "")
    # What the guest has in its new place already is not taken back.
    moved = recipe in RETRIED or (step, after) == ("guest", True)
    check(cloud, user, recipe, server_id, done=recipe in RETRIED, moved=moved)
    live_again(cloud, RECIPES)
    end(cloud, user, server_id)


@pytest.mark.parametrize("recipe", HAS)
def test_every_step_twice(cloud: Cloud, user: User, recipe: str) -> None:
    recipes = {**RECIPES, recipe: doubled(RECIPES[recipe])}
    server_id = begin(cloud, user, recipe, recipes)
    assert wait_until(lambda: cloud.operations(server_id)[0].verb == recipe.partition(":")[0])
    cloud.settle()
    check(cloud, user, recipe, server_id, done=True)
    live_again(cloud, RECIPES)
    end(cloud, user, server_id)


@pytest.mark.parametrize("recipe", ["attach_volume", "attach_interface"])
def test_what_cannot_be_undone_is_tried_again(cloud: Cloud, user: User, recipe: str) -> None:
    """The guest keeps the device that an attachment which failed gave it, for a while."""
    driver = cloud.hosts["lab1"].driver
    last = RECIPES[recipe].steps[-1].name
    trouble = Trouble(HostProblem(reason="the disk is on fire"), after=True)
    server_id = begin(cloud, user, recipe, troubled(recipe, last, trouble))
    driver.fail("ensure_no_device", reason="the guest did not let it go")
    assert wait_until(lambda: cloud.operations(server_id)[0].state in ("stuck", "failed"))
    assert user.status(server_id) == "ACTIVE"
    live_again(cloud, RECIPES)
    cloud.settle()
    assert cloud.operations(server_id)[0].state == "failed"
    check(cloud, user, recipe, server_id, done=False)
    end(cloud, user, server_id)


def test_a_delete_takes_over(cloud: Cloud, user: User) -> None:
    for recipe, step in (
        ("attach_volume", "guest"),
        ("attach_interface", "guest"),
        ("detach_volume", "guest"),
        ("detach_volume:end", "attachment"),
        ("swap_volume", "volume"),
        ("swap_volume", "guest"),
        ("swap_volume:end", "volumes"),
    ):
        trouble = Trouble(Killed(), after=True)
        server_id = begin(cloud, user, recipe, troubled(recipe, step, trouble))
        assert wait_until(trouble.happened.is_set)
        user.delete(server_id)
        live_again(cloud, RECIPES)
        cloud.settle()
        assert user.status(server_id) == ""
        assert cloud.traces(server_id) == {}
