"""What a contract says of its methods, and how values cross the wire as JSON.

Every argument and answer is converted by its type hint on both sides, so a receiver always gets
values of its own, whatever the broker.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, get_type_hints

import msgspec

F = TypeVar("F", bound=Callable[..., Any])


def call(*, timeout_s: float | None = None) -> Callable[[F], F]:
    """The method waits for its answer, ``timeout_s`` seconds at most (default: the option)."""

    def mark(function: F) -> F:
        function.__rpc__ = ("call", timeout_s)  # type: ignore[attr-defined]  # our own mark
        return function

    return mark


def cast(function: F) -> F:
    """The method sends and returns; it answers nothing and may get lost."""
    function.__rpc__ = ("cast", None)  # type: ignore[attr-defined]  # our own mark
    return function


class Method(NamedTuple):
    name: str
    kind: str
    timeout_s: float | None
    arguments: Mapping[str, Any]
    answer: Any


def methods(contract: type) -> Mapping[str, Method]:
    """The marked methods of ``contract``."""
    found = {}
    for name, function in inspect.getmembers(contract, inspect.isfunction):
        mark = getattr(function, "__rpc__", None)
        if mark is None:
            continue
        hints = get_type_hints(function)
        answer = hints.pop("return", None)
        hints.pop("ctx", None)
        found[name] = Method(name, mark[0], mark[1], hints, answer)
    return found


def check_implements(contract: type, implementation: object) -> None:
    """TypeError unless ``implementation`` has every method with the contract's parameters."""
    for name in methods(contract):
        wanted = list(inspect.signature(getattr(contract, name)).parameters)[1:]
        served = getattr(implementation, name, None)
        if served is None or list(inspect.signature(served).parameters) != wanted:
            raise TypeError(f"{type(implementation).__name__}.{name} does not match {contract}")


def to_wire(value: Any) -> Any:
    return msgspec.to_builtins(value)


def from_wire(value: Any, kind: Any) -> Any:
    """Unknown fields are let through: a newer sender may say more."""
    if kind is None or kind is type(None):
        return None
    return msgspec.convert(value, kind, strict=True)
