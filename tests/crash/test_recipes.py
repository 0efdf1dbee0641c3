"""Every step of every recipe: failed, repeated, and killed before and after.

Generic over ``RECIPES``: a new recipe is covered by being in that table, once ``STORIES`` says how
it comes to be worked on. A kill is an exception that nothing in the daemon catches; the host then
begins a new life on what the old one left. (Real processes are killed in tests/clients.)
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pytest
from cloud import Cloud, running, wait_until
from user import User

from minicloud.compute.recipes import RECIPES, Job
from minicloud.domain.errors import HostProblem
from minicloud.domain.states import RETRIED
from minicloud.kit.operations import Recipe, Step


class Story(NamedTuple):
    """How a user, or an administrator, comes to the point where a host works on a recipe."""

    recipe: str
    act: dict[str, Any]
    """The action: its name and what it is given. Empty for a launch and a delete."""
    status: str = "ACTIVE"
    """The server's status when all has gone well."""
    before: Sequence[dict[str, Any]] = ()
    """Actions done before, each to its end."""
    hosts: Sequence[str] = ("lab1",)
    """Hosts that take servers."""
    on_volume: bool = False
    """Whether the root disk is a volume."""


_STOP, _PAUSE, _SUSPEND = {"os-stop": None}, {"pause": None}, {"suspend": None}
_RESCUE, _SHELVE, _OFFLOAD = {"rescue": None}, {"shelve": None}, {"shelveOffload": None}
_RESIZE, _MIGRATE = {"resize": {"flavorRef": "2"}}, {"migrate": None}
_CONFIRM, _REVERT, _UNSHELVE = {"confirmResize": None}, {"revertResize": None}, {"unshelve": None}
_LIVE = {"os-migrateLive": {"host": None, "block_migration": "auto"}}
_IMAGE = {"createImage": {"name": "shot"}}
_BACKUP = {"createBackup": {"name": "shot", "backup_type": "daily", "rotation": 1}}
_BOTH = ("lab1", "lab2")
NEWEST = {"OpenStack-API-Version": "compute 2.95"}
STORIES: Mapping[str, Story] = {
    "create": Story("create", {}),
    "delete": Story("delete", {}, ""),
    "start": Story("start", {"os-start": None}, before=[_STOP]),
    "stop": Story("stop", _STOP, "SHUTOFF"),
    "reboot": Story("reboot", {"reboot": {"type": "SOFT"}}),
    "reboot_hard": Story("reboot_hard", {"reboot": {"type": "HARD"}}),
    "pause": Story("pause", _PAUSE, "PAUSED"),
    "unpause": Story("unpause", {"unpause": None}, before=[_PAUSE]),
    "suspend": Story("suspend", _SUSPEND, "SUSPENDED"),
    "resume": Story("resume", {"resume": None}, before=[_SUSPEND]),
    "rescue": Story("rescue", _RESCUE, "RESCUE"),
    "rescue, on a volume": Story("rescue", _RESCUE, "RESCUE", on_volume=True),
    "unrescue": Story("unrescue", {"unrescue": None}, before=[_RESCUE]),
    "unrescue, on a volume": Story(
        "unrescue", {"unrescue": None}, before=[_RESCUE], on_volume=True
    ),
    "rebuild": Story("rebuild", {"rebuild": {}}),
    "rebuild, on a volume": Story("rebuild", {"rebuild": {}}, on_volume=True),
    "createImage": Story("createImage", _IMAGE),
    "createImage, of volumes": Story("createImage:volumes", _IMAGE, on_volume=True),
    "createBackup": Story("createBackup", _BACKUP),
    "resize": Story("resize", _RESIZE, "VERIFY_RESIZE"),
    "resize, finished": Story("resize:finish", _RESIZE, "VERIFY_RESIZE"),
    "resize, put back": Story("resize:back", _RESIZE),
    "resize, confirmed": Story("confirmResize", _CONFIRM, before=[_RESIZE]),
    "resize, reverted": Story("revertResize", _REVERT, before=[_RESIZE]),
    "migrate": Story("resize", _MIGRATE, "VERIFY_RESIZE", hosts=_BOTH),
    "migrate, finished": Story("resize:finish", _MIGRATE, "VERIFY_RESIZE", hosts=_BOTH),
    "migrate, put back": Story("resize:back", _MIGRATE, hosts=_BOTH),
    "migrate, reverted": Story("revertResize", _REVERT, before=[_MIGRATE], hosts=_BOTH),
    "migrate, back again": Story("revertResize:finish", _REVERT, before=[_MIGRATE], hosts=_BOTH),
    "live migration": Story("live-migration", _LIVE, hosts=_BOTH),
    "live migration, prepared": Story("live-migration:prepare", _LIVE, hosts=_BOTH),
    "live migration, moving": Story("live-migration:move", _LIVE, hosts=_BOTH),
    "live migration, arrived": Story("live-migration:arrive", _LIVE, hosts=_BOTH),
    "live migration, finished": Story("live-migration:finish", _LIVE, hosts=_BOTH),
    "live migration, put back": Story("live-migration:back", _LIVE, hosts=_BOTH),
    "live migration, stayed": Story("live-migration:stay", _LIVE, hosts=_BOTH),
    "evacuate": Story("evacuate", {"evacuate": {}}, hosts=_BOTH),
    "shelve": Story("shelve", _SHELVE, "SHELVED"),
    "shelveOffload": Story("shelveOffload", _OFFLOAD, "SHELVED_OFFLOADED", before=[_SHELVE]),
    "unshelve": Story("unshelve", _UNSHELVE, before=[_SHELVE, _OFFLOAD]),
    "unshelve_here": Story("unshelve_here", _UNSHELVE, before=[_SHELVE]),
}
DEVICES = ("attach_volume", "detach_volume", "extend_volume", "swap_volume", "attach_interface",
           "detach_interface")  # fmt: skip
