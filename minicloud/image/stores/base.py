"""What a store of image data can do. Stores know names and bytes, no images and no rules.

An upload goes to a ``Writer`` under a name that nobody used before; only once it is kept may a row
call it whole. What a store holds under a name that no row knows is rubbish, which ``sweep`` finds.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

PIECE = 256 * 1024
"""Bytes that are handed on at a time."""


class Writer(ABC):
    """One upload: ``keep`` it and ``release`` it once the row is written, or ``discard`` it."""

    name: str
    """What the store will know the data by."""
    size: int
    """Bytes written so far."""

    @abstractmethod
    def write(self, chunk: bytes) -> None:
        """TooLarge when the store is full, Unavailable when it fails."""

    @abstractmethod
    def keep(self) -> None:
        """Make the data whole and lasting."""

    @abstractmethod
    def release(self) -> None:
        """The row is written: nobody will take the data for rubbish."""

    @abstractmethod
    def discard(self) -> None:
        """Remove the data, whole or not. Never fails: what is left is the sweep's."""


class Store(ABC):
    """A place for image data; several daemons may share it."""

    kind: str
    read_only = False

    def __init__(self, store_id: str, description: str) -> None:
        self.id = store_id
        self.description = description

    @abstractmethod
    def create(self, image_id: str, *, expected: int | None) -> Writer:
        """A new upload of ``expected`` bytes (None: unknown).

        TooLarge when that many cannot be held; Unavailable.
        """

    @abstractmethod
    def pieces(self, name: str, start: int, length: int) -> Iterator[bytes]:
        """``length`` bytes from ``start``. Unavailable when the data cannot be had.

        The iterator raises EOFError when there are fewer: that ends the connection, so that no
        client waits for the rest.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Delete the data of a deleted image; repeatable. Unavailable."""

    @abstractmethod
    def names(self) -> set[str]:
        """What there is, as far as it may be rubbish."""

    def is_being_written(self, name: str) -> bool | None:
        """Whether a living upload holds the data; None: the store cannot tell."""
        return None

    def remove_if_idle(self, name: str, is_known: Callable[[], bool]) -> bool:
        """Delete what nobody writes, unless ``is_known`` says otherwise; whether it did."""
        if is_known():
            return False
        self.remove(name)
        return True

    def properties(self) -> Mapping[str, Any]:
        """What an administrator may know of the store."""
        return {}

    def url(self, name: str) -> str:
        """The data's address, for administrators."""
        return f"{self.kind}://{name}"


def new_name(image_id: str) -> str:
    """A name for an upload to ``image_id``, which no other upload has."""
    return f"{image_id}-{secrets.token_hex(4)}"
