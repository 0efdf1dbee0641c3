"""``minicloud``: the commands by name, the module of each loaded when it is called.

Exit codes: 0 done, 1 something else failed, 2 wrong usage, 3 credentials, 4 not found,
5 the state of things is in the way, 6 a service is not reachable, 7 the server went to ERROR,
8 it took too long, 130 interrupted.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping
from typing import Any

import click
from click.shell_completion import CompletionItem

_MODULES: Mapping[str, str] = {
    "launch": "launch",
    "list": "servers",
    "show": "servers",
    "delete": "servers",
    "start": "servers",
    "stop": "servers",
    "reboot": "servers",
    "pause": "life",
    "unpause": "life",
    "suspend": "life",
    "resume": "life",
    "rescue": "life",
    "unrescue": "life",
    "rebuild": "life",
    "resize": "life",
    "shelve": "life",
    "unshelve": "life",
    "snapshot": "life",
    "log": "servers",
    "console": "console",
    "ssh": "ssh",
    "trace": "trace",
    "image": "images",
    "flavor": "flavors",
    "network": "networks",
    "key": "keys",
    "volume": "volumes",
    "host": "hosts",
    "doctor": "doctor",
    "completion": "completion",
}
_SUMMARIES: Mapping[str, str] = {
    "launch": "Start a new server from an image, and watch it come up.",
    "list": "List servers.",
    "show": "Show a server, and why it failed if it did.",
    "delete": "Delete servers.",
    "start": "Start stopped servers.",
    "stop": "Shut servers down.",
    "reboot": "Reboot servers.",
    "pause": "Stop servers' CPUs.",
    "unpause": "Let paused servers go on.",
    "suspend": "Write servers' memory to disk and free it.",
    "resume": "Let suspended servers go on.",
    "rescue": "Boot a server from an image, to mend its disk.",
    "unrescue": "Boot rescued servers from their own disks again.",
    "rebuild": "Put a server's disk back to an image.",
    "resize": "Give a server another flavor.",
    "shelve": "Keep servers as images, off their hosts.",
    "unshelve": "Bring shelved servers back.",
    "snapshot": "Make an image of a server's disk.",
    "log": "Print what a server wrote to its console.",
    "console": "Use a server's serial console.",
    "ssh": "Log in to a server.",
    "trace": "Show the 28 steps of a server's launch.",
    "image": "Images: list, show, create, delete.",
    "flavor": "Flavors: list, show.",
    "network": "Networks: list, show, create, delete.",
    "key": "Key pairs: list, create, import, delete.",
    "volume": "Volumes: list, show, create, delete.",
    "host": "Compute hosts: list, show.",
    "doctor": "Check this machine and say how to mend what is wrong.",
    "completion": "Print the shell completion script.",
}


class _Lazy(click.Group):
    """Knows the commands' names and one line on each without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        name = _MODULES.get(cmd_name)
        if name is None:
            return None
        module = importlib.import_module(f"minicloud.cli.commands.{name}")
        command = getattr(module, f"{cmd_name}_command")
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        named = [
            CompletionItem(name, help=summary)
            for name, summary in _SUMMARIES.items()
            if name.startswith(incomplete)
        ]
        # Past the group itself: what every command has, its options.
        return named + click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        """Run, and turn what a service or this machine refused into a sentence and a code."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except Exception as problem:  # the CLI's top: nothing above would tell a person
            if ctx.params["debug"]:
                raise
            from minicloud.cli.problems import Told

            raise Told.of(problem) from problem

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_SUMMARIES.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cloud", metavar="NAME", help="Cloud in clouds.yaml (or OS_CLOUD).")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="minicloud")
@click.pass_context
def cli(ctx: click.Context, /, **_options: object) -> None:
    """Real servers in a small cloud.

    Servers, images and other things are named by name, id, or the first characters of the id.
    """
    if os.environ.get("NO_COLOR"):
        ctx.color = False


def main() -> None:
    """Run as a program: errors go to stderr and end with their exit code."""
    try:
        code = cli.main(prog_name="minicloud", standalone_mode=False)
    except click.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone: no complaint when Python flushes it either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
