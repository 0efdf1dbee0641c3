"""minicloud-consoleproxy: guests' screens over WebSocket. Has no database and no broker."""

from __future__ import annotations

from pathlib import Path

from minicloud.client.console import ConsoleClient
from minicloud.cmd import wire
from minicloud.conf.web import PORTS
from minicloud.consoleproxy.proxy import ConsoleProxy
from minicloud.kit.daemon import run


def main() -> None:
    options = wire.configure("consoleproxy")
    own = options.consoleproxy
    proxy = ConsoleProxy(
        ConsoleClient(wire.service_session(options)),
        listen=options.web.listen,
        port=options.web.port or PORTS["consoleproxy"],
        novnc_dir=Path(own.novnc_dir),
        public_url=own.base_url,
        connections=own.connections,
        idle_s=own.idle_s,
    )
    run("consoleproxy", start=[proxy.start], stop=[proxy.stop])


if __name__ == "__main__":
    main()
