"""The endpoints of tasks: handlers that only translate."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from minicloud.domain.errors import NotFound
from minicloud.image import schemas, task_store
from minicloud.image.import_requests import ImportRequests
from minicloud.image.requests import choice, image_id, page_size
from minicloud.image.schemas import task_view
from minicloud.image.service import ImageService
from minicloud.kit.db import Database
from minicloud.kit.web import Call, Query, Reply, Route

_ALL = "/v2/tasks"
_QUERY = ("type", "status", "owner", "sort_key", "sort_dir", "limit", "marker")
_STATUSES = ("pending", "processing", "success", "failure")


class TaskRoutes:
    def __init__(self, database: Database, images: ImageService, imports: ImportRequests) -> None:
        self._database = database
        self._images = images
        self._imports = imports

    def routes(self) -> list[Route]:
        return [
            Route(method="GET", path=_ALL, handler=self.page, policy="tasks_api_access",
                  query=Query(names=frozenset(_QUERY), strict_from=None)),
            Route(method="POST", path=_ALL, handler=self.create, policy="tasks_api_access",
                  status=201, body=schemas.NewTask,
                  summary="Make an image of what is behind a URL."),
            Route(method="GET", path=f"{_ALL}/{{task}}", handler=self.show,
                  policy="tasks_api_access"),
            Route(method="GET", path="/v2/images/{id}/tasks", handler=self.of_image,
                  policy="get_image"),
        ]  # fmt: skip

    def page(self, call: Call) -> dict[str, Any]:
        query = call.query
        equal = {name: query[name] for name in ("type", "status") if name in query}
        if "status" in equal:
            choice("status", equal["status"], _STATUSES)
        key = choice("sort_key", query.get("sort_key", "created_at"), task_store.SORT_KEYS)
        direction = choice("sort_dir", query.get("sort_dir", "desc"), ("asc", "desc"))
        sort = [(key, direction)] + ([] if key == "id" else [("id", direction)])
        wanted = task_store.TaskQuery(
            equal=equal, owner=query.get("owner"), sort=sort, limit=page_size(query),
            marker=query.get("marker"),
        )  # fmt: skip
        with self._database.read() as tx:
            found, more = task_store.tasks_list(tx, wanted)
        pairs = [pair for pair in query.items(multi=True) if pair[0] != "marker"]
        body: dict[str, Any] = {
            "tasks": [task_view(task, full=False) for task in found],
            "first": f"{_ALL}?{urlencode(pairs)}" if pairs else _ALL,
            "schema": "/v2/schemas/tasks",
        }
        if more and found:
            body["next"] = f"{_ALL}?{urlencode([*pairs, ('marker', found[-1].id)])}"
        return body

    def create(self, call: Call) -> Reply:
        given = call.body.input
        document = {**given.image_properties}
        if given.import_from_format:
            document["disk_format"] = given.import_from_format
            document.setdefault("container_format", "bare")
        task = self._imports.legacy(call.ctx, given.import_from, schemas.describe(document))
        return Reply(body=task_view(task), headers={"Location": f"{call.base_url}{_ALL}/{task.id}"})

    def show(self, call: Call) -> dict[str, Any]:
        with self._database.read() as tx:
            task = task_store.task_get(tx, call.params["task"])
        if task is None:
            raise NotFound(kind="Task", id=call.params["task"])
        return task_view(task)

    def of_image(self, call: Call) -> dict[str, Any]:
        image = self._images.show(call.ctx, image_id(call))
        call.check("get_image", {"project_id": image.owner})
        with self._database.read() as tx:
            found = task_store.tasks_of_image(tx, image.id)
        return {"tasks": [task_view(task) for task in found]}
