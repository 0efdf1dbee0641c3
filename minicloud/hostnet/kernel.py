"""The one door to the host's kernel: reads it and changes it by ``ip``, ``bridge`` and ``nft``.

Decides nothing. What the kernel told of no change since is not read again. Every process that
is started is counted, because their number is what a change to the network costs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from minicloud.domain.errors import HostProblem
from minicloud.hostnet import names, namespaces
from minicloud.hostnet.view import HostView, Rules, Space, parse_links, parse_rules
from minicloud.hostnet.watch import Watch

LOG = logging.getLogger(__name__)

_LIMIT = 60
"""Seconds that one command may take on a badly loaded host."""

_IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_IP6_FORWARD = Path("/proc/sys/net/ipv6/conf/all/forwarding")
_BRIDGE_NF = Path("/proc/sys/net/bridge")
_SYSCTLS = Path("/proc/sys/net")
_READ = "address show\nroute show table main\n"


class _Seen:
    """What one namespace held when it was last read, and what tells of changes since."""

    def __init__(self, space: int | None) -> None:
        self.space = space
        """The namespace's identity."""
        self.watch = Watch()
        self.links: Space | None = None
        self.rules: Rules | None = None


class Kernel:
    """The kernel of the network namespace that the calling thread is in."""

    def __init__(self) -> None:
        self.started = 0
        """Processes started so far."""
        self._seen: dict[str | None, _Seen] = {}

    def read(self, wanted: Iterable[str]) -> HostView:
        """The host's own namespace, and those of ``wanted`` that exist."""
        present = namespaces.listed()
        for name in [name for name in self._seen if name and name not in present]:
            self._seen.pop(name).watch.close()
        return HostView(
            root=self._space(None),
            spaces={
                name: self._space(name) if namespaces.inode(name) is not None else None
                for name in wanted
                if name in present
            },
        )

    def forget(self) -> None:
        """Read all anew next time."""
        for seen in self._seen.values():
            seen.watch.close()
        self._seen.clear()

    def bridge_batch(self, lines: Sequence[str]) -> None:
        """Run ``lines`` by one ``bridge -batch``. None is fine, too. HostProblem."""
        if not lines:
            return
        try:
            self.run(["bridge", "-batch", "-"], "\n".join(lines) + "\n")
        except HostProblem as problem:
            raise HostProblem(reason=f"{problem} (of: {'; '.join(lines)})") from problem

    def ip_batch(self, lines: Sequence[str], namespace: str | None = None) -> None:
        """Run ``lines`` by one ``ip -batch``, in ``namespace`` if given. None is fine, too.

        Raises HostProblem with the line that failed; the lines before it have been done.
        """
        if not lines:
            return
        where = ["-n", namespace] if namespace else []
        try:
            self.run(["ip", *where, "-batch", "-"], "\n".join(lines) + "\n")
        except HostProblem as problem:
            reason = f"{problem} (of: {'; '.join(lines)})"
            raise HostProblem(reason=reason) from problem

    def ip_remove(self, lines: Sequence[str]) -> None:
        """Run ``lines``, which remove things, one and all: what is gone already is fine.

        The kernel removes the devices of a dying namespace in its own time, so any of them may
        vanish first. What could not be removed is still there for the next pass to find.
        """
        if not lines:
            return
        try:
            self.run(["ip", "-force", "-batch", "-"], "\n".join(lines) + "\n")
        except HostProblem as problem:
            LOG.info("While removing: %s", problem)

    def nft(self, text: str, namespace: str | None = None) -> None:
        """Apply ``text`` as one transaction: all of it, or nothing and HostProblem."""
        self.run(["nft", "-f", "-"], text, namespace)

    def set_ip_forward(self, on: bool, namespace: str | None = None) -> None:
        value = "1" if on else "0"
        namespaces.run_in(namespace, lambda: _IP_FORWARD.write_text(value))

    def ensure_bridge_tracking(self) -> None:
        """Bridged packets can pass the IP hooks. HostProblem where the kernel has no such thing."""
        if not _BRIDGE_NF.exists():
            self.run(["modprobe", "br_netfilter"])

    def set_sysctls(self, values: Mapping[str, str], namespace: str | None = None) -> None:
        """Write ``values``: path below /proc/sys/net -> text. One that is not there is no fault."""

        def write() -> None:
            for path, text in values.items():
                with contextlib.suppress(FileNotFoundError):
                    (_SYSCTLS / path).write_text(text)

        namespaces.run_in(namespace, write)

    def has_link(self, name: str) -> bool:
        try:
            socket.if_nametoindex(name)
        except OSError:
            return False
        return True

    def run(self, argv: Sequence[str], text: str = "", namespace: str | None = None) -> str:
        """Run a command to its end, inside ``namespace`` if given, and return what it printed.

        Raises HostProblem if it fails, cannot be started or takes too long.
        """
        self.started += 1
        return namespaces.run_in(namespace, lambda: _run(argv, text))

    def _space(self, namespace: str | None) -> Space:
        identity = None if namespace is None else namespaces.inode(namespace)
        seen = self._seen.get(namespace)
        if seen is None or seen.space != identity:
            if seen is not None:
                seen.watch.close()
            seen = namespaces.run_in(namespace, lambda: _Seen(identity))
            self._seen[namespace] = seen
        if seen.watch.links_changed() or seen.links is None:
            seen.links = self._read_links(namespace)
        if seen.watch.rules_changed() or seen.rules is None:
            seen.rules = parse_rules(self.run(["nft", "-j", "list", "ruleset"], "", namespace))
        four, six = namespaces.run_in(namespace, _read_forwarding)
        return msgspec.structs.replace(
            seen.links,
            tables=seen.rules.tables,
            forward_drops=seen.rules.forward_drops,
            forward_drops_6=seen.rules.forward_drops_6,
            ip_forward=four,
            ip6_forward=six,
        )

    def _read_links(self, namespace: str | None) -> Space:
        where = ["-n", namespace] if namespace else []
        said = self.run(["ip", *where, "-j", "-d", "-batch", "-"], _READ)
        if namespace and names.router_of_space(namespace):
            said += self.run(["ip", *where, "-6", "-j", "route", "show", "table", "main"])
        # Forwarding entries are only made on the host's own bridges.
        entries = "" if namespace else self.run(["bridge", "-j", "fdb", "show"])
        links, routes, forwards = parse_links(said, entries)
        return Space(links=links, routes=routes, forwards=forwards)


def _read_forwarding() -> tuple[bool, bool]:
    six = _IP6_FORWARD.read_text() if _IP6_FORWARD.exists() else "0"
    return _IP_FORWARD.read_text().strip() == "1", six.strip() == "1"


def _run(argv: Sequence[str], text: str) -> str:
    name = Path(argv[0]).name
    try:
        done = subprocess.run(
            argv,
            input=text,
            capture_output=True,
            text=True,
            timeout=_LIMIT,
            check=False,
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError as problem:
        raise HostProblem(reason=f"{name} is not installed on this host") from problem
    except subprocess.TimeoutExpired as problem:
        raise HostProblem(reason=f"{name} took longer than {_LIMIT} s") from problem
    if done.returncode != 0:
        words = " / ".join(done.stderr.split("\n")[:3]).strip(" /") or f"status {done.returncode}"
        raise HostProblem(reason=f"{name} failed: {words}")
    return done.stdout
