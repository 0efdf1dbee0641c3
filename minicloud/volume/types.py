"""Volume types: what kind of volume a user may ask for, and what it means here.

Of the extra specs two mean something: ``volume_backend_name`` names the backend, ``multiattach``
(``<is> True``) lets several servers have a volume. Which type a volume has when nobody says is a
question of its project's default, then of the cloud's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.domain.errors import Conflict, Exists, Invalid, NotFound
from minicloud.domain.ids import is_uuid, new_id
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.volume import types_store as store
from minicloud.volume.records import QosSpecs, VolumeType
from minicloud.volume.types_store import DEFAULT_ID, DEFAULT_NAME, NameTaken


def backend_of(kind: VolumeType) -> str | None:
    """The backend that the type asks for; None: whichever."""
    return kind.extra_specs.get("volume_backend_name") or None


class Types:
    def __init__(self, database: Database) -> None:
        self._database = database

    # -- reading ---------------------------------------------------------------------------------
    def all(self, ctx: Context, *, public: bool | None) -> list[VolumeType]:
        """Newest first; of those that are not public only what the caller's project may use,
        unless an administrator asks. ``public`` None: both.
        """
        with self._database.read() as tx:
            found = store.types_all(tx)
            granted = store.types_granted(tx, ctx.project_id)
        return [
            each
            for each in found
            if (ctx.is_admin or each.is_public or each.id in granted)
            and public in (None, each.is_public)
        ]

    def get(self, ctx: Context, type_id: str) -> VolumeType:
        """``default``: the one that the caller's volumes get. NotFound also for a type that is not
        the caller's to see.
        """
        with self._database.read() as tx:
            if type_id == "default":
                return self.default(tx, ctx.project_id)
            return self._visible(tx, ctx, type_id)

    def choose(
        self,
        tx: Transaction,
        ctx: Context,
        project_id: str,
        named: str | None,
        inherited: str | None,
    ) -> VolumeType:
        """The type of a new volume: by name or id, else its source's, else the default."""
        if named:
            by_name = store.type_named(tx, named)
            return self._visible(tx, ctx, by_name.id if by_name else named)
        if inherited:
            found = store.type_get(tx, inherited)
            if found is not None:
                return found
        return self.default(tx, project_id)

    def default(self, tx: Transaction, project_id: str) -> VolumeType:
        chosen = store.default_of(tx, project_id)
        found = store.type_get(tx, chosen or DEFAULT_ID) or store.type_named(tx, DEFAULT_NAME)
        if found is None:
            raise NotFound(kind="Volume type", id=DEFAULT_NAME)
        return found

    def access(self, ctx: Context, type_id: str) -> list[str]:
        """The projects that may use it. NotFound: it is public, so there is no such list."""
        with self._database.read() as tx:
            kind = self._visible(tx, ctx, type_id)
            if kind.is_public:
                raise NotFound(kind="Access list for public volume type", id=type_id)
            return store.access_of(tx, type_id)

    # -- changing --------------------------------------------------------------------------------
    def create(
        self,
        *,
        name: str,
        description: str | None,
        is_public: bool,
        extra_specs: Mapping[str, str],
    ) -> VolumeType:
        """Exists: the name is taken."""
        made = VolumeType(
            id=new_id(),
            name=name,
            description=description,
            is_public=is_public,
            extra_specs=dict(extra_specs),
            qos_specs_id=None,
            created_at=clock.now(),
        )
        try:
            with self._database.write() as tx:
                store.type_add(tx, made)
        except NameTaken:
            raise Exists(kind="Volume Type", id=name) from None
        return made

    def update(self, ctx: Context, type_id: str, values: Mapping[str, Any]) -> VolumeType:
        try:
            with self._database.write() as tx:
                kind = self._held(tx, ctx, type_id)
                if kind.id == DEFAULT_ID and values.get("name", DEFAULT_NAME) != DEFAULT_NAME:
                    raise Invalid(reason=f"The type {DEFAULT_NAME} keeps its name.")
                if values:
                    store.type_update(tx, type_id, values)
                return self._visible(tx, ctx, type_id)
        except NameTaken:
            raise Exists(kind="Volume Type", id=str(values.get("name"))) from None

    def delete(self, ctx: Context, type_id: str) -> None:
        """Invalid: volumes have it, or it is the cloud's default."""
        with self._database.write() as tx:
            kind = self._held(tx, ctx, type_id)
            if kind.id == DEFAULT_ID:
                raise Invalid(
                    reason=f"Volume type {DEFAULT_NAME} cannot be deleted: volumes get it when "
                    "nobody says which."
                )
            if store.type_in_use(tx, type_id):
                raise Invalid(
                    reason=f"Target volume type is still in use: volumes have the type {kind.name}."
                )
            store.type_remove(tx, type_id)

    def extra_specs_merge(
        self, ctx: Context, type_id: str, specs: Mapping[str, str]
    ) -> Mapping[str, str]:
        with self._database.write() as tx:
            merged = {**self._held(tx, ctx, type_id).extra_specs, **specs}
            store.type_update(tx, type_id, {"extra_specs": merged})
        return merged

    def extra_spec_remove(self, ctx: Context, type_id: str, key: str) -> None:
        with self._database.write() as tx:
            specs = dict(self._held(tx, ctx, type_id).extra_specs)
            if specs.pop(key, None) is None:
                raise NotFound(kind="Volume Type extra spec", id=key)
            store.type_update(tx, type_id, {"extra_specs": specs})

    def access_add(self, ctx: Context, type_id: str, project_id: str) -> None:
        """Conflict: it has access already; Invalid: everybody has."""
        try:
            with self._database.write() as tx:
                self._private(tx, ctx, type_id)
                store.access_add(tx, type_id, project_id)
        except NameTaken:
            raise Conflict(
                reason=f"Volume type access for {type_id} / {project_id} combination already "
                "exists."
            ) from None

    def access_remove(self, ctx: Context, type_id: str, project_id: str) -> None:
        with self._database.write() as tx:
            self._private(tx, ctx, type_id)
            if not store.access_remove(tx, type_id, project_id):
                raise NotFound(kind="Volume type access", id=f"{type_id} / {project_id}")

    # -- defaults --------------------------------------------------------------------------------
    def defaults(self) -> Mapping[str, str]:
        """Project id -> type id, where a project has a default of its own."""
        with self._database.read() as tx:
            return store.defaults_all(tx)

    def default_get(self, project_id: str) -> str:
        with self._database.read() as tx:
            chosen = store.default_of(tx, project_id)
        if chosen is None:
            raise NotFound(kind="Default type for project", id=project_id)
        return chosen

    def default_set(self, ctx: Context, project_id: str, named: str) -> str:
        """The type's id."""
        with self._database.write() as tx:
            by_name = store.type_named(tx, named)
            kind = self._held(tx, ctx, by_name.id if by_name else named)
            store.default_set(tx, project_id, kind.id)
        return kind.id

    def default_unset(self, project_id: str) -> None:
        with self._database.write() as tx:
            store.default_unset(tx, project_id)

    # -- qualities of service --------------------------------------------------------------------
    def qos_all(self) -> list[QosSpecs]:
        with self._database.read() as tx:
            return store.qos_all(tx)

    def qos_get(self, qos_id: str) -> QosSpecs:
        with self._database.read() as tx:
            return self._qos(tx, qos_id)

    def qos_create(self, name: str, consumer: str, specs: Mapping[str, str]) -> QosSpecs:
        made = QosSpecs(
            id=new_id(), name=name, consumer=consumer, specs=dict(specs), created_at=clock.now()
        )
        try:
            with self._database.write() as tx:
                store.qos_add(tx, made)
        except NameTaken:
            raise Exists(kind="QoS specs", id=name) from None
        return made

    def qos_merge(self, qos_id: str, specs: Mapping[str, str], consumer: str | None) -> QosSpecs:
        with self._database.write() as tx:
            now = self._qos_held(tx, qos_id)
            values = {"specs": {**now.specs, **specs}, "consumer": consumer or now.consumer}
            store.qos_update(tx, qos_id, values)
            return self._qos(tx, qos_id)

    def qos_remove_keys(self, qos_id: str, keys: Sequence[str]) -> None:
        """NotFound: it has no such key; then nothing has changed."""
        with self._database.write() as tx:
            specs = dict(self._qos_held(tx, qos_id).specs)
            for key in keys:
                if specs.pop(key, None) is None:
                    raise NotFound(kind=f"QoS specs {qos_id} with key", id=key)
            store.qos_update(tx, qos_id, {"specs": specs})

    def qos_delete(self, qos_id: str, *, force: bool) -> None:
        """Invalid: types have it, unless ``force``."""
        with self._database.write() as tx:
            self._qos_held(tx, qos_id)
            having = store.types_of_qos(tx, qos_id)
            if having and not force:
                raise Invalid(
                    reason=f"QoS Specs {qos_id} is still associated with entities: disassociate "
                    "them, or delete with force."
                )
            for kind in having:
                store.type_update(tx, kind.id, {"qos_specs_id": None})
            store.qos_remove(tx, qos_id)

    def qos_associations(self, qos_id: str) -> list[VolumeType]:
        with self._database.read() as tx:
            self._qos(tx, qos_id)
            return store.types_of_qos(tx, qos_id)

    def qos_associate(self, ctx: Context, qos_id: str, type_id: str) -> None:
        """Invalid: the type has another."""
        with self._database.write() as tx:
            self._qos_held(tx, qos_id)
            kind = self._held(tx, ctx, type_id)
            if kind.qos_specs_id not in (None, qos_id):
                raise Invalid(
                    reason=f"Invalid volume type: Type {type_id} is already associated with "
                    f"another qos specs: {kind.qos_specs_id}"
                )
            store.type_update(tx, type_id, {"qos_specs_id": qos_id})

    def qos_disassociate(self, ctx: Context, qos_id: str, type_id: str) -> None:
        with self._database.write() as tx:
            self._qos_held(tx, qos_id)
            if self._held(tx, ctx, type_id).qos_specs_id == qos_id:
                store.type_update(tx, type_id, {"qos_specs_id": None})

    def qos_disassociate_all(self, qos_id: str) -> None:
        with self._database.write() as tx:
            self._qos_held(tx, qos_id)
            for kind in store.types_of_qos(tx, qos_id):
                store.type_update(tx, kind.id, {"qos_specs_id": None})

    def qos_of(self, type_id: str) -> QosSpecs | None:
        """What volumes of the type get."""
        with self._database.read() as tx:
            kind = store.type_get(tx, type_id)
            if kind is None or kind.qos_specs_id is None:
                return None
            return store.qos_get(tx, kind.qos_specs_id)

    # -- parts -----------------------------------------------------------------------------------
    def _visible(self, tx: Transaction, ctx: Context, type_id: str) -> VolumeType:
        found = store.type_get(tx, type_id) if is_uuid(type_id) else None
        if found is None or not (
            ctx.is_admin or found.is_public or ctx.project_id in store.access_of(tx, found.id)
        ):
            raise NotFound(kind="Volume type", id=type_id)
        return found

    def _held(self, tx: Transaction, ctx: Context, type_id: str) -> VolumeType:
        self._visible(tx, ctx, type_id)
        store.type_lock(tx, type_id)
        return self._visible(tx, ctx, type_id)

    def _private(self, tx: Transaction, ctx: Context, type_id: str) -> VolumeType:
        kind = self._held(tx, ctx, type_id)
        if kind.is_public:
            raise Conflict(reason=f"Type access modification is not applicable to public volume "
                           f"type {type_id}.")  # fmt: skip
        return kind

    def _qos(self, tx: Transaction, qos_id: str) -> QosSpecs:
        found = store.qos_get(tx, qos_id) if is_uuid(qos_id) else None
        if found is None:
            raise NotFound(kind="QoS specs", id=qos_id)
        return found

    def _qos_held(self, tx: Transaction, qos_id: str) -> QosSpecs:
        self._qos(tx, qos_id)
        store.qos_lock(tx, qos_id)
        return self._qos(tx, qos_id)
