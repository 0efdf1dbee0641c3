"""The network of the lab hosts: a switch in a namespace of its own, and a leg of this machine's.

The switch is not in the machine's own namespace: a firewall of the machine's (Docker's, say)
would drop what lab hosts say to each other. Where the cloud answers on the loopback alone, its
ports are led through to it, for lab hosts only.
"""

from __future__ import annotations

from pathlib import Path

from minicloud.deploy import command
from minicloud.deploy.config import BROKER_PORT

SPACE = "minicloud-lab"
"""The switch's network namespace."""

LEG = "mclab0"
"""This machine's device in the network."""

ADDRESS = "10.210.0.1"
"""This machine's address in it."""

INSIDE = "underlay"
"""A lab host's device in it."""

_SWITCH = "switch"
_PREFIX = 24
_CLOUD_PORTS = (5000, BROKER_PORT, 8774, 8775, 8776, 9292, 9696)

_MACHINE_TABLE = f"""\
table ip minicloud_lab {{
  chain to_the_cloud {{
    type nat hook prerouting priority dstnat; policy accept;
    iifname "{LEG}" ip daddr {ADDRESS} tcp dport {{ {", ".join(map(str, _CLOUD_PORTS))} }} \\
      dnat to 127.0.0.1
  }}
  chain to_the_world {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {ADDRESS}/{_PREFIX} oifname != "{LEG}" masquerade
  }}
}}
"""

HOST_TABLE = f"""\
table ip minicloud_lab {{
  chain to_the_cloud {{
    type nat hook output priority -100; policy accept;
    ip daddr 127.0.0.1 tcp dport {{ {", ".join(map(str, _CLOUD_PORTS))} }} dnat to {ADDRESS}
  }}
  chain as_this_host {{
    type nat hook postrouting priority srcnat; policy accept;
    oifname "{INSIDE}" ip saddr 127.0.0.1 masquerade
  }}
}}
"""
"""The same in a lab host, whose configuration says 127.0.0.1 where the cloud's own does."""


def address(number: int) -> str:
    """Of lab host ``number``, counted from 1."""
    return f"10.210.0.{10 + number}"


def exists() -> bool:
    return Path("/sys/class/net", LEG).exists()


def ensure(*, cloud_is_local: bool) -> bool:
    """The switch, this machine's leg and its rules; True if the leg was made."""
    made = not exists()
    if made:
        remove()  # what an interrupted run left
        command.run(["ip", "netns", "add", SPACE])
        lines = [
            f"link add {_SWITCH} type bridge mcast_snooping 0 forward_delay 0",
            f"link set {_SWITCH} up",
        ]
        command.run(["ip", "-n", SPACE, "-batch", "-"], given="\n".join(lines) + "\n")
        command.run(
            ["ip", "link", "add", LEG, "type", "veth", "peer", "name", "machine", "netns", SPACE]
        )
        command.run(["ip", "-n", SPACE, "link", "set", "machine", "master", _SWITCH, "up"])
        command.run(["ip", "address", "add", f"{ADDRESS}/{_PREFIX}", "dev", LEG])
        command.run(["ip", "link", "set", LEG, "up"])
    # Lets what came by this device, and by no other, be led to the loopback.
    local = Path(f"/proc/sys/net/ipv4/conf/{LEG}/route_localnet")
    local.write_text("1" if cloud_is_local else "0", encoding="ascii")
    rules = _MACHINE_TABLE if cloud_is_local else ""
    command.run(["nft", "-f", "-"], given=f"{_NO_TABLE}{rules}")
    return made


def connect(name: str, number: int, pid: int) -> None:
    """Give the host whose first process is ``pid`` its device, address and way out."""
    leg = f"to-{name}"
    command.run(
        [
            *("ip", "-n", SPACE, "link", "add", leg, "type", "veth"),
            *("peer", "name", INSIDE, "netns", str(pid)),
        ]
    )
    command.run(["ip", "-n", SPACE, "link", "set", leg, "master", _SWITCH, "up"])
    lines = [
        f"address add {address(number)}/{_PREFIX} dev {INSIDE}",
        f"link set {INSIDE} up",
        f"route add default via {ADDRESS}",
    ]
    enter = ["nsenter", "-t", str(pid), "-n", "ip", "-batch", "-"]
    command.run(enter, given="\n".join(lines) + "\n")


def remove() -> bool:
    """No trace of it; what a host holds of it goes with that host. True if there was any."""
    space = Path("/run/netns", SPACE)
    there = exists() or space.exists()
    if there:
        # The rules go first: they are not looked for where there is nothing else.
        command.run(["nft", "-f", "-"], given=_NO_TABLE)
    if exists():
        command.run(["ip", "link", "del", LEG])
    if space.exists():
        command.run(["ip", "netns", "del", SPACE])
    return there


_NO_TABLE = "table ip minicloud_lab\ndelete table ip minicloud_lab\n"
"""Named first, so that deleting it is right whether it was there or not."""
