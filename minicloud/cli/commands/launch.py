"""``minicloud launch``: a new server, watched until it is what was asked for."""

from __future__ import annotations

from pathlib import Path

import click

from minicloud.cli import guest, names, ordering, render, stages
from minicloud.cli.commands.servers import fault_lines, show_server
from minicloud.cli.patience import patiently
from minicloud.cli.problems import ServerFailed, TookTooLong, Unreachable
from minicloud.cli.progress import Progress, stream
from minicloud.cli.session import Cloud, Thing, cloud, pick
from minicloud.domain.errors import NotFound

_QUICK_S, _SLOW_S = 0.1, 0.5
"""Seconds between two looks: at first, and when it takes longer than ``_PATIENT_S``."""
_PATIENT_S = 10.0
_NEXT = ("ssh", "log", "trace")


@click.command("launch")
@click.argument("image", shell_complete=names.images)
@click.argument("name", required=False)
@click.option("--flavor", metavar="NAME", help="Its size. [default: the smallest that fits]")
@click.option(
    "--network",
    "networks",
    multiple=True,
    metavar="NAME",
    help="A network to be on; repeatable. [default: the only one there is]",
)
@click.option("--key", metavar="NAME", help="Key pair. [default: your only one, or demo]")
@click.option(
    "--volume",
    "volumes",
    multiple=True,
    type=click.IntRange(min=1),
    metavar="GB",
    help="Add a blank volume of so many GB as a disk; repeatable.",
)
@click.option(
    "--user-data",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File that the guest runs or reads when it boots.",
)
@click.option(
    "--property",
    "metadata",
    multiple=True,
    metavar="KEY=VALUE",
    callback=names.pairs,
    help="Metadata of the server; repeatable.",
)
@click.option("--config-drive", is_flag=True, help="Give the guest its metadata as a disk, too.")
@click.option(
    "--wait",
    type=click.Choice(["none", "active", "ssh"]),
    default="active",
    show_default=True,
    help="What to wait for.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=300,
    show_default=True,
    metavar="S",
    help="Seconds to wait.",
)
@render.output_options
def launch_command(
    image: str,
    name: str | None,
    flavor: str | None,
    networks: tuple[str, ...],
    key: str | None,
    volumes: tuple[int, ...],
    user_data: Path | None,
    metadata: dict[str, str],
    config_drive: bool,
    wait: str,
    timeout: float,
    output: str,
    quiet: bool,
) -> None:
    """Start a server called NAME from IMAGE, and show how it comes up.

    It ends with exit code 7 when the server goes to ERROR, 8 when it takes too long.
    """  # fmt: skip
    here = cloud()
    found = pick(here.images(), image, "image")
    flavors = here.flavors()
    size = pick(flavors, flavor, "flavor") if flavor else ordering.smallest_flavor(flavors, found)
    key = key or ordering.default_key(here.keys())
    request = ordering.body(
        name=name or ordering.server_name(found),
        image=found,
        flavor=size,
        networks=ordering.networks(here, networks),
        key=key,
        volumes=volumes,
        user_data=user_data,
        metadata=metadata,
        config_drive=config_drive,
    )
    with Progress(stream(output, quiet=quiet)) as progress:
        title = click.style(request["server"]["name"], bold=True)
        progress.say(f"{title}: {found['name']} on {size['name']}, {_key_words(key)}")
        progress.doing("asking for it")
        made = here.compute.post("/servers", request).json["server"]
        progress.done("accepted", detail=made["id"])
        watch = _Watch(here, made["id"], request["server"]["name"], progress, timeout)
        server = watch.until(wait, volumes=bool(volumes))
        if wait != "none":
            progress.hint("Next: " + ", ".join(f"minicloud {v} {server['name']}" for v in _NEXT))
    if output != "table" or quiet:
        render.one(server, output=output, quiet=quiet)
    elif wait == "none":
        show_server(server)


def _key_words(key: str | None) -> str:
    return f"key {key}" if key else "no key ('minicloud key create' makes one)"


class _Watch:
    """One server on its way up."""

    def __init__(
        self, here: Cloud, server_id: str, name: str, progress: Progress, timeout_s: float
    ) -> None:
        self._here, self._id, self._name = here, server_id, name
        self._progress, self._timeout_s = progress, timeout_s
        self._traced = True
        self._told: list[stages.Stage] = []

    def until(self, wait: str, *, volumes: bool) -> Thing:
        """The server as it is when ``wait`` (none, active or ssh) is over.

        ServerFailed, TookTooLong, Unreachable.
        """
        try:
            server = self._look()
            if wait == "none":
                return server
            server = self._until_active(server, volumes)
            if wait == "ssh":
                self._until_ssh(server)
            return server
        except KeyboardInterrupt:
            self._progress.say(f"It goes on without you: minicloud show {self._name}")
            raise

    def _until_active(self, server: Thing, volumes: bool) -> Thing:
        while True:
            reached = stages.reached(self._trace(), server, volumes=volumes)
            for stage in reached:
                self._tell(stage)
            resting = server.get("OS-EXT-STS:task_state") is None
            if server["status"] == stages.ACTIVE and resting:
                return server
            if server["status"] == "ERROR" and resting:
                self._progress.failed("ERROR")
                raise ServerFailed(
                    "\n  ".join([f"{self._name} went to ERROR:", *fault_lines(server)])
                    + f"\nIt stays as it is for you to see: minicloud delete {self._name}"
                )
            doing = stages.doing(reached, volumes=volumes)
            self._progress.doing(doing)
            self._pause(f"{self._name} is still {server['status']} ({doing})")
            server = self._look()

    def _tell(self, stage: stages.Stage) -> None:
        before = [told for told in self._told if told.name == stage.name]
        if any(told.host == stage.host for told in before):
            return
        self._told.append(stage)
        again = " (it failed elsewhere)" if before else ""
        self._progress.done(stage.name, at_s=stage.at_s, detail=stage.detail + again)

    def _until_ssh(self, server: Thing) -> None:
        address = guest.ssh_address(server)
        while True:
            self._progress.doing(f"waiting for ssh at {address}")
            try:
                banner = guest.ssh_banner(address)
            except Unreachable:
                self._progress.failed("no way to ssh")
                raise
            if banner is not None:
                self._progress.done("ssh answers", detail=f"{banner} at {address}")
                return
            self._pause(
                f"{self._name} is ACTIVE, but no ssh server answers at {address}",
                f"{guest.way(address)} What the guest says: minicloud log {self._name}",
            )

    def _pause(self, state: str, advice: str = "") -> None:
        elapsed = self._progress.elapsed_s
        if elapsed > self._timeout_s:
            advice = advice or f"It goes on: minicloud show {self._name}"
            raise TookTooLong(f"{state} after {self._timeout_s:g} s. {advice}")
        self._progress.wait(_QUICK_S if elapsed < _PATIENT_S else _SLOW_S)

    def _look(self) -> Thing:
        answer = patiently(lambda: self._here.compute.get(f"/servers/{self._id}"))
        found: Thing = answer.json["server"]
        return found

    def _trace(self) -> Thing | None:
        if not self._traced:
            return None
        try:
            path = f"/servers/{self._id}/minicloud-trace"
            answer = patiently(lambda: self._here.compute.get(path))
        except NotFound:
            self._traced = False  # another cloud's compute service
            return None
        found: Thing = answer.json["trace"]
        return found
