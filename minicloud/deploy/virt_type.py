"""Stage: KVM or emulation. The probe guest boots while other stages run."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

from minicloud.deploy.places import Places
from minicloud.deploy.stage import StageFailed
from minicloud.domain.errors import MinicloudError
from minicloud.virt import probe


class VirtType:
    def __init__(self, places: Places) -> None:
        self._memory = places.state / "compute"
        self._thread = ThreadPoolExecutor(1)
        self._answer: Future[probe.Decision] | None = None

    def begin(self) -> None:
        self._answer = self._thread.submit(probe.decide, "auto", self._memory)

    def ensure(self) -> str:
        """Which one, and why; the compute daemon finds the same answer remembered."""
        if self._answer is None:
            self.begin()
        assert self._answer is not None
        try:
            decision = self._answer.result()
        except MinicloudError as error:
            raise StageFailed("The probe guest could not be booted.", str(error)) from error
        return decision.virt_type if decision.virt_type == "kvm" else f"qemu ({decision.reason})"
