"""The real ``openstack`` command, in this process: to start Python for each costs seconds."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from openstackclient.shell import OpenStackShell
from osc_lib import utils
from osc_lib.clientmanager import ClientCache, ClientManager


class CommandLine:
    """One account's ``openstack``. Each command is given as ``line``, whose words are split as a
    shell would, and ``words`` that follow as they are.
    """

    def __init__(self, *options: str, config: Path | None = None) -> None:
        """``options``: where and who, before each command. ``config``: a ``clouds.yaml``."""
        self._options = options
        self._config = config

    def __call__(self, line: str, *words: str) -> str:
        """What the command prints. AssertionError with its words where it fails."""
        status, out, err = self._run([*shlex.split(line), *words])
        assert status == 0, f"openstack {line} {shlex.join(words)}\n{out}\n{err}"
        return out.strip()

    def json(self, line: str, *words: str) -> Any:
        return json.loads(self(line, *words, "-f", "json"))

    def refused(self, line: str, *words: str) -> str:
        """What the command, which must fail, says."""
        status, out, err = self._run([*shlex.split(line), *words])
        assert status != 0, f"openstack {line} {shlex.join(words)}\n{out}"
        return out + err

    def _run(self, words: list[str]) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            _own_process(self._config),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            try:
                status = OpenStackShell().run([*self._options, *words])
            except SystemExit as end:  # argparse
                status = end.code if isinstance(end.code, int) else 2
        return status, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def _own_process(config: Path | None) -> Iterator[None]:
    """What a command finds in a process of its own and leaves behind there."""
    terminal, keyboard = os.openpty()
    with (
        pytest.MonkeyPatch.context() as patch,
        warnings.catch_warnings(),
        os.fdopen(terminal), os.fdopen(keyboard) as stdin,
    ):  # fmt: skip
        for name in list(os.environ):
            if name.startswith("OS_"):
                patch.delenv(name)
        patch.setenv("OS_CLIENT_CONFIG_FILE", str(config or os.devnull))
        # The client takes what is no terminal for an image's data.
        patch.setattr(sys, "stdin", stdin)
        # It keeps its connections on a class, as a process has one user.
        for kept in vars(ClientManager).values():
            if isinstance(kept, ClientCache):
                patch.setattr(kept, "_handle", None)
        # It looks at what it waits for every five seconds.
        patch.setattr(utils, "wait_for_status", partial(utils.wait_for_status, sleep_time=0.2))
        patch.setattr(logging.root, "handlers", [])  # what it logs is no part of a report
        patch.setattr(logging.root, "level", logging.root.level)
        yield
