"""Conditions over a host's facts: the scheduler hint ``query``, and what a flavor asks of
aggregates. Pure; written by users, so that whatever comes is either checked or refused.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from minicloud.domain.errors import Invalid
from minicloud.domain.models import Host

_FACTS: Mapping[str, Callable[[Host], Any]] = {
    "$host": lambda host: host.name,
    "$hypervisor_hostname": lambda host: host.name,
    "$free_ram_mb": lambda host: host.memory_mb - host.memory_mb_used,
    "$total_usable_ram_mb": lambda host: host.memory_mb,
    "$free_disk_mb": lambda host: (host.disk_gb - host.disk_gb_used) * 1024,
    "$vcpus_total": lambda host: host.vcpus,
    "$vcpus_used": lambda host: host.vcpus_used,
    "$num_instances": lambda host: host.servers,
    "$hypervisor_type": lambda host: host.hypervisor_type,
}
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    ">=": operator.ge,
}
_DEEPEST = 8


def check(query: Any, depth: int = 0) -> None:
    """Raise Invalid unless ``query`` is a condition."""
    if (
        not isinstance(query, list)
        or len(query) < 2
        or not isinstance(query[0], str)
        or depth > _DEEPEST
    ):
        raise Invalid(reason='The hint query must look like [">=", "$free_ram_mb", 1024].')
    word, *rest = query
    if word in ("and", "or", "not"):
        if word == "not" and len(rest) != 1:
            raise Invalid(reason="In the hint query, not takes one condition.")
        for part in rest:
            check(part, depth + 1)
    elif word in _COMPARE or word == "in":
        if len(rest) < 2:
            raise Invalid(reason=f"In the hint query, {word} compares two things or more.")
        for part in rest:
            _check_value(part)
    else:
        raise Invalid(reason=f"The hint query knows no operator {word[:64]}.")


def _check_value(value: Any) -> None:
    if isinstance(value, str) and value.startswith("$") and value not in _FACTS:
        raise Invalid(reason=f"The hint query knows no {value[:64]}: {', '.join(sorted(_FACTS))}.")
    if not isinstance(value, (str, int, float)):
        raise Invalid(reason="The hint query compares facts, texts and numbers.")


def holds(query: Any, host: Host) -> bool:
    """Whether ``query``, which is checked, is true of ``host``."""
    word, *rest = query
    if word == "and":
        return all(holds(part, host) for part in rest)
    if word == "or":
        return any(holds(part, host) for part in rest)
    if word == "not":
        return not holds(rest[0], host)
    first, *others = (_value(part, host) for part in rest)
    if word == "in":
        return first in others
    return all(_compared(_COMPARE[word], first, other) for other in others)


def _value(value: Any, host: Host) -> Any:
    fact = _FACTS.get(value) if isinstance(value, str) else None
    return value if fact is None else fact(host)


def _compared(compare: Callable[[Any, Any], bool], one: Any, other: Any) -> bool:
    if isinstance(one, str) != isinstance(other, str):
        one, other = str(one), str(other)
    return compare(one, other)


_WORDS: Mapping[str, Callable[[str, str], bool]] = {
    "s==": operator.eq,
    "s!=": operator.ne,
    "s<": operator.lt,
    "s<=": operator.le,
    "s>": operator.gt,
    "s>=": operator.ge,
}


def fits(wanted: str, value: str) -> bool:
    """Whether an aggregate's ``value`` is what an extra spec asks for: a text, or an operator
    (``>= 4``, ``s== ssd``, ``<in> fast``, ``<or> a <or> b``) and its operand."""
    word, _, rest = wanted.strip().partition(" ")
    rest = rest.strip()
    if word == "<or>":
        return value in [each.strip() for each in wanted.split("<or>")[1:]]
    if word == "<in>":
        return rest in value
    if word in _WORDS:
        return _WORDS[word](value, rest)
    if word in ("=", ">=", "<=", "==", "!="):
        return _number_fits(word, rest, value)
    return value == wanted or wanted in _listed(value)


def _number_fits(word: str, wanted: str, value: str) -> bool:
    try:
        one, other = float(value), float(wanted)
    except ValueError:
        return False
    compare = {"==": operator.eq, "!=": operator.ne, "<=": operator.le}.get(word, operator.ge)
    return bool(compare(one, other))


def _listed(value: str) -> Sequence[str]:
    """Values that were set together stand with commas."""
    return [part.strip() for part in value.split(",")]
