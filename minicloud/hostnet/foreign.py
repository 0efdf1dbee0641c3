"""Living beside a firewall that drops every forwarded packet it does not know.

Docker and ufw set the policy of the FORWARD chain to DROP. An acceptance in a table of ours
does not overrule that, so rules of ours, marked by a comment, go into their chain; nothing
else there is touched. A firewall that rejects in chains of its own (firewalld) has to be told
about the devices by whoever runs it.
"""

from __future__ import annotations

import shlex

from minicloud.domain.errors import HostProblem
from minicloud.hostnet.kernel import Kernel

_MARK = ["-m", "comment", "--comment", "minicloud"]
_BRIDGED = (
    ["-i", "brm+", *_MARK, "-j", "ACCEPT"],
    ["-o", "brm+", *_MARK, "-j", "ACCEPT"],
)
"""Both, since the host routes what comes from and goes to external networks' bridges."""
_ROUTED = (
    ["-i", "mch+", *_MARK, "-j", "ACCEPT"],
    ["-o", "mch+", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", *_MARK, "-j", "ACCEPT"],
)
_RULES = {4: (*_BRIDGED, *_ROUTED), 6: _BRIDGED}
_TOOLS = {4: "iptables", 6: "ip6tables"}


def ensure_forwarding(kernel: Kernel, version: int) -> list[str]:
    """Put the rules that are missing at the head of the chain; returns what was done, in words."""
    tool = _TOOLS[version]
    present = _present(kernel, tool)
    missing = [rule for rule in _RULES[version] if shlex.join(rule) not in present]
    for rule in missing:
        kernel.run([tool, "-w", "-I", "FORWARD", *rule])
    return [f"let guests' IPv{version} pass the host's FORWARD chain"] if missing else []


def remove_forwarding(kernel: Kernel, version: int) -> list[str]:
    """Take the rules away again, each as often as it is there."""
    tool = _TOOLS[version]
    marked = [rule for rule in _present(kernel, tool) if "--comment minicloud " in f"{rule} "]
    for rule in marked:
        kernel.run([tool, "-w", "-D", "FORWARD", *shlex.split(rule)])
    return [f"took our rules out of the host's IPv{version} FORWARD chain"] if marked else []


def _present(kernel: Kernel, tool: str) -> list[str]:
    """The chain's rules as iptables says them, without their ``-A FORWARD``."""
    try:
        listing = kernel.run([tool, "-w", "-S", "FORWARD"])
    except HostProblem:
        return []  # no iptables, no chain of its kind
    head = "-A FORWARD "
    return [line[len(head) :] for line in listing.splitlines() if line.startswith(head)]
