"""Conditions over hosts: the hint ``query``, and what extra specs ask of aggregates."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_placement import RULES, flavor, host

from minicloud.domain import hints, host_query
from minicloud.domain.errors import Invalid
from minicloud.domain.models import Flavor, ServerGroup
from minicloud.domain.placement import Company, Request, choose


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ([">=", "$free_ram_mb", 8000], True),
        (["<", "$free_ram_mb", 8000], False),
        (["=", "$hypervisor_hostname", "a"], True),
        (["in", "$host", "b", "a"], True),
        (["and", [">", "$vcpus_total", 1], ["=", "$vcpus_used", 0]], True),
        (["or", ["=", "$host", "x"], ["not", ["=", "$host", "y"]]], True),
        (["=", "$vcpus_total", "4"], True),
    ],
)
def test_queries(query: Any, holds: bool) -> None:
    host_query.check(query)
    assert host_query.holds(query, host()) is holds


@pytest.mark.parametrize(
    "query", [[], "x", ["="], ["=", "$secret", 1], ["eval", "x", "y"], ["not", ["=", 1, 1], 2],
              ["=", {}, 1], ["and", "x"]],
)  # fmt: skip
def test_what_is_no_query_is_refused(query: Any) -> None:
    with pytest.raises(Invalid):
        host_query.check(query)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5)
    | st.sampled_from(["=", "and", "not", "in", "$host", "$free_ram_mb"]),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=3), part),
)  # fmt: skip


@given(_JSON)
def test_every_query_is_refused_or_answered(query: Any) -> None:
    try:
        hints.check({"query": query})
    except Invalid:
        return
    if query is not None:
        assert host_query.holds(hints.query_of(query), host()) in (True, False)


@given(st.dictionaries(st.sampled_from(["group", "same_host", "different_host", "x"]), _JSON))
def test_every_hint_is_refused_or_taken(given_hints: dict[str, Any]) -> None:
    try:
        hints.check(given_hints)
    except Invalid:
        return
    for name in ("same_host", "different_host"):
        assert all(isinstance(each, str) for each in hints.texts(given_hints.get(name)))


@pytest.mark.parametrize(
    ("wanted", "value", "fit"),
    [
        ("ssd", "ssd", True), ("ssd", "hdd", False), ("ssd", "hdd,ssd", True),
        (">= 4", "8", True), (">= 4", "2", False), ("= 4", "4", True), (">= 4", "many", False),
        ("s== a", "a", True), ("<or> a <or> b", "b", True), ("<or> a <or> b", "c", False),
        ("<in> fast", "very fast", True),
    ],
)  # fmt: skip
def test_extra_specs_fit_values(wanted: str, value: str, fit: bool) -> None:
    assert host_query.fits(wanted, value) is fit


def test_a_flavor_asks_aggregates() -> None:
    specs = {"aggregate_instance_extra_specs:ssd": "true", "hw:x": "y"}
    small = Flavor(id="1", name="f", vcpus=1, ram=1, disk=1, extra_specs=specs)
    hosts = [host("plain"), host("ssd", aggregates=[{"ssd": "true"}])]
    choice = choose(hosts, Request(flavor=small), RULES)
    assert choice.ranked == ["ssd"]
    assert "AggregateInstanceExtraSpecsFilter" in choice.verdicts["plain"]


def group(policy: str, most: int = 1) -> ServerGroup:
    return ServerGroup(id="g", project_id="p", user_id="u", name="web", policy=policy,
                       max_per_host=most, created_at=0.0)  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "most", "members", "ranked"),
    [
        ("affinity", 1, {}, ["a", "b", "c"]),
        ("affinity", 1, {"b": 2}, ["b"]),
        ("anti-affinity", 1, {"b": 1}, ["a", "c"]),
        ("anti-affinity", 2, {"b": 1, "a": 2}, ["b", "c"]),
        ("soft-affinity", 1, {"c": 2, "b": 1}, ["c", "b", "a"]),
        ("soft-anti-affinity", 1, {"a": 2, "b": 1}, ["c", "b", "a"]),
    ],
)
def test_groups(policy: str, most: int, members: dict[str, int], ranked: list[str]) -> None:
    company = Company(group=group(policy, most), members=members)
    hosts = [host(name) for name in "abc"]
    assert choose(hosts, Request(flavor=flavor(), company=company), RULES).ranked == ranked


def test_hosts_by_name_and_by_neighbours() -> None:
    hosts = [host(name) for name in "abc"]

    def ranked(**wish: Any) -> list[str]:
        return list(choose(hosts, Request(flavor=flavor(), **wish), RULES).ranked)

    assert ranked(host="b") == ["b"]
    assert ranked(beside=frozenset("ab")) == ["a", "b"]
    assert ranked(beside=frozenset()) == []
    assert ranked(apart=frozenset("ab")) == ["c"]
    assert ranked(query=["=", "$host", "c"]) == ["c"]
