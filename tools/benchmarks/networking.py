"""A host's networking in a namespace of its own: what one port, a pass, and a new rule cost."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from cloud import Bench, Figure, figure

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "host"))

_PORTS, _NETWORKS = 200, 8


def measure(_bench: Bench) -> Iterator[Figure]:
    from hostnet_world import OPEN, a_network, a_port, ingress, wiring
    from private_host import missing, private_host

    from minicloud.hostnet.host import HostNetwork

    if missing() is not None:
        return
    networks = [a_network(number + 1) for number in range(_NETWORKS)]
    ports = [
        (networks[number % _NETWORKS], a_port(networks[number % _NETWORKS], 10 + number))
        for number in range(_PORTS)
    ]
    desired = wiring(*ports)
    with private_host(), tempfile.TemporaryDirectory() as directory:
        host = HostNetwork(state_dir=Path(directory), metadata=None)
        yield figure(
            f"{_PORTS} ports wired in one pass", _ms(lambda: host.sync(desired)), "ms", aim="2000"
        )
        host.sync(desired)  # looks at what was done
        idle = [_ms(lambda: host.sync(desired)) for _ in range(5)]
        yield figure("a pass with nothing to do", statistics.median(idle), "ms", aim="50")
        more = msgspec.structs.replace(OPEN, rules=[*OPEN.rules, ingress("tcp", 443)])
        changed = msgspec.structs.replace(desired, groups=[more])
        yield figure(
            f"a rule for {_PORTS} members", _ms(lambda: host.sync(changed)), "ms", aim="1000"
        )
        new = [a_port(networks[0], number) for number in range(220, 231)]
        wired = [_ms(lambda port=port: host.ensure_port(networks[0], port)) for port in new]
        yield figure("one port more, to its wiring", statistics.median(wired), "ms", aim="100")
        host.purge()


def _ms(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1000
