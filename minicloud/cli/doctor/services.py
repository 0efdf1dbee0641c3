"""What the daemons need and offer: broker, databases, ports."""

from __future__ import annotations

import http.client
import socket
from pathlib import Path
from urllib.parse import unquote, urlsplit

from minicloud.cli.doctor.finding import FAIL, UNKNOWN, WARN, Finding, fail, ok, unknown
from minicloud.cli.doctor.machine import AS_ROOT, Machine

_LIMIT_S = 3.0
_DATABASES = (
    ("identity", "identity"), ("image", "image"), ("network", "network"),
    ("volume", "volume"), ("compute", "api"),
)  # fmt: skip
"""(whose tables, the daemon whose file names their place)"""
_SERVED = ("identity", "image", "network", "volume", "api")
_OURS = "minicloud"
_EVERYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - what an operator may have set


# -- the broker ------------------------------------------------------------------------------------
def broker(machine: Machine) -> Finding:
    """RabbitMQ lets our user into our virtual host."""
    if not machine.has_configuration:
        return unknown("Nothing that can be read says where RabbitMQ is.")
    url = urlsplit(machine.option("rpc", "transport_url"))
    if url.scheme != "rabbit":
        return ok(f"The daemons talk by {url.scheme}://, without RabbitMQ.")
    problems = []
    for place in url.netloc.split(","):  # a cluster's nodes, each with its user
        one = urlsplit(f"//{place}")
        problem = _refusal(one.hostname or "", one.port or 5672, one.username, one.password,
                           unquote(url.path[1:]) or "/")  # fmt: skip
        if problem is None:
            return ok(f"RabbitMQ at {one.hostname}:{one.port or 5672} lets the daemons in.")
        problems.append(problem)
    return problems[0]


def _refusal(
    host: str, port: int, user: str | None, password: str | None, vhost: str
) -> Finding | None:
    import amqp  # type: ignore[import-untyped]  # ships no types

    user = unquote(user or "guest")
    where = f"RabbitMQ at {host}:{port}"
    connection = amqp.Connection(
        f"{host}:{port}", userid=user, password=unquote(password or "guest"), virtual_host=vhost,
        connect_timeout=_LIMIT_S, read_timeout=_LIMIT_S, write_timeout=_LIMIT_S,
    )  # fmt: skip
    try:
        connection.connect()
    except amqp.exceptions.AccessRefused:
        return fail(f"{where} refuses the user {user} of transport_url.", _ACCOUNT)
    except amqp.exceptions.NotAllowed:
        return fail(f"{where} has no virtual host {vhost} for the user {user}.", _ACCOUNT)
    except (OSError, amqp.exceptions.AMQPError) as problem:
        reason = getattr(problem, "strerror", None) or type(problem).__name__
        return fail(f"{where} does not answer: {reason}.", _START_RABBITMQ)
    connection.collect()
    return None


_ACCOUNT = "'sudo tools/up' makes user and virtual host; by hand: rabbitmqctl add_user, add_vhost."
_START_RABBITMQ = (
    "Start it: systemctl start rabbitmq-server, or 'sudo tools/up'. If it does not start, see "
    "whether this machine's name resolves."
)


# -- databases -------------------------------------------------------------------------------------
def databases(machine: Machine) -> Finding:
    """Each service's database can be opened and has tables."""
    if not machine.has_configuration:
        return unknown("Nothing that can be read says where the databases are.")
    state = Path(machine.option("DEFAULT", "state_dir"))
    problems = []
    for service, daemon in _DATABASES:
        url = machine.option("database", "url", daemon)
        file = state / service / f"{service}.sqlite"
        found = _postgresql(service, url) if url else _sqlite(service, file)
        if found is not None:
            problems.append(found)
    if not problems:
        return ok(f"The databases of {_and([service for service, _ in _DATABASES])} are there.")
    worst = min(problems, key=lambda p: (FAIL, WARN, UNKNOWN).index(p.status))
    return worst._replace(sentence=" ".join(problem.sentence for problem in problems))


def _sqlite(service: str, file: Path) -> Finding | None:
    import sqlite3

    upgrade = f"minicloud-manage db upgrade {service}"
    try:
        if not file.exists():
            return fail(f"{service} has no {file}.", f"Make it: {upgrade}")
        file.open("rb").close()
    except PermissionError:
        return unknown(f"{file} is not for this user to read.", AS_ROOT)
    # Immutable: a look that leaves no lock and no file behind; the newest rows may be missing.
    opened = sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)
    try:
        count = opened.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    except sqlite3.DatabaseError as problem:
        return fail(f"{file} is damaged: {problem}.", "Restore it from a backup.")
    finally:
        opened.close()
    return None if count else fail(f"{file} has no tables.", f"Make them: {upgrade}")


def _postgresql(service: str, url: str) -> Finding | None:
    import psycopg

    parts = urlsplit(url)
    where = f"{service}'s PostgreSQL at {parts.hostname}:{parts.port or 5432}"
    plain = parts._replace(scheme=parts.scheme.partition("+")[0]).geturl()
    try:
        with psycopg.connect(plain, connect_timeout=int(_LIMIT_S)) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as problem:
        # The first line alone, and never the URL: that has the password.
        reason = (str(problem).strip().splitlines() or [type(problem).__name__])[0]
        return fail(f"{where} does not let us in: {reason}.", "See [database] url, and PostgreSQL.")
    return None


# -- ports -----------------------------------------------------------------------------------------
def ports(machine: Machine) -> Finding:
    """The REST ports are ours, or free for us."""
    from minicloud.conf.web import PORTS

    silent, strange, answering = [], [], []
    for daemon in _SERVED:
        listen = machine.option("web", "listen", daemon)
        host = "127.0.0.1" if listen in _EVERYWHERE else listen
        port = machine.option("web", "port", daemon) or PORTS[daemon]
        server = _server_at(host, port)
        if server is None:
            silent.append(f"{daemon} ({port})")
        elif server.startswith(_OURS):
            answering.append(f"{daemon} ({port})")
        else:
            strange.append(f"{port} ({daemon}'s)")
    if strange:
        return fail(
            f"Other programs have port {_and(strange)}.",
            "See which: ss -ltnp. End them, or set [web] port in our service's file.",
        )
    if not silent:
        return ok("All services answer: " + ", ".join(answering) + ".")
    if answering or machine.has_configuration:
        return fail(
            f"{_and(silent)} {'does' if len(silent) == 1 else 'do'} not answer.",
            "See why in /var/log/minicloud (journalctl -u 'minicloud-*' under systemd); start: "
            "'sudo tools/up'.",
        )
    return ok("The ports of all services are free.")


def _server_at(host: str, port: int) -> str | None:
    """What the HTTP server there calls itself; "" if it is none; None if nobody listens."""
    connection = http.client.HTTPConnection(host, port, timeout=_LIMIT_S)
    try:
        connection.connect()
    except OSError:
        return None
    try:
        connection.request("GET", "/")
        return connection.getresponse().getheader("Server") or ""
    except (OSError, http.client.HTTPException):
        return ""
    finally:
        connection.close()


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def local_name(_machine: Machine) -> Finding:
    """This machine's own name resolves: RabbitMQ does not start without."""
    name = socket.gethostname()
    try:
        found = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
    except OSError as problem:
        return fail(
            f"This machine's name, {name}, does not resolve: {problem.strerror}.",
            f"Put it into /etc/hosts: echo '127.0.1.1 {name}' >> /etc/hosts",
        )
    return ok(f"{name} resolves to {found[0][4][0]}.")
