"""What a host does for each verb: one recipe a verb. A new recipe is one row here.

The crash suite takes every recipe from this table and fails, repeats and kills each step.
"""

from __future__ import annotations

from collections.abc import Mapping

from minicloud.compute.recipes.attach import (
    begin_detaching,
    claim_volume,
    complete_attachment,
    drop_new_port,
    end_port,
    ensure_new_port,
    give_volume_back,
    lose_disk,
    lose_nic,
    plug_disk,
    plug_disk_back,
    plug_nic,
    plug_nic_back,
    roll_detaching,
    show_new_size,
    unplug_disk,
    unplug_nic,
)
from minicloud.compute.recipes.disks import (
    drop_disks,
    empty_place,
    ensure_config_drive,
    ensure_disks,
    ensure_place,
)
from minicloud.compute.recipes.domain import (
    cut_off_domain,
    drop_domain,
    ensure_domain,
    ensure_domain_as_before,
    ensure_rescue_domain,
    pause_domain,
    reboot_domain,
    resume_domain,
    start_again,
    stop_domain,
    suspend_domain,
)
from minicloud.compute.recipes.image import ensure_image, ensure_image_of_root
from minicloud.compute.recipes.job import HostTools, Job, step
from minicloud.compute.recipes.live_migration import (
    await_ports,
    bind_ports,
    connect_volumes,
    describe_disks,
    describe_domain,
    ensure_arrived,
    ensure_bases,
    ensure_empty_disks,
    keep_first_attachments,
    keep_ports,
    keep_second_attachments,
    leave_target,
    move_guest,
    shut_door,
    stay,
)
from minicloud.compute.recipes.move import (
    drop_images,
    drop_sent_disks,
    fetch_disks,
    forget_kept_disks,
    grow_disks,
    leave_host,
    leave_resized,
    put_back,
    release_if_leaving,
    send_disks,
)
from minicloud.compute.recipes.ports import drop_ports, ensure_ports, unbind_ports, unplug_ports
from minicloud.compute.recipes.rescue import (
    drop_rescue_disk,
    ensure_rescue_disk,
    ensure_rescue_image,
)
from minicloud.compute.recipes.snapshot import (
    copy_root_disk,
    drop_copy,
    drop_image,
    drop_shelved_image,
    ensure_image_record,
    rotate_backups,
    upload_copy,
)
from minicloud.compute.recipes.swap import (
    claim_place,
    give_place_up,
    leave_old_place,
    move_disk,
)
from minicloud.compute.recipes.volume_images import (
    drop_snapshots,
    ensure_image_of_snapshots,
    ensure_snapshots,
)
from minicloud.compute.recipes.volumes import (
    attach_root_again,
    complete_volumes,
    drop_volumes,
    drop_volumes_at_delete,
    ensure_volumes,
    reimage_root,
    release_volumes,
)
from minicloud.kit.operations import Recipe

__all__ = ["DELETE", "LEAVE", "RECIPES", "HostTools", "Job"]

DELETE = Recipe(
    "delete",
    (
        step("domain", drop_domain),
        step("images", drop_images),
        step("volumes", drop_volumes_at_delete),
        step("ports", drop_ports),
        step("disks", drop_disks),
    ),
)

LEAVE = Recipe("leave", (step("domain", drop_domain), step("disks", drop_disks)))
"""For a server that lives on another host: what is outside this host stays."""

_WIRED = (step("ports", ensure_ports), step("volumes", ensure_volumes))
"""What a guest needs before it runs: nothing is done where it is there already."""

_COPIED = (
    step("record", ensure_image_record, drop_image),
    step("copy", copy_root_disk, drop_copy),
    step("upload", upload_copy),
    step("copy away", drop_copy),
)

