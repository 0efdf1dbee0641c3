"""Looking again at what is waited for, while its service is away for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from minicloud.domain.errors import Unavailable

_T = TypeVar("_T")
_PAUSE_S = 0.5


def patiently(look: Callable[[], _T], *, limit_s: float = 30) -> _T:
    """What ``look`` returns. Unavailable when it has been so for ``limit_s`` seconds.

    For looks alone: what changes something may have done so before its answer was lost.
    """
    give_up_at = time.monotonic() + limit_s
    while True:
        try:
            return look()
        except Unavailable:
            if time.monotonic() > give_up_at:
                raise
        time.sleep(_PAUSE_S)
