"""A message broker inside one process, with the interface of ``kit.rpc.Transport``.

It serialises as RabbitMQ does: contexts, arguments and answers cross as JSON text, errors as
class name and facts. A message for a server that is away waits for it, a call no longer than its
time. ``drop``, ``duplicate`` and ``delay`` do to messages what brokers and dead daemons do.
"""

from __future__ import annotations

import collections
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar
from typing import cast as typing_cast

import msgspec

from minicloud.domain import errors
from minicloud.kit import context
from minicloud.kit.context import Context
from minicloud.kit.rpc.contract import Method, check_implements, from_wire, methods, to_wire

LOG = logging.getLogger(__name__)
C = TypeVar("C")
_THREADS = 16
EVERYBODY = "*"
"""In place of a host's name: a cast to all servers there are just now."""
BRIDGED = "AF_UNIX"
"""Family of the address at which a test's process takes messages of others."""


class Message:
    """One message under way, and the answer to it. ``expires_at``: monotonic; None: never."""

    def __init__(self, text: bytes, expires_at: float | None) -> None:
        self.text = text
        self.expires_at = expires_at
        self.answer: bytes | None = None
        self.answered = threading.Event()

    @property
    def is_expired(self) -> bool:
        return self.expires_at is not None and time.monotonic() > self.expires_at


class LocalTransport:
    """One broker; every daemon of a test gets the same. ``call_timeout_s``: for every call."""

    def __init__(self, *, call_timeout_s: float = 15.0) -> None:
        self.call_timeout_s = call_timeout_s
        self.sent: collections.Counter[str] = collections.Counter()
        """Method name -> messages sent, calls and casts alike."""
        self.kinds: dict[str, str] = {}
        """Method name -> call or cast."""
        self._lock = threading.Condition()
        self._servers: dict[tuple[str, str], _Server] = {}
        self._waiting: collections.deque[tuple[str, str | None, Message]] = collections.deque()
        self._drops: collections.Counter[str] = collections.Counter()
        self._copies: collections.Counter[str] = collections.Counter()
        self._delays: dict[str, float] = {}
        self._turn = 0

    # -- what a test can do ----------------------------------------------------------------------
    def drop(self, method: str, times: int = 1) -> None:
        """Lose the next messages of ``method``: the sender of a cast never knows."""
        with self._lock:
            self._drops[method] += times

    def duplicate(self, method: str, times: int = 1) -> None:
        """Deliver the next messages of ``method`` twice."""
        with self._lock:
            self._copies[method] += times

    def delay(self, method: str, seconds: float) -> None:
        """Deliver every message of ``method`` so much later from now on; 0 ends that."""
        with self._lock:
            self._delays[method] = seconds

    def calls(self) -> int:
        """Messages so far that somebody waited for."""
        return sum(n for name, n in self.sent.items() if self.kinds[name] == "call")

    # -- kit.rpc.Transport -----------------------------------------------------------------------
    def client(
        self, contract: type[C], *, topic: str, host: str | None = None, fanout: bool = False
    ) -> C:
        return client_of(self, contract, topic, EVERYBODY if fanout else host)

    def server(self, contract: type, implementation: object, *, topic: str, host: str) -> _Server:
        check_implements(contract, implementation)
        return _Server(self, contract, implementation, topic, host)

    def close(self) -> None:
        """Nothing is open."""

    # --------------------------------------------------------------------------------------------
    def forward(self, contract: type, topic: str, text: bytes) -> bytes | None:
        """Send on what a client in another process wrote; the answer, if it is a call's."""
        method = methods(contract)[msgspec.json.decode(text)["method"]]
        is_call = method.kind == "call"
        limit = self.call_timeout_s
        message = Message(text, time.monotonic() + limit if is_call else None)
        self.send(topic, None, method, message)
        return message.answer if is_call and message.answered.wait(limit) else None

    def send(self, topic: str, host: str | None, method: Method, message: Message) -> None:
        with self._lock:
            self.sent[method.name] += 1
            self.kinds[method.name] = method.kind
            if self._drops[method.name]:
                self._drops[method.name] -= 1
                return
            copies = 1
            if self._copies[method.name]:
                self._copies[method.name] -= 1
                copies = 2
            late = self._delays.get(method.name, 0.0)
        for _ in range(copies):
            if late:
                threading.Timer(late, self._deliver, (topic, host, message)).start()
            else:
                self._deliver(topic, host, message)

    def _deliver(self, topic: str, host: str | None, message: Message) -> None:
        with self._lock:
            if host == EVERYBODY:
                for (name, _), each in self._servers.items():
                    if name == topic:
                        each.submit(message)
                return
            server = self._find(topic, host)
            if server is None:
                self._waiting.append((topic, host, message))
                return
            server.submit(message)

    def _find(self, topic: str, host: str | None) -> _Server | None:
        if host is not None:
            return self._servers.get((topic, host))
        able = [server for (name, _), server in self._servers.items() if name == topic]
        self._turn += 1
        return able[self._turn % len(able)] if able else None

    def _register(self, server: _Server) -> None:
        with self._lock:
            self._servers[(server.topic, server.host)] = server
            waiting, self._waiting = self._waiting, collections.deque()
            for topic, host, message in waiting:
                self._deliver(topic, host, message)

    def _unregister(self, server: _Server) -> None:
        with self._lock:
            self._servers.pop((server.topic, server.host), None)


