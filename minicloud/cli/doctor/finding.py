"""What a check found."""

from __future__ import annotations

from typing import NamedTuple

OK, WARN, FAIL, UNKNOWN = "ok", "warn", "fail", "unknown"
STATUSES = (OK, WARN, FAIL, UNKNOWN)


class Finding(NamedTuple):
    status: str
    """ok; warn: it works, but worse than it could; fail: it will not work; unknown: not seen."""
    sentence: str
    mend: str = ""
    """What to do about it; of an unknown, how to see more."""


def ok(sentence: str) -> Finding:
    return Finding(OK, sentence)


def warn(sentence: str, mend: str) -> Finding:
    return Finding(WARN, sentence, mend)


def fail(sentence: str, mend: str) -> Finding:
    return Finding(FAIL, sentence, mend)


def unknown(sentence: str, mend: str = "") -> Finding:
    return Finding(UNKNOWN, sentence, mend)
