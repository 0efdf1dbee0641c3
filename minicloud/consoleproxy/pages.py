"""noVNC's files where the distribution's package or an unpacked one has them; else what to do."""

from __future__ import annotations

import mimetypes
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_LARGEST = 4 << 20
_TYPES = {".js": "text/javascript", ".html": "text/html; charset=utf-8"}
_HELP = """\
<!DOCTYPE html>
<title>minicloud consoles</title>
<h1>minicloud consoles</h1>
<p>{words}</p>
"""
_WELCOME = "Ask the compute API for a console: <code>openstack console url show SERVER</code>."
_MISSING = """\
noVNC is not installed on this machine. Either <code>apt-get install novnc</code>, or just its
pages: <code>apt-get download novnc &amp;&amp; dpkg-deb -x novnc_*.deb /opt/minicloud/novnc</code>
and <code>novnc_dir = /opt/minicloud/novnc/usr/share/novnc</code> under <code>[consoleproxy]</code>
in <code>consoleproxy.conf</code>. The address of this page was not used up: reload it then."""


class Page(NamedTuple):
    status: HTTPStatus
    content_type: str
    body: bytes


def page(directory: Path, target: str) -> Page:
    """The file in ``directory`` that ``target``, a request's path, names; never one outside."""
    try:
        name = unquote(urlsplit(target).path, errors="strict").lstrip("/")
        root = directory.resolve()
        path = (root / name).resolve()
    except (ValueError, OSError, RuntimeError):  # not UTF-8, a NUL character, a loop of links
        return _words(HTTPStatus.NOT_FOUND, "There is no such page.")
    if not name:
        return _words(HTTPStatus.OK, _WELCOME)
    if not root.is_dir():
        return _words(HTTPStatus.SERVICE_UNAVAILABLE, _MISSING)
    try:
        if path.is_relative_to(root) and path.is_file() and path.stat().st_size <= _LARGEST:
            return Page(HTTPStatus.OK, _type_of(path), path.read_bytes())
    except OSError:  # a name too long for any file, or one that we may not read
        pass
    return _words(HTTPStatus.NOT_FOUND, "There is no such page.")


def _type_of(path: Path) -> str:
    known = _TYPES.get(path.suffix)
    return known or mimetypes.guess_type(path.name)[0] or "application/octet-stream"


def _words(status: HTTPStatus, words: str) -> Page:
    return Page(status, _TYPES[".html"], _HELP.format(words=words).encode())
