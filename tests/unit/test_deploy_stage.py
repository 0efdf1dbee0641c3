"""The run of the stages, as a person sees it."""

from __future__ import annotations

import io
import re
import subprocess
from pathlib import Path

from minicloud.deploy import up
from minicloud.deploy.stage import Stage, StageFailed, describe, run_stages, tail

REPOSITORY = Path(__file__).parents[2]


def test_each_stage_is_one_line_with_its_duration() -> None:
    out = io.StringIO()
    assert run_stages(
        [Stage("RabbitMQ", lambda: "running"), Stage("libvirt", lambda: "started")],
        first=3,
        total=12,
        out=out,
    )
    first, second = out.getvalue().splitlines()
    assert re.fullmatch(r"\[ 3/12\] RabbitMQ \.{16} running +0\.0 s", first)
    assert re.fullmatch(r"\[ 4/12\] libvirt \.{17} started +0\.0 s", second)


def test_a_failure_ends_the_run_and_says_what_to_do(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("".join(f"line {n}\n" for n in range(100)))

    def fail() -> str:
        raise StageFailed("It broke.", "a reason", "an advice", log)

    out = io.StringIO()
    assert not run_stages([Stage("one", fail), Stage("two", lambda: "done")], out=out)
    said = out.getvalue()
    for words in ("failed", "It broke.", "a reason", "an advice", str(log), "line 99"):
        assert words in said
    assert "line 50" not in said
    assert "two" not in said


def test_beginnings_come_first_and_their_failure_is_told_in_turn() -> None:
    order: list[str] = []

    def begin_badly() -> None:
        order.append("begin two")
        raise StageFailed("Two broke.")

    def one() -> str:
        order.append("one")
        return ""

    out = io.StringIO()
    assert not run_stages([Stage("one", one), Stage("two", one, begin_badly)], out=out)
    assert order == ["begin two", "one"]
    assert "Two broke." in out.getvalue()


def test_a_missing_or_empty_log_is_said_to_be_so(tmp_path: Path) -> None:
    assert "cannot be read" in tail(tmp_path / "none", 5)[0]
    (tmp_path / "empty").touch()
    assert tail(tmp_path / "empty", 5) == ["(it is empty)"]
    assert "again" in describe(StageFailed("x"))


def test_the_shell_part_counts_and_prints_the_stages_alike() -> None:
    script = f"""
        . {REPOSITORY}/tools/bootstrap.sh
        work() {{ OUTCOME=running; }}
        stage 3 RabbitMQ work
        echo $STAGES
    """
    done = subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True)
    line, count = done.stdout.splitlines()
    assert int(count) == up.STAGES
    out = io.StringIO()
    run_stages([Stage("RabbitMQ", lambda: "running")], first=3, total=up.STAGES, out=out)
    assert line == out.getvalue().rstrip("\n")
