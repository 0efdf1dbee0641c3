"""Running the machine's own programs, with a failure a person can act on."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from minicloud.deploy.stage import StageFailed

_LAST_LINES = 6


def run(
    command: Sequence[str | Path],
    *,
    given: str = "",
    timeout_s: float = 120.0,
    environment: Mapping[str, str] | None = None,
    advice: str = "",
) -> str:
    """Standard output of ``command``; ``given`` goes to its standard input.

    Raises StageFailed with the end of what it wrote where it cannot be run, ends with another
    status than 0, or takes longer than ``timeout_s`` seconds. Secrets belong in ``given``.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            input=given,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            env=None if environment is None else dict(environment),
        )
    except subprocess.TimeoutExpired as error:
        raise StageFailed(
            f"{' '.join(words)} did not end within {timeout_s:g} s.", advice=advice
        ) from error
    except OSError as error:
        raise StageFailed(f"{words[0]} cannot be run.", error.strerror or "", advice) from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()[-_LAST_LINES:]
        why = " / ".join(said) or f"it ended with status {done.returncode}"
        raise StageFailed(f"{' '.join(words)} failed.", why, advice)
    return done.stdout


def succeeds(command: Sequence[str | Path], *, timeout_s: float = 30.0) -> bool:
    """Whether ``command`` can be run and ends with status 0."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
