"""A volume that another takes the place of while its server runs: the compute service's part when
volumes move between backends. The volume service asks for it, and nobody else may.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from minicloud.api.lookups import Lookups
from minicloud.api.operations import Operator
from minicloud.api.scope import server_of
from minicloud.client.volume import Volume
from minicloud.db import operations
from minicloud.domain.errors import Conflict, Invalid, NotFound
from minicloud.domain.models import Server
from minicloud.kit.db import Database
from minicloud.kit.web import Call

_VERB = "swap_volume"


class VolumeSwap:
    def __init__(self, database: Database, operator: Operator, lookups: Lookups) -> None:
        self._database, self._operator, self._lookups = database, operator, lookups

    def begin(self, call: Call, volume_id: str, new_id: str) -> None:
        """Begin to put the volume ``new_id`` in the place of ``volume_id``; fine when that is under
        way. NotFound: the server, or the volume; Conflict: it is not migrating, or the server's
        state is another; Invalid: the new one will not do.
        """
        if self._is_under_way(call, volume_id, new_id):
            return
        old = self._lookups.volume(call.ctx, volume_id)
        if not old.migrates:
            raise Conflict(
                reason=f"volume {volume_id} is not migrating; this API should only be called by "
                "Cinder"
            )
        try:
            new = self._lookups.volume(call.ctx, new_id)
        except NotFound as problem:
            raise Invalid(reason=problem.message) from None
        self._operator.check(call, _VERB)

        def plan(server: Server) -> Mapping[str, Any]:
            _check(server, old, new)
            disk = next(each for each in server.block_devices if each.volume_id == old.id)
            attached = next(each for each in server.volumes if each.volume_id == old.id)
            return {
                "disk": msgspec.to_builtins(disk),
                "new_volume": new.id,
                "old_attachment": attached.attachment_id,
                "grows_to_gb": new.size_gb if new.size_gb > old.size_gb else None,
                "then": [(f"{_VERB}:end", None)],
            }

        self._operator.begin(call, _VERB, plan=plan)

    def _is_under_way(self, call: Call, volume_id: str, new_id: str) -> bool:
        with self._database.read() as tx:
            server = server_of(tx, call)
            if server.operation_id is None:
                return False
            operation = operations.operation_get(tx, server.operation_id)
        if operation.verb != _VERB:
            return False
        now = (operation.params["disk"]["volume_id"], operation.params["new_volume"])
        return now == (volume_id, new_id)


def _check(server: Server, old: Volume, new: Volume) -> None:
    """Invalid: ``new`` cannot take the place of ``old``."""
    known = {each.volume_id for each in server.volumes}
    known &= {each.volume_id for each in server.block_devices if each.volume_id}
    reason = ""
    if server.id not in old.servers or old.id not in known:
        reason = "Old volume is attached to a different instance."
    elif new.servers:
        reason = "New volume must be detached in order to swap."
    elif new.size_gb < old.size_gb:
        reason = "New volume must be the same size or larger."
    elif len(old.servers) > 1:
        reason = (
            "Swapping multi-attach volumes with more than one read/write attachment is not "
            "supported."
        )
    elif new.migration_status != f"target:{old.id}":
        reason = f"Volume {new.id} is not the place to which volume {old.id} migrates."
    if reason:
        raise Invalid(reason=f"Invalid volume: {reason}")
