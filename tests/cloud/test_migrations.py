"""Every service's migrations make what its models say, on SQLite and on PostgreSQL."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
import sqlalchemy as sa
from migrated import differences

from minicloud.kit.db import Database, migrate
from minicloud.network import ipam, port_store

MODELS = {
    "compute": "minicloud.db.models",
    "identity": "minicloud.identity.models",
    "image": "minicloud.image.models",
    "network": "minicloud.network.models",
    "volume": "minicloud.volume.models",
}


@pytest.mark.parametrize("service", MODELS)
def test_models_and_migrations_agree(service: str, database_url: str, tmp_path: Path) -> None:
    metadata = importlib.import_module(MODELS[service]).metadata
    assert differences(service, metadata, tmp_path, database_url) == []


def test_a_networks_rows_survive_the_change_to_ipv6(database_url: str) -> None:
    """Tables are rebuilt under rows that refer to one another; addresses change their spelling."""
    database = Database(database_url)
    migrate.upgrade("network", database, "0001")
    standard = "'p', '', '', 1, 1, 1"
    with database.write() as tx:
        for statement in (
            f"INSERT INTO networks VALUES ('n', {standard}, true, true, false, false, true, 1450,"
            " '', 7)",
            f"INSERT INTO subnets VALUES ('s', {standard}, 'n', '10.0.0.0/24', NULL, true,"
            " '[]', '[]', '[]')",
            f"INSERT INTO ports VALUES ('p', {standard}, 'n', 'fa:16:3e:00:00:01', true, true,"
            " '', NULL, '', '', '', '{}')",
            "INSERT INTO addresses (subnet_id, number, port_id, position)"
            " VALUES ('s', 167772169, 'p', 0)",
        ):
            tx.execute(sa.text(statement))
    migrate.upgrade("network", database)
    with database.read() as tx:
        (port,) = port_store.ports_of(tx, ["p"]).values()
        texts = tx.execute(sa.text("SELECT text FROM addresses")).scalars().all()
        shared = tx.execute(sa.text("SELECT object_id, target_project FROM rbac_policies")).all()
    database.close()
    assert [ipam.address_of(fixed.number) for fixed in port.fixed_ips] == ["10.0.0.9"]
    assert texts == ["10.0.0.9"]
    assert [tuple(row) for row in shared] == [("n", "*")]
