"""``minicloud``: the commands by name, the module of each loaded when it is called.

Exit codes: 0 done, 1 something else failed, 2 wrong usage, 3 credentials, 4 not found,
5 the state of things is in the way, 6 a service is not reachable, 7 the server went to ERROR,
8 it took too long.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping

import click

_MODULES: Mapping[str, str] = {
    "launch": "launch",
    "list": "servers",
    "show": "servers",
    "delete": "servers",
    "start": "servers",
    "stop": "servers",
    "reboot": "servers",
    "log": "servers",
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
    "launch": "Start a new server from an image.",
    "list": "List servers.",
    "show": "Show a server, and why it failed if it did.",
    "delete": "Delete servers.",
    "start": "Start stopped servers.",
    "stop": "Shut servers down.",
    "reboot": "Reboot servers.",
    "log": "Print what a server wrote to its console.",
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

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_SUMMARIES.items()))


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--cloud", metavar="NAME", help="Cloud in clouds.yaml (or OS_CLOUD).")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="minicloud")
@click.pass_context
def cli(ctx: click.Context, cloud: str | None, debug: bool) -> None:
    """Real servers in a small cloud."""
    ctx.obj = {"cloud": cloud, "debug": debug}


def main() -> None:
    """Run, and turn errors into one sentence and an exit code."""
    try:
        cli.main(prog_name="minicloud", standalone_mode=False)
    except click.exceptions.Exit as end:
        sys.exit(end.exit_code)
    except click.Abort:
        click.echo("Interrupted.", err=True)
        sys.exit(130)
    except click.ClickException as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except BrokenPipeError:
        sys.exit(0)
    except Exception as problem:
        if "--debug" in sys.argv:
            raise
        from minicloud.cli.problems import explain

        sentence, code = explain(problem)
        click.echo(click.style("Error: ", fg="red", bold=True) + sentence, err=True)
        sys.exit(code)


if __name__ == "__main__":
    main()
