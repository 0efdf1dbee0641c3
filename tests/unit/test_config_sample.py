"""The checked-in sample configuration is what the options say today."""

from __future__ import annotations

from pathlib import Path

from minicloud import conf
from minicloud.conf import sample

SAMPLE = Path(__file__).parents[2] / "etc" / "minicloud.conf.sample"


def test_the_sample_is_todays() -> None:
    assert SAMPLE.read_text() == sample.render(), (
        "run: minicloud-manage config sample > etc/minicloud.conf.sample"
    )


def test_the_sample_has_every_option_and_changes_none() -> None:
    text = sample.render()
    for group, options in conf.list_opts():
        section = text.split(f"\n[{group}]\n")[1].split("\n[")[0]
        for option in options:
            assert f"\n#{option.name} =" in section
    assert all(line.startswith(("#", "[")) or not line for line in text.splitlines())
