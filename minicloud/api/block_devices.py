"""The disks of a launch: block_device_mapping_v2, its older form, and what flavor and image add.

Every wish becomes a ``BlockDevice`` with a number and a device name, or is refused with Nova's
words. Images, volumes, snapshots and volume types are looked at only where a wish names them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from minicloud.api.lookups import Lookups, usable_image
from minicloud.api.schemas.fields import truth, whole
from minicloud.api.schemas.server_bodies import BlockDeviceBody, LegacyDeviceBody, ServerCreate
from minicloud.client.image import Image
from minicloud.client.volume import Volume
from minicloud.domain.errors import Invalid, NotFound
from minicloud.domain.ids import disk_name, is_uuid
from minicloud.domain.models import BlockDevice, Flavor
from minicloud.kit.context import Context

_GIB = 1 << 30
_MOST_LOCAL = 3
"""Local disks of a server, its root among them."""
BUSES: Mapping[str, str] = {"virtio": "virtio", "scsi": "scsi", "sata": "sata", "ide": "sata"}
"""Bus asked for -> bus of a q35 machine."""
_KNOWN_BUSES = (*BUSES, "fdc", "usb", "xen", "lxc", "uml", "nvme")
_FORMATS = ("swap", "ext2", "ext3", "ext4", "xfs", "vfat")
_KINDS = {
    ("image", "local"), ("image", "volume"), ("volume", "volume"), ("snapshot", "volume"),
    ("blank", "local"), ("blank", "volume"),
}  # fmt: skip
_NAMED = re.compile(r"^(/dev/)?[a-zA-Z0-9._-]+\Z")
_EPHEMERAL = re.compile(r"^ephemeral[0-9]+\Z")


class Disks(msgspec.Struct, frozen=True, kw_only=True):
    """What a server boots from and has besides."""

    image: Image | None
    """Of a root disk that is a file; None: the root is a volume."""
    image_properties: Mapping[str, str]
    """Of the image that the root disk was made of, be it a file or a volume."""
    devices: Sequence[BlockDevice]


class _Sources:
    """What disks can be made of, as the caller sees it; each image is asked for once.

    ``shared``: volumes that several servers can have may be among it.
    """

    def __init__(self, lookups: Lookups, ctx: Context, *, shared: bool) -> None:
        self._lookups, self._ctx = lookups, ctx
        self.shared = shared
        self._images: dict[str, Image | None] = {}

    def image(self, image_id: str) -> Image | None:
        if image_id not in self._images:
            known = is_uuid(image_id)
            self._images[image_id] = (
                usable_image(self._lookups, self._ctx, image_id) if known else None
            )
        return self._images[image_id]

    def volume(self, volume_id: str) -> Volume | None:
        try:
            return self._lookups.volume(self._ctx, volume_id) if is_uuid(volume_id) else None
        except NotFound:
            return None

    def snapshot_size(self, snapshot_id: str) -> int | None:
        try:
            if is_uuid(snapshot_id):
                return self._lookups.snapshot_size(self._ctx, snapshot_id)
        except NotFound:
            pass
        return None

    def volume_types(self) -> Mapping[str, str]:
        return self._lookups.volume_types(self._ctx)


class _Wish(msgspec.Struct, kw_only=True):
    """An entry of any of the forms, in the newest one's words."""

    source_type: str
    destination_type: str
    source_id: str = ""
    size: int | None = None
    boot_index: int | None = None
    delete_on_termination: bool = False
    guest_format: str = ""
    device_name: str = ""
    device_type: str = ""
    disk_bus: str = ""
    tag: str = ""
    volume_type: str = ""

    @property
    def is_swap(self) -> bool:
        return self.is_blank_local and self.guest_format == "swap"

    @property
    def is_ephemeral(self) -> bool:
        return self.is_blank_local and self.guest_format != "swap"

    @property
    def is_blank_local(self) -> bool:
        return (self.source_type, self.destination_type) == ("blank", "local")