"""Verbs with stories of their own in ``test_device_recipes.py``."""
ANSWERED_LATER = ("createImage", "createImage:volumes", "createBackup")
"""Recipes of requests that are answered when an image is there."""
STEPS = [
    (name, step, after)
    for name, story in STORIES.items()
    for number, step in enumerate(RECIPES[story.recipe].steps)
    # Before a step is after the one in front of it, but for what its undo finds.
    for after in ((False, True) if number == 0 or step.undo else (True,))
]
CASES = [
    pytest.param(name, step.name, after, id=f"{name}-{step.name}-{'after' if after else 'before'}")
    for name, step, after in STEPS
]


def test_every_recipe_has_a_story() -> None:
    devices = {name for name in RECIPES if name.partition(":")[0] in DEVICES}
    assert {story.recipe for story in STORIES.values()} == set(RECIPES) - devices


class Killed(BaseException):
    """Ends a thread of the host as SIGKILL would: no handler of the daemon runs."""


class Trouble:
    """Goes off once, before or after the effect of one step."""

    def __init__(self, problem: BaseException, *, after: bool) -> None:
        self._problem, self._after = problem, after
        self.happened = threading.Event()

    def around(self, do: Callable[[Job], None]) -> Callable[[Job], None]:
        def step(job: Job) -> None:
            if self.happened.is_set():
                do(job)
                return
            if self._after:
                do(job)
            self.happened.set()
            raise self._problem

        return step


def troubled(recipe: str, name: str, trouble: Trouble) -> Mapping[str, Recipe[Job]]:
    steps = [
        step._replace(do=trouble.around(step.do)) if step.name == name else step
        for step in RECIPES[recipe].steps
    ]
    return _failing_first({**RECIPES, recipe: Recipe(recipe, steps)}, recipe)


def _failing_first(recipes: Mapping[str, Recipe[Job]], recipe: str) -> Mapping[str, Recipe[Job]]:
    """What puts a server back is worked on when the stage before it has failed."""
    before = _BEFORE_THE_WAY_BACK.get(recipe)
    if before is None:
        return recipes

    def fail(_job: Job) -> None:
        raise HostProblem(reason="the disk is on fire")

    steps = [Step("fail", fail), *RECIPES[before].steps]
    return {**recipes, before: Recipe(before, steps)}


