"""The URLs that answers carry: as the client wrote the host, or as the operator says."""

from __future__ import annotations

from urllib.parse import urlencode

from minicloud.identity.oauth_signatures import Signed
from minicloud.kit.web import Call
from minicloud.kit.web.paging import next_link


class Links:
    """``public_url``: scheme and authority that clients shall use; empty: as they asked."""

    def __init__(self, public_url: str = "") -> None:
        self._public_url = public_url.rstrip("/").removesuffix("/v3")

    def base(self, call: Call) -> str:
        """``http://host:5000/v3``"""
        return f"{self._public_url or call.base_url}/v3"

    def here(self, call: Call) -> str:
        """What was asked."""
        query = urlencode(list(call.query.items(multi=True)))
        url = f"{self._public_url or call.base_url}{call.path}"
        return f"{url}?{query}" if query else url

    def signed(self, call: Call) -> Signed:
        """The request as its client signed it: where it asked, by the scheme that it is told."""
        scheme = self._public_url.partition("://")[0] if self._public_url else ""
        asked = call.base_url.partition("://")
        query = f"?{urlencode(list(call.query.items(multi=True)))}" if call.query else ""
        return Signed(
            url=f"{scheme or asked[0]}://{asked[2]}{call.path}{query}",
            authorization=call.headers.get("Authorization", ""),
        )

    def following(self, call: Call, last_id: str) -> str:
        """The next page."""
        return next_link(f"{self._public_url or call.base_url}{call.path}", call.query, last_id)
