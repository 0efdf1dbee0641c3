"""Requests signed by OAuth 1.0 (RFC 5849), checked by oauthlib, whose only importer this is.

The rules are Keystone's: a request is good for ten minutes around its timestamp, its nonce is not
remembered, realms and callbacks mean nothing. Signatures are made with secrets, not with RSA keys.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any

import msgspec
from oauthlib import oauth1
from oauthlib.oauth1.rfc5849.utils import parse_authorization_header

from minicloud.domain.errors import Invalid
from minicloud.identity.audit import Refused

_METHODS = (
    oauth1.SIGNATURE_HMAC_SHA1,
    oauth1.SIGNATURE_HMAC_SHA256,
    oauth1.SIGNATURE_HMAC_SHA512,
    oauth1.SIGNATURE_PLAINTEXT,
)
_HEX = frozenset("0123456789abcdef")


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """A POST as it came. ``url``: as its client wrote it; ``authorization``: the header."""

    url: str
    authorization: str

    def __repr__(self) -> str:  # a signed request can be sent again for a while
        return "<Signed>"


class Parties(msgspec.Struct, frozen=True, kw_only=True):
    """Who must have signed: a consumer, and from its second step on the holder of a token."""

    consumer_id: str
    consumer_secret: str
    token_id: str = ""
    token_secret: str = ""
    verifier: str = ""

    def __repr__(self) -> str:
        return f"<Parties {self.consumer_id}>"


def parameters(signed: Signed, *needed: str) -> dict[str, str]:
    """What the header says. Invalid where it is none of OAuth's, or lacks what is needed."""
    try:
        said = dict(parse_authorization_header(signed.authorization))
    except ValueError:
        raise Invalid(reason="The request has no Authorization header of OAuth 1.0.") from None
    for name in needed:
        if not said.get(name):
            raise Invalid(reason=f"Expecting to find {name} in request.")
    return said


def check_request(signed: Signed, parties: Parties) -> None:
    """The consumer asks for a request token. Invalid; Refused."""
    _check_answer(
        oauth1.RequestTokenEndpoint(_Validator(parties)).create_request_token_response, signed
    )


def check_exchange(signed: Signed, parties: Parties) -> None:
    """The consumer has a request token with its verifier. Invalid; Refused."""
    _check_answer(
        oauth1.AccessTokenEndpoint(_Validator(parties)).create_access_token_response, signed
    )


def check_access(signed: Signed, parties: Parties) -> None:
    """The consumer uses an access token. Refused."""
    endpoint = oauth1.ResourceEndpoint(_Validator(parties))
    good, _ = _checked(endpoint.validate_protected_resource_request, signed)
    if not good:
        raise Refused(why="a wrong signature, or parameters that are not OAuth's")


def _check_answer(respond: Any, signed: Signed) -> None:
    """``respond`` gives (headers, body, status)."""
    _, body, status = _checked(respond, signed)
    if not body:
        raise Refused(why="a wrong signature or verifier")
    if status != 200:
        raise Invalid(
            reason="The OAuth parameters of the request are not valid: it takes a nonce, the "
            "present time, a signature by HMAC or PLAINTEXT, and a callback or a verifier."
        )


def _checked(work: Any, signed: Signed) -> Any:
    try:
        return work(
            signed.url,
            http_method="POST",
            body="",
            headers={"Authorization": signed.authorization},
        )
    except (ValueError, TypeError):  # what oauthlib cannot make sense of
        raise Refused(why="a signed request that cannot be read") from None


class _Validator(oauth1.RequestValidator):  # type: ignore[misc]  # oauthlib ships no types
    """What oauthlib asks about one request. Nothing is saved here: the caller does."""

    enforce_ssl = False
    allowed_signature_methods = _METHODS
    dummy_client = "nobody"
    dummy_request_token = dummy_access_token = dummy_client

    def __init__(self, parties: Parties) -> None:
        super().__init__()
        self._parties = parties
        self._nobody = secrets.token_hex(16)

    def check_client_key(self, client_key: str) -> bool:
        return _is_id(client_key)

    def check_request_token(self, request_token: str) -> bool:
        return _is_id(request_token)

    def check_access_token(self, request_token: str) -> bool:
        return _is_id(request_token)

    def check_nonce(self, nonce: str) -> bool:
        return set(nonce) <= _HEX

    def check_verifier(self, verifier: str) -> bool:
        return bool(verifier)

    def validate_client_key(self, client_key: str, _request: Any) -> bool:
        return client_key == self._parties.consumer_id

    def validate_request_token(self, _client_key: str, token: str, _request: Any) -> bool:
        return token == self._parties.token_id

    def validate_access_token(self, _client_key: str, token: str, _request: Any) -> bool:
        return token == self._parties.token_id

    def validate_verifier(self, _key: str, _token: str, verifier: str, _request: Any) -> bool:
        known = self._parties.verifier
        return bool(known) and hmac.compare_digest(verifier.encode(), known.encode())

    def get_client_secret(self, client_key: str, _request: Any) -> str:
        known = client_key == self._parties.consumer_id
        return self._parties.consumer_secret if known else self._nobody

    def get_request_token_secret(self, _client_key: str, token: str, _request: Any) -> str:
        return self._parties.token_secret if token == self._parties.token_id else self._nobody

    get_access_token_secret = get_request_token_secret

    def validate_timestamp_and_nonce(self, *_asked: Any, **_more: Any) -> bool:
        return True

    def validate_redirect_uri(self, *_asked: Any) -> bool:
        return True

    def validate_requested_realms(self, *_asked: Any) -> bool:
        return True

    def validate_realms(self, *_asked: Any, **_more: Any) -> bool:
        return True

    def get_default_realms(self, *_asked: Any) -> list[str]:
        return []

    def get_realms(self, *_asked: Any) -> list[str]:
        return []

    def save_request_token(self, *_asked: Any) -> None:
        pass

    def save_access_token(self, *_asked: Any) -> None:
        pass

    def invalidate_request_token(self, *_asked: Any) -> None:
        pass


def _is_id(text: str) -> bool:
    return len(text) == 32 and set(text) <= _HEX