def disks_of(
    body: ServerCreate,
    flavor: Flavor,
    lookups: Lookups,
    ctx: Context,
    *,
    several: bool,
    shared: bool,
) -> Disks:
    """The disks that ``body`` asks for. Invalid. ``several``: more than one server may be made.
    ``shared``: volumes that several servers can have may be named.
    """
    if body.block_device_mapping and body.block_device_mapping_v2:
        raise Invalid(reason="Using different block_device_mapping syntaxes is not allowed "
                      "in the same request.")  # fmt: skip
    sources = _Sources(lookups, ctx, shared=shared)
    image = _image_named(body, sources)
    wishes = _wishes(body, image)
    if several and any(wish.source_type == "volume" for wish in wishes):
        raise Invalid(reason="Cannot attach one or more volumes to multiple instances")
    _check_boot_sequence(wishes)
    root = next(wish for wish in wishes if wish.boot_index == 0)
    _add_the_flavors(wishes, flavor)
    _check_local(wishes, flavor)
    _check_types(wishes, sources)
    properties = _check_sources(wishes, root, flavor, sources)
    if root.destination_type == "local":
        if image is None:
            raise _wrong("Mapping image to local is not supported.")
        return Disks(image=image, image_properties=image.properties,
                     devices=_numbered(wishes, root))  # fmt: skip
    return Disks(image=None, image_properties=properties, devices=_numbered(wishes, root))


# -- wishes ----------------------------------------------------------------------------------------
def _wishes(body: ServerCreate, image: Image | None) -> list[_Wish]:
    """Every disk that the request and its image name; one of them boots first."""
    of_image = _defined_by(image)
    if body.block_device_mapping_v2:
        wishes = _merged(of_image, _newest(body.block_device_mapping_v2))
    else:
        wishes = _merged(of_image, _legacy(body.block_device_mapping))
        if not any(wish.boot_index == 0 for wish in wishes) and image is not None:
            wishes.insert(0, _root_of(image))
        elif not wishes:
            raise Invalid(reason="Invalid imageRef provided.")
    for wish in wishes:
        if wish.source_type == "image" and wish.destination_type == "local":
            fits = image is not None and wish.boot_index == 0 and wish.source_id == image.id
            if not fits:
                raise _wrong("Mapping image to local is not supported.")
    return wishes


def _root_of(image: Image) -> _Wish:
    return _Wish(source_type="image", destination_type="local", source_id=image.id, boot_index=0)


def _newest(entries: Sequence[BlockDeviceBody]) -> list[_Wish]:
    return [_wish(entry) for entry in entries if not truth(entry.no_device or False, "no_device")]


def _wish(entry: BlockDeviceBody) -> _Wish:
    if entry.source_type is None:
        raise _wrong("Some required fields are missing")
    source_id = entry.uuid or getattr(entry, f"{entry.source_type}_id", None) or ""
    if entry.source_type == "blank" and source_id:
        raise _wrong("Invalid device UUID.")
    if entry.source_type != "blank" and not source_id:
        raise _wrong("Missing device UUID.")
    usual = "local" if entry.source_type in ("blank", "image") else "volume"
    target = entry.destination_type or usual
    if (entry.source_type, target) not in _KINDS:
        raise _wrong(f"a disk from {entry.source_type} to {target} is not supported.")
    if entry.volume_type and target == "local":
        raise _wrong("Specifying a volume_type with destination_type=local is not supported.")
    if entry.volume_type and entry.source_type == "volume":
        raise _wrong("Specifying volume type to existing volume is not supported.")
    boot_index = -1 if entry.boot_index is None else whole(entry.boot_index, "boot_index",
                                                           least=-(2**31))  # fmt: skip
    return _Wish(
        source_type=entry.source_type,
        destination_type=target,
        source_id=source_id,
        size=_size(entry.volume_size),
        boot_index=boot_index if boot_index >= 0 else None,
        delete_on_termination=truth(entry.delete_on_termination, "delete_on_termination"),
        guest_format=entry.guest_format or "",
        device_name=entry.device_name or "",
        device_type=entry.device_type or "",
        disk_bus=entry.disk_bus or "",
        tag=entry.tag or "",
        volume_type=entry.volume_type or "",
    )


def _size(given: int | str | None) -> int | None:
    return None if given is None else whole(given, "volume_size", least=0)


