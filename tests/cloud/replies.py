"""Whether answers of the Compute API are what its types of replies say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import requests

from minicloud.api.replies import REPLIES

_PATHS = sorted({key.partition("#")[0] for key in REPLIES}, key=lambda key: (key.count("{"), key))
_KNOWN = [(key, re.compile(re.sub(r"\{\w+\}", "[^/]+", key))) for key in _PATHS]


def check_reply(method: str, path: str, sent: Any, answer: requests.Response) -> None:
    """Assert that a good answer in the newest microversion is of its type. ``path``: below
    the version.
    """
    said = f"{method} {path.partition('?')[0].rstrip('/')}"
    key = next((key for key, pattern in _KNOWN if pattern.fullmatch(said)), None)
    if key is None or not 200 <= answer.status_code < 300:
        return
    if key.endswith("/action"):
        key += "#" + next(iter(sent if isinstance(sent, Mapping) else {}))
    kind = REPLIES[key]
    if kind is None:
        assert answer.content == b"", f"{key} answers {answer.text}"
        return
    try:
        msgspec.convert(answer.json(), kind)
    except msgspec.ValidationError as problem:
        raise AssertionError(f"{key}: {problem}: {answer.text}") from None
