"""What a host does for each verb: one recipe a verb. A new recipe is one row here.

The crash suite takes every recipe from this table and fails, repeats and kills each step.
"""

from __future__ import annotations

from collections.abc import Mapping

from minicloud.compute.recipes.disks import drop_disks, ensure_disks, ensure_place
from minicloud.compute.recipes.domain import (
    cut_off_domain,
    drop_domain,
    ensure_domain,
    reboot_domain,
    stop_domain,
)
from minicloud.compute.recipes.image import ensure_image
from minicloud.compute.recipes.job import HostTools, Job, step
from minicloud.compute.recipes.ports import drop_ports, ensure_ports
from minicloud.compute.recipes.volumes import (
    complete_volumes,
    drop_volumes,
    drop_volumes_at_delete,
    ensure_volumes,
)
from minicloud.kit.operations import Recipe

__all__ = ["DELETE", "LEAVE", "RECIPES", "HostTools", "Job"]

DELETE = Recipe(
    "delete",
    (
        step("domain", drop_domain),
        step("volumes", drop_volumes_at_delete),
        step("ports", drop_ports),
        step("disks", drop_disks),
    ),
)

LEAVE = Recipe("leave", (step("domain", drop_domain), step("disks", drop_disks)))
"""For a server that lives on another host: what is outside this host stays."""

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
        Recipe(
            "start",
            (
                step("ports", ensure_ports),
                step("volumes", ensure_volumes),
                step("domain", ensure_domain),
            ),
        ),
        Recipe("stop", (step("domain", stop_domain),)),
        Recipe(
            "reboot",
            (
                step("ports", ensure_ports),
                step("volumes", ensure_volumes),
                step("domain", reboot_domain),
            ),
        ),
        Recipe(
            "reboot_hard",
            (
                step("power off", cut_off_domain),
                step("ports", ensure_ports),
                step("volumes", ensure_volumes),
                step("domain", ensure_domain),
            ),
        ),
    )
}
