"""Endpoints of transfers and of messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minicloud.kit.web import Body, Call, Reply, Route
from minicloud.volume import schemas, views
from minicloud.volume.kinds import MESSAGES, TRANSFERS
from minicloud.volume.messages import MessageService
from minicloud.volume.query import answer, asked, parameters
from minicloud.volume.records import Transfer
from minicloud.volume.transfers import TransferService
from minicloud.volume.volume_routes import Scoping, yes

_WITH_SNAPSHOTS = (3, 55)
_PAGING = ("limit", "marker", "offset", "sort", "sort_key", "sort_dir")


class TransferRoutes:
    """Twice: under the name of old, and since 3.55 under the one that takes snapshots along."""

    def __init__(self, transfers: TransferService, scoped: Scoping) -> None:
        self._transfers, self._scoped = transfers, scoped

    def routes(self) -> list[Route]:
        return [*self._named("/os-volume-transfer"), *self._named("/volume-transfers")]

    def _named(self, path: str) -> list[Route]:
        scoped, one, down = self._scoped, path + "/{transfer_id}", views.TRANSFER_DOWN
        since = _WITH_SNAPSHOTS if path == "/volume-transfers" else None
        query = parameters(TRANSFERS, since=dict.fromkeys(_PAGING, (3, 59)))
        return [
            Route(method="POST", path=path, handler=scoped(self.create), status=202, since=since,
                  policy="volume:create_transfer", down=down, summary="Offer a volume",
                  body=Body(type=schemas.TransferCreate, wrapper="transfer",
                            since={"no_snapshots": _WITH_SNAPSHOTS})),
            Route(method="GET", path=path, handler=scoped(self.list), query=query, since=since,
                  policy="volume:get_all_transfers", down=down, summary="List offers"),
            Route(method="GET", path=path + "/detail", handler=scoped(self.detail), query=query,
                  since=since, policy="volume:get_all_transfers", down=down,
                  summary="List offers in detail"),
            Route(method="GET", path=one, handler=scoped(self.show), since=since,
                  policy="volume:get_transfer", down=down, summary="Show an offer"),
            Route(method="DELETE", path=one, handler=scoped(self.delete), status=202, since=since,
                  policy="volume:delete_transfer", summary="Take an offer back"),
            Route(method="POST", path=one + "/accept", handler=scoped(self.accept), status=202,
                  since=since, policy="volume:accept_transfer", summary="Accept an offer",
                  body=Body(type=schemas.TransferAccept, wrapper="accept")),
        ]  # fmt: skip

    def create(self, call: Call, _project: str) -> Any:
        wanted: schemas.TransferCreate = call.body
        made, key = self._transfers.create(
            call.ctx,
            wanted.volume_id,
            wanted.name or "",
            no_snapshots=yes(wanted.no_snapshots),
        )
        return {"transfer": {**views.transfer_detail(made, call.base_url), "auth_key": key}}

    def list(self, call: Call, project: str) -> Any:
        return self._page(call, project, lambda each: views.transfer_view(each, call.base_url))

    def detail(self, call: Call, project: str) -> Any:
        return self._page(call, project, lambda each: views.transfer_detail(each, call.base_url))

    def show(self, call: Call, _project: str) -> Any:
        found = self._transfers.get(call.ctx, call.params["transfer_id"])
        return {"transfer": views.transfer_detail(found, call.base_url)}

    def delete(self, call: Call, _project: str) -> Reply:
        self._transfers.delete(call.ctx, call.params["transfer_id"])
        return Reply(status=202)

    def accept(self, call: Call, project: str) -> Any:
        taken = self._transfers.accept(
            call.ctx, project, call.params["transfer_id"], call.body.auth_key
        )
        return {"transfer": views.transfer_view(taken, call.base_url)}

    def _page(self, call: Call, project: str, view: Callable[[Transfer], Any]) -> Any:
        found = self._transfers.select(asked(call, project, TRANSFERS))
        return answer(call, "transfers", found, view, id_of=lambda each: each.id)


class MessageRoutes:
    def __init__(self, messages: MessageService, scoped: Scoping) -> None:
        self._messages, self._scoped = messages, scoped

    def routes(self) -> list[Route]:
        scoped, one, since = self._scoped, "/messages/{message_id}", (3, 3)
        query = parameters(MESSAGES, since=dict.fromkeys(_PAGING, (3, 5)))
        return [
            Route(method="GET", path="/messages", handler=scoped(self.list), since=since,
                  query=query, policy="message:get_all", summary="List what went wrong"),
            Route(method="GET", path=one, handler=scoped(self.show), since=since,
                  policy="message:get", summary="Show what went wrong"),
            Route(method="DELETE", path=one, handler=scoped(self.delete), since=since, status=204,
                  policy="message:delete", summary="Forget a message"),
        ]  # fmt: skip

    def list(self, call: Call, project: str) -> Any:
        found = self._messages.select(asked(call, project, MESSAGES))
        return answer(
            call,
            "messages",
            found,
            lambda each: views.message_view(each, call.base_url),
            id_of=lambda each: each.id,
        )

    def show(self, call: Call, _project: str) -> Any:
        found = self._messages.get(call.ctx, call.params["message_id"])
        return {"message": views.message_view(found, call.base_url)}

    def delete(self, call: Call, _project: str) -> Reply:
        self._messages.delete(call.ctx, call.params["message_id"])
        return Reply(status=204)
