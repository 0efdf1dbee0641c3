"""Operations on this host: taken from the conductor, carried out, reported back.

A message is only a hint that there is an operation; the periodic pass hints the same. One
operation works on one server at a time. A live operation that comes for a server that is being
worked on has cancelled the other one: that one stops before its next step.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import msgspec

from minicloud.compute.clients import Clients
from minicloud.compute.consoles import ConsoleDoors
from minicloud.compute.journal import OperationJournal, Outbox
from minicloud.compute.moving import Move, Wishes
from minicloud.compute.recipes import RECIPES, HostTools, Job
from minicloud.compute.storage import DiskLayout
from minicloud.domain.errors import Conflict, MinicloudError, StaleOperation, Unavailable
from minicloud.domain.models import (
    ConsoleDoor,
    Diagnostics,
    MigrationDoor,
    Operation,
    Outcome,
    Problem,
    Work,
)
from minicloud.domain.states import FINDS_OUT, MAY_GO_ELSEWHERE, RETRIED, Power
from minicloud.kit import clock
from minicloud.kit.context import Context, working_for
from minicloud.kit.metrics import OPERATIONS, OPERATIONS_RUNNING
from minicloud.kit.operations import Ended, Recipe, run, unwind
from minicloud.rpc.compute import ComputeRPC
from minicloud.rpc.conductor import ConductorRPC

LOG = logging.getLogger(__name__)
_FRESH_S = 300.0
"""Age up to which a request's own token is used."""
_FINISH_TRIES = 5
_FINISH_PAUSE_S = 1.0
_FIRST_REST_S, _LONGEST_REST_S = 2.0, 300.0


class _Running:
    def __init__(self, operation_id: str) -> None:
        self.operation_id = operation_id
        self.cancelled = threading.Event()
        self.wishes = Wishes()
        self.lend_guest: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext


class _Turn:
    """Who works on one server now, and how many want to."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.guest = threading.Lock()
        """Whoever starts and changes the guest: that is the operation, but while it lends it."""
        self.wanted = 0

    @contextlib.contextmanager
    def lend_guest(self) -> Iterator[None]:
        self.guest.release()
        try:
            yield
        finally:
            self.guest.acquire()


class _Rest:
    """An operation that is stuck is left alone for a while, longer each time."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.over_at = time.monotonic() + seconds


