"""Every step of every recipe: failed, repeated, and killed before and after.

Generic over ``RECIPES``: a new recipe is covered by being in that table, once ``BEGIN`` says how a
user begins its verb. A kill is an exception that nothing in the daemon catches; the host then
begins a new life on what the old one left. (Real processes are killed in tests/clients.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

import pytest
from cloud import Cloud, running, wait_until
from user import User

from minicloud.compute.recipes import RECIPES, Job
from minicloud.domain.errors import HostProblem
from minicloud.domain.states import VERBS, status
from minicloud.kit.operations import Recipe, Step

BEGIN: Mapping[str, Callable[[User, str], object]] = {
    "delete": lambda user, server: user.delete(server),
    "start": lambda user, server: user.act(server, os_start={}),
    "stop": lambda user, server: user.act(server, os_stop={}),
    "reboot": lambda user, server: user.act(server, reboot={"type": "SOFT"}),
    "reboot_hard": lambda user, server: user.act(server, reboot={"type": "HARD"}),
}
STEPS = [(verb, step.name) for verb, recipe in RECIPES.items() for step in recipe.steps]


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


def troubled(verb: str, name: str, trouble: Trouble) -> Mapping[str, Recipe[Job]]:
    steps = [
        step._replace(do=trouble.around(step.do)) if step.name == name else step
        for step in RECIPES[verb].steps
    ]
    return {**RECIPES, verb: Recipe(verb, steps)}


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
    with running(tmp_path_factory.mktemp("recipes"), place_wait_s=0.3) as cloud:
        yield cloud


@pytest.fixture(scope="module")
def user(cloud: Cloud) -> User:
    return cloud.user()


def launch(cloud: Cloud, user: User) -> str:
    """A server with a second disk: a volume that goes with it."""
    disk = {
        "boot_index": 0, "uuid": cloud.image_id, "source_type": "image",
        "destination_type": "local",
    }  # fmt: skip
    blank = {
        "boot_index": -1, "source_type": "blank", "destination_type": "volume", "volume_size": 1,
        "delete_on_termination": True,
    }  # fmt: skip
    server_id: str = user.launch(cloud.image_id, block_device_mapping_v2=[disk, blank])
    return server_id


def begin(cloud: Cloud, user: User, verb: str, recipes: Mapping[str, Recipe[Job]]) -> str:
    """A server on which ``verb`` is under way on a host that has ``recipes``."""
    host = cloud.hosts["lab1"]
    if verb == "create":
        live_again(cloud, recipes)
        return launch(cloud, user)
    server_id = launch(cloud, user)
    cloud.settle()
    assert user.status(server_id) == "ACTIVE", user.server(server_id)
    if verb == "start":
        BEGIN["stop"](user, server_id)
        cloud.settle()
    live_again(cloud, recipes)
    assert host.is_up
    BEGIN[verb](user, server_id)
    return server_id


def live_again(cloud: Cloud, recipes: Mapping[str, Recipe[Job]]) -> None:
    host = cloud.hosts["lab1"]
    host.stop()
    host.recipes = recipes
    host.start()
    host.turn()


def check_done(cloud: Cloud, user: User, verb: str, server_id: str) -> None:
    cloud.settle()
    if verb == "delete":
        assert user.status(server_id) == ""
    else:
        assert user.status(server_id) == status(VERBS[verb].ok, None), user.server(server_id)
        assert {"ports", "attachments", "volumes", "claim"} <= set(cloud.traces(server_id))


def check_gone(cloud: Cloud, user: User, server_id: str) -> None:
    """The server can be deleted, and then there is nothing left of it anywhere."""
    if user.status(server_id):
        user.delete(server_id)
    cloud.settle()
    assert user.status(server_id) == ""
    assert cloud.traces(server_id) == {}
    host = cloud.hosts["lab1"]
    assert len(host.network.taps()) == len(host.network.ports())


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("verb", "name"), STEPS)
def test_killed(cloud: Cloud, user: User, verb: str, name: str, after: bool) -> None:
    trouble = Trouble(Killed(), after=after)
    server_id = begin(cloud, user, verb, troubled(verb, name, trouble))
    assert wait_until(trouble.happened.is_set)
    live_again(cloud, RECIPES)
    check_done(cloud, user, verb, server_id)
    check_gone(cloud, user, server_id)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("verb", "name"), STEPS)
def test_failed(cloud: Cloud, user: User, verb: str, name: str, after: bool) -> None:
    trouble = Trouble(HostProblem(reason="the disk is on fire"), after=after)
    server_id = begin(cloud, user, verb, troubled(verb, name, trouble))
    assert wait_until(trouble.happened.is_set)
    if verb == "delete":
        live_again(cloud, RECIPES)  # it tries again at once in a new life
        check_done(cloud, user, verb, server_id)
    else:
        cloud.settle()
        operation = cloud.operations(server_id)[0]
        assert operation.state == "failed"
        assert "the disk is on fire" in (operation.message or "")
        assert user.server(server_id)["OS-EXT-STS:task_state"] is None
    if verb == "create":
        assert user.status(server_id) == "ERROR"
        assert "the disk is on fire" in user.server(server_id)["fault"]["message"]
        assert cloud.traces(server_id) == {}
    live_again(cloud, RECIPES)
    check_gone(cloud, user, server_id)


@pytest.mark.parametrize("verb", RECIPES)
def test_every_step_twice(cloud: Cloud, user: User, verb: str) -> None:
    server_id = begin(cloud, user, verb, {**RECIPES, verb: doubled(RECIPES[verb])})
    check_done(cloud, user, verb, server_id)
    live_again(cloud, RECIPES)
    check_gone(cloud, user, server_id)


def test_every_undo_twice(cloud: Cloud, user: User) -> None:
    last = RECIPES["create"].steps[-1].name
    trouble = Trouble(HostProblem(reason="the disk is on fire"), after=True)
    recipe = doubled(RECIPES["create"])
    steps = [
        step._replace(do=trouble.around(step.do)) if step.name == last else step
        for step in recipe.steps
    ]
    server_id = begin(cloud, user, "create", {**RECIPES, "create": Recipe("create", steps)})
    cloud.settle()
    assert user.status(server_id) == "ERROR"
    assert cloud.traces(server_id) == {}
    live_again(cloud, RECIPES)
    check_gone(cloud, user, server_id)
