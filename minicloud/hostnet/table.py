"""An nftables table as a value, and the text that makes the kernel have it. Pure.

Loaded whole it replaces whatever was there; where the kernel is known to have an earlier value,
only the difference is sent. Either is one transaction: no packet ever meets half a table.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from minicloud.hostnet import names
from minicloud.hostnet.view import TableKey

Chains = Mapping[str, Sequence[str]]


class AddressSet(msgspec.Struct, frozen=True):
    """A named set: ``kind`` is ``ipv4_addr`` or ``ipv6_addr``; elements may be CIDRs."""

    kind: str
    elements: Sequence[str] = ()


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """``hooks``: what precedes a base chain's rules, by chain name.

    ``maps``: device name -> verdict, by name of the map.
    """

    family: str
    chains: Chains
    hooks: Mapping[str, str] = {}
    sets: Mapping[str, AddressSet] = {}
    maps: Mapping[str, Mapping[str, str]] = {}

    @property
    def key(self) -> TableKey:
        return (self.family, names.TABLE)

    @property
    def marker(self) -> str:
        """Name of an empty chain that tells which text the kernel has loaded."""
        return "version-" + hashlib.sha256(self._body().encode()).hexdigest()[:16]

    def text(self) -> str:
        """What makes the table so in one transaction, whatever it was before."""
        head = f"table {self.family} {names.TABLE}"
        return f"{head}\ndelete {head}\n{head} {{\n  chain {self.marker} {{ }}\n{self._body()}}}\n"

    def changes(self, old: Table) -> str:
        """What makes ``old``, which has the same base chains, into this; "" for no difference."""
        if old == self:
            return ""
        if old.hooks != self.hooks:
            return self.text()
        where = f"{self.family} {names.TABLE}"
        lines = _set_lines(where, old.sets, self.sets)
        lines += [f"add chain {where} {name}" for name in self.chains if name not in old.chains]
        for name, rules in self.chains.items():
            before = old.chains.get(name)
            if before is None or list(before) != list(rules):
                lines += [f"flush chain {where} {name}"] if before else []
                lines += [f"add rule {where} {name} {rule}" for rule in rules]
        lines += _map_lines(where, old.maps, self.maps)
        gone = [name for name in old.chains if name not in self.chains]
        lines += [f"flush chain {where} {name}" for name in gone]
        lines += [f"delete chain {where} {name}" for name in gone]
        lines += [f"delete set {where} {name}" for name in old.sets if name not in self.sets]
        lines += [f"delete map {where} {name}" for name in old.maps if name not in self.maps]
        lines += [f"add chain {where} {self.marker}", f"delete chain {where} {old.marker}"]
        return "\n".join(lines) + "\n"

    def is_loaded(self, tables: Mapping[TableKey, Mapping[str, int]]) -> bool:
        """Whether a kernel with ``tables`` has this text, each chain with all its rules."""
        wanted = {name: len(rules) for name, rules in self.chains.items()} | {self.marker: 0}
        return tables.get(self.key) == wanted

    def _body(self) -> str:
        lines: list[str] = []
        for name, members in self.sets.items():
            lines.append(f"  set {name} {{ type {members.kind}; flags interval;")
            if members.elements:
                lines.append(f"    elements = {{ {', '.join(members.elements)} }}")
            lines.append("  }")
        for name, verdicts in self.maps.items():
            lines.append(f"  map {name} {{ type ifname : verdict;")
            if verdicts:
                lines.append(f"    elements = {{ {_pairs(verdicts)} }}")
            lines.append("  }")
        for name, rules in self.chains.items():
            lines.append(f"  chain {name} {{")
            if name in self.hooks:
                lines.append(f"    type {self.hooks[name]}; policy accept;")
            lines += [f"    {rule}" for rule in rules]
            lines.append("  }")
        return "\n".join(lines) + "\n"


def removal(keys: Iterable[TableKey]) -> str:
    """Text that makes tables go away, there or not."""
    return "".join(
        f"table {family} {name}\ndelete table {family} {name}\n" for family, name in keys
    )


def _set_lines(
    where: str, old: Mapping[str, AddressSet], new: Mapping[str, AddressSet]
) -> list[str]:
    lines = []
    for name, members in new.items():
        before = old.get(name)
        if before == members:
            continue
        if before is None:
            lines.append(f"add set {where} {name} {{ type {members.kind}; flags interval; }}")
        else:
            lines.append(f"flush set {where} {name}")
        if members.elements:
            lines.append(f"add element {where} {name} {{ {', '.join(members.elements)} }}")
    return lines


def _map_lines(
    where: str, old: Mapping[str, Mapping[str, str]], new: Mapping[str, Mapping[str, str]]
) -> list[str]:
    lines = []
    for name, verdicts in new.items():
        if name not in old:
            lines.append(f"add map {where} {name} {{ type ifname : verdict; }}")
        before = old.get(name, {})
        gone = {device: rest for device, rest in before.items() if verdicts.get(device) != rest}
        come = {device: rest for device, rest in verdicts.items() if before.get(device) != rest}
        if gone:
            keys = ", ".join(f'"{device}"' for device in gone)
            lines.append(f"delete element {where} {name} {{ {keys} }}")
        if come:
            lines.append(f"add element {where} {name} {{ {_pairs(come)} }}")
    return lines


def _pairs(verdicts: Mapping[str, str]) -> str:
    return ", ".join(f'"{device}" : {verdict}' for device, verdict in verdicts.items())