class ComputeManager(ComputeRPC):
    def __init__(
        self,
        tools: HostTools,
        conductor: ConductorRPC,
        clients: Callable[[Context], Clients],
        *,
        operations: int,
        network_changed: Callable[[Sequence[str], str], None] = lambda _things, _origin: None,
        console_address: str = "127.0.0.1",
        recipes: Mapping[str, Recipe[Job]] = RECIPES,
        retry_s: float = 30.0,
    ) -> None:
        """``retry_s``: between two tries of a guest that found no space on a disk."""
        self._recipes = recipes
        self._network_changed = network_changed
        self._tools = tools
        self._conductor = conductor
        self._outbox = Outbox(conductor)
        self._clients = clients
        self._consoles = ConsoleDoors(tools.driver.open_console, address=console_address)
        self.epoch = 0
        """Set when the host has registered; operations wait for that."""
        self._pool = ThreadPoolExecutor(operations, thread_name_prefix="operation")
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._working: dict[str, _Running] = {}
        self._turns: dict[str, _Turn] = {}
        self._rests: dict[str, _Rest] = {}
        self._retry_s, self._retried = retry_s, dict[str, float]()
        self.begun = 0
        """How many operations this daemon has begun."""

    # -- RPC -----------------------------------------------------------------------------------
    def operation_run(self, ctx: Context, *, operation_id: str, server_id: str) -> None:
        received = clock.now()
        with self._lock:
            rest = self._rests.get(operation_id)
            resting = rest is not None and time.monotonic() < rest.over_at
            if operation_id in self._known or resting or not self.epoch:
                return
            self._known.add(operation_id)
            busy = self._working.get(server_id)
        if busy is not None:
            self._supersede(ctx, busy, operation_id)
        self._pool.submit(self._work, ctx, operation_id, server_id, received)

    def network_changed(self, ctx: Context, *, things: list[str], origin: str) -> None:
        self._network_changed(things, origin)

    def images_wanted(self, ctx: Context, *, image_ids: list[str]) -> None:
        self._pool.submit(self._cache_images, ctx, image_ids)

    def _cache_images(self, ctx: Context, image_ids: list[str]) -> None:
        clients = self._clients(ctx)
        for image_id in image_ids:
            try:
                image = clients.image.image_get(image_id).value
                self._tools.images.ensure(image, clients.image)
            except (MinicloudError, OSError) as problem:  # a launch that needs it tries again
                LOG.warning("Image %s is not cached beforehand: %s", image_id, problem)

    def console_output(self, ctx: Context, *, server_id: str, length: int) -> str:
        data = self._tools.driver.console_tail(
            self._tools.storage.console_log(server_id), max_bytes=1 << 20
        )
        text = data.decode("utf-8", "replace")
        if length < 0:
            return text
        return "".join(text.splitlines(keepends=True)[-length:]) if length else ""

    def console_open(self, ctx: Context, *, server_id: str, kind: str) -> ConsoleDoor | None:
        return self._consoles.open(server_id, kind)

    def vnc_port(self, ctx: Context, *, server_id: str) -> int | None:
        return self._tools.driver.vnc_port(server_id)

    def diagnostics(self, ctx: Context, *, server_id: str) -> Diagnostics | None:
        return self._tools.driver.diagnostics(server_id)

    def set_password(self, ctx: Context, *, server_id: str, user: str, password: str) -> None:
        self._tools.driver.set_password(server_id, user, password)

    def move_disk(self, ctx: Context, *, server_id: str, volume_id: str, file: str) -> None:
        with self._turn(server_id) as turn:
            # Who starts a guest has read before which files it is to open.
            if not turn.guest.acquire(blocking=False):
                raise Conflict(reason=f"An operation works on server {server_id}.")
            try:
                self._tools.driver.move_disk(server_id, volume_id, file)
            finally:
                turn.guest.release()

    def retry_writes(self, still: Sequence[str], begun: int) -> None:
        """Have guests go on that stand still for want of space on a disk, now and then: where there
        is none yet they stand still again. None of them is to be paused, unless an operation was
        begun after so many.
        """
        now = time.monotonic()
        self._retried = {each: at for each, at in self._retried.items()
                         if each in still and now - at < self._retry_s}  # fmt: skip
        for server_id in set(still) - set(self._retried):
            with self._turn(server_id) as turn:
                if not turn.guest.acquire(blocking=False):
                    continue
                try:
                    if self.begun == begun and self._tools.driver.retry_writes(server_id):
                        self._retried[server_id] = now
                        LOG.warning("Server %s found no space on a disk; it tries again", server_id)
                except MinicloudError as problem:
                    LOG.warning("Server %s stands still: %s", server_id, problem.message)
                finally:
                    turn.guest.release()

    def migration_open(
        self, ctx: Context, *, server_id: str, disks: list[dict[str, Any]]
    ) -> MigrationDoor:
        driver, storage = self._tools.driver, self._tools.storage
        earlier = Unavailable(
            service=f"Host {self._tools.name}", reason="an earlier try is still there"
        )
        with self._turn(server_id) as turn:
            # Who waited too long for a door asks for another: two must not make the disks at once.
            if not turn.guest.acquire(blocking=False):
                raise earlier
            try:
                if driver.get(server_id) is not None:
                    raise earlier
                for layout in msgspec.convert(disks, list[DiskLayout]):
                    # What an earlier try has filled would show through.
                    storage.disk_named(server_id, layout.name).unlink(missing_ok=True)
                    storage.ensure_empty(server_id, layout)
                return self._tools.passages.open(server_id, driver.ways_in(server_id))
            finally:
                turn.guest.release()

    def migration_steer(self, ctx: Context, *, operation_id: str, wish: str) -> None:
        with self._lock:
            found = [each for each in self._working.values() if each.operation_id == operation_id]
        for running in found:
            running.wishes.take({"aborted": wish == "abort", "forced": wish == "pause"})

    def inject_nmi(self, ctx: Context, *, server_id: str) -> None:
        self._tools.driver.inject_nmi(server_id)

    def busy_servers(self) -> frozenset[str]:
        """Servers that an operation works on now."""
        with self._lock:
            return frozenset(self._working)

    def stop(self) -> None:
        """Begin no step more; what is under way is resumed at the next start."""
        with self._lock:
            for running in self._working.values():
                running.cancelled.set()
        self._tools.passages.close_all()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _supersede(self, ctx: Context, busy: _Running, newcomer: str) -> None:
        """Stop ``busy`` if ``newcomer`` is live: a message of old may come late, or twice."""
        try:
            self._conductor.operation_take(
                ctx, operation_id=newcomer, host=self._tools.name, epoch=self.epoch
            )
        except MinicloudError:
            return  # it waits for its turn and is judged then
        busy.cancelled.set()

    @contextlib.contextmanager
    def _turn(self, server_id: str) -> Iterator[_Turn]:
        """What lets one operation at a time work on a server, as long as somebody wants it."""
        with self._lock:
            turn = self._turns.setdefault(server_id, _Turn())
            turn.wanted += 1
        try:
            yield turn
        finally:
            with self._lock:
                turn.wanted -= 1
                if not turn.wanted:
                    del self._turns[server_id]

    # -- one operation -------------------------------------------------------------------------
    def _work(self, ctx: Context, operation_id: str, server_id: str, received: float) -> None:
        running = _Running(operation_id)
        with working_for(ctx), self._turn(server_id) as turn, turn.lock, turn.guest:
            running.lend_guest = turn.lend_guest
            with self._lock:
                self.begun += 1
                self._working[server_id] = running
            OPERATIONS_RUNNING.inc()
            try:
                while self._carry_out(ctx, running, received):
                    received = clock.now()
            except StaleOperation:
                self._rests.pop(operation_id, None)
                LOG.info("Operation %s is no longer ours", operation_id)
            except MinicloudError as problem:
                LOG.warning("Operation %s is left for later: %s", operation_id, problem.message)
            except Exception:  # a worker must survive; the operation's deadline ends it
                LOG.exception("Operation %s ended unforeseen", operation_id)
            finally:
                OPERATIONS_RUNNING.dec()
                with self._lock:
                    self._working.pop(server_id, None)
                    self._known.discard(operation_id)

    def _carry_out(self, ctx: Context, running: _Running, received: float) -> bool:
        """Whether the operation has another stage, which is this host's too."""
        called, watch = clock.now(), time.perf_counter()
        work = self._conductor.operation_take(
            ctx, operation_id=running.operation_id, host=self._tools.name, epoch=self.epoch
        )
        took = time.perf_counter() - watch
        operation = work.operation
        if clock.now() - operation.created_at > _FRESH_S or not ctx.token:
            ctx = Context(request_id=operation.request_id, project_id=operation.project_id)
        with working_for(ctx):
            journal = OperationJournal(operation, host=self._tools.name, outbox=self._outbox)
            self._record_arrival(journal, work, received, called, took)
            job = Job(
                server=work.server,
                tools=self._tools,
                clients=self._clients(ctx),
                journal=journal,
                operation=operation,
                cancelled=running.cancelled,
                lend_guest=running.lend_guest,
                move=Move(
                    ctx,
                    self._conductor,
                    operation,
                    host=self._tools.name,
                    epoch=self.epoch,
                    wishes=running.wishes,
                    cancelled=running.cancelled,
                ),
            )
            running.wishes.take(operation.params)
            recipe = self._recipes[operation.recipe]
            try:
                if operation.state == "stuck" and any(step.undo for step in recipe.steps):
                    ended = unwind(recipe, job, journal=journal)
                else:
                    ended = run(recipe, job, journal=journal, cancelled=running.cancelled)
            finally:
                self._tools.images.release(work.server.id)
            if ended.result == "cancelled":
                journal.take()
                LOG.info("%s of server %s was cancelled", operation.verb, work.server.id)
                return False
            return self._finish(ctx, running, operation, job, journal, ended)

    def _record_arrival(
        self, journal: OperationJournal, work: Work, received: float, called: float, took: float
    ) -> None:
        """Steps 13 to 18."""
        read_done = work.received_at + work.read_s
        conductor = {"service": "conductor", "host": work.conductor_host}
        journal.step(13, received, max(called - received, 0.0))
        journal.step(14, called, took)
        journal.step(15, called, max(work.received_at - called, 0.0), **conductor)
        journal.step(16, work.received_at, work.read_s, **conductor)
        journal.step(17, read_done, 0.0, detail=work.server.flavor.name, **conductor)
        journal.step(18, read_done, max(called + took - read_done, 0.0), **conductor)

    def _finish(
        self,
        ctx: Context,
        running: _Running,
        operation: Operation,
        job: Job,
        journal: OperationJournal,
        ended: Ended,
    ) -> bool:
        if operation.recipe in FINDS_OUT and isinstance(ended.problem, Unavailable):
            raise ended.problem
        result = ended.result
        if result == "failed" and operation.verb in MAY_GO_ELSEWHERE:
            again = operation.state != "stuck" and _may_do_better(ended.problem)
            result = "elsewhere" if again else "failed"
        if result == "failed" and operation.recipe in RETRIED:
            result = "stuck"
        domain = self._tools.driver.get(job.server.id) if result == "done" else None
        if result == "done" and (job.looked_at_ports or job.looked_at_volumes):
            job.note_addresses(self._tools.driver.device_addresses(job.server.id))
        outcome = Outcome(
            operation_id=operation.id,
            host=self._tools.name,
            epoch=self.epoch,
            result=result,
            message=ended.message,
            problem=_problem(ended.problem),
            power_state=domain.power if domain is not None else Power.NOSTATE,
            nics=job.nic_infos if result == "done" and job.looked_at_ports else None,
            volumes=job.volumes if result == "done" and job.looked_at_volumes else None,
            found=job.found,
            journal=journal.take(),
        )
        OPERATIONS.labels(operation.verb, result).inc()
        self._rest_after(operation.id, result)
        for attempt in range(1, _FINISH_TRIES + 1):
            try:
                return self._conductor.operation_finish(ctx, outcome=outcome)
            except Unavailable as problem:
                # It may have been written all the same; then the next try is told that the
                # operation is no longer ours, which ends this one well.
                LOG.warning("The end of %s is told again: %s", operation.id, problem.message)
                if attempt == _FINISH_TRIES or running.cancelled.wait(_FINISH_PAUSE_S):
                    raise
        raise AssertionError("the last try returns or raises")

    def _rest_after(self, operation_id: str, result: str) -> None:
        before = self._rests.pop(operation_id, None)
        if result == "stuck":
            pause = _FIRST_REST_S if before is None else min(before.seconds * 2, _LONGEST_REST_S)
            self._rests[operation_id] = _Rest(pause)


def _problem(problem: Exception | None) -> Problem | None:
    if not isinstance(problem, MinicloudError):
        return None
    return Problem(code=problem.code, facts=problem.facts)


def _may_do_better(problem: Exception | None) -> bool:
    """Whether another host may succeed where this one failed."""
    return not isinstance(problem, MinicloudError) or problem.http >= 500
