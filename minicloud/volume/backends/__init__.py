"""Where the bytes of volumes lie: ``base`` says what a backend can do, the others do it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from minicloud.domain.errors import HostProblem
from minicloud.volume.backends.base import Backend

DEFAULT = "files"
"""The backend that every host has."""


class _Placed(Protocol):
    @property
    def backend(self) -> str: ...


class Backends:
    """The backends of one host, by name."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = dict(backends)

    def names(self) -> list[str]:
        return sorted(self._backends)

    def named(self, name: str) -> Backend:
        """HostProblem: the host has none of that name."""
        if name not in self._backends:
            raise HostProblem(reason=f"This host has no backend {name}")
        return self._backends[name]

    def of(self, thing: _Placed) -> Backend:
        """Where ``thing`` lies."""
        return self.named(thing.backend)

    def __iter__(self) -> Iterator[tuple[str, Backend]]:
        return iter(sorted(self._backends.items()))
