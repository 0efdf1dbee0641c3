"""Rows of a server's NICs, volumes and security groups, and of what is done to its guest."""

from __future__ import annotations

from typing import Any

from minicloud.api.guest_actions import GuestActions
from minicloud.api.interfaces import Interfaces
from minicloud.api.routes.servers import action
from minicloud.api.schemas import attachment_bodies as bodies
from minicloud.api.schemas import diagnostics
from minicloud.api.schemas.part_views import ATTACHED, ATTACHMENTS, INTERFACES
from minicloud.api.schemas.server_bodies import CrashDump
from minicloud.api.security_groups import SecurityGroups
from minicloud.api.volume_attachments import VolumeAttachments
from minicloud.kit.web import Body, Route

_P = "os_compute_api:"
_ONE = "/servers/{server_id}"


def interface_routes(interfaces: Interfaces) -> list[Route]:
    nics, nic = _ONE + "/os-interface", _ONE + "/os-interface/{port_id}"
    policy = _P + "os-attach-interfaces:"
    return [
        Route(method="GET", path=nics, handler=interfaces.index, policy=policy + "list",
              down=INTERFACES, summary="List a server's ports."),
        Route(method="POST", path=nics, handler=interfaces.attach, policy=policy + "create",
              body=bodies.INTERFACE, down=INTERFACES, summary="Give a server a NIC."),
        Route(method="GET", path=nic, handler=interfaces.show, policy=policy + "show",
              down=INTERFACES, summary="Show one of a server's ports."),
        Route(method="DELETE", path=nic, handler=interfaces.detach, policy=policy + "delete",
              status=202, summary="Take a NIC from a server."),
    ]  # fmt: skip


def volume_routes(volumes: VolumeAttachments) -> list[Route]:
    disks, disk = _ONE + "/os-volume_attachments", _ONE + "/os-volume_attachments/{volume_id}"
    policy = _P + "os-volumes-attachments:"
    attach: dict[str, Any] = {"method": "POST", "path": disks, "policy": policy + "create",
                              "body": bodies.ATTACH, "down": ATTACHED,
                              "summary": "Attach a volume."}  # fmt: skip
    detach: dict[str, Any] = {"method": "DELETE", "path": disk, "policy": policy + "delete",
                              "status": 202, "summary": "Detach a volume."}  # fmt: skip
    return [
        Route(method="GET", path=disks, handler=volumes.index, policy=policy + "index",
              down=ATTACHMENTS, summary="List a server's volumes."),
        Route(handler=volumes.attach, since=(2, 60), **attach),
        Route(handler=volumes.attach_before_2_60, since=(2, 20), **attach),
        Route(handler=volumes.attach_before_2_20, **attach),
        Route(method="GET", path=disk, handler=volumes.show, policy=policy + "show",
              down=ATTACHMENTS, summary="Show one of a server's volumes."),
        Route(method="PUT", path=disk, handler=volumes.update, since=(2, 85), status=202,
              policy=policy + "update", body=bodies.UPDATE, summary="Change an attachment."),
        Route(method="PUT", path=disk, handler=volumes.swap, status=202, policy=policy + "swap",
              body=bodies.SWAP, summary="Put another volume in one's place."),
        Route(handler=volumes.detach, since=(2, 20), **detach),
        Route(handler=volumes.detach_before_2_20, **detach),
    ]  # fmt: skip


def security_group_routes(groups: SecurityGroups) -> list[Route]:
    return [
        Route(method="GET", path=_ONE + "/os-security-groups", handler=groups.index,
              policy=_P + "os-security-groups:list", summary="List a server's security groups."),
        action("addSecurityGroup", groups.add, "os-security-groups:add",
               body=Body(type=bodies.GroupName, wrapper="addSecurityGroup"),
               summary="Put a server's ports into a security group."),
        action("removeSecurityGroup", groups.remove, "os-security-groups:remove",
               body=Body(type=bodies.GroupName, wrapper="removeSecurityGroup"),
               summary="Take a server's ports out of a security group."),
    ]  # fmt: skip


def guest_routes(guests: GuestActions) -> list[Route]:
    password = _ONE + "/os-server-password"
    return [
        Route(method="GET", path=_ONE + "/diagnostics", handler=guests.diagnostics,
              policy=_P + "os-server-diagnostics", down=diagnostics.DOWN,
              summary="Show what a guest uses."),
        action("changePassword", guests.change_password, "os-admin-password",
               body=Body(type=bodies.ChangePassword, wrapper="changePassword"),
               summary="Set the administrator's password by the guest's agent."),
        action("trigger_crash_dump", guests.trigger_crash_dump, "servers:trigger_crash_dump",
               since=(2, 17), body=Body(type=CrashDump),
               summary="Interrupt a guest's kernel, for a dump of its memory."),
        Route(method="GET", path=password, handler=guests.password,
              policy=_P + "os-server-password:show", summary="Show the guest's sealed password."),
        Route(method="DELETE", path=password, handler=guests.clear_password, status=204,
              policy=_P + "os-server-password:clear", summary="Forget the sealed password."),
    ]  # fmt: skip