def _legacy(entries: Sequence[LegacyDeviceBody]) -> list[_Wish]:
    """The form of old: what it is shows in which key is there; the root is named vda."""
    wishes = []
    for entry in entries:
        name = (entry.device_name or "").removeprefix("/dev/")
        virtual = entry.virtual_name or ""
        if virtual == "swap" or _EPHEMERAL.match(virtual):
            kind, source_id = ("blank", "local"), ""
        elif entry.snapshot_id:
            kind, source_id = ("snapshot", "volume"), entry.snapshot_id
        elif entry.volume_id:
            kind, source_id = ("volume", "volume"), entry.volume_id
        elif entry.no_device is not None:
            continue
        else:
            raise _wrong("Unrecognized legacy format.")
        wishes.append(
            _Wish(
                source_type=kind[0],
                destination_type=kind[1],
                source_id=source_id,
                size=_size(entry.volume_size or None),
                boot_index=0 if source_id and name == "vda" else None,
                delete_on_termination=kind[1] == "local"
                or truth(entry.delete_on_termination, "delete_on_termination"),
                guest_format="swap" if virtual == "swap" else "",
                device_name=name,
            )
        )
    return wishes


def _defined_by(image: Image | None) -> list[_Wish]:
    """The disks that an image of a volume-backed server names: snapshots of its volumes."""
    if image is None or image.properties.get("bdm_v2", "").lower() != "true":
        return []
    try:
        entries = msgspec.json.decode(image.properties.get("block_device_mapping", "[]"))
        return [_of_image(entry) for entry in entries]
    except (msgspec.DecodeError, msgspec.ValidationError, TypeError, AttributeError):
        raise Invalid(reason=f"Image {image.id} has a block_device_mapping that cannot be "
                      "read.") from None  # fmt: skip


def _of_image(entry: Mapping[str, Any]) -> _Wish:
    known = {key: value for key, value in entry.items() if value is not None}
    source = str(known.get("source_type", ""))
    words = {
        "source_type": source,
        "uuid": known.get(f"{source}_id"),
        **{key: known[key] for key in BlockDeviceBody.__struct_fields__ if key in known},
    }
    return _wish(
        msgspec.convert({k: v for k, v in words.items() if v is not None}, BlockDeviceBody)
    )


def _merged(of_image: Sequence[_Wish], asked: Sequence[_Wish]) -> list[_Wish]:
    """The request's disks instead of the image's of the same name; the image's root counts."""
    if any(wish.boot_index == 0 for wish in of_image):
        asked = [w for w in asked if not (w.boot_index == 0 and w.source_type == "image")]
    named = {wish.device_name.removeprefix("/dev/") for wish in asked if wish.device_name}
    kept = [w for w in of_image if w.device_name.removeprefix("/dev/") not in named]
    return [*kept, *asked]


# -- checks ----------------------------------------------------------------------------------------
def _image_named(body: ServerCreate, sources: _Sources) -> Image | None:
    """The image of ``imageRef``; None where that is empty."""
    if not body.image_ref:
        return None
    return _active(sources.image(body.image_ref), "Can not find requested image")


def _active(image: Image | None, otherwise: str) -> Image:
    if image is None:
        raise Invalid(reason=otherwise)
    if image.status != "active":
        raise Invalid(reason=f"Image {image.id} is not active.")
    return image


def _check_boot_sequence(wishes: Sequence[_Wish]) -> None:
    order = sorted(wish.boot_index for wish in wishes if wish.boot_index is not None)
    if not order or order != list(range(len(order))):
        raise _wrong(
            "Boot sequence for the instance and image/block device mapping combination is not "
            "valid."
        )


def _add_the_flavors(wishes: list[_Wish], flavor: Flavor) -> None:
    """What the flavor gives and the request does not speak of."""
    if flavor.ephemeral and not any(wish.is_ephemeral for wish in wishes):
        wishes.append(_Wish(source_type="blank", destination_type="local"))
    if flavor.swap and not any(wish.is_swap for wish in wishes):
        wishes.append(_Wish(source_type="blank", destination_type="local", guest_format="swap"))


