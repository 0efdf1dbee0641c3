"""``minicloud console``: a server's serial console on this terminal, or its screen's URL."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from minicloud.cli import names
from minicloud.cli.session import Cloud, cloud

if TYPE_CHECKING:
    from websockets.sync.client import ClientConnection

_LEAVE = b"\x1d"
"""Ctrl-], as telnet and virsh have it."""
_PIECE = 4096


@click.command("console")
@click.argument("server", shell_complete=names.servers)
@click.option("--url", "only_url", is_flag=True, help="Print a URL of its screen, for a browser.")
def console_command(server: str, only_url: bool) -> None:
    """Use SERVER's serial console; Ctrl-] leaves it.

    What is piped in is typed there; the end of it leaves, too.
    """
    here = cloud()
    found = here.server(server)
    if only_url:
        click.echo(_url(here, found["id"], "vnc", "novnc"))
        return
    url = _url(here, found["id"], "serial", "serial")
    # Loaded here, so that other commands go without it.
    from websockets.exceptions import WebSocketException
    from websockets.sync.client import connect
    from websockets.typing import Subprotocol

    try:
        with connect(url, subprotocols=[Subprotocol("binary")]) as console, _raw_terminal():
            if sys.stdin.isatty():
                click.echo(f"{found['name']}: Ctrl-] leaves.\r", err=True)
            _talk(console)
    except (OSError, WebSocketException) as problem:
        raise click.ClickException(f"The console cannot be used: {problem}") from None
    click.echo(err=True)


def _url(here: Cloud, server_id: str, protocol: str, kind: str) -> str:
    """A URL that opens the console once."""
    body = {"remote_console": {"protocol": protocol, "type": kind}}
    answer = here.compute.post(f"/servers/{server_id}/remote-consoles", body)
    return str(answer.json["remote_console"]["url"])


def _talk(console: ClientConnection) -> None:
    """Until either side ends it."""
    import threading

    from websockets.exceptions import ConnectionClosed

    ended_here, ended_there = os.pipe()

    def hear() -> None:
        with contextlib.suppress(ConnectionClosed):
            for piece in console:
                os.write(1, piece if isinstance(piece, bytes) else piece.encode())
        os.close(ended_there)

    listener = threading.Thread(target=hear, daemon=True)
    listener.start()
    while True:
        ready, _, _ = select.select([0, ended_here], [], [])
        typed = os.read(0, _PIECE) if 0 in ready else b""
        before, leave, _ = typed.partition(_LEAVE)
        with contextlib.suppress(ConnectionClosed):
            if before:
                console.send(before)
        if leave or ended_here in ready or not typed:
            break
    console.close()
    listener.join()


@contextlib.contextmanager
def _raw_terminal() -> Iterator[None]:
    """Keys go to the guest as they are typed, Ctrl-C too."""
    if not sys.stdin.isatty():
        yield
        return
    before = termios.tcgetattr(0)
    tty.setraw(0)
    try:
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
