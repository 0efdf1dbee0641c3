"""Regular expressions that users write: matched in time linear in the text, whatever they say.

RE2's syntax: no back-references, nothing that looks around.
"""

from __future__ import annotations

import functools
from typing import Any


@functools.lru_cache(maxsize=64)
def compiled(pattern: str) -> Any:
    """Has ``search(text)``. ValueError: it is no pattern, or one that would take much memory."""
    # Most daemons never meet one, and the library takes 3 MB.
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return re2.compile(pattern, options=options)
    except re2.error as problem:
        raise ValueError("not a pattern") from problem


def found(pattern: str | None, text: str | None) -> bool | None:
    """Whether ``text`` has what ``pattern`` says: SQL's REGEXP, where NULL is neither."""
    if pattern is None or text is None:
        return None
    return compiled(pattern).search(text) is not None
