"""Address groups: named sets of ranges that security group rules refer to."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from minicloud.domain.errors import Conflict, Invalid, NotFound
from minicloud.kit import clock
from minicloud.kit.db import Database, Transaction
from minicloud.network import sharing, store
from minicloud.network.caller import Caller
from minicloud.network.listing import rows_list
from minicloud.network.models import address_groups
from minicloud.network.query import ListQuery
from minicloud.network.records import AddressGroup, from_row
from minicloud.network.schemas import given, owner_named
from minicloud.network.sharing_attributes import ADDRESS_GROUPS
from minicloud.network.sharing_schemas import AddressGroupCreate, AddressGroupUpdate
from minicloud.network.views import standard


class AddressGroups:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, caller: Caller, bodies: Sequence[AddressGroupCreate]) -> list[dict[str, Any]]:
        """All or none. Forbidden, Invalid."""
        wanted = [
            (body, caller.owner_of(owner_named(body), "create_address_group")) for body in bodies
        ]
        with self._database.write() as tx:
            made = []
            for body, owner in wanted:
                values = {
                    **store.standard_values(owner),
                    "shared": False,
                    **given(body, "name", "description", "shared"),
                    "addresses": checked(given(body, "addresses").get("addresses", ())),
                }
                if values["shared"]:
                    caller.check("create_address_group:shared", {"project_id": owner})
                store.row_insert(tx, address_groups, values)
                if values["shared"]:
                    sharing.with_everybody(
                        tx, "address_group", values["id"], owner, sharing.SHARED, on=True
                    )
                made.append(address_group_seen(tx, caller, values["id"]))
            return _views(tx, caller, made)

    def find(self, caller: Caller, query: ListQuery) -> list[dict[str, Any]]:
        visible = sharing.visible(address_groups, caller.project_id, sees_all=caller.sees_all)
        with self._database.read() as tx:
            rows = rows_list(tx, ADDRESS_GROUPS, query, visible)
            return _views(tx, caller, [from_row(row, AddressGroup) for row in rows])

    def show(self, caller: Caller, group_id: str) -> dict[str, Any]:
        with self._database.read() as tx:
            return _views(tx, caller, [address_group_seen(tx, caller, group_id)])[0]

    def update(self, caller: Caller, group_id: str, body: AddressGroupUpdate) -> dict[str, Any]:
        with self._database.write() as tx:
            group = _owned(tx, caller, group_id)
            return _changed(tx, caller, group, given(body, "name", "description"))

    def add(self, caller: Caller, group_id: str, addresses: Sequence[str]) -> dict[str, Any]:
        """Invalid for what is there already."""
        with self._database.write() as tx:
            group = _owned(tx, caller, group_id)
            wanted = checked(addresses)
            if twice := sorted(set(wanted) & set(group.addresses)):
                raise Invalid(
                    type="AddressesAlreadyExist",
                    reason=f"Addresses {', '.join(twice)} already exist in the address group "
                    f"{group.id}.",
                )
            return _changed(tx, caller, group, {"addresses": [*group.addresses, *wanted]})

    def remove(self, caller: Caller, group_id: str, addresses: Sequence[str]) -> dict[str, Any]:
        """NotFound for what is not there."""
        with self._database.write() as tx:
            group = _owned(tx, caller, group_id)
            gone = checked(addresses)
            if missing := sorted(set(gone) - set(group.addresses)):
                raise NotFound(
                    type="AddressesNotFound",
                    kind=f"In address group {group.id}, addresses",
                    id=", ".join(missing),
                )
            left = [address for address in group.addresses if address not in gone]
            return _changed(tx, caller, group, {"addresses": left})

    def delete(self, caller: Caller, group_id: str) -> None:
        """Conflict while a rule refers to it."""
        with self._database.write() as tx:
            group = _owned(tx, caller, group_id, "delete_address_group")
            if not store.row_delete(tx, address_groups, group.id):
                raise Conflict(
                    type="AddressGroupInUse",
                    reason=f"Address group {group.id} is in use on one or more security group "
                    "rules.",
                )


def checked(addresses: Sequence[str]) -> list[str]:
    """The addresses as CIDRs, each once. Invalid."""
    found = []
    for text in addresses:
        try:
            found.append(str(ip_network(text, strict=False)))
        except ValueError:
            raise Invalid(reason=f"'{text}' is not a valid IP address or CIDR.") from None
    return list(dict.fromkeys(found))


def address_group_seen(
    tx: Transaction, caller: Caller, group_id: str, *, lock: bool = False
) -> AddressGroup:
    """The address group, if the caller may see it. NotFound."""
    row = store.row_get(tx, address_groups, group_id, lock=lock)
    if row is None or not (
        caller.sees_all
        or row["project_id"] == caller.project_id
        or sharing.actions_for(tx, group_id, caller.project_id)
    ):
        raise NotFound(kind="Address Group", id=group_id)
    return from_row(row, AddressGroup)


def _owned(
    tx: Transaction, caller: Caller, group_id: str, action: str = "update_address_group"
) -> AddressGroup:
    group = address_group_seen(tx, caller, group_id, lock=True)
    caller.may_change(action, group)
    return group


def _changed(
    tx: Transaction, caller: Caller, group: AddressGroup, values: dict[str, Any]
) -> dict[str, Any]:
    store.row_update(tx, address_groups, group.id, clock.now(), values)
    return _views(tx, caller, [address_group_seen(tx, caller, group.id)])[0]


def _views(tx: Transaction, caller: Caller, found: Sequence[AddressGroup]) -> list[dict[str, Any]]:
    shared = sharing.shared_ids(tx, [group.id for group in found], caller.project_id)
    return [
        {**standard(group), "addresses": list(group.addresses), "shared": group.id in shared}
        for group in found
    ]
