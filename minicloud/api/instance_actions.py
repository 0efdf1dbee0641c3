"""What was done to a server, step by step: from the operations' journal, and a launch's trace."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.api.schemas.older import for_each, without
from minicloud.api.schemas.server_views import host_id
from minicloud.api.scope import server_of
from minicloud.db import operations
from minicloud.domain.errors import Invalid, NotFound
from minicloud.domain.models import Operation, OperationEvent, Server
from minicloud.domain.states import ACTION_NAMES
from minicloud.domain.steps import STEPS, StepRecord, step
from minicloud.kit import clock
from minicloud.kit.clock import iso_micro
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Query
from minicloud.kit.web.paging import next_link, page

_MOST = 1000
_CREATE = "create"
_FAILED = frozenset({"failed", "stuck"})
QUERY = Query(
    names=frozenset(("limit", "marker", "changes-since", "changes-before")),
    once=frozenset(("limit", "marker", "changes-since", "changes-before")),
    since={
        "limit": (2, 58),
        "marker": (2, 58),
        "changes-since": (2, 58),
        "changes-before": (2, 66),
    },
    strict_from=(2, 58),
)
_UPDATED = without("updated_at")
DOWN_LIST = for_each("instanceAction", "instanceActions", (((2, 58), _UPDATED),))


class InstanceActions:
    def __init__(self, database: Database) -> None:
        self._database = database

    # -- actions -----------------------------------------------------------------------------------
    def index(self, call: Call) -> Any:
        return self._index(call, deleted=None)

    def index_before_2_21(self, call: Call) -> Any:
        """A deleted server's actions were not found."""
        return self._index(call, deleted=False)

    def _index(self, call: Call, *, deleted: bool | None) -> Any:
        with self._database.read() as tx:
            server = server_of(tx, call, deleted=deleted)
            found = operations.operations_of_server(tx, server.id)
        since, before = _moment(call, "changes-since"), _moment(call, "changes-before")
        found = [
            operation
            for operation in found
            if (since is None or operation.updated_at >= since)
            and (before is None or operation.updated_at <= before)
        ]
        limit = call.number("limit", _MOST)
        shown, more = page(
            found,
            [operation.request_id for operation in found],
            limit=_MOST if limit is None else min(limit, _MOST),
            marker=call.query.get("marker"),
        )
        body: dict[str, Any] = {"instanceActions": [_action(operation) for operation in shown]}
        if more and shown:
            href = next_link(call.base_url + call.path, call.query, shown[-1].request_id)
            body["links"] = [{"rel": "next", "href": href}]
        return body

    def show(self, call: Call) -> Any:
        return self._show(call, deleted=None)

    def show_before_2_21(self, call: Call) -> Any:
        return self._show(call, deleted=False)

    def _show(self, call: Call, *, deleted: bool | None) -> Any:
        request_id = call.params["request_id"]
        with self._database.read() as tx:
            server = server_of(tx, call, deleted=deleted)
            for operation in operations.operations_of_server(tx, server.id):
                if operation.request_id == request_id:
                    break
            else:
                raise NotFound(kind="Action for request_id", id=request_id)
            events = operations.events_of_operation(tx, operation.id)
            steps = operations.steps_of_server(tx, server.id) if operation.verb == _CREATE else ()
        view = _action(operation)
        view["events"] = _events(
            server, events, steps, details=call.allowed(
                "os_compute_api:os-instance-actions:events:details"
            )
        )  # fmt: skip
        return {"instanceAction": view}

    # -- the trace ---------------------------------------------------------------------------------
    def trace(self, call: Call) -> Any:
        """All 28 steps in order; those not recorded, or not yet, have no start."""
        with self._database.read() as tx:
            server = server_of(tx, call, deleted=None)
            recorded = {s.number: s for s in operations.steps_of_server(tx, server.id)}
            launches = [
                operation
                for operation in operations.operations_of_server(tx, server.id)
                if operation.verb == _CREATE
            ]
        request_id = launches[-1].request_id if launches else ""
        return {
            "trace": {
                "server_id": server.id,
                "request_id": request_id,
                "steps": [_traced(number + 1, recorded) for number in range(len(STEPS))],
            }
        }


def _moment(call: Call, name: str) -> float | None:
    text = call.query.get(name)
    try:
        return None if text is None else clock.parse(text)
    except (ValueError, OverflowError):
        raise Invalid(
            reason=f"Invalid input for query parameters {name}: it must be a date and time."
        ) from None


def _action(operation: Operation) -> dict[str, Any]:
    return {
        "action": ACTION_NAMES.get(operation.verb, operation.verb),
        "instance_uuid": operation.server_id,
        "request_id": operation.request_id,
        "user_id": operation.user_id,
        "project_id": operation.project_id,
        "start_time": iso_micro(operation.created_at),
        "updated_at": iso_micro(operation.updated_at),
        "message": (operation.message or "Error") if operation.state in _FAILED else None,
    }


def _events(
    server: Server,
    events: Sequence[OperationEvent],
    steps: Sequence[StepRecord],
    *,
    details: bool,
) -> list[dict[str, Any]]:
    """Oldest first. ``details``: whether the caller sees hosts and what went wrong."""
    found = [
        (
            event.started_at,
            _event(
                f"compute_{event.step}", event.started_at, event.finished_at, event.result,
                event.host, event.message,
            ),
        )
        for event in events
    ]  # fmt: skip
    found += [
        (
            record.start,
            _event(
                step(record.number).event, record.start, record.start + (record.duration or 0.0),
                record.result, record.host, record.detail,
            ),
        )
        for record in steps
    ]  # fmt: skip
    found.sort(key=lambda pair: (pair[0], pair[1]["event"]))
    views = [view for _, view in found]
    for view in views:
        view["hostId"] = host_id(server.project_id, view["host"] or None)
        if not details:
            del view["host"], view["traceback"], view["details"]
    return views


def _event(
    name: str, start: float, finish: float | None, result: str | None, host: str, detail: str
) -> dict[str, Any]:
    return {
        "event": name,
        "start_time": iso_micro(start),
        "finish_time": iso_micro(finish),
        "result": result,
        "traceback": None,
        "host": host,
        "details": detail or None,
    }


def _traced(number: int, recorded: Mapping[int, StepRecord]) -> dict[str, Any]:
    known = step(number)
    record = recorded.get(number)
    return {
        "number": number,
        "name": known.name,
        "sentence": known.sentence,
        "where": known.where,
        "start": record.start if record else None,
        "duration": record.duration if record else None,
        "service": record.service if record else None,
        "host": record.host if record else None,
        "result": record.result if record else None,
        "detail": record.detail if record else "",
    }


# -- older microversions ---------------------------------------------------------------------------
def _each_event(*keys: str) -> Any:
    def change(item: dict[str, Any]) -> None:
        for event in item["events"]:
            for key in keys:
                event.pop(key, None)

    return change


def _events_of_admins(item: dict[str, Any]) -> None:
    """Before 2.51 only admins saw events; a traceback is what they alone see."""
    if not all("traceback" in event for event in item["events"]):
        item["events"] = []


DOWN_SHOW = for_each(
    "instanceAction",
    "instanceActions",
    (
        ((2, 84), _each_event("details")),
        ((2, 62), _each_event("host", "hostId")),
        ((2, 58), _UPDATED),
        ((2, 51), _events_of_admins),
    ),
)
