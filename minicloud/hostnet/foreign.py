"""Living beside a firewall that drops every forwarded packet it does not know.

Docker and ufw set the policy of the FORWARD chain to DROP. An acceptance in a table of ours
does not overrule that, so three rules of ours, marked by a comment, go into their chain; nothing
else there is touched. A firewall that rejects in chains of its own (firewalld) has to be told
about the devices by whoever runs it.
"""

from __future__ import annotations

import shlex

from minicloud.domain.errors import HostProblem
from minicloud.hostnet.kernel import Kernel

_MARK = ["-m", "comment", "--comment", "minicloud"]
_RULES = (
    ["-i", "brm+", "-o", "brm+", *_MARK, "-j", "ACCEPT"],
    ["-i", "mch+", *_MARK, "-j", "ACCEPT"],
    ["-o", "mch+", "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", *_MARK, "-j", "ACCEPT"],
)


def ensure_forwarding(kernel: Kernel) -> list[str]:
    """Put the rules that are missing at the head of the chain; returns what was done, in words."""
    present = _present(kernel)
    missing = [rule for rule in _RULES if shlex.join(rule) not in present]
    for rule in missing:
        kernel.run(["iptables", "-w", "-I", "FORWARD", *rule])
    return ["let guests' traffic pass the host's FORWARD chain"] if missing else []


def remove_forwarding(kernel: Kernel) -> list[str]:
    """Take the rules away again, each as often as it is there."""
    marked = [rule for rule in _present(kernel) if "--comment minicloud " in f"{rule} "]
    for rule in marked:
        kernel.run(["iptables", "-w", "-D", "FORWARD", *shlex.split(rule)])
    return ["took our rules out of the host's FORWARD chain"] if marked else []


def _present(kernel: Kernel) -> list[str]:
    """The chain's rules as iptables says them, without their ``-A FORWARD``."""
    try:
        listing = kernel.run(["iptables", "-w", "-S", "FORWARD"])
    except HostProblem:
        return []  # no iptables, no chain of its kind
    head = "-A FORWARD "
    return [line[len(head) :] for line in listing.splitlines() if line.startswith(head)]
