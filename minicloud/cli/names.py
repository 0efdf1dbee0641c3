"""Words of the command line: KEY=VALUE pairs, and names completed by asking the cloud."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from minicloud.cli.session import Cloud, Thing

_PATIENCE_S = 1.0


def pairs(_ctx: click.Context, _param: click.Parameter, given: Sequence[str]) -> dict[str, str]:
    """``KEY=VALUE`` words as a mapping: a callback of options. BadParameter."""
    found = {}
    for word in given:
        key, mark, value = word.partition("=")
        if not key or not mark:
            raise click.BadParameter(f"'{word}' is not KEY=VALUE.")
        found[key] = value
    return found


def servers(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, lambda cloud: cloud.servers())


def images(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    return _names(ctx, incomplete, lambda cloud: cloud.images())


def _names(
    ctx: click.Context, incomplete: str, ask: Callable[[Cloud], Sequence[Thing]]
) -> list[str]:
    """Names that begin so; none when the cloud does not say at once: nobody waits for a Tab."""
    from minicloud.cli.problems import NoCredentials
    from minicloud.cli.session import Cloud
    from minicloud.domain.errors import MinicloudError

    try:
        things = ask(Cloud(ctx.find_root().params.get("cloud"), timeout_s=_PATIENCE_S))
    except (MinicloudError, NoCredentials):
        return []
    return sorted({t["name"] for t in things if t["name"] and t["name"].startswith(incomplete)})
