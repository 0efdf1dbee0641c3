"""Stage: a RabbitMQ with a virtual host and a user for minicloud alone.

One that runs already, started by systemd or by hand, gets just these two things. Where none runs
and there is no systemd, a node of our own is started, which listens on the loopback address only
and keeps its data below our state directory.
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path

import amqp  # type: ignore[import-untyped]  # ships no types

from minicloud.deploy import command, files, processes
from minicloud.deploy.config import BROKER_HOST, BROKER_PORT
from minicloud.deploy.ledger import Ledger, StartedProcess
from minicloud.deploy.places import Places
from minicloud.deploy.settings import Settings
from minicloud.deploy.stage import StageFailed

VHOST = USER = "minicloud"
OWN_NODE = "minicloud@localhost"
OS_USER = "rabbitmq"
_SERVER = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_START_LIMIT_S = 60.0
_EPMD = (BROKER_HOST, 4369)


def host_user(host: str) -> str:
    """RabbitMQ's and identity's name for the compute daemon of another host."""
    return f"minicloud-{host}"


class Broker:
    """The broker of this installation, ours or the machine's."""

    def __init__(self, places: Places, ledger: Ledger, settings: Settings) -> None:
        self._places = places
        self._ledger = ledger
        self._settings = settings

    def begin(self) -> None:
        """Set a node of ours going where nothing answers: it takes some seconds to be ready."""
        if self._own_process() is not None and not all(map(_listening, self._addresses())):
            self.stop()  # it was started when no other host was to reach it
        if not processes.has_systemd() and not _listening((BROKER_HOST, BROKER_PORT)):
            self._start_own()

    def ensure(self) -> str:
        """A broker that lets our daemons in."""
        if self._lets_us_in():
            return "running"
        if processes.has_systemd() and not _listening((BROKER_HOST, BROKER_PORT)):
            command.run(
                ["systemctl", "enable", "--now", "rabbitmq-server"],
                advice="see: journalctl -u rabbitmq-server; does this machine's name resolve?",
            )
        if self._own_process() is not None:
            self._wait_for_own()
            return "started"
        self._wait_for_port()
        self._make_account()
        if not self._lets_us_in():
            raise StageFailed(
                f"RabbitMQ does not let the user {USER} in.",
                advice=f"does something else than RabbitMQ listen on port {BROKER_PORT}?",
            )
        return "made virtual host and user"

    def stop(self) -> bool:
        """Stop the node if we started it; True if we did."""
        process = self._own_process()
        if process is None:
            return False
        processes.end(process, grace_s=30.0)
        self._ledger.forget_process("rabbitmq")
        if self._ledger.made("epmd"):
            # It refuses while nodes of others are registered with it.
            command.succeeds(["epmd", "-kill"])
        return True

    def purge(self, hosts: Iterable[str]) -> None:
        """Remove our virtual host and users, those of ``hosts`` too, from another's broker."""
        if not self._ledger.made("vhost"):
            return
        node = self._node()
        if node is not None:
            command.succeeds(["rabbitmqctl", "-q", "-n", node, "delete_vhost", VHOST])
            for user in (USER, *map(host_user, hosts)):
                command.succeeds(["rabbitmqctl", "-q", "-n", node, "delete_user", user])

    # -- other hosts' users ----------------------------------------------------------------------
    def admit(self, passwords: Mapping[str, str]) -> None:
        """Let each host of ``passwords`` in, as a user that may do what compute does.

        It declares and reads its own queues and those of answers, and sends to the conductor
        through the exchange of the topics. RabbitMQ cannot limit whom a user sends to through
        the nameless exchange, which answers go by.
        """
        users, permissions, topics = [], [], []
        for host, password in passwords.items():
            user = host_user(host)
            own = rf"minicloud-compute(\.{re.escape(host)}|_fanout.*)?|reply_.*"
            users.append({"name": user, "password": password, "tags": ""})
            permissions.append(
                {
                    "user": user,
                    "vhost": VHOST,
                    "configure": f"^({own}|openstack)$",
                    "write": rf"^({own}|openstack|amq\.default)$",
                    "read": f"^({own}|openstack)$",
                }
            )
            topics.append(
                {
                    "user": user,
                    "vhost": VHOST,
                    "exchange": "openstack",
                    "write": "^minicloud-conductor$",
                    "read": rf"^minicloud-compute(\.{re.escape(host)})?$",
                }
            )
        definitions = {"users": users, "permissions": permissions, "topic_permissions": topics}
        self._control("import_definitions", given=json.dumps(definitions))

    def dismiss(self, hosts: Iterable[str]) -> None:
        """Let these hosts in no more. Unknown ones are fine."""
        node = self._node()
        for host in hosts:
            if node is not None:
                command.succeeds(["rabbitmqctl", "-q", "-n", node, "delete_user", host_user(host)])

    def _control(self, *words: str, given: str = "") -> None:
        node = self._node()
        if node is None:
            raise StageFailed(
                "No RabbitMQ of this machine answers to rabbitmqctl.", advice="sudo tools/up"
            )
        command.run(["rabbitmqctl", "-q", "-n", node, *words], given=given)

    # -- a node of our own -----------------------------------------------------------------------
    def _start_own(self) -> None:
        uid, gid = files.ids(OS_USER, OS_USER)
        data, logs = self._places.state / "rabbitmq", self._places.logs / "rabbitmq"
        for path in (data, logs):
            files.directory(path, mode=0o750, uid=uid, gid=gid)
        settings = self._places.run / "rabbitmq.conf"
        files.write(settings, self._own_settings(), mode=0o640, gid=gid)
        plugins = self._places.run / "rabbitmq-plugins"
        files.write(plugins, "[].\n", mode=0o644)
        if not _listening(_EPMD):
            self._ledger.note_made("epmd")
        started = processes.start_detached(
            ["setpriv", f"--reuid={OS_USER}", f"--regid={OS_USER}", "--init-groups", str(_SERVER)],
            log=self._places.log("rabbitmq"),
            environment={
                "HOME": "/var/lib/rabbitmq",
                "RABBITMQ_NODENAME": OWN_NODE,
                "RABBITMQ_CONF_ENV_FILE": "/dev/null",
                "RABBITMQ_CONFIG_FILE": str(settings),
                "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._places.run / "rabbitmq-none.config"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
                "RABBITMQ_MNESIA_BASE": str(data),
                "RABBITMQ_LOG_BASE": str(logs),
                "RABBITMQ_PID_FILE": str(data / "pid"),
                "ERL_EPMD_ADDRESS": BROKER_HOST,
                # No busy waiting for work: an idle broker shall cost nothing.
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none "
                "-kernel inet_dist_use_interface {127,0,0,1}",
            },
        )
        process = processes.identify(started.pid)
        if process is not None:
            self._ledger.note_process("rabbitmq", process)

    def _own_settings(self) -> str:
        """A new node makes the virtual host and user by itself."""
        listeners = (
            f"listeners.tcp.{number} = {address}:{port}\n"
            for number, (address, port) in enumerate(self._addresses(), 1)
        )
        return (
            f"{''.join(listeners)}"
            f"default_vhost = {VHOST}\n"
            f"default_user = {USER}\n"
            f"default_pass = {self._settings.rabbitmq_password}\n"
            "default_user_tags.administrator = false\n"
            "collect_statistics_interval = 60000\n"
        )

    def _addresses(self) -> list[tuple[str, int]]:
        """Where a node of ours listens: for other hosts, too, if the cloud answers to them."""
        addresses = [BROKER_HOST]
        if not self._settings.is_local:
            addresses.append(socket.gethostbyname(self._settings.host))
        return [(address, BROKER_PORT) for address in addresses]

    def _own_process(self) -> StartedProcess | None:
        process = self._ledger.record.processes.get("rabbitmq")
        return process if process is not None and processes.is_alive(process) else None

    def _wait_for_own(self) -> None:
        def settled() -> bool:
            return self._lets_us_in() or self._own_process() is None

        if processes.wait_until(settled, limit_s=_START_LIMIT_S) and self._lets_us_in():
            return
        raise StageFailed(
            "RabbitMQ did not start.",
            advice="read the log; /etc/hosts must name 127.0.0.1 as localhost",
            log=self._places.log("rabbitmq"),
        )

    # -- somebody's node -------------------------------------------------------------------------
    def _wait_for_port(self) -> None:
        def listening() -> bool:
            return _listening((BROKER_HOST, BROKER_PORT))

        if not processes.wait_until(listening, limit_s=_START_LIMIT_S):
            raise StageFailed(
                f"RabbitMQ does not listen on {BROKER_HOST}:{BROKER_PORT}.",
                advice="see: journalctl -u rabbitmq-server, and /var/log/rabbitmq",
            )

    def _node(self) -> str | None:
        """The name of the node that can be asked on this machine."""
        if self._own_process() is not None:
            return OWN_NODE
        for node in (f"rabbit@{socket.gethostname().split('.')[0]}", "rabbit@localhost", OWN_NODE):
            if command.succeeds(["rabbitmqctl", "-q", "-n", node, "-t", "60", "await_startup"]):
                return node
        return None

    def _make_account(self) -> None:
        node = self._node()
        if node is None:
            raise StageFailed(
                f"Something listens on port {BROKER_PORT}, but rabbitmqctl cannot reach it.",
                advice="stop it, or give RabbitMQ the node name rabbit@localhost",
            )
        control = ["rabbitmqctl", "-q", "-n", node]
        if VHOST not in command.run([*control, "list_vhosts"]).split():
            self._ledger.note_made("vhost")
            command.run([*control, "add_vhost", VHOST])
        known = command.run([*control, "list_users"]).split()
        verb = "change_password" if USER in known else "add_user"
        command.run([*control, verb, USER], given=self._settings.rabbitmq_password + "\n")
        command.run([*control, "set_permissions", "-p", VHOST, USER, ".*", ".*", ".*"])

    def _lets_us_in(self) -> bool:
        """Whether our user gets into our virtual host, which is all that the daemons need."""
        if not _listening((BROKER_HOST, BROKER_PORT)):
            return False
        connection = amqp.Connection(
            f"{BROKER_HOST}:{BROKER_PORT}",
            userid=USER,
            password=self._settings.rabbitmq_password,
            virtual_host=VHOST,
            connect_timeout=5,
            read_timeout=5,
        )
        try:
            connection.connect()
        except (amqp.AMQPError, OSError):
            return False
        connection.close()
        return True


def _listening(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, timeout=2).close()
    except OSError:
        return False
    return True
