"""oslo.messaging's one door.

oslo.messaging acknowledges a message before it is worked on, so a message is a hint: whoever
sends one has written a row first, and a periodic pass finds what a lost message would have
started. Errors of ``domain.errors`` cross the wire as themselves; anything else arrives as
Unavailable with a sentence, never with a remote traceback.
"""

from __future__ import annotations

import logging
import os
import time
import warnings
from typing import Any, TypeVar
from typing import cast as typing_cast

from minicloud.domain import errors
from minicloud.kit import context
from minicloud.kit.context import Context
from minicloud.kit.metrics import RPC
from minicloud.kit.rpc.contract import Method, check_implements, from_wire, methods, to_wire

# Importing it imports eventlet, of which nothing is used; this at least leaves out its DNS client.
os.environ.setdefault("EVENTLET_NO_GREENDNS", "yes")
with warnings.catch_warnings():
    # eventlet warns of its own end.
    warnings.simplefilter("ignore")
    import oslo_messaging
    from kombu.exceptions import KombuError
    from oslo_config import cfg

LOG = logging.getLogger(__name__)
C = TypeVar("C")
_ERRORS_MODULE = "minicloud.domain.errors"
_BROKER_PROBLEMS = (
    oslo_messaging.MessagingException,
    oslo_messaging.RemoteError,
    KombuError,  # oslo.messaging lets a refused connection through as it is
    OSError,
)


class Transport:
    """A connection to the broker at ``url`` (``rabbit://``, or ``fake://`` inside one process)."""

    def __init__(
        self, url: str, *, call_timeout_s: float = 15, threads: int = 16, quorum: bool = False
    ) -> None:
        # oslo.messaging registers some of its options on the global object only.
        conf = cfg.CONF
        if not conf._args:
            conf([], project="minicloud", default_config_files=[], default_config_dirs=[])
        self._call_timeout_s = call_timeout_s
        self._threads = threads
        self._transport = oslo_messaging.get_rpc_transport(
            conf, url=url, allowed_remote_exmods=[_ERRORS_MODULE]
        )
        if url.startswith("rabbit"):
            group = "oslo_messaging_rabbit"
            conf.set_override("rabbit_quorum_queue", quorum, group)
            conf.set_override("heartbeat_timeout_threshold", 20, group)
            conf.set_override("rabbit_retry_interval", 1, group)
            conf.set_override("rabbit_interval_max", 5, group)
            conf.set_override("kombu_reconnect_delay", 0.5, group)
        self._conf = conf

    def client(
        self, contract: type[C], *, topic: str, host: str | None = None, fanout: bool = False
    ) -> C:
        """An object with the contract's methods; ``host`` picks one of several servers.

        ``fanout``: its casts go to all of them.
        """
        target = oslo_messaging.Target(
            topic=topic, version="1.0", server=host, fanout=fanout or None
        )
        remote = oslo_messaging.get_rpc_client(self._transport, target)
        return typing_cast(C, _Client(remote, contract, self._call_timeout_s))

    def server(self, contract: type, implementation: object, *, topic: str, host: str) -> Any:
        """A server (``start``, ``stop``, ``wait``) that gives messages to ``implementation``."""
        check_implements(contract, implementation)
        endpoint = _Endpoint()
        for method in methods(contract).values():
            setattr(
                endpoint, method.name, _Served(topic, method, getattr(implementation, method.name))
            )
        target = oslo_messaging.Target(topic=topic, server=host, version="1.0")
        server = oslo_messaging.get_rpc_server(
            self._transport,
            target,
            [endpoint],
            executor="threading",
            access_policy=oslo_messaging.DefaultRPCAccessPolicy,
        )
        self._conf.set_override("executor_thread_pool_size", self._threads)
        return server

    def close(self) -> None:
        self._transport.cleanup()


class _Endpoint:
    target = oslo_messaging.Target(version="1.0")


class _Served:
    """One method of a served object, as oslo.messaging's dispatcher calls it."""

    def __init__(self, topic: str, method: Method, function: Any) -> None:
        self._topic, self._method, self._function = topic, method, function

    def __call__(self, wire_context: dict[str, Any], **arguments: Any) -> Any:
        started = time.perf_counter()
        ctx = from_wire({k: v for k, v in wire_context.items() if k in _CONTEXT_FIELDS}, Context)
        result = "ok"
        try:
            with context.working_for(ctx):
                given = {
                    name: from_wire(value, self._method.arguments[name])
                    for name, value in arguments.items()
                    if name in self._method.arguments
                }
                return to_wire(self._function(ctx, **given))
        except errors.MinicloudError as problem:
            result = problem.code
            raise oslo_messaging.ExpectedException() from problem
        except Exception:
            result = "error"
            LOG.exception("%s.%s failed unforeseen", self._topic, self._method.name)
            raise
        finally:
            RPC.labels(self._topic, self._method.name, result).observe(
                time.perf_counter() - started
            )


_CONTEXT_FIELDS = frozenset(Context.__struct_fields__)


class _Client:
    def __init__(self, remote: Any, contract: type, timeout_s: float) -> None:
        for method in methods(contract).values():
            setattr(self, method.name, _Remote(remote, method, method.timeout_s or timeout_s))


class _Remote:
    """One method of a client: ``method(ctx, name=value, ...)``."""

    def __init__(self, remote: Any, method: Method, timeout_s: float) -> None:
        self._method, self._timeout_s = method, timeout_s
        self._remote = remote

    def __call__(self, ctx: Context, **arguments: Any) -> Any:
        method = self._method
        wire = {name: to_wire(value) for name, value in arguments.items()}
        # A cast is a hint: without a broker its row is found in a few seconds anyway, and whoever
        # sends it shall not wait for one.
        retry = 0 if method.kind == "cast" else 2
        prepared = self._remote.prepare(timeout=self._timeout_s, retry=retry)
        try:
            if method.kind == "cast":
                prepared.cast(to_wire(ctx), method.name, **wire)
                return None
            return from_wire(prepared.call(to_wire(ctx), method.name, **wire), method.answer)
        except errors.MinicloudError as problem:
            raise _local(problem) from None
        except oslo_messaging.MessagingTimeout:
            raise errors.Unavailable(
                service=method.name, reason=f"no answer within {self._timeout_s:g} seconds"
            ) from None
        except _BROKER_PROBLEMS as problem:
            raise errors.Unavailable(
                service="The message broker", reason=type(problem).__name__
            ) from None


def _local(problem: errors.MinicloudError) -> errors.MinicloudError:
    """The error as its own class again: a remote one is a subclass with the remote traceback."""
    for kind in type(problem).__mro__:
        if kind.__module__ == _ERRORS_MODULE:
            return typing_cast(errors.MinicloudError, kind(**problem.facts))
    return problem
