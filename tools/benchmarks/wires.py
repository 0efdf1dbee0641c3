"""From a request until this host has it: a NIC for a guest that runs, and a rule of a group."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

from cloud import Bench, Figure, figure, median

from minicloud.deploy.seed import IMAGE
from minicloud.domain.errors import NotFound

NICS, RULES, LIMIT_S = 5, 11, 60


def measure(bench: Bench) -> Iterator[Figure]:
    compute, network = bench.demo.compute, bench.demo.network
    private = network.get("/networks", name="private").json["networks"][0]["id"]
    image = bench.demo.image.get("/images", name=IMAGE).json["images"][0]["id"]
    wish = {"name": "bench", "description": "of tools/bench"}
    group = network.post("/security-groups", {"security_group": wish}).json["security_group"]["id"]
    body = {"name": "bench", "imageRef": image, "flavorRef": "42", "networks": [{"uuid": private}],
            "security_groups": [{"name": group}]}  # fmt: skip
    server = compute.post("/servers", {"server": body}).json["server"]["id"]
    path = f"/servers/{server}"
    try:
        _until(lambda: compute.get(path).json["server"]["status"] == "ACTIVE")
        plugged = []
        for _ in range(NICS):
            started = time.perf_counter()
            compute.post(f"{path}/os-interface", {"interfaceAttachment": {"net_id": private}})
            plugged.append((time.perf_counter() - started) * 1000)
        yield figure("a NIC for a running guest: port, wiring, plug", median(plugged), "ms")
        ruled = [_ruled(bench, group, port) for port in range(61001, 61001 + RULES)]
        yield figure("POST of a rule, to its effect", median(ruled), "ms", aim="1000")
    finally:
        compute.delete(path)
        _until(lambda: _is_gone(bench, path))
        network.delete(f"/security-groups/{group}")


def _ruled(bench: Bench, group: str, port: int) -> float:
    """Milliseconds until the kernel lets in what a new rule allows."""
    rule = {"security_group_id": group, "direction": "ingress", "ethertype": "IPv4",
            "protocol": "tcp", "port_range_min": port, "port_range_max": port}  # fmt: skip
    started = time.perf_counter()
    bench.demo.network.post("/security-group-rules", {"security_group_rule": rule})
    _until(lambda: str(port) in _ruleset())
    return (time.perf_counter() - started) * 1000


def _ruleset() -> str:
    listed = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True)
    return listed.stdout


def _is_gone(bench: Bench, path: str) -> bool:
    try:
        bench.demo.compute.get(path)
    except NotFound:
        return True
    return False


def _until(condition) -> None:
    give_up_at = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > give_up_at:
            raise SystemExit("the cloud did not do it in time")
        time.sleep(0.005)
