"""Every command of the real client is run by a test, or is named here with the reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatchcase
from importlib.metadata import entry_points
from pathlib import Path

import pytest

pytestmark = pytest.mark.clients

GROUPS = ("common", "compute.v2", "identity.v3", "image.v2", "network.v2", "volume.v3")
OTHER_GROUPS = {
    "accelerator.v2": "no accelerators",
    "identity.v2": "an API that has ended",
    "image.v1": "an API that has ended",
    "network.v2.bgpvpn": "no VPNs by BGP",
    "network.v2.dynamic_routing": "no routes by BGP",
    "network.v2.fwaas": "no firewalls but security groups",
    "network.v2.taas": "no copies of ports' traffic",
    "network.v2.vpnaas": "no VPNs",
    "object_store.v1": "no object store",
    "share.v2": "no shared file systems",
    "volume.v2": "an API that has ended",
}
LEFT_OUT = {
    "block storage cleanup": "the client fails by itself",
    "compute agent *": "an API that has ended",
    "host *": "an API that ended with microversion 2.43",
    "server remove fixed ip": "an API that ended with microversion 2.44",
    "server add share": "the client asks for a service of shared file systems first",
    "server remove share": "the client asks for a service of shared file systems first",
    "server share show": "the client asks for a service of shared file systems first",
    "local ip *": "no local IPs",
    "network agent add network": "a host serves the networks of its ports",
    "network agent remove network": "a host serves the networks of its ports",
    "network agent router set": "routers have no priorities",
    "network flavor *": "no flavors of networks",
    "network l3 conntrack helper *": "no connection tracking helpers",
    "network meter *": "no metering",
    "network onboard subnet": "an old name of subnet pool add network",
    "network qos *": "no quality of service of networks",
    "network segment *": "no segments of networks",
    "network subport list": "no trunks",
    "network trunk *": "no trunks",
    "router add gateway": "a router has one gateway",
    "router remove gateway": "a router has one gateway",
    "router ndp proxy *": "no proxies of neighbour discovery",
    "security group default statefulness *": "security groups are stateful unless told otherwise",
}
"""Pattern of commands -> why no test runs them."""
UNKNOWN = "\0"


def commands(group: str) -> set[str]:
    found = {point.name.replace("_", " ") for point in entry_points(group=f"openstack.{group}")}
    assert found, f"the client has no {group}"
    return found


def literals(node: ast.AST) -> Iterator[str]:
    """The words of an argument, ``UNKNOWN`` in the place of what is known only when it runs."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield from node.value.split()
    elif isinstance(node, ast.JoinedStr):
        parts = (each.value if isinstance(each, ast.Constant) else UNKNOWN for each in node.values)
        yield from "".join(map(str, parts)).split()
    else:
        yield UNKNOWN


def command(call: ast.Call, known: set[str]) -> str | None:
    """The command that a call's arguments begin with, after options with a value each."""
    if isinstance(call.func, ast.Attribute) and call.func.attr == "minicloud":
        return None  # this project's own command line
    words = [word for argument in call.args for word in literals(argument)]
    while words and (not words[0].strip(UNKNOWN) or words[0].startswith("-")):
        del words[: 2 if words[0].startswith("-") else 1]
    beginnings = (" ".join(words[:length]) for length in range(len(words), 0, -1))
    return next((each for each in beginnings if each in known), None)


def test_every_command_is_run_or_left_out_for_a_reason() -> None:
    known = set().union(*map(commands, GROUPS))
    tests = Path(__file__).parents[1]
    run = {
        command(node, known)
        for path in (*tests.glob("clients/*.py"), *tests.glob("cloud/*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }
    left = {name for name in known if any(fnmatchcase(name, pattern) for pattern in LEFT_OUT)}
    assert known - run - left == set(), "no test runs these"
    assert run & left == set(), "tests run these: leave them out no longer"
    dead = [each for each in LEFT_OUT if not any(fnmatchcase(name, each) for name in known)]
    assert dead == [], "the client has no such commands"


def test_every_group_of_commands_is_known() -> None:
    groups = {each.removeprefix("openstack.") for each in entry_points().groups
              if each.startswith("openstack.") and "cli" not in each}  # fmt: skip
    assert groups - set(GROUPS) - set(OTHER_GROUPS) == set()
