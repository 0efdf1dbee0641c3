"""Stage: a first server, launched with the CLI as a person would, and its trace."""

from __future__ import annotations

import json
import subprocess

from minicloud.deploy.places import Places
from minicloud.deploy.seed import IMAGE
from minicloud.deploy.stage import StageFailed

SERVER = "first"


class FirstLaunch:
    def __init__(self, places: Places) -> None:
        self._minicloud = str(places.program("minicloud"))
        self._log = places.log("compute")

    def ensure(self) -> str:
        """There is a server named ``first`` that answers ssh."""
        servers = json.loads(self._ask("list", "-o", "json"))
        if any(server["status"] == "ACTIVE" for server in servers):
            return "there are servers already"
        for server in servers:
            if server["name"] == SERVER:  # of a run that failed
                self._ask("delete", server["id"])
        done = self._run("launch", IMAGE, SERVER, "--flavor", "m1.nano", "--wait=ssh", "-q")
        if done.returncode != 0:
            raise StageFailed(
                "The first server did not come up.",
                done.stderr.strip(),
                f"minicloud show {SERVER}; minicloud log {SERVER}; minicloud trace {SERVER}",
                self._log,
            )
        return f"server '{SERVER}' answers ssh"

    def trace(self) -> str:
        """The trace of the first server as text; "" where it is gone."""
        done = self._run("trace", SERVER)
        return done.stdout if done.returncode == 0 else ""

    def _ask(self, *words: str) -> str:
        done = self._run(*words)
        if done.returncode != 0:
            raise StageFailed("The cloud does not answer its CLI.", done.stderr.strip())
        return done.stdout.strip()

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self._minicloud, "--cloud", "minicloud", *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
