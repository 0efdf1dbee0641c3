"""What a guest's driver does with a disk, done in its QEMU.

The monitor answers nothing of it: what QEMU's own qemu-io prints is in the domain's log.
"""

from __future__ import annotations

import re

from labhost import LabHost, wait_for

from minicloud.domain.ids import domain_name
from minicloud.virt.libvirt.driver import LibvirtDriver

_DONE = re.compile(r"bytes at offset|failed")


class GuestIo:
    """The disk ``serial`` of a server whose guest runs on ``lab``."""

    def __init__(self, lab: LabHost, driver: LibvirtDriver, server_id: str, serial: str) -> None:
        self._driver, self._server_id, self._serial = driver, server_id, serial
        self._log = lab.directory / "log" / "qemu" / f"{domain_name(server_id)}.log"

    def begin(self, command: str) -> None:
        """Such as ``aio_write``, which is not waited for, and ``aio_flush``, which waits."""
        ask = self._driver._connection.ask_qemu
        found = ask(self._server_id, "query-block", {})
        (device,) = [each["qdev"] for each in found if self._serial in each.get("qdev", "")]
        line = {"command-line": f'qemu-io -d {device} "{command}"'}
        ask(self._server_id, "human-monitor-command", line)

    def said(self, command: str) -> str:
        """What qemu-io prints when it has read or written, or failed to."""
        before = self._log.stat().st_size
        self.begin(command)

        def printed() -> str:
            return self._log.read_bytes()[before:].decode(errors="replace")

        wait_for(lambda: _DONE.search(printed()) is not None, f"the end of {command!r}", 60)
        return printed()

    def does(self, command: str) -> None:
        """Fails on an I/O error, and where other bytes are read than those of ``-P``."""
        said = self.said(command)
        assert "failed" not in said, said