def _check_local(wishes: Sequence[_Wish], flavor: Flavor) -> None:
    """Sizes, formats, buses: all that needs nobody else. Sizes that are not given are set."""
    for wish in wishes:
        if wish.is_swap:
            wish.size = wish.size or flavor.swap
        elif wish.is_ephemeral:
            wish.size = wish.size or flavor.ephemeral
        elif wish.destination_type == "volume" and not wish.size:
            if wish.source_type == "image":
                raise _wrong("Images with destination_type 'volume' need to have a non-zero size "
                             "specified")  # fmt: skip
            if wish.source_type == "blank":
                raise _wrong("Blank volumes (source: 'blank', dest: 'volume') need to have "
                             "non-zero size")  # fmt: skip
        _check_hardware(wish)
    swaps = [wish.size or 0 for wish in wishes if wish.is_swap]
    ephemerals = [wish.size or 0 for wish in wishes if wish.is_ephemeral]
    if sum(ephemerals) > flavor.ephemeral:
        raise Invalid(
            reason="Ephemeral disks requested are larger than the instance type allows. If no "
            "size is given in one block device mapping, flavor ephemeral size will be used."
        )
    if len(swaps) > 1:
        raise _wrong("More than one swap drive requested.")
    if sum(swaps) > flavor.swap:
        raise Invalid(reason="Swap drive requested is larger than instance type allows.")
    if any(size == 0 for size in (*swaps, *ephemerals)):
        raise _wrong("a local disk needs a volume_size, which the flavor does not give.")
    if sum(wish.destination_type == "local" for wish in wishes) > _MOST_LOCAL:
        raise _wrong("You specified more local devices than the limit allows")
    tags = [wish.tag for wish in wishes if wish.tag]
    if len(tags) != len(set(tags)):
        raise _wrong("a tag is given to two disks.")


def _check_hardware(wish: _Wish) -> None:
    if wish.disk_bus and wish.disk_bus not in _KNOWN_BUSES:
        raise Invalid(reason="Block Device Mapping is invalid: The provided disk bus "
                      f"{wish.disk_bus[:64]} is not valid.")  # fmt: skip
    if wish.disk_bus and wish.disk_bus not in BUSES:
        raise _wrong(f"disk bus {wish.disk_bus} is not supported; use {', '.join(BUSES)}.")
    if wish.device_type not in ("", "disk", "cdrom"):
        raise _wrong(f"device type {wish.device_type[:64]} is not supported; use disk or cdrom.")
    if wish.device_type == "cdrom" and (
        wish.destination_type != "volume" or wish.disk_bus == "virtio"
    ):
        raise _wrong("a cdrom is a volume on the bus scsi, sata or ide.")
    if wish.device_name and not _NAMED.match(wish.device_name):
        raise _wrong("Device name contains spaces." if " " in wish.device_name
                     else f"device name {wish.device_name[:64]} is not valid.")  # fmt: skip
    if wish.is_blank_local and wish.guest_format and wish.guest_format not in _FORMATS:
        raise _wrong(f"guest_format {wish.guest_format[:64]} is not supported; use "
                     f"{', '.join(_FORMATS)}.")  # fmt: skip


def _check_types(wishes: Sequence[_Wish], sources: _Sources) -> None:
    if not any(wish.volume_type for wish in wishes):
        return
    names = sources.volume_types()
    for wish in wishes:
        if wish.volume_type and wish.volume_type not in names:
            raise Invalid(reason=f"Volume type {wish.volume_type[:64]} could not be found.")
        wish.volume_type = names.get(wish.volume_type, "")


def _check_sources(
    wishes: Sequence[_Wish], root: _Wish, flavor: Flavor, sources: _Sources
) -> Mapping[str, str]:
    """That what disks are made of is there and fits; properties of the root's image."""
    properties: Mapping[str, str] = {}
    seen: set[str] = set()
    for wish in wishes:
        found: Mapping[str, str] = {}
        if wish.source_type == "image":
            found = _check_image(wish, flavor, sources)
        elif wish.source_type == "volume":
            if wish.source_id in seen:
                raise _wrong(f"volume {wish.source_id} is named twice.")
            seen.add(wish.source_id)
            found = _check_volume(wish, sources, boots=wish is root)
        elif wish.source_type == "snapshot":
            _check_snapshot(wish, sources)
        if wish is root:
            properties = found
    return properties


def _check_image(wish: _Wish, flavor: Flavor, sources: _Sources) -> Mapping[str, str]:
    missing = f"Block Device Mapping is Invalid: failed to get image {wish.source_id[:64]}."
    image = _active(sources.image(wish.source_id), missing)
    if wish.boot_index == 0:
        check_memory(image, flavor)
    if wish.destination_type == "local":
        check_room(image, flavor)
        return image.properties
    check_volume_room(image, wish.size or 0)
    return image.properties


def check_volume_room(image: Image, size_gb: int) -> None:
    """Raise Invalid unless the image fits on a volume of ``size_gb`` GiB."""
    room = size_gb * _GIB
    if image.min_disk * _GIB > room:
        raise Invalid(
            reason="Volume is smaller than the minimum size specified in image metadata. "
            f"Volume size is {room} bytes, minimum size is {image.min_disk * _GIB} bytes."
        )
    size = max(image.size or 0, image.virtual_size or 0)
    if size > room:
        raise _wrong(f"the image takes {size} bytes, its volume would have {room}.")


