"""What a client asks of imports and locations: checked, marked in the rows, left as a task."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from minicloud.domain.errors import Conflict, Exists, Invalid, NotAllowed, NotFound
from minicloud.domain.ids import new_id
from minicloud.image import records, store, task_store
from minicloud.image.fetch import Fetcher
from minicloud.image.imports import COPY, DIRECT, METHODS, WEB, ImportPlan
from minicloud.image.quotas import Quotas
from minicloud.image.records import Image, Location, Task
from minicloud.image.schemas import Description, ImportRequest, NewLocation
from minicloud.image.service import ImageService
from minicloud.image.stores.registry import Stores
from minicloud.image.uploads import format_of
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.kit.policy import Policy

IMPORT_TASK, LOCATION_TASK, LEGACY_TASK = "api_image_import", "location_import", "import"


class ImportRequests:
    """``kick`` is called when there is a new task."""

    def __init__(
        self,
        database: Database,
        images: ImageService,
        stores: Stores,
        fetcher: Fetcher,
        quotas: Quotas,
        policy: Policy,
        kick: Callable[[], None],
        *,
        methods: Sequence[str] = METHODS,
    ) -> None:
        self._database = database
        self._images = images
        self._stores = stores
        self._fetcher = fetcher
        self._quotas = quotas
        self._policy = policy
        self._kick = kick
        self.methods = methods

    def begin(self, ctx: Context, image_id: str, wanted: ImportRequest) -> None:
        """Leave a task that imports the image's data. Conflict when its state is in the way."""
        method = wanted.method
        if method.name not in self.methods:
            raise Invalid(reason=f"Import methods here: {', '.join(self.methods)}.")
        if method.name == WEB:
            self._fetcher.check(method.uri)
        image = self._images.show(ctx, image_id)
        if method.name == COPY:
            self._policy.check(ctx, "copy_image", {"project_id": image.owner})
        else:
            self._policy.check(ctx, "modify_image", {"project_id": image.owner})
        targets = self._targets(wanted)
        quota = self._quotas.of(image.owner)
        with self._database.write() as tx:
            image = self._locked(tx, image_id)
            _require_ready(image, method.name)
            if method.name == WEB:
                quota.take_upload(tx)
            if method.name == COPY:
                held = {place.store for place in image.locations}
                targets = [name for name in targets if name not in held]
                if not targets:
                    return
                _require_no_copy_under_way(tx, image_id)
            elif not store.import_begin(tx, image_id, image.status, clock.now()):
                raise Conflict(reason=f"Image {image_id} is {image.status}.")
            store.property_set(tx, image_id, records.IMPORTING_TO, ",".join(targets))
            store.property_set(tx, image_id, records.FAILED_IMPORT, "")
            plan = ImportPlan(
                method=method.name, uri=method.uri, stores=targets,
                must_succeed=wanted.all_stores_must_succeed,
            )  # fmt: skip
            task_store.task_insert(tx, _import_task(ctx, image_id, plan, wanted))
        self._kick()

    def _targets(self, wanted: ImportRequest) -> list[str]:
        writable = [one.id for one in self._stores.writable]
        if wanted.all_stores:
            if wanted.stores:
                raise Invalid(reason="Give either all_stores or stores, not both.")
            return writable
        for name in wanted.stores:
            if name not in writable:
                raise Conflict(
                    reason=f"There is no store '{name[:64]}' to write to; use: "
                    f"{', '.join(writable)}."
                )
        return list(dict.fromkeys(wanted.stores)) or [self._stores.default.id]

    def _locked(self, tx: Transaction, image_id: str) -> Image:
        image = store.image_get(tx, image_id, lock=True)
        if image is None:
            raise NotFound(kind="Image", id=image_id)
        return image

    # -- locations -------------------------------------------------------------------------------
    def locations(self, ctx: Context, image_id: str) -> list[dict[str, Any]]:
        """Where the image's data lies."""
        image = self._images.show(ctx, image_id)
        self._policy.check(ctx, "fetch_image_location", {"project_id": image.owner})
        return [self.location_view(place) for place in image.locations]

    def location_view(self, place: Location) -> dict[str, Any]:
        known = {one.id: one for one in self._stores}
        found = known.get(place.store)
        url = place.name if found is None else found.url(place.name)
        return {"url": url, "metadata": {"store": place.store}}

    def location_add(self, ctx: Context, image_id: str, wanted: NewLocation) -> list[Any]:
        """Let a queued image have its data at a URL, once all of it was read and judged."""
        image = self._images.show(ctx, image_id)
        self._policy.check(ctx, "add_image_location", {"project_id": image.owner})
        holders = [one.id for one in self._stores if one.kind == "http"]
        if not holders:
            raise NotAllowed(reason="This cloud has no store for data on other servers.")
        self._fetcher.check(wanted.url)
        quota = self._quotas.of(image.owner)
        with self._database.write() as tx:
            image = self._locked(tx, image_id)
            if image.status != records.QUEUED:
                raise Conflict(reason="Only a queued image can be given a location.")
            format_of(image)
            quota.take_upload(tx)
            store.import_begin(tx, image_id, records.QUEUED, clock.now())
            given = {"url": wanted.url, "store": holders[0], **wanted.expected_hash()}
            task_store.task_insert(tx, _task(ctx, LOCATION_TASK, image_id, given))
        self._kick()
        return [{"url": wanted.url, "metadata": {"store": holders[0]}}]

    # -- the older way: a task that makes an image of a URL ---------------------------------------
    def legacy(self, ctx: Context, uri: str, description: Description) -> Task:
        """A task that makes a new image of what is behind ``uri``."""
        self._fetcher.check(uri)
        image = self._images.prepare(ctx, description)
        format_of(image)
        plan = ImportPlan(method=WEB, uri=uri, stores=[self._stores.default.id])
        given = {"plan": msgspec.to_builtins(plan), "import_from": uri}
        task = _task(ctx, LEGACY_TASK, image.id, given)
        quota = self._quotas.of(image.owner)
        with self._database.write() as tx:
            quota.take_image(tx)
            quota.take_upload(tx)
            store.image_insert(tx, msgspec.structs.replace(image, status=records.IMPORTING))
            task_store.task_insert(tx, task)
        self._kick()
        return task


