"""Requests signed with an EC2 key: what the signature must be, computed from the key's secret.

Versions 2 (HMAC-SHA256) and 4 of Amazon's signing, as ec2api and S3 gateways pass them on. Older
versions sign with SHA-1 and leave most of the request out; they are refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from minicloud.identity.audit import Refused
from minicloud.kit import clock

LIFETIME_S = 15 * 60
"""For how long a signed request is good."""
_ALGORITHM = "AWS4-HMAC-SHA256"
_AMZ_DATE = re.compile(r"\A(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\Z")


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A request as who received it describes it."""

    access: str
    signature: str
    host: str = ""
    verb: str = ""
    path: str = ""
    params: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    body_hash: str = ""

    def __repr__(self) -> str:
        return f"<Signed {self.access}>"


def check(signed: Signed, secret: str) -> None:
    """Refused unless ``secret`` made the signature, and lately."""
    version = signed.params.get("SignatureVersion")
    if version == "2":
        right = _two(signed, secret, signed.host)
        # Some clients leave the port out when they sign.
        bare = _two(signed, secret, signed.host.partition(":")[0])
        good = any([same(signed.signature, right), same(signed.signature, bare)])
    elif version is None:
        good = same(signed.signature, _four(signed, secret))
    else:
        raise Refused(why="a signature of a version that is not taken")
    if not good:
        raise Refused(why="a wrong signature")
    _check_time(signed)


def check_text(token: str, signature: str, secret: str) -> None:
    """The same for S3: ``token`` is the text that was signed, in base 64."""
    try:
        text = base64.urlsafe_b64decode(token)
    except (binascii.Error, ValueError):
        raise Refused(why="a text to sign that is no base 64") from None
    parts = text.split(b"\n")
    if parts[0] == _ALGORITHM.encode() and len(parts) == 4:
        day, *place = parts[2].decode("utf-8", "replace").split("/")
        if len(place) != 3 or place[2] != "aws4_request" or place[1] not in ("s3", "sts", "iam"):
            raise Refused(why="a signature for another service")
        right = hmac.new(_key(secret, day, *place[:2]), text, hashlib.sha256).hexdigest()
    else:
        digest = hmac.new(secret.encode(), text, hashlib.sha1).digest()  # S3's first way
        right = base64.b64encode(digest).decode()
    if not same(signature, right):
        raise Refused(why="a wrong signature")


def same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def _two(signed: Signed, secret: str, host: str) -> str:
    params = {**signed.params, "SignatureMethod": "HmacSHA256"}
    text = f"{signed.verb}\n{host}\n{signed.path}\n{_query(params)}"
    return base64.b64encode(_hmac(secret.encode(), text)).decode()


def _four(signed: Signed, secret: str) -> str:
    headers = {name.lower().strip(): value.strip() for name, value in signed.headers.items()}
    said = _said(headers.get("authorization", ""), signed.params)
    scope = said.get("Credential", "").split("/")[1:]
    date = headers.get("x-amz-date") or signed.params.get("X-Amz-Date", "")
    if len(scope) != 4 or not date.startswith(scope[0]) or "SignedHeaders" not in said:
        raise Refused(why="an incomplete signature of version 4")
    names = said["SignedHeaders"].split(";")
    canonical = "\n".join(
        [
            signed.verb.upper(),
            signed.path,
            "" if signed.verb.upper() == "POST" else _query(
                {k: v for k, v in signed.params.items() if k != "X-Amz-Signature"}
            ),
            "\n".join(f"{name}:{headers[name]}" for name in names if name in headers) + "\n",
            said["SignedHeaders"],
            signed.body_hash,
        ]
    )  # fmt: skip
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join([_ALGORITHM, date, "/".join(scope), digest])
    return _hmac(_key(secret, *scope[:3]), text).hex()


def _said(authorization: str, params: Mapping[str, str]) -> dict[str, str]:
    """Credential and SignedHeaders, from the header or from the query."""
    if authorization.startswith(_ALGORITHM):
        pairs = [each.strip().partition("=") for each in
                 authorization.removeprefix(_ALGORITHM).split(",")]  # fmt: skip
        return {name: value for name, _, value in pairs}
    if params.get("X-Amz-Algorithm") == _ALGORITHM:
        return {
            name: params[f"X-Amz-{name}"]
            for name in ("Credential", "SignedHeaders")
            if f"X-Amz-{name}" in params
        }
    return {}


def _key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for part in (day, region, service, "aws4_request"):
        key = _hmac(key, part)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def _query(params: Mapping[str, str]) -> str:
    return "&".join(
        f"{quote(key, safe='')}={quote(params[key], safe='-_~')}" for key in sorted(params)
    )


def _check_time(signed: Signed) -> None:
    """Refused for a request that was signed long ago; one without a time is let through."""
    headers: dict[str, Any] = {name.lower(): value for name, value in signed.headers.items()}
    said = (
        signed.params.get("Timestamp")
        or headers.get("x-amz-date")
        or signed.params.get("X-Amz-Date")
    )
    if not said:
        return
    match = _AMZ_DATE.match(said)
    try:
        at = clock.parse("{}-{}-{}T{}:{}:{}Z".format(*match.groups()) if match else said)
    except (ValueError, OverflowError):
        raise Refused(why="a signature with a time that is none") from None
    if abs(clock.now() - at) > LIFETIME_S:
        raise Refused(why="a signature that has expired, or of a clock that is wrong")
