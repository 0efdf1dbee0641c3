"""A broker that nobody serves is an error with a class of its own, never an unforeseen one."""

from __future__ import annotations

import socket

import pytest

from minicloud.domain.errors import Unavailable
from minicloud.kit.context import Context
from minicloud.kit.rpc import Transport
from minicloud.rpc.compute import TOPIC, ComputeRPC


def test_a_refused_connection_is_unavailable() -> None:
    with socket.socket() as taken:
        # Bound and not listening: connections are refused, and nobody else takes the port.
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        transport = Transport(f"rabbit://guest:guest@127.0.0.1:{port}/")
        client = transport.client(ComputeRPC, topic=TOPIC, host="host1")
        with pytest.raises(Unavailable):
            client.operation_run(Context(), operation_id="o", server_id="s")
        transport.close()