_BEFORE_THE_WAY_BACK = {
    "resize:back": "resize:finish",
    "live-migration:back": "live-migration:move",
    "live-migration:stay": "live-migration:move",
}


def twice(work: Callable[[Job], None] | None) -> Callable[[Job], None] | None:
    if work is None:
        return None

    def repeated(job: Job) -> None:
        work(job)
        work(job)

    return repeated


def doubled(recipe: Recipe[Job]) -> Recipe[Job]:
    steps = [Step(step.name, twice(step.do), twice(step.undo)) for step in recipe.steps]
    return Recipe(recipe.verb, steps)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    directory = tmp_path_factory.mktemp("recipes")
    with running(
        directory, hosts=_BOTH, place_wait_s=0.3, shelved_offload=False, max_attempts=2
    ) as cloud:
        furnish(cloud)
        yield cloud


def furnish(cloud: Cloud) -> None:
    """What servers are resized to, and what root volumes are made of."""
    admin = cloud.user("admin")
    flavor = {
        "name": "larger", "id": "2", "vcpus": 2, "ram": 1024, "disk": 2, "swap": 64,
        "OS-FLV-EXT-DATA:ephemeral": 1,
    }  # fmt: skip
    admin.ask("compute", "POST", "/v2.1/flavors", 200, json={"flavor": flavor})
    properties = {"hw_rescue_device": "disk", "hw_rescue_bus": "virtio"}
    admin.make_image("rescuable", b"rescue" * 1000, **properties)


@pytest.fixture(scope="module")
def user(cloud: Cloud) -> User:
    return cloud.user()


@pytest.fixture(scope="module")
def admin(cloud: Cloud) -> User:
    return cloud.user("admin")


def launch(cloud: Cloud, user: User, *, on_volume: bool = False) -> str:
    """A server with a second disk: a volume that goes with it, as a root volume does."""
    disk = {
        "boot_index": 0, "uuid": cloud.image_id, "source_type": "image",
        "destination_type": "local",
    }  # fmt: skip
    if on_volume:
        found = cloud.service_clients().own_image.images_by_properties(name="rescuable").value
        disk |= {
            "destination_type": "volume", "volume_size": 1, "delete_on_termination": True,
            "uuid": found[0].id,
        }  # fmt: skip
    blank = {
        "boot_index": -1, "source_type": "blank", "destination_type": "volume", "volume_size": 1,
        "delete_on_termination": True,
    }  # fmt: skip
    image_id = "" if on_volume else cloud.image_id
    server_id: str = user.launch(image_id, block_device_mapping_v2=[disk, blank])
    return server_id


def begin(
    cloud: Cloud, user: User, admin: User, name: str, recipes: Mapping[str, Recipe[Job]]
) -> str:
    """A server on which the story's verb is under way on hosts that have ``recipes``."""
    if name == "create":
        cloud.enable_only("lab1")
        live_again(cloud, recipes)
        return launch(cloud, user)
    server_id = prepare(cloud, user, admin, name)
    if name == "evacuate":
        cloud.hosts["lab2"].stop()
        cloud.silence("lab2")
    live_again(cloud, recipes)
    set_off(cloud, user, admin, name, server_id)
    return server_id


def prepare(cloud: Cloud, user: User, admin: User, name: str) -> str:
    """A server on which all has been done that comes before the story's verb."""
    story = STORIES[name]
    cloud.enable_only("lab2" if name == "evacuate" else "lab1")
    server_id = launch(cloud, user, on_volume=story.on_volume)
    cloud.settle()
    assert user.status(server_id) == "ACTIVE", user.server(server_id)
    cloud.enable_only(*story.hosts)
    for action in story.before:
        act(admin, server_id, action)
        cloud.settle()
    return server_id


def set_off(cloud: Cloud, user: User, admin: User, name: str, server_id: str) -> None:
    if name == "delete":
        user.delete(server_id)
    elif STORIES[name].recipe in ANSWERED_LATER:
        aside(admin, f"/v2.1/servers/{server_id}/action", STORIES[name].act)
        (verb,) = STORIES[name].act
        assert wait_until(lambda: cloud.operations(server_id)[0].verb == verb)
    elif STORIES[name].recipe == "rebuild":
        act(admin, server_id, {"rebuild": {"imageRef": cloud.image_id}})
    else:
        act(admin, server_id, STORIES[name].act)


