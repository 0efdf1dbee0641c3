"""What can be done with images' records: create, show, list, change, delete, share.

Their bytes are ``uploads.py``'s. An image that the caller cannot see is NotFound, one that is
seen but not the caller's to change is Forbidden.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from minicloud.domain.errors import Forbidden, NotAllowed, NotFound, TooLarge
from minicloud.domain.ids import new_id
from minicloud.image import patch, records, store
from minicloud.image.listing import ImageQuery, Viewer, images_list, is_visible
from minicloud.image.protections import Protections
from minicloud.image.quotas import Quotas
from minicloud.image.records import Image, Member
from minicloud.image.schemas import Description
from minicloud.image.stores.registry import Stores
from minicloud.kit import clock
from minicloud.kit.context import Context
from minicloud.kit.db import Database, Transaction
from minicloud.kit.policy import Policy

MOST_TAGS = MOST_PROPERTIES = MOST_MEMBERS = 128


class ImageService:
    def __init__(
        self,
        database: Database,
        stores: Stores,
        policy: Policy,
        quotas: Quotas,
        protections: Protections,
    ) -> None:
        self._database = database
        self._stores = stores
        self._policy = policy
        self._quotas = quotas
        self._protections = protections

    def create(self, ctx: Context, description: Description) -> Image:
        """A queued image. Exists when the id is taken; QuotaExceeded."""
        image = self.prepare(ctx, description)
        quota = self._quotas.of(image.owner)
        with self._database.write() as tx:
            quota.take_image(tx)
            store.image_insert(tx, image)
        return image

    def prepare(self, ctx: Context, description: Description) -> Image:
        """The image that ``description`` is to become, where the caller may make it."""
        mine = ctx.project_id or None
        owner = description.owner if description.owner is not None else mine
        if owner != mine:
            self._policy.check(ctx, "set_image_owner")
        self._check_visibility(ctx, description.visibility)
        self._protections.check_change(ctx, {}, description.properties)
        _check_counts(description)
        now = clock.now()
        blank = Image(id=description.id or new_id(), created_at=now, updated_at=now)
        return _described(blank, description, owner)

    def show(self, ctx: Context, image_id: str) -> Image:
        with self._database.read() as tx:
            return self._seen(tx, ctx, image_id)

    def page(self, ctx: Context, query: ImageQuery) -> tuple[list[Image], bool]:
        """One page, and whether there is another."""
        self._protections.check_filters(ctx, query.properties)
        with self._database.read() as tx:
            return images_list(tx, viewer(ctx), query)

    def update(self, ctx: Context, image_id: str, operations: Sequence[patch.Operation]) -> Image:
        """Apply JSON patch ``operations``, all or none."""
        with self._database.write() as tx:
            before = self._changeable(tx, ctx, image_id, "modify_image")
            description = patch.apply(before, operations)
            if description.owner != before.owner:
                self._policy.check(ctx, "set_image_owner")
            if description.visibility != before.visibility:
                self._check_visibility(ctx, description.visibility)
            self._protections.check_change(ctx, before.properties, description.properties)
            _check_counts(description)
            after = _described(before, description, description.owner)
            if after != before:
                after = msgspec.structs.replace(after, updated_at=clock.now())
                store.image_update(tx, before, after)
        return after

    def delete(self, ctx: Context, image_id: str) -> None:
        """Row, then file: dead in between, the file is removed by the next sweep."""
        with self._database.write() as tx:
            image = self._changeable(tx, ctx, image_id, "delete_image")
            if image.protected:
                raise NotAllowed(reason=f"Image {image_id} is protected and cannot be deleted.")
            store.image_delete(tx, image_id)
        # What is still being written is its writer's to remove.
        self._stores.remove(image.locations)

    def delete_copy(self, ctx: Context, store_id: str, image_id: str) -> None:
        """Remove the image's copy in one store; NotAllowed for the last."""
        self._stores.get(store_id)
        with self._database.write() as tx:
            image = self._changeable(tx, ctx, image_id, "delete_image_location")
            copies = [place for place in image.locations if place.store == store_id]
            if not copies:
                raise NotFound(kind=f"A copy of image {image_id} in store", id=store_id)
            if len(image.locations) == 1:
                raise NotAllowed(
                    reason=f"Store {store_id} has the image's last copy; delete the image instead."
                )
            if image.protected:
                raise NotAllowed(reason=f"Image {image_id} is protected.")
            store.location_remove(tx, image_id, store_id)
        self._stores.remove(copies)

    def readable(self, ctx: Context, image: Image) -> Image:
        """What of the image the caller may read."""
        return self._protections.readable(ctx, image)

    def tag(self, ctx: Context, image_id: str, tag: str) -> None:
        self._retag(ctx, image_id, lambda tags: sorted({*tags, tag}))

    def untag(self, ctx: Context, image_id: str, tag: str) -> None:
        def without(tags: Sequence[str]) -> Sequence[str]:
            if tag not in tags:
                raise NotFound(kind="Tag", id=tag)
            return [name for name in tags if name != tag]

        self._retag(ctx, image_id, without)

    def deactivate(self, ctx: Context, image_id: str) -> None:
        self._turn(ctx, image_id, "deactivate", records.ACTIVE, records.DEACTIVATED)

    def reactivate(self, ctx: Context, image_id: str) -> None:
        self._turn(ctx, image_id, "reactivate", records.DEACTIVATED, records.ACTIVE)

    # -- members ---------------------------------------------------------------------------------
    def members(self, ctx: Context, image_id: str) -> list[Member]:
        """All members for those of the image's project, else the caller's own membership."""
        with self._database.read() as tx:
            image = self._seen(tx, ctx, image_id)
            _require_shared(image)
            found = store.members_list(tx, image_id)
        if self._policy.allows(ctx, "get_members", {"project_id": image.owner}):
            return found
        return [member for member in found if member.member == ctx.project_id]

    def member(self, ctx: Context, image_id: str, project_id: str) -> Member:
        for member in self.members(ctx, image_id):
            if member.member == project_id:
                return member
        raise NotFound(kind="Image member", id=project_id)

    def member_add(self, ctx: Context, image_id: str, project_id: str) -> Member:
        with self._database.write() as tx:
            image = self._changeable(tx, ctx, image_id, "add_member")
            _require_shared(image)
            if len(store.members_list(tx, image_id)) >= MOST_MEMBERS:
                raise TooLarge(reason=f"An image may have {MOST_MEMBERS} members at most.")
            now = clock.now()
            member = Member(
                image_id=image_id, member=project_id, status=records.PENDING,
                created_at=now, updated_at=now,
            )  # fmt: skip
            store.member_add(tx, member)
        return member

    def member_answer(self, ctx: Context, image_id: str, project_id: str, status: str) -> Member:
        """Accept or reject, which is the member's own to do."""
        known = self.member(ctx, image_id, project_id)
        self._policy.check(ctx, "modify_member", {"project_id": project_id})
        now = clock.now()
        with self._database.write() as tx:
            if not store.member_set_status(tx, image_id, project_id, status, now):
                raise NotFound(kind="Image member", id=project_id)
        return msgspec.structs.replace(known, status=status, updated_at=now)

    def member_remove(self, ctx: Context, image_id: str, project_id: str) -> None:
        with self._database.write() as tx:
            image = self._changeable(tx, ctx, image_id, "delete_member")
            _require_shared(image)
            if not store.member_remove(tx, image_id, project_id):
                raise NotFound(kind="Image member", id=project_id)

    # -- helpers ---------------------------------------------------------------------------------
    def _seen(self, tx: Transaction, ctx: Context, image_id: str, *, lock: bool = False) -> Image:
        image = store.image_get(tx, image_id, lock=lock)
        if image is None or not is_visible(tx, viewer(ctx), image):
            raise NotFound(kind="Image", id=image_id)
        return image

    def _changeable(self, tx: Transaction, ctx: Context, image_id: str, action: str) -> Image:
        """The image, locked for this transaction; Forbidden unless the caller may ``action``."""
        image = self._seen(tx, ctx, image_id, lock=True)
        if not self._policy.allows(ctx, action, {"project_id": image.owner}):
            raise Forbidden(action=action)
        return image

    def _check_visibility(self, ctx: Context, visibility: str) -> None:
        if visibility == records.PUBLIC:
            self._policy.check(ctx, "publicize_image")
        if visibility == records.COMMUNITY:
            self._policy.check(ctx, "communitize_image")

    def _retag(
        self, ctx: Context, image_id: str, change: Callable[[Sequence[str]], Sequence[str]]
    ) -> None:
        with self._database.write() as tx:
            before = self._changeable(tx, ctx, image_id, "modify_image")
            after = msgspec.structs.replace(
                before, tags=change(before.tags), updated_at=clock.now()
            )
            if len(after.tags) > MOST_TAGS:
                raise TooLarge(reason=f"An image may have {MOST_TAGS} tags at most.")
            if after.tags != before.tags:
                store.image_update(tx, before, after)

    def _turn(self, ctx: Context, image_id: str, action: str, old: str, new: str) -> None:
        """Between active and deactivated; already there is well too."""
        with self._database.write() as tx:
            image = self._changeable(tx, ctx, image_id, action)
            if image.status == new:
                return
            if not store.image_set_status(tx, image_id, old, new, clock.now()):
                raise NotAllowed(reason=f"Not allowed to {action} an image that is {image.status}.")


def viewer(ctx: Context) -> Viewer:
    """A service's own token sees all, as it acts for any project; with a user's it does not."""
    return Viewer(
        project_id=ctx.project_id or None, sees_all=ctx.is_admin or "service" in ctx.roles
    )


def _described(image: Image, description: Description, owner: str | None) -> Image:
    return msgspec.structs.replace(
        image,
        name=description.name,
        visibility=description.visibility,
        owner=owner,
        disk_format=description.disk_format,
        container_format=description.container_format,
        min_disk=description.min_disk,
        min_ram=description.min_ram,
        protected=description.protected,
        os_hidden=description.os_hidden,
        properties=description.properties,
        tags=sorted(set(description.tags)),
    )


def _check_counts(description: Description) -> None:
    if len(description.properties) > MOST_PROPERTIES:
        raise TooLarge(reason=f"An image may have {MOST_PROPERTIES} properties at most.")
    if len(set(description.tags)) > MOST_TAGS:
        raise TooLarge(reason=f"An image may have {MOST_TAGS} tags at most.")


def _require_shared(image: Image) -> None:
    if image.visibility != records.SHARED:
        raise NotAllowed(reason="Only shared images have members.")
