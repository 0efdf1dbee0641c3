"""What a database that fails says of itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from minicloud.domain.errors import Unavailable
from minicloud.kit.db import Database


def test_a_full_disk_is_called_so(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'small.sqlite'}")
    with database.write() as tx:
        tx.exec_driver_sql("CREATE TABLE things (word TEXT)")
    with pytest.raises(Unavailable) as raised, database.write() as tx:
        tx.exec_driver_sql("PRAGMA max_page_count = 4")
        tx.exec_driver_sql("INSERT INTO things VALUES (?)", ("x" * 100_000,))
    assert raised.value.message == "The database is not reachable right now: its disk is full"
    with database.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM things").scalar() == 0
    database.close()
