"""Tools that kill who calls them at a chosen start: for what must survive that anywhere."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

_KILLER = """#!/bin/bash
# Stands before a tool: in its KILL_AT-th start of any of them it does only KEEP lines of its
# input, or nothing, and kills who called it.
echo x >> "$KILL_DIR/starts"
if [ "$(wc -l < "$KILL_DIR/starts")" = "$KILL_AT" ]; then
    case " $* " in *" -batch - "*) head -n "$KEEP" | {tool} "$@" ;; esac
    kill -KILL $PPID
    exit 1
fi
exec {tool} "$@"
"""


def killers(directory: Path) -> Path:
    """A directory with such tools in place of those that networking calls."""
    tools = directory / "tools"
    tools.mkdir()
    for tool in ("ip", "nft", "dnsmasq", "bridge"):
        real = next(path for path in (Path("/usr/sbin"), Path("/sbin")) if (path / tool).exists())
        (tools / tool).write_text(_KILLER.format(tool=real / tool))
        (tools / tool).chmod(0o755)
    return tools


def kill_at(at: int, tools: Path, program: str, *arguments: str, keep: str = "0") -> bool:
    """Run a Python program that is killed at the ``at``-th start of a tool, which then does only
    ``keep`` lines of its input; whether it came that far.
    """
    (tools / "starts").unlink(missing_ok=True)
    victim = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={
            **os.environ,
            "PATH": f"{tools}:{os.environ['PATH']}",
            "KILL_DIR": str(tools),
            "KILL_AT": str(at),
            "KEEP": keep,
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        check=False,
        capture_output=True,
        text=True,
    )
    assert victim.returncode in (0, -signal.SIGKILL), victim.stderr
    return victim.returncode != 0
