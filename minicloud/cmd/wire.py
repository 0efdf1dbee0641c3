"""The object graph that several daemons share, built from configuration.

What is heavy (the web server, the broker's client, the database) is imported by the function that
needs it: a daemon loads only what it speaks.
"""

from __future__ import annotations

import functools
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minicloud import conf
from minicloud.conf.metrics import PORTS as METRICS_PORTS
from minicloud.conf.web import PORTS as WEB_PORTS
from minicloud.kit import log, metrics
from minicloud.kit.daemon import Periodic

if TYPE_CHECKING:
    from minicloud.client.identity import ServiceSession, TokenValidator
    from minicloud.kit.db import Database
    from minicloud.kit.rpc import Transport
    from minicloud.kit.web import Service, WebServer
    from minicloud.rpc.compute import ComputeRPC

LOG = logging.getLogger(__name__)


def configure(daemon: str, argv: Sequence[str] | None = None) -> Any:
    """Read the configuration, set up the log and the metrics of ``daemon``."""
    options = conf.load(daemon, sys.argv[1:] if argv is None else argv)
    log.setup(daemon, host=options.host, level=options.log_level, style=options.log_style)
    port = options.metrics.port
    metrics.serve(options.metrics.listen, METRICS_PORTS[daemon] if port is None else port)
    return options


def database(options: Any, service: str) -> Database:
    """The database of ``service``; compute's is shared by api, scheduler and conductor."""
    from minicloud.kit.db import Database

    url = options.database.url
    if not url:
        url = f"sqlite:///{Path(options.state_dir) / service / (service + '.sqlite')}"
    return Database(url, pool_size=options.database.pool_size)


def compute_database(options: Any) -> Database:
    """Compute's database, which api, scheduler and conductor share; exits if it is behind."""
    from minicloud.kit.db import migrate

    opened = database(options, "compute")
    if not migrate.is_current("compute", opened):
        LOG.error("The tables of compute are behind: run minicloud-manage db upgrade")
        raise SystemExit(1)
    return opened


def transport(options: Any) -> Transport:
    from minicloud.kit.rpc import Transport

    return Transport(
        options.rpc.transport_url,
        call_timeout_s=options.rpc.call_timeout,
        threads=options.rpc.threads,
        quorum=options.rpc.quorum_queues,
    )


def compute_clients(rpc: Transport) -> Callable[[str], ComputeRPC]:
    """Host name -> a caller of its compute daemon, made once a host."""
    from minicloud.rpc.compute import TOPIC, ComputeRPC

    @functools.lru_cache(maxsize=256)
    def client(host: str) -> ComputeRPC:
        return rpc.client(ComputeRPC, topic=TOPIC, host=host)

    return client


def heartbeat(options: Any, opened: Database, binary: str) -> Periodic:
    """Reports this daemon as alive, under the name that clients know it by."""
    from minicloud.db.services import service_report

    def beat() -> None:
        with opened.write() as tx:
            service_report(tx, binary, options.host)

    return Periodic("heartbeat", options.compute.report_s, beat)


def service_session(options: Any) -> ServiceSession:
    from minicloud.client.identity import Credentials, ServiceSession

    return ServiceSession(
        Credentials(
            url=options.auth.url,
            username=options.auth.username,
            password=options.auth.password,
            project_name=options.auth.project_name,
            domain_name=options.auth.domain_name,
            region=options.region,
            interface=options.auth.interface,
        )
    )


def token_validator(options: Any, session: ServiceSession) -> TokenValidator:
    from minicloud.client.identity import TokenValidator

    return TokenValidator(session, options.auth.url, cache_s=options.auth.token_cache_s)


def web_server(options: Any, daemon: str, service: Service) -> WebServer:
    from minicloud.kit.web import WebServer, build_app

    return WebServer(
        build_app(service),
        host=options.web.listen,
        port=options.web.port or WEB_PORTS[daemon],
        threads=options.web.threads,
    )
