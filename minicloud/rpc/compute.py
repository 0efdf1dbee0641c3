"""What a compute host does when asked."""

from __future__ import annotations

from typing import Any

from minicloud.domain.models import ConsoleDoor, Diagnostics, MigrationDoor
from minicloud.kit.context import Context
from minicloud.kit.rpc import call, cast

TOPIC = "minicloud-compute"


class ComputeRPC:
    @cast
    def operation_run(self, ctx: Context, *, operation_id: str, server_id: str) -> None:
        """There is an operation for this host: a hint, the row decides.

        Carries the user's token while it is fresh. If another operation works on the server, it
        is told to stop at its next step.
        """
        raise NotImplementedError

    @cast
    def network_changed(self, ctx: Context, *, things: list[str], origin: str) -> None:
        """Networks or security groups with these ids changed; none: anything may have.

        A hint to every host but ``origin``, which knows: each asks the network service for what
        it is to have, as it does every few seconds anyway.
        """
        raise NotImplementedError

    @cast
    def images_wanted(self, ctx: Context, *, image_ids: list[str]) -> None:
        """Launches of these images are to come: keep them here before they are asked for."""
        raise NotImplementedError

    @call(timeout_s=20)
    def console_output(self, ctx: Context, *, server_id: str, length: int) -> str:
        """The last ``length`` lines (-1: all that is kept) of the serial console."""
        raise NotImplementedError

    @call(timeout_s=15)
    def console_open(self, ctx: Context, *, server_id: str, kind: str) -> ConsoleDoor | None:
        """A door to the guest's ``novnc`` or ``serial`` console; None: it has none now."""
        raise NotImplementedError

    @call(timeout_s=10)
    def vnc_port(self, ctx: Context, *, server_id: str) -> int | None:
        """The TCP port of the guest's VNC server on its host's loopback; None: it has none now."""
        raise NotImplementedError

    @call(timeout_s=20)
    def diagnostics(self, ctx: Context, *, server_id: str) -> Diagnostics | None:
        """What the guest uses; None: it does not run."""
        raise NotImplementedError

    @call(timeout_s=30)
    def set_password(self, ctx: Context, *, server_id: str, user: str, password: str) -> None:
        """By the guest's agent. Conflict: it does not answer, or has no such user."""
        raise NotImplementedError

    @call(timeout_s=10)
    def move_disk(self, ctx: Context, *, server_id: str, volume_id: str, file: str) -> None:
        """Have the guest go on writing its volume in ``file``, a name in the directory of the file
        it has. Conflict: an operation works on the server.
        """
        raise NotImplementedError

    @call(timeout_s=30)
    def migration_open(
        self, ctx: Context, *, server_id: str, disks: list[dict[str, Any]]
    ) -> MigrationDoor:
        """A door by which the server's guest comes here, whose ``disks`` (``DiskLayout``) are
        empty. Unavailable: what is left of an earlier try is still there.
        """
        raise NotImplementedError

    @cast
    def migration_steer(self, ctx: Context, *, operation_id: str, wish: str) -> None:
        """``abort`` a migration that is under way here, or ``pause`` its guest. A hint: the
        operation's row says it, too.
        """
        raise NotImplementedError

    @call(timeout_s=20)
    def inject_nmi(self, ctx: Context, *, server_id: str) -> None:
        """Interrupt the guest's kernel."""
        raise NotImplementedError
