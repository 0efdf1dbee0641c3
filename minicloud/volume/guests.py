"""The compute service as volumes need it: told when a server's volume has changed below it, and
asked to have a guest that has a volume's file open go on in another.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from minicloud.client.identity import ServiceSession
from minicloud.client.rest import RestClient
from minicloud.domain.errors import HostProblem, MinicloudError, Unavailable
from minicloud.volume.records import Volume

LOG = logging.getLogger(__name__)
_VERSION = "compute 2.93"
_SWAP_VERSION = "compute 2.1"
"""In which a PUT of an attachment can be nothing else."""


class Guests:
    """``session`` None: there is no compute service, and nobody is told."""

    def __init__(self, session: ServiceSession | None) -> None:
        self._session = session

    def grown(self, volume: Volume) -> None:
        """Have every server that uses the volume look at its size.

        A compute service that is away fails nothing: the guest sees it when it is started anew.
        """
        self._tell(volume, "volume-extended", "completed")

    def reimaged(self, volume: Volume, *, failed: bool) -> None:
        """Tell the servers that have claims on the volume that it has, or has not, the bytes of
        another image. A compute service that waits for it looks at the volume in the end.
        """
        self._tell(volume, "volume-reimaged", "failed" if failed else "completed")

    def _tell(self, volume: Volume, event: str, status: str) -> None:
        users = sorted({each.server_id for each in volume.attachments if each.server_id})
        if self._session is None or not users:
            return
        events = [
            {"name": event, "server_uuid": server_id, "tag": volume.id, "status": status}
            for server_id in users
        ]
        try:
            self._rest(self._session).post("/os-server-external-events", {"events": events})
        except MinicloudError as problem:
            LOG.warning("The servers of volume %s are not told %s: %s", volume.id, event,
                        problem.message)  # fmt: skip

    def go_on(self, volume_id: str, file: Path) -> None:
        """Have the guest that has the volume's file open go on in ``file``, which stands on that;
        fine when it does already, or has none open. Unavailable: it does not do so now.
        """
        if self._session is None:
            raise Unavailable(service="Compute", reason="there is none to ask for a snapshot")
        info = {"snapshot_id": file.stem, "type": "qcow2", "new_file": file.name}
        body = {"snapshot": {"volume_id": volume_id, "create_info": info}}
        try:
            self._rest(self._session).post("/os-assisted-volume-snapshots", body)
        except MinicloudError as problem:
            raise Unavailable(service="The volume's guest", reason=problem.message) from problem

    def swap(self, server_id: str, volume_id: str, new_id: str) -> None:
        """Begin to have the server's guest go on in the volume ``new_id``. Unavailable; else the
        compute service's refusal.
        """
        if self._session is None:
            raise HostProblem(reason="There is no compute service to move a guest's disk.")
        path = f"/servers/{server_id}/os-volume_attachments/{volume_id}"
        rest = self._rest(self._session, _SWAP_VERSION)
        rest.put(path, {"volumeAttachment": {"volumeId": new_id}})

    def _rest(self, session: ServiceSession, version: str = _VERSION) -> RestClient:
        def headers() -> Mapping[str, str]:
            return {"X-Auth-Token": session.token(), "OpenStack-API-Version": version}

        return RestClient(
            "compute", lambda: session.endpoint("compute"), headers, session=session.http
        )
