"""Doing something inside a network namespace without starting a process for it.

A thread enters the namespace, does its work and ends; the rest of the process never leaves the
host's own namespace. A socket or a child process made there stays there.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from minicloud.domain.errors import HostProblem

DIRECTORY = Path("/run/netns")
"""Where ``ip netns`` keeps its namespaces."""

_CLONE_NEWNET = 0x40000000
_T = TypeVar("_T")


def inode(name: str) -> int | None:
    """The identity of the namespace ``name``, or None if it is absent or half made.

    ``ip netns add`` makes a plain file and mounts the namespace over it: killed in between, the
    file stays, and is not a namespace.
    """
    try:
        found = (DIRECTORY / name).stat()
    except FileNotFoundError:
        return None
    return found.st_ino if found.st_dev == _namespace_device() else None


def own_inode() -> int:
    """The identity of the network namespace that the calling thread is in."""
    return Path("/proc/thread-self/ns/net").stat().st_ino


def listed() -> set[str]:
    """The names of all namespaces, half made ones included."""
    try:
        return {entry.name for entry in DIRECTORY.iterdir()}
    except FileNotFoundError:
        return set()


def run_in(name: str | None, work: Callable[[], _T]) -> _T:
    """Run ``work`` inside the namespace ``name`` (None: right here) and return what it returned.

    Raises what ``work`` raised, and HostProblem if the namespace cannot be entered.
    """
    if name is None:
        return work()
    results: list[_T] = []
    problems: list[BaseException] = []

    def enter_and_work() -> None:
        try:
            _enter(name)
            results.append(work())
        except BaseException as problem:  # handed to the caller, whatever it is
            problems.append(problem)

    thread = threading.Thread(target=enter_and_work, name=f"in-{name}")
    thread.start()
    thread.join()
    if problems:
        raise problems[0]
    return results[0]


def listen(name: str, address: str, port: int, device: str = "") -> socket.socket:
    """A listening TCP socket inside the namespace ``name``; for what comes in by ``device`` if
    one is given. Raises HostProblem or OSError.
    """
    is_6 = ":" in address

    def make() -> socket.socket:
        family = socket.AF_INET6 if is_6 else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_6:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if device:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
            made.bind((address, port))
            made.listen(64)
        except OSError:
            made.close()
            raise
        return made

    return run_in(name, make)


def _enter(name: str) -> None:
    try:
        handle = os.open(DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as problem:
        reason = f"network namespace {name} cannot be opened: {problem.strerror}"
        raise HostProblem(reason=reason) from problem
    try:
        # os.setns came with Python 3.12; the C library has it everywhere.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(handle, _CLONE_NEWNET) != 0:
            words = os.strerror(ctypes.get_errno())
            raise HostProblem(reason=f"network namespace {name} cannot be entered: {words}")
    finally:
        os.close(handle)


def _namespace_device() -> int:
    return Path("/proc/self/ns/net").stat().st_dev
