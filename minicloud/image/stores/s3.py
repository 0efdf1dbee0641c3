"""Image data as objects of an S3 bucket, by boto3.

An upload is a multipart upload: until it is completed there is no object, so a daemon that dies
in the middle leaves nothing that looks whole. boto3 is loaded with the first use.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Any, TypeVar

import msgspec

from minicloud.domain.errors import Unavailable
from minicloud.image.stores.base import PIECE, Store, Writer, new_name

LOG = logging.getLogger(__name__)
T = TypeVar("T")
_MIB = 1024**2
_RUBBISH_AFTER = timedelta(days=1)
_MOST_PARTS = 10_000
_OURS = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[0-9a-f]{8}\Z")
"""A bucket may hold other things than images."""


class S3Options(msgspec.Struct, frozen=True, kw_only=True):
    bucket: str
    endpoint_url: str = ""
    """Empty: Amazon's."""
    region: str = ""
    access_key: str = ""
    """Empty: as boto3 finds it, in the environment or from the machine's role."""
    secret_key: str = ""
    part_mb: int = 16

    def __repr__(self) -> str:
        return f"<S3Options {self.endpoint_url} {self.bucket}>"


class S3Writer(Writer):
    """A multipart upload, or one plain object when the data fits into a part."""

    def __init__(self, store: S3Store, name: str, part_size: int) -> None:
        self.name = name
        self.size = 0
        self._store = store
        self._part_size = part_size
        self._buffer = bytearray()
        self._upload_id = ""
        self._parts: list[dict[str, Any]] = []
        self._is_whole = False

    def write(self, chunk: bytes) -> None:
        self._buffer += chunk
        self.size += len(chunk)
        while len(self._buffer) >= self._part_size:
            part, self._buffer = self._buffer[: self._part_size], self._buffer[self._part_size :]
            self._send(bytes(part))

    def _send(self, part: bytes) -> None:
        if not self._upload_id:
            begun = self._store.call("create_multipart_upload", Key=self.name)
            self._upload_id = begun["UploadId"]
        number = len(self._parts) + 1
        done = self._store.call(
            "upload_part", Key=self.name, UploadId=self._upload_id, PartNumber=number, Body=part
        )
        self._parts.append({"ETag": done["ETag"], "PartNumber": number})

    def keep(self) -> None:
        if not self._upload_id:
            self._store.call("put_object", Key=self.name, Body=bytes(self._buffer))
        else:
            if self._buffer:
                self._send(bytes(self._buffer))
            self._store.call(
                "complete_multipart_upload", Key=self.name, UploadId=self._upload_id,
                MultipartUpload={"Parts": self._parts},
            )  # fmt: skip
        self._is_whole = True
        self._buffer.clear()

    def release(self) -> None:
        """Nothing holds it."""

    def discard(self) -> None:
        try:
            if self._is_whole:
                self._store.remove(self.name)
            elif self._upload_id:
                self._store.call("abort_multipart_upload", Key=self.name, UploadId=self._upload_id)
        except Unavailable:
            LOG.warning("Upload %s could not be removed; the next pass does it", self.name)


class S3Store(Store):
    """Errors of the service become Unavailable; its words are in the log, without secrets."""

    kind = "s3"

    def __init__(self, options: S3Options, store_id: str = "s3") -> None:
        super().__init__(store_id, f"Objects in the S3 bucket {options.bucket}")
        self._options = options

    @cached_property
    def _client(self) -> Any:
        import boto3
        from botocore.config import Config

        options = self._options
        return boto3.session.Session().client(
            "s3",
            endpoint_url=options.endpoint_url or None,
            region_name=options.region or None,
            aws_access_key_id=options.access_key or None,
            aws_secret_access_key=options.secret_key or None,
            config=Config(
                connect_timeout=10, read_timeout=60, retries={"max_attempts": 3},
                s3={"addressing_style": "path" if options.endpoint_url else "auto"},
                proxies={},
            ),
        )  # fmt: skip

    def call(self, operation: str, **arguments: Any) -> Any:
        """One S3 operation on our bucket. Unavailable."""
        return self._guarded(
            operation, lambda: getattr(self._client, operation)(
                Bucket=self._options.bucket, **arguments
            ),
        )  # fmt: skip

    def _guarded(self, operation: str, work: Callable[[], T]) -> T:
        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        try:
            return work()
        except ClientError as problem:
            code = problem.response.get("Error", {}).get("Code", "")
            LOG.error("S3 refused %s: %s", operation, code)
            raise Unavailable(service="The image store", reason=f"S3 says {code}") from problem
        except (BotoCoreError, HTTPError) as problem:
            LOG.error("S3 failed at %s: %s", operation, type(problem).__name__)
            raise Unavailable(service="The image store", reason="S3 does not answer") from problem

    def create(self, image_id: str, *, expected: int | None) -> S3Writer:
        part_size = self._options.part_mb * _MIB
        if expected is not None and expected // part_size >= _MOST_PARTS:
            part_size = expected // (_MOST_PARTS - 1) + 1
        return S3Writer(self, new_name(image_id), part_size)

    def pieces(self, name: str, start: int, length: int) -> Iterator[bytes]:
        wanted = f"bytes={start}-{start + length - 1}"
        body = self.call("get_object", Key=name, Range=wanted)["Body"]
        return self._pieces(body, length)

    def _pieces(self, body: Any, length: int) -> Iterator[bytes]:
        try:
            while length > 0:
                piece: bytes = self._guarded("read", lambda: body.read(PIECE))
                if not piece:
                    raise EOFError("An image's object is shorter than its record says.")
                length -= len(piece)
                yield piece
        finally:
            body.close()

    def remove(self, name: str) -> None:
        self.call("delete_object", Key=name)

    def names(self) -> set[str]:
        """Objects that are old enough for their row to be written; old uploads are ended here."""
        before = datetime.now(timezone.utc) - _RUBBISH_AFTER
        for upload in self.call("list_multipart_uploads").get("Uploads", ()):
            if upload["Initiated"] < before and _OURS.match(upload["Key"]):
                self.call("abort_multipart_upload", Key=upload["Key"],
                          UploadId=upload["UploadId"])  # fmt: skip
        return {key for key, changed in self._objects() if changed < before and _OURS.match(key)}

    def _objects(self) -> Iterator[tuple[str, datetime]]:
        more: dict[str, str] = {}
        while True:
            page = self.call("list_objects_v2", **more)
            for entry in page.get("Contents", ()):
                yield entry["Key"], entry["LastModified"]
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def properties(self) -> Mapping[str, Any]:
        return {"bucket": self._options.bucket, "part_mb": self._options.part_mb}

    def url(self, name: str) -> str:
        return f"s3://{self._options.bucket}/{name}"
