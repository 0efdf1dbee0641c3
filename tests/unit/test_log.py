"""What the log makes of what clients may put into it."""

from __future__ import annotations

import io
import json
import logging
import threading
from collections.abc import Iterator

import pytest

from minicloud.kit import log


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What is logged; the root logger is as before afterwards."""
    root = logging.getLogger()
    handlers, level, hook = root.handlers[:], root.level, threading.excepthook
    written = io.StringIO()
    yield written
    root.handlers[:] = handlers
    root.setLevel(level)
    threading.excepthook = hook


@pytest.mark.parametrize("style", ["text", "json"])
def test_an_event_is_one_line_whatever_a_client_names(lines: io.StringIO, style: str) -> None:
    log.setup("test", host="h", level="INFO", style=style)
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(lines)
    name = "a\nb\r\x1b[2J\x85\u2028c\td\u00e4"
    logging.getLogger("x").info("Refused %s", name)
    text = lines.getvalue()
    assert len(text.splitlines()) == 1
    if style == "json":
        text = json.loads(text)["message"]
    assert "a\\x0ab\\x0d\\x1b[2J\\x85\\x2028c\td\u00e4" in text


def test_a_traceback_keeps_its_lines(lines: io.StringIO) -> None:
    log.setup("test", host="h", level="INFO", style="text")
    handler = logging.getLogger().handlers[0]
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(lines)
    try:
        raise ValueError("x")
    except ValueError:
        logging.getLogger("x").exception("Failed")
    assert "\nTraceback (most recent call last):\n" in lines.getvalue()