def check_memory(image: Image, flavor: Flavor) -> None:
    """Raise Invalid unless ``flavor`` has the memory that the image needs."""
    if image.min_ram > flavor.ram:
        raise Invalid(reason="Flavor's memory is too small for requested image.")


def check_room(image: Image, flavor: Flavor) -> None:
    """Raise Invalid unless the image fits on the root disk of ``flavor``."""
    if not flavor.disk:
        return
    room = flavor.disk * _GIB
    size = max(image.size or 0, image.virtual_size or 0)
    if size > room:
        raise Invalid(
            reason="Flavor's disk is too small for requested image. "
            f"Flavor disk is {room} bytes, image is {size} bytes."
        )
    least = image.min_disk * _GIB
    if least > room:
        raise Invalid(
            reason="Flavor's disk is smaller than the minimum size specified in image metadata. "
            f"Flavor disk is {room} bytes, minimum size is {least} bytes."
        )


def _check_volume(wish: _Wish, sources: _Sources, *, boots: bool) -> Mapping[str, str]:
    volume = sources.volume(wish.source_id)
    if volume is None:
        raise _wrong(f"failed to get volume {wish.source_id[:64]}.")
    check_free(volume, shared=sources.shared)
    if boots and not volume.bootable:
        raise Invalid(reason=f"Block Device {volume.id} is not bootable.")
    wish.size = volume.size_gb
    return volume.image_metadata


def check_free(volume: Volume, *, shared: bool) -> None:
    """Raise Invalid unless a further server can have the volume.

    ``shared``: also if several servers can have it, which requests know since 2.60.
    """
    if volume.multiattach and not shared:
        raise Invalid(reason="Multiattach volumes are only supported starting with compute "
                      "API version 2.60.")  # fmt: skip
    if volume.status == "available" or (volume.status == "in-use" and volume.multiattach):
        return
    raise Invalid(
        reason=f"Invalid volume: Volume {volume.id} status must be available to reserve, but the "
        f"current status is {volume.status}."
    )


def _check_snapshot(wish: _Wish, sources: _Sources) -> None:
    size = sources.snapshot_size(wish.source_id)
    if size is None:
        raise _wrong(f"failed to get snapshot {wish.source_id[:64]}.")
    if wish.size and wish.size < size:
        raise _wrong(f"snapshot {wish.source_id} has {size} GB, its volume would have {wish.size}.")
    wish.size = wish.size or size


# -- names -----------------------------------------------------------------------------------------
def _numbered(wishes: Sequence[_Wish], root: _Wish) -> list[BlockDevice]:
    """The disks with their names. A root that is a file of the image is no entry: it is vda."""
    devices: list[BlockDevice] = []
    taken = {"vda"}
    order = [root, *(wish for wish in wishes if wish is not root)]
    for number, wish in enumerate(order):
        if wish.destination_type == "local" and wish is root:
            continue
        bus = BUSES.get(wish.disk_bus, "")
        letters = "vd" if (bus or "virtio") == "virtio" and wish.device_type != "cdrom" else "sd"
        # sda is the config drive's.
        names = [f"{letters}{disk_name(n)[2:]}" for n in range(1, 64)]
        name = "vda" if wish is root and letters == "vd" else next(
            name for name in names if name not in taken
        )  # fmt: skip
        taken.add(name)
        devices.append(
            BlockDevice(
                number=number,
                device=name,
                source_type=wish.source_type,
                destination_type=wish.destination_type,
                source_id=wish.source_id if wish.source_type in ("image", "snapshot") else "",
                volume_id=wish.source_id if wish.source_type == "volume" else "",
                size_gb=0 if wish.is_swap else wish.size or 0,
                swap_mb=wish.size or 0 if wish.is_swap else 0,
                boot_index=wish.boot_index,
                delete_on_termination=wish.delete_on_termination,
                guest_format=wish.guest_format,
                volume_type=wish.volume_type,
                device_type="cdrom" if wish.device_type == "cdrom" else "",
                disk_bus="" if bus == "virtio" else bus,
                tag=wish.tag,
            )
        )
    return devices


def _wrong(what: str) -> Invalid:
    return Invalid(reason=f"Block Device Mapping is Invalid: {what}")
