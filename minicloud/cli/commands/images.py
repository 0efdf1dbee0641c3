"""Images: list, show, create out of a file, delete."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import IO, Any

import click

from minicloud.cli import names, render
from minicloud.cli.session import Cloud, Thing, cloud, pick

_QCOW2_MAGIC = b"QFI\xfb"
_COLUMNS = ("id", "name", "status", "format", "size", "visibility")
_FIXED = frozenset(
    ("id", "name", "status", "visibility", "protected", "os_hidden", "owner", "disk_format",
     "container_format", "min_disk", "min_ram", "size", "virtual_size", "checksum",
     "os_hash_algo", "os_hash_value", "created_at", "updated_at", "tags", "self", "file",
     "schema", "direct_url", "locations", "stores")
)  # fmt: skip


@click.group("image")
def image_command() -> None:
    """Images: what servers are started from."""


@image_command.command("list")
@render.output_options
def image_list(output: str, quiet: bool) -> None:
    """List images."""
    found = cloud().images()
    shown = found if output != "table" else [_summary(image) for image in found]
    render.rows(shown, _COLUMNS, output=output, quiet=quiet)


@image_command.command("show")
@click.argument("image", shell_complete=names.images)
@render.output_options
def image_show(image: str, output: str, quiet: bool) -> None:
    """Show IMAGE."""
    _show(pick(cloud().images(), image, "image"), output, quiet)


@image_command.command("create")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--name", help="Its name. [default: the file's]")
@click.option(
    "--format",
    "disk_format",
    type=click.Choice(["qcow2", "raw"]),
    help="What the file is. [default: as its first bytes say]",
)
@click.option(
    "--property",
    "properties",
    multiple=True,
    metavar="KEY=VALUE",
    callback=names.pairs,
    help="Property of the image; repeatable.",
)
@click.option("--public", is_flag=True, help="For every project (admin).")
@render.output_options
def image_create(
    file: Path,
    name: str | None,
    disk_format: str | None,
    properties: dict[str, str],
    public: bool,
    output: str,
    quiet: bool,
) -> None:
    """Upload FILE as an image."""  # fmt: skip
    here = cloud()
    described: dict[str, Any] = {
        **properties,
        "name": name or file.name.removesuffix(file.suffix),
        "disk_format": disk_format or format_of(file),
        "container_format": "bare",
    }
    if public:
        described["visibility"] = "public"
    with _Counted(io.FileIO(file)) as data:
        made = here.image.post("/images", described).json
        _upload(here, made["id"], data)
    _show(here.image.get(f"/images/{made['id']}").json, output, quiet)


@image_command.command("delete")
@click.argument("images", nargs=-1, required=True, shell_complete=names.images)
def image_delete(images: tuple[str, ...]) -> None:
    """Delete IMAGES."""
    here = cloud()
    there = here.images()
    for image in [pick(there, word, "image") for word in images]:
        here.image.delete(f"/images/{image['id']}")
        click.echo(f"Deleted {image['name']}")


def format_of(file: Path) -> str:
    """qcow2 or raw, by the first bytes; the image service looks closer."""
    with file.open("rb") as data:
        return "qcow2" if data.read(len(_QCOW2_MAGIC)) == _QCOW2_MAGIC else "raw"


def _upload(here: Cloud, image_id: str, data: IO[bytes]) -> None:
    """The bytes, or no image: half of one is of use to nobody."""
    whole = False
    try:
        here.image.upload(f"/images/{image_id}/file", data)
        whole = True
    finally:
        if not whole:
            here.image.delete(f"/images/{image_id}")


class _Counted(io.BufferedReader):
    """A file that shows on a terminal how much of it has been read."""

    def __init__(self, raw: io.FileIO) -> None:
        super().__init__(raw)
        self._bar: Any = click.progressbar(
            length=os.fstat(raw.fileno()).st_size,
            label="Uploading",
            file=sys.stderr,
            hidden=not sys.stderr.isatty(),
        )
        self._bar.render_progress()

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        self._bar.update(len(piece))
        return piece

    def close(self) -> None:
        if not self.closed:
            self._bar.render_finish()
        super().close()


def _summary(image: Thing) -> dict[str, Any]:
    return {
        **image,
        "format": image["disk_format"],
        "size": render.size(image["size"]),
    }


def _show(image: Thing, output: str, quiet: bool) -> None:
    if output != "table" or quiet:
        render.one(image, output=output, quiet=quiet)
        return
    shown = {name: _summary(image)[name] for name in _COLUMNS}
    shown |= {
        "disk": render.size(image.get("virtual_size")),
        "needs": f"{image['min_ram']} MB of memory, {image['min_disk']} GB of disk",
        "digest": f"{image.get('os_hash_algo')} {image.get('os_hash_value')}",
        "owner": image.get("owner"),
        "created": image["created_at"],
        "properties": {k: v for k, v in image.items() if k not in _FIXED} or None,
    }
    render.one(shown, output=output, quiet=quiet)
