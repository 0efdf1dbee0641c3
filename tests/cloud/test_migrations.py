"""Every service's migrations make what its models say, on SQLite and on PostgreSQL."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from migrated import differences

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
