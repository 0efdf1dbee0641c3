"""The ``openstack`` command in this process: starting Python anew costs a second a call."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shlex
from collections.abc import Iterator
from typing import Any

from openstackclient.shell import OpenStackShell
from osc_lib.clientmanager import ClientCache, ClientManager


class Client:
    """One account's command line. ``words``: the options that say where and who."""

    def __init__(self, *words: str) -> None:
        self._words = list(words)

    def run(self, line: str) -> str:
        """What the command prints. AssertionError with its words where it fails."""
        status, out, err = self._call(shlex.split(line))
        assert status == 0, f"openstack {line}\n{out}\n{err}"
        return out.strip()

    def json(self, line: str) -> Any:
        return json.loads(self.run(f"{line} -f json"))

    def fails(self, line: str) -> str:
        """What the command, which must fail, says."""
        status, out, err = self._call(shlex.split(line))
        assert status != 0, f"openstack {line}\n{out}"
        return out + err

    def _call(self, words: list[str]) -> tuple[int, str, str]:
        # The client keeps its connections on a class, as a process has one user.
        for kept in vars(ClientManager).values():
            if isinstance(kept, ClientCache):
                kept._handle = None
        out, err = io.StringIO(), io.StringIO()
        with _logging_kept(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = OpenStackShell().run([*self._words, *words])
            except SystemExit as end:  # argparse
                status = int(end.code or 0) if not isinstance(end.code, str) else 2
        return status, out.getvalue(), err.getvalue()


@contextlib.contextmanager
def _logging_kept() -> Iterator[None]:
    """The command sets logging up anew, and writes to streams that are gone afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:], root.level = handlers, level
