"""Rows of what groups servers and hosts, and of what moves between hosts."""

from __future__ import annotations

from minicloud.api import migrations as migration_module
from minicloud.api import server_groups as group_module
from minicloud.api.aggregates import Aggregates
from minicloud.api.live_migration import LiveMigration
from minicloud.api.migrations import Migrations
from minicloud.api.schemas import aggregates as aggregate_schemas
from minicloud.api.schemas import migrations as migration_schemas
from minicloud.api.schemas import server_groups as group_schemas
from minicloud.api.server_groups import ServerGroups
from minicloud.kit.web import Route

_P = "os_compute_api:"


def group_routes(groups: ServerGroups) -> list[Route]:
    every, one = "/os-server-groups", "/os-server-groups/{group_id}"
    down = group_schemas.DOWN
    return [
        Route(method="GET", path=every, handler=groups.index, query=group_module.QUERY,
              policy=_P + "os-server-groups:index", down=down, summary="List server groups."),
        Route(method="POST", path=every, handler=groups.create, body=group_schemas.CREATE,
              policy=_P + "os-server-groups:create", down=down, summary="Make a server group."),
        Route(method="GET", path=one, handler=groups.show,
              policy=_P + "os-server-groups:show", down=down, summary="Show a server group."),
        Route(method="DELETE", path=one, handler=groups.delete, status=204,
              policy=_P + "os-server-groups:delete", summary="Delete a server group."),
    ]  # fmt: skip


def aggregate_routes(aggregates: Aggregates) -> list[Route]:
    every, one = "/os-aggregates", "/os-aggregates/{aggregate_id}"
    down, policy = aggregate_schemas.DOWN, _P + "os-aggregates:"
    actions = {
        "add_host": (aggregates.add_host, "Add a host to an aggregate."),
        "remove_host": (aggregates.remove_host, "Take a host out of an aggregate."),
        "set_metadata": (aggregates.set_metadata, "Change an aggregate's metadata."),
    }
    return [
        Route(method="GET", path=every, handler=aggregates.index, policy=policy + "index",
              down=down, summary="List host aggregates."),
        Route(method="POST", path=every, handler=aggregates.create, policy=policy + "create",
              body=aggregate_schemas.CREATE, down=down, summary="Make a host aggregate."),
        Route(method="GET", path=one, handler=aggregates.show, policy=policy + "show",
              down=down, summary="Show a host aggregate."),
        Route(method="PUT", path=one, handler=aggregates.update, policy=policy + "update",
              body=aggregate_schemas.UPDATE, down=down, summary="Change a host aggregate."),
        Route(method="DELETE", path=one, handler=aggregates.delete, policy=policy + "delete",
              summary="Delete a host aggregate."),
        Route(method="POST", path=one + "/images", handler=aggregates.cache_images,
              since=(2, 81), policy="compute:aggregates:images", status=202,
              body=aggregate_schemas.CACHE,
              summary="Have an aggregate's hosts fetch images before they are launched."),
        *(
            Route(method="POST", path=one + "/action", action=key, handler=actions[key][0],
                  policy=policy + key, body=body, down=down, summary=actions[key][1])
            for key, body in aggregate_schemas.ACTIONS.items()
        ),
    ]  # fmt: skip


def migration_routes(migrations: Migrations, live: LiveMigration) -> list[Route]:
    of_server = "/servers/{server_id}/migrations"
    down, policy = migration_schemas.DOWN, _P + "servers:migrations:"
    return [
        Route(method="GET", path="/os-migrations", handler=migrations.index,
              query=migration_module.QUERY, policy=_P + "os-migrations:index", down=down,
              summary="List migrations."),
        Route(method="GET", path=of_server, handler=migrations.of_server, since=(2, 23),
              policy=policy + "index", down=down,
              summary="List a server's live migrations that are under way."),
        Route(method="GET", path=of_server + "/{migration_id}", since=(2, 23),
              handler=migrations.one_of_server, policy=policy + "show", down=down,
              summary="Show a live migration that is under way."),
        Route(method="POST", path=of_server + "/{migration_id}/action", action="force_complete",
              handler=live.force_complete, since=(2, 22), status=202,
              policy=policy + "force_complete",
              summary="Let a guest stand still so that its live migration ends."),
        Route(method="DELETE", path=of_server + "/{migration_id}", handler=live.abort,
              since=(2, 65), status=202, policy=policy + "delete",
              summary="Stop a live migration."),
        Route(method="DELETE", path=of_server + "/{migration_id}", handler=live.abort_before_2_65,
              since=(2, 24), status=202, policy=policy + "delete",
              summary="Stop a live migration."),
    ]  # fmt: skip