def act(admin: User, server_id: str, action: dict[str, Any]) -> None:
    answer = admin.call(
        "compute", "POST", f"/v2.1/servers/{server_id}/action", json=action, headers=NEWEST
    )
    assert answer.status_code in (200, 202, 204), answer.text


def aside(user: User, path: str, body: object) -> None:
    """Ask compute for what it waits for the end of; the answer is nobody's."""
    ask = threading.Thread(
        target=lambda: user.call("compute", "POST", path, json=body), daemon=True
    )
    ask.start()


def live_again(cloud: Cloud, recipes: Mapping[str, Recipe[Job]]) -> None:
    """A new life for every host that is up."""
    living = [host for host in cloud.hosts.values() if host.is_up]
    for host in living:
        host.stop()
        host.recipes = recipes
        host.start()
    for host in living:
        host.turn()


def check_done(cloud: Cloud, user: User, name: str, server_id: str) -> None:
    cloud.settle()
    status = STORIES[name].status
    assert user.status(server_id) == status, cloud.operations(server_id)[0]
    if status:
        server = user.server(server_id)
        assert server["OS-EXT-STS:task_state"] is None
        traces = cloud.traces(server_id)
        assert {"ports", "attachments", "volumes"} <= set(traces)
        on_a_host = status != "SHELVED_OFFLOADED"
        assert ("claim" in traces) == on_a_host
        assert set(traces["attachments"]) == {"attached" if on_a_host else "reserved"}
        assert len(traces["attachments"]) == len(traces["volumes"])
    if STORIES[name].recipe == "createImage:volumes":
        check_image_of_volumes(cloud, user, server_id)
    if name.startswith("live migration"):
        check_is_on_one_host(cloud, server_id)


def check_is_on_one_host(cloud: Cloud, server_id: str) -> None:
    """Its guest runs where the server's row, its claim and its ports say."""
    cloud.turn()
    found = {name: host.driver.get(server_id) for name, host in cloud.hosts.items()}
    running = [name for name, domain in found.items() if domain is not None]
    assert running == [cloud.server(server_id).host] == [cloud.claims()[server_id]]
    ports = cloud.service_clients().network.ports_of_server(server_id).value
    assert {port.host for port in ports} == set(running)
    assert [name for name in cloud.traces(server_id) if " on " in name] == [
        f"wired on {running[0]}"
    ]


def check_image_of_volumes(cloud: Cloud, user: User, server_id: str) -> None:
    """The image is whole and names a snapshot of every volume; then those are deleted."""
    operation = cloud.operations(server_id)[0]
    image = cloud.service_clients().own_image.image_get(operation.params["image_id"]).value
    named = [each["snapshot_id"] for each in json.loads(image.properties["block_device_mapping"])]
    assert image.status == "active"
    assert sorted(named) == sorted(snapshots(user))
    assert len(named) == 2
    for snapshot in named:
        user.ask("volume", "DELETE", f"/v3/{user.project_id}/snapshots/{snapshot}", 202)
    assert wait_until(lambda: not snapshots(user))


def snapshots(user: User) -> list[str]:
    found = user.ask("volume", "GET", f"/v3/{user.project_id}/snapshots", 200)["snapshots"]
    return [snapshot["id"] for snapshot in found]


def check_gone(cloud: Cloud, user: User, server_id: str) -> None:
    """The server can be deleted, and then there is nothing left of it anywhere."""
    for host in cloud.hosts.values():
        if not host.is_up:
            host.start()
    cloud.settle()
    assert snapshots(user) == []
    if user.status(server_id):
        user.delete(server_id)
    cloud.settle()
    assert user.status(server_id) == ""
    cloud.turn()  # a host that kept something for a revert hears of the delete
    assert cloud.traces(server_id) == {}
    for host in cloud.hosts.values():
        assert len(host.network.taps()) == len(host.network.ports())
    images = cloud.service_clients().own_image.images_by_properties().value
    assert [image.name for image in images if (image.name or "").startswith("minicloud")] == []
    assert [image.name for image in images if image.status != "active"] == []


