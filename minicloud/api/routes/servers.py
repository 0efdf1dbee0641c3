"""Rows of servers and of what hangs on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from minicloud.api import instance_actions as events
from minicloud.api.absent import Shares, Topology
from minicloud.api.actions import Actions
from minicloud.api.assisted_snapshots import AssistedSnapshots
from minicloud.api.external_events import ExternalEventHandler
from minicloud.api.instance_actions import InstanceActions
from minicloud.api.launch import Launcher
from minicloud.api.live_migration import LiveMigration
from minicloud.api.rebuild import Rebuilder
from minicloud.api.resize import Resize
from minicloud.api.schemas import assisted_snapshots, external_events
from minicloud.api.schemas import server_bodies as bodies
from minicloud.api.schemas import server_views as views
from minicloud.api.server_images import ServerImages
from minicloud.api.server_parts import Addresses, Metadata, Tags
from minicloud.api.server_queries import OF_ALL, OF_ALL_SINCE_2_83, QUERY, Rules
from minicloud.api.servers import Servers
from minicloud.kit.web import Body, Route
from minicloud.kit.web.versions import Version

_P = "os_compute_api:"
_ONE = "/servers/{server_id}"
_LISTS: Sequence[tuple[Version | None, Rules]] = (
    ((2, 90), Rules()),
    ((2, 83), Rules(of_all=OF_ALL_SINCE_2_83)),
    ((2, 38), Rules(of_all=OF_ALL)),
    (None, Rules(of_all=OF_ALL, bad_status_is_error=False)),
)
"""The lists of servers: since when, by which rules."""


def server_routes(servers: Servers, launcher: Launcher) -> list[Route]:
    return [
        *(
            Route(method="GET", path="/servers", handler=servers.index(rules), since=since,
                  policy=_P + "servers:index", query=QUERY, summary="List servers.")
            for since, rules in _LISTS
        ),
        *(
            Route(method="POST", path="/servers", since=since, status=202, body=body,
                  handler=launcher.create if number == 0 else launcher.create_before_2_60,
                  policy=_P + "servers:create", summary="Launch servers.")
            for number, (since, body) in enumerate(bodies.CREATES)
        ),
        *(
            Route(method="GET", path="/servers/detail", handler=servers.detail(rules),
                  since=since, policy=_P + "servers:detail", query=QUERY, down=views.DOWN,
                  summary="List servers in full.")
            for since, rules in _LISTS
        ),
        Route(method="GET", path=_ONE, handler=servers.show, policy=_P + "servers:show",
              down=views.DOWN, summary="Show a server."),
        Route(method="PUT", path=_ONE, handler=servers.update, policy=_P + "servers:update",
              body=bodies.UPDATE, down=views.DOWN_UPDATE, summary="Change a server."),
        Route(method="DELETE", path=_ONE, handler=servers.delete, policy=_P + "servers:delete",
              status=204, summary="Delete a server."),
    ]  # fmt: skip


def action(key: str, handler: Any, policy: str, *, status: int = 202, **more: Any) -> Route:
    return Route(method="POST", path=_ONE + "/action", action=key, handler=handler,
                 policy=_P + policy, status=status, **more)  # fmt: skip


def action_routes(actions: Actions) -> list[Route]:
    row = action
    rescue = Body(type=bodies.Rescue, wrapper="rescue", may_be_null=True)
    return [
        row("os-start", actions.start, "servers:start", summary="Start a stopped server."),
        row("os-stop", actions.stop, "servers:stop", summary="Stop a server."),
        row("reboot", actions.reboot, "servers:reboot",
            body=Body(type=bodies.Reboot, wrapper="reboot"), summary="Restart a server."),
        row("lock", actions.lock, "os-lock-server:lock", since=(2, 73),
            body=Body(type=bodies.Lock, wrapper="lock", may_be_null=True),
            summary="Keep a server from being changed."),
        row("lock", actions.lock, "os-lock-server:lock",
            summary="Keep a server from being changed."),
        row("unlock", actions.unlock, "os-lock-server:unlock",
            summary="Let a server be changed again."),
        row("os-getConsoleOutput", actions.console_output, "os-console-output", status=200,
            body=Body(type=bodies.ConsoleOutput, wrapper="os-getConsoleOutput"),
            summary="Read the serial console's last lines."),
        row("pause", actions.pause, "os-pause-server:pause",
            summary="Let a guest stand still, its memory kept."),
        row("unpause", actions.unpause, "os-pause-server:unpause",
            summary="Let a paused guest go on."),
        row("suspend", actions.suspend, "os-suspend-server:suspend",
            summary="Put a guest's memory on disk and switch it off."),
        row("resume", actions.resume, "os-suspend-server:resume",
            summary="Let a suspended guest go on."),
        row("rescue", actions.rescue, "os-rescue", status=200, since=(2, 87), body=rescue,
            summary="Boot another image beside the server's disk, which may be a volume."),
        row("rescue", actions.rescue_before_2_87, "os-rescue", status=200, body=rescue,
            summary="Boot another image beside the server's disk."),
        row("unrescue", actions.unrescue, "os-unrescue",
            summary="Boot a rescued server from its own disk again."),
        row("forceDelete", actions.force_delete, "os-deferred-delete:force",
            summary="Delete a server at once."),
        row("restore", actions.restore, "os-deferred-delete:restore",
            summary="Bring back a soft-deleted server."),
        row("injectNetworkInfo", actions.inject_network_info,
            "os-admin-actions:inject_network_info",
            summary="Tell a guest of its network: taken without effect."),
        row("resetNetwork", actions.reset_network, "os-admin-actions:reset_network",
            summary="Removed: have a guest set its network up again."),
        row("os-resetState", actions.reset_state, "os-admin-actions:reset_state",
            body=Body(type=bodies.ResetState, wrapper="os-resetState"),
            summary="Say that a server is active, or in error."),
    ]  # fmt: skip


def image_routes(images: ServerImages, rebuilder: Rebuilder) -> list[Route]:
    """Actions that make images of servers, or servers of images."""
    image = Body(type=bodies.CreateImage, wrapper="createImage")
    backup = Body(type=bodies.CreateBackup, wrapper="createBackup")
    return [
        action("createImage", images.create, "servers:create_image", since=(2, 45), body=image,
                summary="Make an image of the server's root disk."),
        action("createImage", images.create_before_2_45, "servers:create_image", body=image,
                summary="Make an image of the server's root disk."),
        action("createBackup", images.backup, "os-create-backup", since=(2, 45), body=backup,
                summary="Make an image of the root disk, and delete old ones of its kind."),
        action("createBackup", images.backup_before_2_45, "os-create-backup", body=backup,
                summary="Make an image of the root disk, and delete old ones of its kind."),
        action("shelve", images.shelve, "os-shelve:shelve",
                summary="Keep a server as an image, without a host."),
        action("shelveOffload", images.shelve_offload, "os-shelve:shelve_offload",
                summary="Take a shelved server off its host."),
        action("unshelve", images.unshelve, "os-shelve:unshelve", since=(2, 91),
                body=bodies.UNSHELVE, summary="Bring a shelved server back."),
        action("unshelve", images.unshelve_before_2_91, "os-shelve:unshelve", since=(2, 77),
                body=Body(type=bodies.UnshelveBefore291), summary="Bring a shelved server back."),
        action("unshelve", images.unshelve_before_2_77, "os-shelve:unshelve",
                summary="Bring a shelved server back."),
        action("rebuild", rebuilder.rebuild, "servers:rebuild", since=(2, 93),
                body=bodies.REBUILD, down=views.DOWN_REBUILD,
                summary="Make a server's disks anew, its root volume too."),
        action("rebuild", rebuilder.rebuild_before_2_93, "servers:rebuild", body=bodies.REBUILD,
                down=views.DOWN_REBUILD, summary="Make a server's disks anew."),
    ]  # fmt: skip


def move_routes(resize: Resize, live: LiveMigration) -> list[Route]:
    """Actions that give a server another size or another host."""
    return [
        action("resize", resize.resize, "servers:resize",
                body=Body(type=bodies.Resize, wrapper="resize"),
                summary="Give a server another flavor."),
        action("confirmResize", resize.confirm, "servers:confirm_resize", status=204,
                summary="Keep a resized server as it is."),
        action("revertResize", resize.revert, "servers:revert_resize",
                summary="Put a resized server back."),
        action("migrate", resize.migrate, "os-migrate-server:migrate", since=(2, 56),
                body=bodies.MIGRATE, summary="Move a server to another host."),
        action("migrate", resize.migrate, "os-migrate-server:migrate",
                summary="Move a server to another host."),
        action("os-migrateLive", live.migrate, "os-migrate-server:migrate_live", since=(2, 34),
                body=bodies.MIGRATE_LIVE, summary="Move a server while it runs."),
        action("os-migrateLive", live.migrate_before_2_34, "os-migrate-server:migrate_live",
                since=(2, 25), body=bodies.MIGRATE_LIVE, summary="Move a server while it runs."),
        action("os-migrateLive", live.migrate_before_2_34, "os-migrate-server:migrate_live",
                body=bodies.MIGRATE_LIVE_FIRST, summary="Move a server while it runs."),
        action("evacuate", resize.evacuate, "os-evacuate", status=200, since=(2, 14),
                body=bodies.EVACUATE, summary="Build a server anew whose host is down."),
        action("evacuate", resize.evacuate_before_2_14, "os-evacuate", status=200,
                body=bodies.EVACUATE, summary="Build a server anew whose host is down."),
    ]  # fmt: skip


def part_routes(metadata: Metadata, tags: Tags, addresses: Addresses) -> list[Route]:
    meta, tag = _ONE + "/metadata", _ONE + "/tags"
    return [
        Route(method="GET", path=meta, handler=metadata.index,
              policy=_P + "server-metadata:index", summary="List a server's metadata."),
        Route(method="POST", path=meta, handler=metadata.add, body=bodies.MetadataBody,
              policy=_P + "server-metadata:create", summary="Add metadata."),
        Route(method="PUT", path=meta, handler=metadata.replace, body=bodies.MetadataBody,
              policy=_P + "server-metadata:update_all", summary="Replace all metadata."),
        Route(method="GET", path=meta + "/{key}", handler=metadata.show,
              policy=_P + "server-metadata:show", summary="Show one key's value."),
        Route(method="PUT", path=meta + "/{key}", handler=metadata.set_one, body=bodies.MetaBody,
              policy=_P + "server-metadata:update", summary="Set one key's value."),
        Route(method="DELETE", path=meta + "/{key}", handler=metadata.delete_one, status=204,
              policy=_P + "server-metadata:delete", summary="Remove one key."),
        Route(method="GET", path=tag, handler=tags.index, since=(2, 26),
              policy=_P + "os-server-tags:index", summary="List a server's tags."),
        Route(method="PUT", path=tag, handler=tags.replace, since=(2, 26), body=bodies.TagsBody,
              policy=_P + "os-server-tags:update_all", summary="Replace all tags."),
        Route(method="DELETE", path=tag, handler=tags.delete_all, since=(2, 26), status=204,
              policy=_P + "os-server-tags:delete_all", summary="Remove all tags."),
        Route(method="GET", path=tag + "/{tag}", handler=tags.show, since=(2, 26), status=204,
              policy=_P + "os-server-tags:show", summary="Ask whether a server has a tag."),
        Route(method="PUT", path=tag + "/{tag}", handler=tags.add, since=(2, 26), status=201,
              policy=_P + "os-server-tags:update", summary="Add a tag."),
        Route(method="DELETE", path=tag + "/{tag}", handler=tags.delete_one, since=(2, 26),
              status=204, policy=_P + "os-server-tags:delete", summary="Remove a tag."),
        Route(method="GET", path=_ONE + "/ips", handler=addresses.ips, policy=_P + "ips:index",
              summary="List a server's addresses."),
        Route(method="GET", path=_ONE + "/ips/{network}", handler=addresses.ips_of_network,
              policy=_P + "ips:show", summary="List its addresses on one network."),
    ]  # fmt: skip


def absent_routes(shares: Shares, topology: Topology) -> list[Route]:
    share = _ONE + "/shares"
    return [
        Route(method="GET", path=_ONE + "/topology", handler=topology.show, since=(2, 78),
              policy="compute:server:topology:index",
              summary="Show a server's NUMA topology: it has none."),
        Route(method="GET", path=share, handler=shares.index, since=(2, 97),
              policy=_P + "os-server-shares:index", summary="List a server's shares: none."),
        Route(method="POST", path=share, handler=shares.create, since=(2, 97), status=201,
              policy=_P + "os-server-shares:create", summary="Attach a share: there are none."),
        *(
            Route(method=method, path=share + "/{share_id}", handler=shares.show, since=(2, 97),
                  policy=_P + f"os-server-shares:{verb}", summary="There are no shares.")
            for method, verb in (("GET", "show"), ("DELETE", "delete"))
        ),
    ]  # fmt: skip


def event_routes(events: ExternalEventHandler, assisted: AssistedSnapshots) -> list[Route]:
    return [
        Route(method="POST", path="/os-assisted-volume-snapshots", handler=assisted.create,
              policy=_P + "os-assisted-volume-snapshots:create", body=assisted_snapshots.CREATE,
              summary="Have a server's guest go on in a new file of its volume."),
        Route(method="POST", path="/os-server-external-events", handler=events.create,
              policy=_P + "os-server-external-events:create", body=external_events.CREATE,
              summary="Report what happened to servers' ports and volumes."),
    ]  # fmt: skip


def history_routes(actions: InstanceActions) -> list[Route]:
    path = _ONE + "/os-instance-actions"
    return [
        Route(method="GET", path=path, handler=actions.index, since=(2, 21),
              policy=_P + "os-instance-actions:list", query=events.QUERY,
              down=events.DOWN_LIST, summary="List what was done to a server."),
        Route(method="GET", path=path, handler=actions.index_before_2_21,
              policy=_P + "os-instance-actions:list", query=events.QUERY,
              down=events.DOWN_LIST, summary="List what was done to a server."),
        Route(method="GET", path=path + "/{request_id}", handler=actions.show, since=(2, 21),
              policy=_P + "os-instance-actions:show", down=events.DOWN_SHOW,
              summary="Show one action with its steps."),
        Route(method="GET", path=path + "/{request_id}", handler=actions.show_before_2_21,
              policy=_P + "os-instance-actions:show", down=events.DOWN_SHOW,
              summary="Show one action with its steps."),
        Route(method="GET", path=_ONE + "/minicloud-trace", handler=actions.trace,
              policy=_P + "servers:show", summary="Show the launch's 28 steps."),
    ]  # fmt: skip
