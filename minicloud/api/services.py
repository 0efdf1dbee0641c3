"""The daemons that report, and whether hosts take new servers."""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from minicloud.api.liveness import is_up, zone_of, zones_of
from minicloud.api.schemas.fields import truth
from minicloud.api.schemas.hosts import ServiceByName, ServiceUpdate, service_view
from minicloud.db import hosts, services
from minicloud.db.hosts import COMPUTE
from minicloud.domain.errors import Conflict, Invalid, NotFound
from minicloud.domain.ids import is_uuid
from minicloud.domain.models import ServiceRecord
from minicloud.kit.db import Database, Transaction
from minicloud.kit.web import Call, Query, Reply

QUERY = Query(names=frozenset(("host", "binary")), strict_from=(2, 75))


class Services:
    """``service_down_s``: seconds without a report after which a daemon counts as down."""

    def __init__(self, database: Database, *, service_down_s: float) -> None:
        self._database = database
        self._service_down_s = service_down_s

    def index(self, call: Call) -> Any:
        with self._database.read() as tx:
            found = services.service_list(
                tx, binary=call.query.get("binary"), host=call.query.get("host")
            )
            zones = zones_of(list(hosts.host_list(tx)))
        return {"services": [self._view(service, zones) for service in found]}

    def update(self, call: Call) -> Any:
        """From 2.53 on: by id."""
        body: ServiceUpdate = call.body
        values: dict[str, Any] = {}
        if body.status is not UNSET:
            values["disabled"] = body.status == "disabled"
            if not values["disabled"]:
                values["disabled_reason"] = None
        if body.disabled_reason is not UNSET:
            if body.status != "disabled":
                raise Invalid(reason="Specifying disabled_reason requires status disabled.")
            values["disabled_reason"] = body.disabled_reason
        if body.forced_down is not UNSET:
            values["forced_down"] = truth(body.forced_down, "forced_down")
        if not values:
            raise Invalid(reason="No updates were requested. Fields 'status' or 'forced_down' "
                          "should be specified.")  # fmt: skip
        with self._database.write() as tx:
            service = _by_id(tx, call.params["service_id"])
            service = services.service_update(tx, service.id, **values)
            zones = zones_of(list(hosts.host_list(tx)))
        return {"service": self._view(service, zones)}

    def update_by_name(self, call: Call) -> Any:
        """Before 2.53: ``/os-services/enable`` and so on, with host and binary in the body."""
        what = call.params["service_id"]
        body: ServiceByName = call.body
        shown: dict[str, Any] = {"host": body.host, "binary": body.binary}
        if what == "enable":
            values: dict[str, Any] = {"disabled": False, "disabled_reason": None}
            shown["status"] = "enabled"
        elif what == "disable":
            values = {"disabled": True}
            shown["status"] = "disabled"
        elif what == "disable-log-reason" and body.disabled_reason:
            values = {"disabled": True, "disabled_reason": body.disabled_reason}
            shown |= {"status": "disabled", "disabled_reason": body.disabled_reason}
        elif what == "force-down" and body.forced_down is not UNSET:
            values = {"forced_down": truth(body.forced_down, "forced_down")}
            shown |= values
        elif what in ("disable-log-reason", "force-down"):
            raise Invalid(reason="Missing disabled reason or forced_down field")
        else:
            raise NotFound(kind="Action", id=what)
        with self._database.write() as tx:
            found = services.service_list(tx, binary=body.binary, host=body.host)
            if not found:
                raise NotFound(kind="Host", id=f"{body.host} with binary {body.binary}")
            services.service_update(tx, found[0].id, **values)
        return {"service": shown}

    def delete(self, call: Call) -> Reply:
        """From 2.53 on: by id."""
        wanted = call.params["service_id"]
        if not is_uuid(wanted):
            raise Invalid(reason=f"Invalid uuid {wanted[:64]}")
        with self._database.write() as tx:
            _delete(tx, _by_id(tx, wanted))
        return Reply(status=204)

    def delete_by_number(self, call: Call) -> Reply:
        wanted = call.params["service_id"]
        if not wanted.isascii() or not wanted.isdigit():
            raise Invalid(reason=f"Invalid id {wanted[:64]}: it must be a number.")
        with self._database.write() as tx:
            for service in services.service_list(tx):
                if service.number == int(wanted[:10]):
                    _delete(tx, service)
                    return Reply(status=204)
        raise NotFound(kind="Service", id=wanted)

    def _view(self, service: ServiceRecord, zones: dict[str, str]) -> Any:
        up = is_up(service, self._service_down_s)
        return service_view(service, zone=zone_of(service, zones), up=up)


def _delete(tx: Transaction, service: ServiceRecord) -> None:
    """The service; with a compute service goes its host, which must be empty."""
    if service.binary == COMPUTE:
        if hosts.host_claims(tx, service.host):
            raise Conflict(
                reason="Unable to delete compute service that is hosting instances. Migrate or "
                "delete the instances first."
            )
        hosts.host_delete(tx, service.host)
    services.service_delete(tx, service.id)


def _by_id(tx: Transaction, service_id: str) -> ServiceRecord:
    for service in services.service_list(tx):
        if service.id == service_id:
            return service
    raise NotFound(kind="Service", id=service_id)
