"""What policies are asked about: the objects that a request names, as rules refer to them.

``target.user.domain_id`` in a rule is the domain of the user in the path or in the body; a name
that stands for nothing is not there, and a rule that needs it does not hold. So a caller who may
not see an object is refused whether it exists or not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from minicloud.identity import store
from minicloud.identity.records import Record
from minicloud.identity.store import Rows
from minicloud.kit.db import Database
from minicloud.kit.web import Call

Target = dict[str, Any]
Builder = Callable[[Call], Target]
_ROWS: Mapping[str, Rows[Any]] = {
    "domain": store.domains,
    "project": store.projects,
    "user": store.users,
    "group": store.groups,
    "role": store.roles,
}
_SHOWN = ("id", "name", "domain_id", "user_id", "project_id")


def of(noun: str, values: Mapping[str, Any]) -> Target:
    """``values`` of an object of this kind, as rules name them."""
    return {f"target.{noun}.{key}": value for key, value in values.items()}


class Targets:
    def __init__(self, database: Database) -> None:
        self._database = database

    def path(self, call: Call) -> Target:
        """The parameters of the path alone: ``user_id`` and the like."""
        return dict(call.params)

    def named(self, **parameters: str) -> Builder:
        """Builder of a target: noun -> the parameter of the path that has its id."""

        def build(call: Call) -> Target:
            target = dict(call.params)
            with self._database.read() as tx:
                for noun, parameter in parameters.items():
                    if parameter in call.params:
                        found = _ROWS[noun].find(tx, id=call.params[parameter])
                        target |= {} if found is None else record(noun, found)
            return target

        return build


def record(noun: str, found: Record) -> Target:
    values = msgspec.structs.asdict(found)
    return of(noun, {key: values[key] for key in _SHOWN if key in values})


def own_domain(noun: str) -> Builder:
    """Of a list: the domain that the caller's token is for, to which the list is then cut."""

    def build(call: Call) -> Target:
        domain_id = call.ctx.domain_id
        if not domain_id:
            return {"target.scope": call.ctx.scope}
        return {"target.domain_id": domain_id, f"target.{noun}.domain_id": domain_id}

    return build
