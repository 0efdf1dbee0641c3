"""The real ``openstack`` client as one user, many commands in one process: each spares the start.

osc-lib keeps a service's client for the life of its process, so every user has a process of their
own. As a program it runs the commands that come as lines of JSON, and answers each with a line.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from typing import Any

CONFIG = "/etc/minicloud/clouds.yaml"


class Client:
    """``client("image", "list")``: what the command prints. Close it."""

    def __init__(self, cloud: str) -> None:
        self._worker = subprocess.Popen(
            [sys.executable, __file__, cloud], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "OS_CLIENT_CONFIG_FILE": CONFIG},
        )  # fmt: skip

    def __call__(self, *words: str) -> str:
        """AssertionError with the command's own words when it fails."""
        assert self._worker.stdin is not None
        assert self._worker.stdout is not None
        self._worker.stdin.write(json.dumps(words) + "\n")
        self._worker.stdin.flush()
        status, out, err = json.loads(self._worker.stdout.readline())
        assert status == 0, f"{words}: {err}{out}"
        return str(out)

    def json(self, *words: str) -> Any:
        return json.loads(self(*words, "-f", "json"))

    def close(self) -> None:
        self._worker.kill()
        self._worker.wait()


def main(cloud: str) -> None:
    from openstackclient import shell

    commands, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    # A terminal, where nobody types: what is no terminal, the client takes for an image's data.
    os.dup2(os.openpty()[1], 0)
    sys.stdin = os.fdopen(0)
    for line in commands:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                status = shell.OpenStackShell().run(["--os-cloud", cloud, *json.loads(line)])
            except SystemExit as wrong:  # words that argparse does not take
                status = wrong.code or 0
        answers.write(json.dumps([status, out.getvalue(), err.getvalue()]) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
