"""Identity's migrations build the tables that its models describe."""

from __future__ import annotations

from pathlib import Path

from migrations import differences
from minicloud.identity.models import metadata


def test_models_are_what_the_migrations_make(tmp_path: Path) -> None:
    assert differences("identity", metadata, tmp_path) == []
