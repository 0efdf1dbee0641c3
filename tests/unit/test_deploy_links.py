"""The commands' links: ours come and go, a stranger's stays."""

import dataclasses
from pathlib import Path

from minicloud.deploy import links
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.places import Places


def test_links_are_made_once_and_only_ours_are_removed(tmp_path: Path) -> None:
    places = dataclasses.replace(Places(), venv=tmp_path / "venv")
    ledger = Ledger(tmp_path / "state.json")
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "minicloud-manage").write_text("somebody's own")

    assert links.ensure(places, ledger, directory=commands) == "linked minicloud"
    assert links.ensure(places, ledger, directory=commands) == "linked"
    assert (commands / "minicloud").readlink() == places.program("minicloud")

    links.purge(places, ledger)
    assert not (commands / "minicloud").is_symlink()
    assert (commands / "minicloud-manage").read_text() == "somebody's own"
