"""Endpoints and groups of endpoints for single projects: what narrows their catalogs.

Every change raises the generation, so that the next token of a project has its new catalog.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from minicloud.domain.errors import NotFound
from minicloud.identity import endpoint_filters, store
from minicloud.identity.nouns import new_id
from minicloud.identity.records import Endpoint, EndpointGroup, Project
from minicloud.kit.db import Database, Transaction

ENDPOINT, GROUP = "endpoint_id", "endpoint_group_id"


class EndpointGroups:
    """Thread safe. ``key``: ENDPOINT or GROUP, for what a project is given."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, values: Mapping[str, Any]) -> EndpointGroup:
        group = EndpointGroup(id=new_id(), **values)
        with self._database.write() as tx:
            endpoint_filters.group_insert(tx, group)
        return group

    def list(self, name: str | None = None) -> Sequence[EndpointGroup]:
        with self._database.read() as tx:
            return endpoint_filters.group_list(tx, name=name)

    def get(self, id_: str) -> EndpointGroup:
        """NotFound."""
        with self._database.read() as tx:
            return endpoint_filters.group_get(tx, id_)

    def update(self, id_: str, changes: Mapping[str, Any]) -> EndpointGroup:
        """NotFound."""
        with self._database.write() as tx:
            endpoint_filters.group_get(tx, id_)
            endpoint_filters.group_update(tx, id_, changes)
            store.generation_raise(tx)
            return endpoint_filters.group_get(tx, id_)

    def delete(self, id_: str) -> None:
        """NotFound."""
        with self._database.write() as tx:
            endpoint_filters.group_get(tx, id_)
            endpoint_filters.group_delete(tx, id_)
            store.generation_raise(tx)

    def endpoints(self, group_id: str) -> Sequence[Endpoint]:
        """The endpoints that fit the group. NotFound."""
        with self._database.read() as tx:
            group = endpoint_filters.group_get(tx, group_id)
            return [e for e in store.endpoints.list(tx) if endpoint_filters.fits(group, e)]

    def projects(self, key: str, id_: str) -> Sequence[Project]:
        """The projects that were given this. NotFound."""
        with self._database.read() as tx:
            _there(tx, key, id_)
            return store.projects.list(tx, ids=endpoint_filters.projects_with(key, id_))

    def groups_of(self, project_id: str) -> Sequence[EndpointGroup]:
        """NotFound."""
        with self._database.read() as tx:
            store.projects.get(tx, project_id)
            return endpoint_filters.group_list(tx, project_id=project_id)

    def endpoints_of(self, project_id: str) -> Sequence[Endpoint]:
        """What the project sees of its own, by endpoint or by group. NotFound."""
        with self._database.read() as tx:
            store.projects.get(tx, project_id)
            seen = endpoint_filters.seen_by_project(tx).get(project_id, frozenset())
            return store.endpoints.list(tx, ids=list(seen))

    def give(self, project_id: str, key: str, id_: str) -> None:
        """Repeatable. NotFound."""
        with self._database.write() as tx:
            store.projects.get(tx, project_id)
            _there(tx, key, id_)
            endpoint_filters.link_add(tx, project_id, key, id_)
            store.generation_raise(tx)

    def take(self, project_id: str, key: str, id_: str) -> None:
        """NotFound where it was not given."""
        with self._database.write() as tx:
            if not endpoint_filters.link_remove(tx, project_id, key, id_):
                raise NotFound(kind="Endpoint of this project", id=id_)
            store.generation_raise(tx)

    def check(self, project_id: str, key: str, id_: str) -> None:
        """NotFound where it was not given."""
        with self._database.read() as tx:
            if not endpoint_filters.link_has(tx, project_id, key, id_):
                raise NotFound(kind="Endpoint of this project", id=id_)


def _there(tx: Transaction, key: str, id_: str) -> None:
    if key == ENDPOINT:
        store.endpoints.get(tx, id_)
    else:
        endpoint_filters.group_get(tx, id_)
