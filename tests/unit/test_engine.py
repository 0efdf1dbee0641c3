"""The engine: forward, back, patient, and obedient when cancelled."""

import threading

from minicloud.domain.errors import HostProblem, Unavailable
from minicloud.kit.operations import Recipe, Step, run, unwind


class Notes:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def started(self, step: str) -> None:
        self.lines.append(f"+{step}")

    def finished(self, step: str, *, problem: str | None) -> None:
        self.lines.append(f"-{step}" + (f": {problem}" if problem else ""))


class World:
    """What the steps make, and how often they were asked."""

    def __init__(self) -> None:
        self.made: set[str] = set()
        self.asked: list[str] = []
        self.faults: dict[str, list[Exception]] = {}

    def do(self, name: str):
        def step(world: "World") -> None:
            world.asked.append(name)
            world.made.add(name)
            if world.faults.get(name):
                raise world.faults[name].pop(0)

        return step

    def undo(self, name: str):
        def step(world: "World") -> None:
            world.asked.append(f"undo {name}")
            if world.faults.get(f"undo {name}"):
                raise world.faults[f"undo {name}"].pop(0)
            world.made.discard(name)

        return step


def recipe(world: World, *names: str) -> Recipe:
    return Recipe("test", [Step(n, world.do(n), world.undo(n)) for n in names])


def go(world: World, *names: str, cancelled: threading.Event | None = None, patience_s: float = 5):
    notes = Notes()
    ended = run(
        recipe(world, *names), world, journal=notes,
        cancelled=cancelled or threading.Event(), patience_s=patience_s,
    )  # fmt: skip
    return ended, notes.lines


def test_all_steps_in_order() -> None:
    world = World()
    ended, lines = go(world, "a", "b")
    assert ended.result == "done"
    assert world.made == {"a", "b"}
    assert lines == ["+a", "-a", "+b", "-b"]


def test_a_failure_undoes_everything_also_what_never_ran() -> None:
    world = World()
    world.faults["b"] = [HostProblem(reason="no disk")]
    ended, lines = go(world, "a", "b", "c")
    assert ended.result == "failed"
    assert ended.message == "b: no disk"
    assert world.made == set()
    assert world.asked == ["a", "b", "undo c", "undo b", "undo a"]
    assert "-b: b: no disk" in lines


def test_an_unforeseen_error_shows_its_kind_and_no_more() -> None:
    world = World()
    world.faults["a"] = [ValueError("secret")]
    ended, _ = go(world, "a")
    assert ended.message == "a: ValueError"


def test_a_failed_undo_is_stuck_but_the_rest_is_undone() -> None:
    world = World()
    world.faults["c"] = [HostProblem(reason="x")]
    world.faults["undo b"] = [HostProblem(reason="held")]
    ended, _ = go(world, "a", "b", "c")
    assert ended.result == "stuck"
    assert ended.message == "undo:b: held"
    assert world.made == {"b"}
    assert unwind(recipe(world, "a", "b", "c"), world, journal=Notes()).result == "failed"
    assert world.made == set()


def test_a_service_that_is_away_is_asked_again() -> None:
    world = World()
    world.faults["a"] = [Unavailable(service="image", reason="x")] * 2
    ended, _ = go(world, "a", "b")
    assert ended.result == "done"
    assert world.asked == ["a", "a", "a", "b"]


def test_patience_ends() -> None:
    world = World()
    world.faults["a"] = [Unavailable(service="image", reason="x")] * 9
    ended, _ = go(world, "a", patience_s=0)
    assert ended.result == "failed"
    assert "image is not reachable" in ended.message


def test_a_cancelled_run_stops_before_its_next_step_and_undoes_nothing() -> None:
    world, cancelled = World(), threading.Event()
    base = recipe(world, "a", "b")
    stopping = Recipe("test", [Step("a", lambda w: cancelled.set()), *base.steps])
    ended = run(stopping, world, journal=Notes(), cancelled=cancelled)
    assert ended.result == "cancelled"
    assert world.asked == []


def test_a_run_cancelled_while_its_last_step_waits_is_not_done() -> None:
    world, cancelled = World(), threading.Event()
    world.faults["b"] = [Unavailable(service="volume", reason="x")] * 99

    def give_up(world: World) -> None:
        threading.Timer(0.05, cancelled.set).start()

    steps = [Step("a", give_up), *recipe(world, "b").steps]
    ended = run(Recipe("test", steps), world, journal=Notes(), cancelled=cancelled)
    assert (ended.result, ended.step) == ("cancelled", "b")
    assert "undo b" not in world.asked
