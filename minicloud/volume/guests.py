"""The compute service as volumes need it: the guests of a volume that has grown are told."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from minicloud.client.identity import ServiceSession
from minicloud.client.rest import RestClient
from minicloud.domain.errors import MinicloudError
from minicloud.volume.records import Volume

LOG = logging.getLogger(__name__)
_VERSION = "compute 2.51"


class Guests:
    """``session`` None: there is no compute service, and nobody is told."""

    def __init__(self, session: ServiceSession | None) -> None:
        self._session = session

    def grown(self, volume: Volume) -> None:
        """Have every server that uses the volume look at its size.

        A compute service that is away fails nothing: the guest sees it when it is started anew.
        """
        users = sorted({each.server_id for each in volume.attachments if each.server_id})
        if self._session is None or not users:
            return
        events = [
            {"name": "volume-extended", "server_uuid": server_id, "tag": volume.id}
            for server_id in users
        ]
        try:
            self._rest(self._session).post("/os-server-external-events", {"events": events})
        except MinicloudError as problem:
            LOG.warning(
                "The servers of volume %s are not told of its size: %s", volume.id, problem.message
            )

    def _rest(self, session: ServiceSession) -> RestClient:
        def headers() -> Mapping[str, str]:
            return {"X-Auth-Token": session.token(), "OpenStack-API-Version": _VERSION}

        return RestClient(
            "compute", lambda: session.endpoint("compute"), headers, session=session.http
        )