class _Server:
    def __init__(
        self, transport: LocalTransport, contract: type, served: object, topic: str, host: str
    ) -> None:
        self.topic, self.host = topic, host
        self._transport = transport
        self._methods = methods(contract)
        self._served = served
        self._pool: ThreadPoolExecutor | None = None

    def start(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix=self.topic)
        self._transport._register(self)

    def stop(self) -> None:
        self._transport._unregister(self)

    def wait(self) -> None:
        """What was being worked on has ended."""
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None

    def submit(self, message: Message) -> None:
        assert self._pool is not None
        self._pool.submit(self._work, message)

    def _work(self, message: Message) -> None:
        if message.is_expired:
            return
        asked = msgspec.json.decode(message.text)
        method = self._methods[asked["method"]]
        try:
            ctx = from_wire(asked["ctx"], Context)
            given = {k: from_wire(v, method.arguments[k]) for k, v in asked["arguments"].items()}
            with context.working_for(ctx):
                found = to_wire(getattr(self._served, method.name)(ctx, **given))
            answer = {"found": found}
        except errors.MinicloudError as problem:
            answer = {"error": type(problem).__name__, "facts": problem.facts}
        except Exception:  # a server's thread lives on, as the real one's does
            LOG.exception("%s.%s failed unforeseen", self.topic, method.name)
            answer = {"error": None, "facts": {}}
        message.answer = msgspec.json.encode(answer)
        message.answered.set()


class Sender(Protocol):
    """What a client needs of a broker. ``send`` leaves a call's answer in the message."""

    call_timeout_s: float

    def send(self, topic: str, host: str | None, method: Method, message: Message) -> None: ...


def client_of(transport: Sender, contract: type[C], topic: str, host: str | None = None) -> C:
    """An object with the contract's methods."""
    return typing_cast(C, _Client(transport, contract, topic, host))


class _Client:
    def __init__(self, transport: Sender, contract: type, topic: str, host: str | None) -> None:
        for method in methods(contract).values():
            setattr(self, method.name, _remote(transport, method, topic, host))


def _remote(transport: Sender, method: Method, topic: str, host: str | None) -> Callable[..., Any]:
    def ask(ctx: Context, **arguments: Any) -> Any:
        wire = {
            "method": method.name,
            "ctx": to_wire(ctx),
            "arguments": {name: to_wire(value) for name, value in arguments.items()},
        }
        is_call = method.kind == "call"
        limit = min(method.timeout_s or transport.call_timeout_s, transport.call_timeout_s)
        expires_at = time.monotonic() + limit if is_call else None
        message = Message(msgspec.json.encode(wire), expires_at)
        transport.send(topic, host, method, message)
        if not is_call:
            return None
        if not message.answered.wait(limit):
            raise errors.Unavailable(
                service=method.name, reason=f"no answer within {limit:g} seconds"
            )
        assert message.answer is not None
        return _opened(method, msgspec.json.decode(message.answer))

    return ask


def _opened(method: Method, answer: dict[str, Any]) -> Any:
    if "found" in answer:
        return from_wire(answer["found"], method.answer)
    if answer["error"] is None:
        raise errors.Unavailable(service="The message broker", reason="RemoteError")
    raise getattr(errors, answer["error"])(**answer["facts"])
