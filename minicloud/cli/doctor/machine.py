"""The machine that is looked at: who looks, and what its minicloud is configured to be.

The daemons' files are read as the daemons read them. Where there are none, or where this user
may not read them, options have their defaults and the checks that need more say so.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from minicloud.cli.doctor.finding import Finding, fail, ok, unknown

AS_ROOT = "Run minicloud doctor as root."
NO_CLOUD = "'sudo tools/up' sets a cloud up on this machine."
_LIMIT_S = 10


class Machine:
    def __init__(self) -> None:
        self._loaded: dict[str, Any] = {}

    @cached_property
    def is_root(self) -> bool:
        return os.geteuid() == 0

    @cached_property
    def config_dir(self) -> Path:
        from minicloud import conf

        return Path(os.environ.get("MINICLOUD_CONFIG_DIR", conf.CONFIG_DIR))

    @cached_property
    def configuration(self) -> Finding:
        """Whether there is one and can be read."""
        from minicloud import conf

        try:
            if not (self.config_dir / "minicloud.conf").exists():
                return unknown(f"There is no minicloud.conf in {self.config_dir}.", NO_CLOUD)
            for daemon in conf.DAEMONS:
                self._loaded[daemon] = _read(daemon)
        except PermissionError as problem:
            return unknown(f"{problem.filename} is not for this user to read.", AS_ROOT)
        except ValueError as problem:
            self._loaded.clear()
            return fail(" ".join(str(problem).split()), f"Mend the file in {self.config_dir}.")
        return ok(f"{self.config_dir} is complete and can be read.")

    @property
    def has_configuration(self) -> bool:
        return self.configuration.status == "ok"

    def option(self, group: str, name: str, daemon: str = "compute") -> Any:
        """The option as ``daemon`` reads it, or its default where nobody can tell. ValueError."""
        if self.has_configuration:
            options = self._loaded[daemon]
            found = options if group == "DEFAULT" else getattr(options, group)
            return getattr(found, name)
        from minicloud import conf

        return next(o.default for o in dict(conf.list_opts())[group] if o.name == name)


def _read(daemon: str) -> Any:
    """The daemon's options. ValueError with words on what is wrong in the file."""
    from oslo_config import cfg

    from minicloud import conf

    try:
        return conf.load(daemon)
    except cfg.ConfigFilesPermissionDeniedError as problem:
        raise PermissionError(13, "Permission denied", str(problem).split()[-1]) from problem
    except cfg.Error as problem:
        raise ValueError(str(problem)) from problem


def run(argv: Sequence[str]) -> str | None:
    """What a program prints; None where it is not installed or fails."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=_LIMIT_S, check=False,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
