"""``minicloud completion``: the script that makes a shell complete our words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

_HOW = """\b
bash:  eval "$(minicloud completion bash)"         in ~/.bashrc
zsh:   eval "$(minicloud completion zsh)"          in ~/.zshrc, below compinit
fish:  minicloud completion fish | source          in ~/.config/fish/config.fish
"""


@click.command("completion", help=f"Print the completion script of SHELL.\n\n{_HOW}")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    kind = get_completion_class(shell)
    assert kind is not None
    script = kind(ctx.find_root().command, {}, "minicloud", "_MINICLOUD_COMPLETE")
    click.echo(script.source())
