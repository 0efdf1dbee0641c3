"""What all nouns of identity have in common: create, get, list, update, delete.

A noun's own logic is in ``directory.py`` (who) and ``places.py`` (where the services are), by
overriding ``new``, ``changes`` and ``ending``, which run inside the transaction.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar

import sqlalchemy as sa

from minicloud.domain.errors import NotAllowed
from minicloud.identity import store
from minicloud.identity.records import Record
from minicloud.identity.store import Match, Rows
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction

R = TypeVar("R", bound=Record)
Values = dict[str, Any]
"""Field -> value, as ``schemas.read`` gives them; ``extra`` is always there."""


def new_id() -> str:
    """Identity's ids are UUIDs without dashes, as its clients know them."""
    return uuid.uuid4().hex


class Noun(Generic[R]):
    """One kind of object and what may be done with it. Thread safe."""

    rows: Rows[R]
    raises_generation: ClassVar[bool] = False
    """Whether a change makes what processes remember of roles and catalog out of date."""
    in_use: ClassVar[str] = "other things refer to it"

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, id_: str) -> R:
        """NotFound."""
        with self._database.read() as tx:
            return self.rows.get(tx, id_)

    def page(
        self,
        equal: Mapping[str, Any],
        *,
        matches: Sequence[Match] = (),
        marker: str | None = None,
        limit: int | None = None,
    ) -> tuple[Sequence[R], bool]:
        """Records by id, at most ``limit``, and whether there are more."""
        with self._database.read() as tx:
            found = self.rows.list(
                tx,
                equal,
                matches=matches,
                marker=marker,
                limit=None if limit is None else limit + 1,
            )
        return found[:limit], limit is not None and len(found) > limit

    def create(self, ctx: Context, values: Values) -> R:
        """Exists where the name is taken."""
        hidden = self.hidden(values)
        with self._database.write() as tx:
            record = self.new(tx, ctx, values)
            self.rows.insert(tx, record, **hidden)
            self._changed(tx)
            return record

    def update(self, id_: str, values: Values) -> R:
        """The record as it is afterwards. NotFound; Exists where the new name is taken."""
        hidden = self.changed_hidden(values)
        with self._database.write() as tx:
            record = self.rows.get(tx, id_)
            self.changing(tx, record, values)
            changes = self.changes(tx, record, values)
            extra = {**record.extra, **changes.pop("extra")}
            if extra != record.extra:
                changes["extra"] = extra
            self.rows.update(tx, id_, {**changes, **hidden})
            self._changed(tx)
            return self.rows.get(tx, id_)

    def delete(self, id_: str) -> None:
        """NotFound; NotAllowed where something stands on it."""
        with self._database.write() as tx:
            self.ending(tx, self.rows.get(tx, id_))
            try:
                self.rows.delete(tx, id_)
            except sa.exc.IntegrityError:
                kind = self.rows.kind.lower()
                raise NotAllowed(
                    reason=f"Unable to delete {kind} {id_} because {self.in_use}."
                ) from None
            self._changed(tx)

    def new(self, tx: Transaction, ctx: Context, values: Values) -> R:
        """The record to insert."""
        raise NotImplementedError

    def changes(self, tx: Transaction, record: R, values: Values) -> Values:
        """Column -> new value, with ``extra``; raises where a change is refused."""
        return dict(values)

    def changing(self, tx: Transaction, record: R, values: Values) -> None:
        """Raise where ``record`` may not be changed."""

    def home(self, tx: Transaction, ctx: Context, values: Values) -> str | None:
        """The domain that something new would be in; None where it would be in none."""
        return None

    def target(self, ctx: Context, values: Values) -> dict[str, Any]:
        """What the policy of creating is asked about."""
        with self._database.read() as tx:
            return {"domain_id": self.home(tx, ctx, dict(values))}

    def ending(self, tx: Transaction, record: R) -> None:
        """Raise where ``record`` may not be deleted."""

    def hidden(self, values: Values) -> Values:
        """Columns that no record shows, for a new row; taken out of ``values``."""
        return {}

    def changed_hidden(self, values: Values) -> Values:
        """The same, for an update."""
        return {}

    def _changed(self, tx: Transaction) -> None:
        if self.raises_generation:
            store.generation_raise(tx)
