"""Tools of others on data of users, under limits."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection, Sequence

_MEMORY = 1 << 30
"""Of data: qemu-img has up to 64 threads, whose address space alone is more."""


def run(
    argv: Sequence[str], *, limit_s: int, outlives: bool = False, keep: Collection[int] = ()
) -> subprocess.CompletedProcess[bytes]:
    """``limit_s``: of its processors' time; it may wait as long again. It ends with this process,
    whose successor begins anew, unless it ``outlives`` it and its group. ``keep``: descriptors
    that it inherits. OSError, subprocess.TimeoutExpired.
    """
    fate = [] if outlives else ["setpriv", "--pdeathsig=KILL"]
    bounds = ["prlimit", f"--data={_MEMORY}", f"--cpu={limit_s}", "--core=0"]
    return subprocess.run(
        [*fate, *bounds, *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=2 * limit_s,
        env={**os.environ, "LC_ALL": "C", "TZ": "UTC0"},
        pass_fds=tuple(keep),
        start_new_session=outlives,
    )


def complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    """Why it failed: the last line of what it said."""
    words = done.stderr.decode(errors="replace").strip().splitlines()
    return words[-1][-300:] if words else f"exit status {done.returncode}"
