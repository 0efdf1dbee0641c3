"""Secrets that identity keeps for users: EC2 keys, and whatever else a client wants kept.

The content is sealed with keys of its own, because a signature can only be checked with the
secret itself. An EC2 key's id is the digest of its first access key, so that it is found by it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import sqlalchemy as sa

from minicloud.domain.errors import Exists, Invalid, NotFound
from minicloud.identity import models, sealing, store
from minicloud.identity.keys import Keys
from minicloud.identity.nouns import new_id
from minicloud.identity.records import Credential
from minicloud.kit.db import Database, Transaction

EC2 = "ec2"
_table = models.credential


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An EC2 key."""

    access: str
    secret: str
    user_id: str
    project_id: str

    def __repr__(self) -> str:
        return f"<Key {self.access}>"


def id_of(access: str) -> str:
    return hashlib.sha256(access.encode()).hexdigest()


class Credentials:
    """Thread safe."""

    def __init__(self, database: Database, keys: Keys) -> None:
        self._database = database
        self._keys = keys

    def create(self, values: Mapping[str, Any]) -> Credential:
        """Exists where an EC2 key has this access key."""
        credential = Credential(**{"id": _new_id(values), "project_id": None, **values})
        _check(credential)
        with self._database.write() as tx:
            self._insert(tx, credential)
        return credential

    def create_key(self, user_id: str, project_id: str) -> Key:
        """A new EC2 key. NotFound."""
        key = Key(access=new_id(), secret=new_id(), user_id=user_id, project_id=project_id)
        blob = msgspec.json.encode({"access": key.access, "secret": key.secret}).decode()
        credential = Credential(
            id=id_of(key.access), user_id=user_id, project_id=project_id, type=EC2, blob=blob
        )
        with self._database.write() as tx:
            store.users.get(tx, user_id)
            store.projects.get(tx, project_id)
            self._insert(tx, credential)
        return key

    def find(self, id_: str) -> Credential | None:
        found = self._read(_table.c.id == id_)
        return found[0] if found else None

    def get(self, id_: str) -> Credential:
        """NotFound."""
        found = self.find(id_)
        if found is None:
            raise NotFound(kind="Credential", id=id_)
        return found

    def list(self, equal: Mapping[str, str]) -> Sequence[Credential]:
        return self._read(*(_table.c[key] == value for key, value in equal.items()))

    def key(self, access: str) -> Key | None:
        """The EC2 key with this access key; None where there is none that can be used."""
        found = self.find(id_of(access))
        key = None if found is None else key_of(found)
        if key is not None and key.access == access:
            return key
        # A key that was given another access key kept its id.
        renewed = (key_of(each) for each in self.list({"type": EC2}))
        return next((key for key in renewed if key is not None and key.access == access), None)

    def delete_key(self, key: Key) -> None:
        """NotFound."""
        for each in self.list({"type": EC2, "user_id": key.user_id}):
            if key_of(each) == key:
                self.delete(each.id)
                return
        raise NotFound(kind="Credential", id=key.access)

    def update(self, id_: str, changes: Mapping[str, Any]) -> Credential:
        """NotFound; Invalid."""
        changes = dict(changes)
        extra = changes.pop("extra", {})
        now = self.get(id_)
        credential = msgspec.structs.replace(now, **changes, extra={**now.extra, **extra})
        if (now.type == EC2) != (credential.type == EC2):
            raise Invalid(reason="An EC2 key stays one, and nothing else becomes one.")
        _check(credential)
        values = self._values(credential)
        with self._database.write() as tx:
            if credential.user_id != now.user_id:
                store.users.get(tx, credential.user_id)
            self._check_project(tx, credential)
            tx.execute(_table.update().where(_table.c.id == id_).values(**values))
        return credential

    def delete(self, id_: str) -> None:
        """NotFound."""
        with self._database.write() as tx:
            if tx.execute(_table.delete().where(_table.c.id == id_)).rowcount == 0:
                raise NotFound(kind="Credential", id=id_)

    def _insert(self, tx: Transaction, credential: Credential) -> None:
        if store.users.find(tx, id=credential.user_id) is None:
            raise Invalid(reason=f"There is no user {credential.user_id}.")
        self._check_project(tx, credential)
        try:
            with tx.begin_nested():
                tx.execute(_table.insert().values(**self._values(credential)))
        except sa.exc.IntegrityError:
            raise Exists(kind="Credential", id=credential.id) from None

    def _check_project(self, tx: Transaction, credential: Credential) -> None:
        project_id = credential.project_id
        if project_id is not None and store.projects.find(tx, id=project_id) is None:
            raise Invalid(reason=f"There is no project {project_id}.")

    def _values(self, credential: Credential) -> dict[str, Any]:
        values = msgspec.structs.asdict(credential)
        values["sealed_blob"] = self._keys.seal(values.pop("blob").encode())
        return values

    def _read(self, *where: sa.ColumnElement[bool]) -> Sequence[Credential]:
        columns = [_table.c[name] for name in Credential.__struct_fields__ if name != "blob"]
        query = sa.select(*columns, _table.c.sealed_blob).where(*where).order_by(_table.c.id)
        with self._database.read() as tx:
            rows = tx.execute(query).all()
        found = []
        for row in rows:
            values = dict(row._mapping)
            blob = sealing.opened(self._keys, row.id, values.pop("sealed_blob"))
            found.append(Credential(**values, blob=blob))
        return found


def key_of(credential: Credential) -> Key | None:
    """The EC2 key that a credential holds; None where it holds none."""
    if credential.type != EC2 or credential.project_id is None:
        return None
    blob = _blob(credential.blob)
    access, secret = blob.get("access"), blob.get("secret")
    if not isinstance(access, str) or not isinstance(secret, str):
        return None
    return Key(
        access=access,
        secret=secret,
        user_id=credential.user_id,
        project_id=credential.project_id,
    )


def _new_id(values: Mapping[str, Any]) -> str:
    if values["type"] != EC2:
        return new_id()
    access = _blob(values["blob"]).get("access")
    if not isinstance(access, str) or not access:
        raise Invalid(reason="The blob of an EC2 key is a JSON object with access and secret.")
    return id_of(access)


def _check(credential: Credential) -> None:
    if credential.type == EC2:
        _new_id({"type": EC2, "blob": credential.blob})
        if credential.project_id is None:
            raise Invalid(reason="An EC2 key needs a project_id.")


def _blob(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
