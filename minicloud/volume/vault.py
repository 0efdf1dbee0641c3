"""Where backups are kept: a directory of its own, on another disk or another machine's as a rule.

A backup is a directory with ``data``, the compressed chunks that it stores itself, and
``manifest.json``, which says of every chunk that is not zero where it lies: here or in a backup
below. It gets its name when it is whole, and what an interrupted call left of it goes with the next
one. What is whole stays whatever the rows say: it may be imported again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from minicloud.domain.errors import HostProblem
from minicloud.volume.backends.extents import data_extents

CHUNK = 1024 * 1024
_NEW = ".new"


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where a chunk lies and what its bytes are."""

    digest: str
    backup_id: str
    offset: int
    length: int


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    version: int = 1
    size_bytes: int
    chunk: int = CHUNK
    chunks: Mapping[int, Place]


class Vault:
    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, backup_id: str, source: Path, below: str | None) -> int:
        """Keep the bytes of the raw file ``source``; of what the backup ``below`` has already,
        only the place. How many chunks were stored. HostProblem.
        """
        with _acting("write", backup_id):
            if self.has(backup_id):
                manifest = self.manifest(backup_id)
                return sum(each.backup_id == backup_id for each in manifest.chunks.values())
            old = self.manifest(below).chunks if below else {}
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            part = self._clear(backup_id)
            part.mkdir(mode=0o700)
            try:
                stored = self._store(part, backup_id, source, old)
                _sync(part)
                part.rename(self._directory / backup_id)
                _sync(self._directory)
            finally:
                shutil.rmtree(part, ignore_errors=True)
            return stored

    def read(self, backup_id: str, target: Path) -> int:
        """Write the backup's bytes to the new raw file ``target``; their number. HostProblem: a
        chunk is missing or not what it was.
        """
        with _acting("read", backup_id):
            manifest = self.manifest(backup_id)
            files: dict[str, int] = {}
            try:
                with target.open("wb") as out:
                    out.truncate(manifest.size_bytes)
                    for index, place in manifest.chunks.items():
                        if place.backup_id not in files:
                            path = self._directory / place.backup_id / "data"
                            files[place.backup_id] = os.open(path, os.O_RDONLY)
                        packed = os.pread(files[place.backup_id], place.length, place.offset)
                        out.seek(index * manifest.chunk)
                        out.write(_unpacked(packed, place, backup_id))
            finally:
                for handle in files.values():
                    os.close(handle)
            return manifest.size_bytes

    def remove(self, backup_id: str) -> None:
        """Fine when there is none. HostProblem."""
        with _acting("remove", backup_id):
            part, whole = self._clear(backup_id), self._directory / backup_id
            if whole.exists():
                # First its name: what is half removed is no backup.
                whole.rename(part)
                shutil.rmtree(part)

    def has(self, backup_id: str) -> bool:
        return (self._directory / backup_id / "manifest.json").exists()

    def manifest(self, backup_id: str) -> Manifest:
        """HostProblem: there is no such backup here, or it is not readable."""
        try:
            written = (self._directory / backup_id / "manifest.json").read_bytes()
            return msgspec.json.decode(written, type=Manifest)
        except (OSError, msgspec.DecodeError) as problem:
            raise HostProblem(
                reason=f"The backup {backup_id} is not readable: {type(problem).__name__}"
            ) from problem

    def _clear(self, backup_id: str) -> Path:
        """Where the backup is while it is not whole; nothing is there then."""
        part = self._directory / f"{backup_id}{_NEW}"
        if part.exists():
            shutil.rmtree(part)
        return part

    def _store(self, part: Path, backup_id: str, source: Path, old: Mapping[int, Place]) -> int:
        places: dict[int, Place] = {}
        stored = offset = 0
        size = source.stat().st_size
        with source.open("rb") as file, (part / "data").open("wb") as data:
            for index in _chunks_with_data(file.fileno()):
                chunk = os.pread(file.fileno(), CHUNK, index * CHUNK)
                if chunk.count(0) == len(chunk):
                    continue
                digest = hashlib.sha256(chunk).hexdigest()
                before = old.get(index)
                if before is not None and before.digest == digest:
                    places[index] = before
                    continue
                packed = zlib.compress(chunk, 1)
                data.write(packed)
                places[index] = Place(digest, backup_id, offset, len(packed))
                offset += len(packed)
                stored += 1
            data.flush()
            os.fsync(data.fileno())
        manifest = part / "manifest.json"
        manifest.write_bytes(msgspec.json.encode(Manifest(size_bytes=size, chunks=places)))
        _sync(manifest)
        return stored


def _chunks_with_data(handle: int) -> Iterator[int]:
    after = -1
    for start, end in data_extents(handle):
        first = max(start // CHUNK, after + 1)
        last = (end - 1) // CHUNK
        yield from range(first, last + 1)
        after = max(after, last)


def _unpacked(packed: bytes, place: Place, backup_id: str) -> bytes:
    try:
        chunk = zlib.decompressobj().decompress(packed, CHUNK)
    except zlib.error:
        chunk = b""
    if hashlib.sha256(chunk).hexdigest() != place.digest:
        raise HostProblem(reason=f"The backup {backup_id} is damaged in {place.backup_id}")
    return chunk


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _acting(verb: str, backup_id: str) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        raise HostProblem(
            reason=f"Cannot {verb} backup {backup_id}: {problem.strerror or 'unknown error'}"
        ) from problem
