"""REST clients that act for one operation.

While the request is fresh they carry the user's token, and this service's own beside it
(X-Service-Token). A resumed operation, or one whose user token was refused, acts with the
service's token alone, for the project recorded with the server.
"""

from __future__ import annotations

from collections.abc import Mapping

from minicloud.client.identity import ServiceSession
from minicloud.client.image import ImageClient
from minicloud.client.network import NetworkClient
from minicloud.client.rest import RestClient
from minicloud.client.volume import VolumeClient
from minicloud.kit.context import Context


class Clients:
    def __init__(self, session: ServiceSession, ctx: Context) -> None:
        self._session = session
        self._user_token = ctx.token
        self._request_id = ctx.request_id
        self.image = ImageClient(self._rest("image"))
        self.own_image = ImageClient(self._rest("image", own=True))
        """For images that users have no business with."""
        self.network = NetworkClient(self._rest("network"))
        self.volume = VolumeClient(self._rest("block-storage"))

    def refused(self) -> None:
        """A token was refused: go on with the service's own, or if it was that, with a new one."""
        if self._user_token:
            self._user_token = ""
        else:
            self._session.forget()

    def _rest(self, service_type: str, *, own: bool = False) -> RestClient:
        return RestClient(
            service_type,
            lambda: self._session.endpoint(service_type),
            self._own_headers if own else self._headers,
            session=self._session.http,
        )

    def _headers(self) -> Mapping[str, str]:
        mine = self._own_headers()
        if not self._user_token:
            return mine
        return {
            **mine,
            "X-Auth-Token": self._user_token,
            "X-Service-Token": mine["X-Auth-Token"],
        }

    def _own_headers(self) -> Mapping[str, str]:
        return {
            "X-Auth-Token": self._session.token(),
            "X-Openstack-Request-Id": self._request_id,
        }