RECIPES: Mapping[str, Recipe[Job]] = {
    recipe.verb: recipe
    for recipe in (
        Recipe(
            "create",
            (
                step("place", ensure_place, drop_disks),
                step("image", ensure_image),
                step("ports", ensure_ports, drop_ports),
                step("volumes", ensure_volumes, drop_volumes),
                step("disks", ensure_disks),
                step("domain", ensure_domain, drop_domain),
                step("attachments", complete_volumes),
            ),
        ),
        DELETE,
        Recipe("start", (*_WIRED, step("domain", ensure_domain))),
        Recipe("stop", (step("domain", stop_domain),)),
        Recipe("reboot", (*_WIRED, step("domain", reboot_domain))),
        Recipe(
            "reboot_hard",
            (step("power off", cut_off_domain), *_WIRED, step("domain", ensure_domain)),
        ),
        Recipe("pause", (step("domain", pause_domain),)),
        Recipe("unpause", (*_WIRED, step("domain", ensure_domain))),
        Recipe("suspend", (step("domain", suspend_domain),)),
        Recipe("resume", (*_WIRED, step("domain", resume_domain))),
        Recipe(
            "rescue",
            (
                step("image", ensure_rescue_image),
                step("power off", stop_domain),
                step("unplug", unplug_ports),
                *_WIRED,
                step("disks", ensure_rescue_disk, drop_rescue_disk),
                step("domain", ensure_rescue_domain),
            ),
        ),
        Recipe(
            "unrescue",
            (
                step("disks", drop_rescue_disk),
                step("unplug", unplug_ports),
                *_WIRED,
                step("domain", ensure_domain),
            ),
        ),
        Recipe(
            "rebuild",
            (
                step("power off", cut_off_domain),
                step("unplug", unplug_ports),
                step("empty", empty_place),
                step("image", ensure_image_of_root),
                step("reimage", reimage_root, attach_root_again),
                *_WIRED,
                step("disks", ensure_disks),
                step("domain", ensure_domain_as_before),
                step("attachments", complete_volumes),
            ),
        ),
        Recipe("createImage", _COPIED),
        Recipe(
            "createImage:volumes",
            (
                step("record", ensure_image_record, drop_image),
                step("snapshots", ensure_snapshots, drop_snapshots),
                step("image", ensure_image_of_snapshots),
            ),
        ),
        Recipe("createBackup", (*_COPIED, step("rotation", rotate_backups))),
        Recipe(
            "resize",
            (
                step("power off", stop_domain),
                step("send", send_disks),
                step("volumes", release_if_leaving),
            ),
        ),
        Recipe(
            "resize:finish",
            (
                step("place", ensure_place),
                step("fetch", fetch_disks),
                step("disks", grow_disks, put_back),
                *_WIRED,
                step("config drive", ensure_config_drive),
                step("domain", ensure_domain_as_before),
                step("attachments", complete_volumes),
                step("sent", drop_sent_disks),
            ),
        ),
        Recipe(
            "resize:back",
            (
                step("sent", drop_sent_disks),
                *_WIRED,
                step("domain", ensure_domain_as_before),
                step("attachments", complete_volumes),
            ),
        ),
        Recipe("confirmResize", (step("disks", forget_kept_disks),)),
        Recipe("revertResize", (step("leave", leave_resized),)),
        Recipe(
            "revertResize:finish",
            (
                *_WIRED,
                step("domain", ensure_domain_as_before),
                step("attachments", complete_volumes),
            ),
        ),
        Recipe(
            "evacuate",
            (
                step("place", ensure_place),
                step("image", ensure_image_of_root),
                step("ports", ensure_ports),
                step("release", release_volumes),
                step("volumes", ensure_volumes),
                step("disks", ensure_disks),
                step("domain", ensure_domain_as_before, leave_host),
                step("attachments", complete_volumes),
            ),
        ),
        Recipe("live-migration", (step("disks", describe_disks),)),
        Recipe(
            "live-migration:prepare",
            (
                step("place", ensure_place),
                step("image", ensure_bases),
                step("disks", ensure_empty_disks),
                step("ports", await_ports),
                step("volumes", connect_volumes),
                step("domain", describe_domain),
            ),
        ),
        Recipe("live-migration:move", (step("guest", move_guest),)),
        Recipe("live-migration:arrive", (step("guest", ensure_arrived),)),
        Recipe(
            "live-migration:finish",
            (
                step("ports", bind_ports),
                step("volumes", keep_second_attachments),
                step("door", shut_door),
            ),
        ),
        Recipe(
            "live-migration:back",
            (
                step("target", leave_target),
                step("ports", keep_ports),
                step("volumes", keep_first_attachments),
            ),
        ),
        Recipe("live-migration:stay", (step("guest", stay),)),
        Recipe("shelve", (step("power off", stop_domain, start_again), *_COPIED)),
        Recipe(
            "shelveOffload",
            (
                step("domain", drop_domain),
                step("volumes", release_volumes),
                step("ports", unbind_ports),
                step("disks", drop_disks),
            ),
        ),
        Recipe(
            "unshelve",
            (
                step("place", ensure_place),
                step("image", ensure_image_of_root),
                step("ports", ensure_ports, unbind_ports),
                step("volumes", ensure_volumes, release_volumes),
                step("disks", ensure_disks),
                step("domain", ensure_domain, leave_host),
                step("attachments", complete_volumes),
                step("shelved image", drop_shelved_image),
            ),
        ),
        Recipe(
            "attach_volume",
            (
                step("volume", claim_volume, give_volume_back),
                step("guest", plug_disk, unplug_disk),
                step("attachment", complete_attachment),
            ),
        ),
        Recipe(
            "detach_volume",
            (
                step("volume", begin_detaching, roll_detaching),
                step("guest", lose_disk, plug_disk_back),
            ),
        ),
        Recipe("detach_volume:end", (step("attachment", give_volume_back),)),
        Recipe(
            "swap_volume",
            (step("volume", claim_place, give_place_up), step("guest", move_disk)),
        ),
        Recipe("swap_volume:end", (step("volumes", leave_old_place),)),
        Recipe("extend_volume", (step("guest", show_new_size),)),
        Recipe(
            "attach_interface",
            (
                step("port", ensure_new_port, drop_new_port),
                step("guest", plug_nic, unplug_nic),
            ),
        ),
        Recipe(
            "detach_interface",
            (step("guest", lose_nic, plug_nic_back),),
        ),
        Recipe("detach_interface:end", (step("port", end_port),)),
        Recipe(
            "unshelve_here",
            (*_WIRED, step("domain", ensure_domain), step("shelved image", drop_shelved_image)),
        ),
    )
}