@pytest.mark.parametrize(("name", "step", "after"), CASES)
def test_killed(cloud: Cloud, user: User, admin: User, name: str, step: str, after: bool) -> None:
    trouble = Trouble(Killed(), after=after)
    recipe = STORIES[name].recipe
    recipes = troubled(recipe, step, trouble)
    server_id = begin(cloud, user, admin, name, recipes)
    assert wait_until(trouble.happened.is_set)
    live_again(cloud, _failing_first(RECIPES, recipe))
    check_done(cloud, user, name, server_id)
    live_again(cloud, RECIPES)
    check_gone(cloud, user, server_id)


@pytest.mark.parametrize(("name", "step", "after"), CASES)
def test_failed(cloud: Cloud, user: User, admin: User, name: str, step: str, after: bool) -> None:
    trouble = Trouble(HostProblem(reason="the disk is on fire"), after=after)
    server_id = begin(cloud, user, admin, name, troubled(STORIES[name].recipe, step, trouble))
    assert wait_until(trouble.happened.is_set)
    if STORIES[name].recipe in RETRIED:
        live_again(cloud, RECIPES)  # it tries again at once in a new life
        check_done(cloud, user, name, server_id)
    else:
        cloud.settle()
        operation = cloud.operations(server_id)[0]
        assert operation.state == "failed"
        assert "the disk is on fire" in (operation.message or "")
        assert user.server(server_id)["OS-EXT-STS:task_state"] is None
    if name == "create":
        assert user.status(server_id) == "ERROR"
        assert "the disk is on fire" in user.server(server_id)["fault"]["message"]
        assert cloud.traces(server_id) == {}
    live_again(cloud, RECIPES)
    check_gone(cloud, user, server_id)


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("createImage", "record"),
        ("createImage", "copy"),
        ("createImage, of volumes", "record"),
        ("createImage, of volumes", "snapshots"),
        ("shelve", "upload"),
        ("migrate", "send"),
        ("migrate, finished", "fetch"),
        ("live migration, prepared", "ports"),
        ("live migration, prepared", "volumes"),
        ("live migration, moving", "guest"),
        ("live migration, arrived", "guest"),
        ("live migration, finished", "volumes"),
    ],
)
def test_deleted_in_the_middle(cloud: Cloud, user: User, admin: User, name: str, step: str) -> None:
    trouble = Trouble(Killed(), after=True)
    server_id = begin(cloud, user, admin, name, troubled(STORIES[name].recipe, step, trouble))
    assert wait_until(trouble.happened.is_set)
    user.delete(server_id)
    live_again(cloud, RECIPES)
    check_gone(cloud, user, server_id)


@pytest.mark.parametrize("name", STORIES)
def test_every_step_twice(cloud: Cloud, user: User, admin: User, name: str) -> None:
    recipe = STORIES[name].recipe
    recipes = _failing_first({**RECIPES, recipe: doubled(RECIPES[recipe])}, recipe)
    server_id = begin(cloud, user, admin, name, recipes)
    check_done(cloud, user, name, server_id)
    live_again(cloud, RECIPES)
    check_gone(cloud, user, server_id)


@pytest.mark.parametrize("name", ["create", "unshelve", "rescue", "resize, finished"])
def test_every_undo_twice(cloud: Cloud, user: User, admin: User, name: str) -> None:
    key = STORIES[name].recipe
    last = RECIPES[key].steps[-1].name
    trouble = Trouble(HostProblem(reason="the disk is on fire"), after=False)
    recipe = doubled(RECIPES[key])
    steps = [
        step._replace(do=trouble.around(step.do)) if step.name == last else step
        for step in recipe.steps
    ]
    server_id = begin(cloud, user, admin, name, {**RECIPES, key: Recipe(key, steps)})
    cloud.settle()
    assert cloud.operations(server_id)[0].state == "failed"
    live_again(cloud, RECIPES)
    check_gone(cloud, user, server_id)