def _require_ready(image: Image, method: str) -> None:
    """Conflict unless the image is as the method needs it."""
    if method == COPY:
        if image.status != records.ACTIVE:
            raise Conflict(reason="Only images with status active can be targeted for copying")
        return
    if image.status == records.ACTIVE:
        raise Conflict(reason="Image with status active cannot be target for import")
    if method == WEB and image.status != records.QUEUED:
        raise Conflict(reason=f"Image needs to be in 'queued' state to use '{method}' method")
    if method == DIRECT and image.status != records.UPLOADING:
        raise Conflict(reason="Image needs to be staged before 'glance-direct' method can be used")
    for name in ("container_format", "disk_format"):
        if getattr(image, name) is None:
            raise Conflict(reason=f"'{name}' needs to be set before import")
    if method == DIRECT and (image.staged is None or image.staged != image.staged_total):
        raise Conflict(
            reason=f"Only {image.staged or 0} bytes of image {image.id} are staged so far."
        )


def _require_no_copy_under_way(tx: Transaction, image_id: str) -> None:
    for task in task_store.tasks_of_image(tx, image_id):
        if task.status in (records.PENDING_TASK, records.PROCESSING):
            raise Exists(kind="A copy of image", id=image_id)


def _import_task(ctx: Context, image_id: str, plan: ImportPlan, wanted: ImportRequest) -> Task:
    given = {
        "plan": msgspec.to_builtins(plan),
        "image_id": image_id,
        "import_req": msgspec.to_builtins(wanted),
    }
    return _task(ctx, IMPORT_TASK, image_id, given)


def _task(ctx: Context, kind: str, image_id: str, given: Mapping[str, Any]) -> Task:
    now = clock.now()
    return Task(
        id=new_id(), type=kind, owner=ctx.project_id or None, user_id=ctx.user_id,
        request_id=ctx.request_id, image_id=image_id, input=given, created_at=now,
        updated_at=now,
    )  # fmt: skip
