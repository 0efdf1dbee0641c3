"""QEMU's control protocol, as much as an exporter needs: ask, and be answered."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from types import TracebackType
from typing import Any

from minicloud.domain.errors import HostProblem

_TIMEOUT_S = 30.0


class Qmp:
    """A conversation over a Unix socket; use it as a context. HostProblem where it breaks off."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_TIMEOUT_S)
        try:
            self._socket.connect(str(path))
            self._file = self._socket.makefile("r", encoding="utf-8")
            self._read()  # the greeting
        except OSError as problem:
            self._socket.close()
            raise HostProblem(
                reason=f"The exporter {path.stem} does not answer: {type(problem).__name__}"
            ) from problem
        self.ask("qmp_capabilities")

    def __enter__(self) -> Qmp:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._socket.close()

    def ask(self, command: str, **arguments: Any) -> Any:
        """What ``command`` returns. HostProblem with QEMU's words where it refuses."""
        words = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            request = json.dumps({"execute": command, "arguments": words})
            self._socket.sendall(request.encode() + b"\n")
            while True:
                answer = self._read()
                if "error" in answer:
                    raise HostProblem(reason=f"{command}: {answer['error'].get('desc', '')[:300]}")
                if "return" in answer:
                    return answer["return"]
        except (OSError, ValueError) as problem:
            raise HostProblem(
                reason=f"The exporter broke off at {command}: {type(problem).__name__}"
            ) from problem

    def _read(self) -> Any:
        line = self._file.readline()
        if not line:
            raise ConnectionResetError
        return json.loads(line)
