"""Stage: the demo guest's image file. Builds it while other stages run."""

from __future__ import annotations

import subprocess
from pathlib import Path

from minicloud.deploy import files, processes
from minicloud.deploy.places import Places
from minicloud.deploy.stage import StageFailed

_LIMIT_S = 600.0


class DemoImage:
    def __init__(self, places: Places, checkout: Path) -> None:
        self._file = places.demo_image
        self._log = places.log("image-build")
        self._builder = checkout / "tools" / "build-image"
        self._build: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        if self._build is None and not self._file.exists():
            files.directory(self._file.parent, mode=0o755)
            self._build = processes.start_detached(
                # The person waits for the other stages first.
                ["nice", self._builder, "--cache", self._file.parent, self._file],
                log=self._log,
            )

    def ensure(self) -> str:
        if self._file.exists() and self._build is None:
            return "in the cache"
        self.begin()
        assert self._build is not None
        try:
            status = self._build.wait(_LIMIT_S)
        except subprocess.TimeoutExpired as error:
            self._build.terminate()
            raise StageFailed(
                f"The demo image was not built within {_LIMIT_S:g} s.", log=self._log
            ) from error
        self._build = None
        if status != 0 or not self._file.exists():
            raise StageFailed(
                "The demo image could not be built.",
                advice="it needs the distribution's package archive; try apt-get update",
                log=self._log,
            )
        return f"built, {self._file.stat().st_size / 1e6:.0f} MB"
