"""The CLI starts with little, and completes words without much."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from fake_cloud import environment, fake_cloud

_HEAVY = "requests", "yaml", "msgspec", "cryptography", "oslo_config", "minicloud.client.rest"
_SHOW = """
import sys
sys.argv = ["minicloud", *{words!r}]
from minicloud.cli.main import main
try:
    main()
except SystemExit:
    pass
print(sorted(set({heavy!r}) & set(sys.modules)), file=sys.stderr)
"""


def _loaded(*words: str, **env: str) -> tuple[str, str]:
    """(what it printed, which of the heavy modules it loaded)"""
    done = subprocess.run(
        [sys.executable, "-c", _SHOW.format(words=words, heavy=_HEAVY)],
        capture_output=True, text=True, check=True, env={**os.environ, **env},
    )  # fmt: skip
    return done.stdout, done.stderr.strip()


@pytest.mark.parametrize(
    "words", [("--help",), ("--version",), ("launch", "--help"), ("image", "create", "-h"),
              ("doctor", "--help"), ("completion", "bash")],
)  # fmt: skip
def test_help_loads_nothing_heavy(words: tuple[str, ...]) -> None:
    printed, loaded = _loaded(*words)
    assert printed
    assert loaded == "[]"


def test_help_names_every_command() -> None:
    printed, _ = _loaded("--help")
    for name in ("launch", "ssh", "trace", "image", "doctor", "completion"):
        assert f"\n  {name} " in printed


def test_completing_a_command_loads_nothing_heavy() -> None:
    printed, loaded = _loaded(
        _MINICLOUD_COMPLETE="bash_complete", COMP_WORDS="minicloud l", COMP_CWORD="1"
    )
    assert [line.split(",")[1] for line in printed.split()] == ["launch", "list", "log"]
    assert loaded == "[]"


def test_names_of_servers_are_completed() -> None:
    with fake_cloud() as cloud:
        for name in ("web", "web2", "db"):
            cloud.add_server(name)
        printed, _ = _loaded(
            _MINICLOUD_COMPLETE="bash_complete", COMP_WORDS="minicloud show w", COMP_CWORD="2",
            **environment(cloud),
        )  # fmt: skip
    assert [line.split(",")[1] for line in printed.split()] == ["web", "web2"]


def test_without_a_cloud_nothing_is_completed_and_nothing_is_said() -> None:
    printed, _ = _loaded(
        _MINICLOUD_COMPLETE="bash_complete", COMP_WORDS="minicloud show w", COMP_CWORD="2",
        OS_CLOUD="nowhere",
    )  # fmt: skip
    assert printed.strip() == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_there_is_a_script_for_each_shell(shell: str) -> None:
    printed, _ = _loaded("completion", shell)
    assert "_MINICLOUD_COMPLETE" in printed


def test_a_reader_that_leaves_is_no_error() -> None:
    done = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m minicloud.cli.main --help | head -n 1"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("Usage")
    assert done.stderr == ""


def test_wrong_usage_is_exit_code_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "minicloud.cli.main", "lunch"], capture_output=True, check=False
    )
    assert done.returncode == 2
