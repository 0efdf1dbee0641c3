"""What can be done with metadata definitions. Those that the caller cannot see are NotFound."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import Forbidden, NotAllowed, NotFound
from minicloud.domain.ids import new_id
from minicloud.image import metadef_store as store
from minicloud.image.metadef_schemas import (
    NamespaceFields,
    NewAssociation,
    NewNamespace,
    PropertyFields,
)
from minicloud.image.metadefs import Association, Item, Namespace, ResourceType
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction

OBJECT, PROPERTY, TAG = "object", "property", "tag"


class MetadefQuery(msgspec.Struct, frozen=True, kw_only=True):
    visibility: str | None = None
    resource_types: Sequence[str] = ()
    sort: tuple[str, str] = ("created_at", "desc")
    marker: str | None = None
    limit: int


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """A namespace with what belongs to it."""

    namespace: Namespace
    associations: Sequence[Association] = ()
    items: Sequence[Item] = ()


class Metadefs:
    def __init__(self, database: Database) -> None:
        self._database = database

    # -- namespaces ------------------------------------------------------------------------------
    def page(self, ctx: Context, query: MetadefQuery) -> tuple[list[Whole], bool]:
        """One page, without items, and whether there is another."""
        with self._database.read() as tx:
            after = None if query.marker is None else self._seen(tx, ctx, query.marker)
            found = store.namespaces_list(
                tx, ctx.project_id or None, sees_all=ctx.is_admin, visibility=query.visibility,
                resource_types=query.resource_types, sort=query.sort, after=after,
                limit=query.limit + 1,
            )  # fmt: skip
            shown = found[: query.limit]
            associations = store.associations_of(tx, [one.id for one in shown])
        wholes = [Whole(namespace=n, associations=associations.get(n.id, ())) for n in shown]
        return wholes, len(found) > query.limit

    def show(self, ctx: Context, name: str) -> Whole:
        with self._database.read() as tx:
            namespace = self._seen(tx, ctx, name)
            return Whole(
                namespace=namespace,
                associations=store.associations_of(tx, [namespace.id]).get(namespace.id, ()),
                items=store.items_list(tx, namespace.id),
            )

    def create(self, ctx: Context, given: NewNamespace) -> Whole:
        """Exists when the name is taken."""
        now = clock.now()
        namespace = Namespace(
            id=new_id(), namespace=given.namespace, display_name=given.display_name,
            description=given.description, visibility=given.visibility,
            protected=given.protected, owner=given.owner or ctx.project_id or None,
            created_at=now, updated_at=now,
        )  # fmt: skip
        with self._database.write() as tx:
            store.namespace_insert(tx, namespace)
            for one in given.resource_type_associations:
                self._associate(tx, namespace, one)
            for name, fields in given.properties.items():
                store.item_insert(tx, _item(namespace, PROPERTY, name, _builtins(fields)))
            for described in given.objects:
                store.item_insert(tx, _item(namespace, OBJECT, *described.item()))
            for tag in given.tags:
                store.item_insert(tx, _item(namespace, TAG, tag.name, {}))
        return self.show(ctx, given.namespace)

    def update(self, ctx: Context, name: str, given: NamespaceFields) -> Whole:
        """Everything about the namespace itself, its name too."""
        values = {
            "namespace": given.namespace,
            "display_name": given.display_name,
            "description": given.description,
            "visibility": given.visibility,
            "protected": given.protected,
            "updated_at": clock.now(),
        }
        with self._database.write() as tx:
            before = self._changeable(tx, ctx, name)
            values["owner"] = given.owner or before.owner
            store.namespace_update(tx, before, values)
        return self.show(ctx, given.namespace)

    def delete(self, ctx: Context, name: str) -> None:
        with self._database.write() as tx:
            namespace = self._changeable(tx, ctx, name)
            if namespace.protected:
                raise NotAllowed(reason=f"Namespace {name} is protected and cannot be deleted.")
            store.namespace_delete(tx, namespace.id)

    # -- objects, properties, tags ---------------------------------------------------------------
    def items(self, ctx: Context, namespace: str, kind: str) -> list[Item]:
        with self._database.read() as tx:
            return store.items_list(tx, self._seen(tx, ctx, namespace).id, kind)

    def item(self, ctx: Context, namespace: str, kind: str, name: str) -> Item:
        return _named(self.items(ctx, namespace, kind), kind, name)

    def prefix(self, ctx: Context, namespace: str, resource_type: str) -> str:
        """What the namespace's properties begin with at resources of that type."""
        for one in self.associations(ctx, namespace):
            if one.name == resource_type:
                return one.prefix or ""
        raise NotFound(kind="Resource type association", id=resource_type)

    def item_add(
        self, ctx: Context, namespace: str, kind: str, name: str, body: Mapping[str, Any]
    ) -> Item:
        with self._database.write() as tx:
            item = _item(self._changeable(tx, ctx, namespace), kind, name, body)
            store.item_insert(tx, item)
        return item

    def item_update(
        self, ctx: Context, namespace: str, kind: str, name: str,
        new_name: str, body: Mapping[str, Any],
    ) -> Item:  # fmt: skip
        with self._database.write() as tx:
            found = self._changeable(tx, ctx, namespace)
            before = _named(store.items_list(tx, found.id, kind), kind, name)
            after = msgspec.structs.replace(
                before, name=new_name, body=body, updated_at=clock.now()
            )
            store.item_replace(tx, before, after)
        return after

    def item_remove(self, ctx: Context, namespace: str, kind: str, name: str | None) -> None:
        """One, or with ``name`` None all of the kind."""
        with self._database.write() as tx:
            found = self._changeable(tx, ctx, namespace)
            removed = store.item_remove(tx, found.id, kind, name)
            if name is not None and not removed:
                raise NotFound(kind=kind.capitalize(), id=name)

    def tags_set(
        self, ctx: Context, namespace: str, names: Iterable[str], *, append: bool
    ) -> list[Item]:
        """These tags instead of what there is, or with ``append`` besides. Exists."""
        with self._database.write() as tx:
            found = self._changeable(tx, ctx, namespace)
            if not append:
                store.item_remove(tx, found.id, TAG, None)
            made = [_item(found, TAG, name, {}) for name in names]
            for item in made:
                store.item_insert(tx, item)
            return store.items_list(tx, found.id, TAG)

    # -- resource types --------------------------------------------------------------------------
    def resource_types(self) -> list[ResourceType]:
        with self._database.read() as tx:
            return store.resource_types_list(tx)

    def associations(self, ctx: Context, namespace: str) -> Sequence[Association]:
        with self._database.read() as tx:
            found = self._seen(tx, ctx, namespace)
            return store.associations_of(tx, [found.id]).get(found.id, ())

    def associate(self, ctx: Context, namespace: str, given: NewAssociation) -> Association:
        with self._database.write() as tx:
            return self._associate(tx, self._changeable(tx, ctx, namespace), given)

    def dissociate(self, ctx: Context, namespace: str, name: str) -> None:
        with self._database.write() as tx:
            found = self._changeable(tx, ctx, namespace)
            if found.protected:
                raise NotAllowed(reason=f"Namespace {namespace} is protected.")
            if not store.association_remove(tx, found.id, name):
                raise NotFound(kind="Resource type association", id=name)

    def _associate(
        self, tx: Transaction, namespace: Namespace, given: NewAssociation
    ) -> Association:
        now = clock.now()
        store.resource_type_ensure(tx, given.name, now)
        association = Association(
            namespace_id=namespace.id, name=given.name, prefix=given.prefix,
            properties_target=given.properties_target, created_at=now, updated_at=now,
        )  # fmt: skip
        store.association_insert(tx, association)
        return association

    def _seen(self, tx: Transaction, ctx: Context, name: str, *, lock: bool = False) -> Namespace:
        found = store.namespace_get(tx, name, lock=lock)
        if found is None or not (
            ctx.is_admin or found.visibility == "public" or found.owner == ctx.project_id
        ):
            raise NotFound(kind="Namespace", id=name)
        return found

    def _changeable(self, tx: Transaction, ctx: Context, name: str) -> Namespace:
        """The namespace, locked; Forbidden for another project's, whatever the rules let in."""
        found = self._seen(tx, ctx, name, lock=True)
        if not ctx.is_admin and found.owner != ctx.project_id:
            raise Forbidden(action="modify_metadef_namespace")
        return found


def _item(namespace: Namespace, kind: str, name: str, body: Mapping[str, Any]) -> Item:
    now = clock.now()
    return Item(namespace_id=namespace.id, kind=kind, name=name, body=body, created_at=now,
                updated_at=now)  # fmt: skip


def _builtins(fields: PropertyFields) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.to_builtins(fields)
    return found


def _named(items: Iterable[Item], kind: str, name: str) -> Item:
    for item in items:
        if item.name == name:
            return item
    raise NotFound(kind=kind.capitalize(), id=name)
