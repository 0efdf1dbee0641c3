"""Every route that clients use of the Compute API's nouns is in the table of routes."""

from __future__ import annotations

import re

import pytest

from minicloud.cmd.describe import described

# Method, path, and the first and last microversion at which it exists.
ROUTES = """
GET / 2.1 -
GET /v2.1 2.1 -
GET /extensions 2.1 -
GET /extensions/{} 2.1 -
GET /flavors 2.1 -
POST /flavors 2.1 -
GET /flavors/detail 2.1 -
GET /flavors/{} 2.1 -
PUT /flavors/{} 2.55 -
DELETE /flavors/{} 2.1 -
POST /flavors/{}/action#addTenantAccess 2.1 -
POST /flavors/{}/action#removeTenantAccess 2.1 -
GET /flavors/{}/os-extra_specs 2.1 -
POST /flavors/{}/os-extra_specs 2.1 -
GET /flavors/{}/os-extra_specs/{} 2.1 -
PUT /flavors/{}/os-extra_specs/{} 2.1 -
DELETE /flavors/{}/os-extra_specs/{} 2.1 -
GET /flavors/{}/os-flavor-access 2.1 -
GET /limits 2.1 -
GET /os-aggregates 2.1 -
POST /os-aggregates 2.1 -
GET /os-aggregates/{} 2.1 -
PUT /os-aggregates/{} 2.1 -
DELETE /os-aggregates/{} 2.1 -
POST /os-aggregates/{}/images 2.81 -
POST /os-aggregates/{}/action#add_host 2.1 -
POST /os-aggregates/{}/action#remove_host 2.1 -
POST /os-aggregates/{}/action#set_metadata 2.1 -
GET /os-availability-zone 2.1 -
GET /os-availability-zone/detail 2.1 -
GET /os-console-auth-tokens/{} 2.1 -
GET /os-hypervisors 2.1 -
GET /os-hypervisors/detail 2.1 -
GET /os-hypervisors/statistics 2.1 2.87
GET /os-hypervisors/{} 2.1 -
GET /os-hypervisors/{}/search 2.1 2.52
GET /os-hypervisors/{}/servers 2.1 2.52
GET /os-hypervisors/{}/uptime 2.1 2.87
GET /os-instance_usage_audit_log 2.1 -
GET /os-instance_usage_audit_log/{} 2.1 -
GET /os-keypairs 2.1 -
POST /os-keypairs 2.1 -
GET /os-keypairs/{} 2.1 -
DELETE /os-keypairs/{} 2.1 -
GET /os-migrations 2.1 -
GET /os-quota-class-sets/{} 2.1 -
PUT /os-quota-class-sets/{} 2.1 -
GET /os-quota-sets/{} 2.1 -
PUT /os-quota-sets/{} 2.1 -
DELETE /os-quota-sets/{} 2.1 -
GET /os-quota-sets/{}/detail 2.1 -
GET /os-quota-sets/{}/defaults 2.1 -
POST /os-server-external-events 2.1 -
GET /os-server-groups 2.1 -
POST /os-server-groups 2.1 -
GET /os-server-groups/{} 2.1 -
DELETE /os-server-groups/{} 2.1 -
GET /os-services 2.1 -
PUT /os-services/{} 2.1 -
DELETE /os-services/{} 2.1 -
GET /os-simple-tenant-usage 2.1 -
GET /os-simple-tenant-usage/{} 2.1 -
GET /servers 2.1 -
POST /servers 2.1 -
GET /servers/detail 2.1 -
GET /servers/{} 2.1 -
PUT /servers/{} 2.1 -
DELETE /servers/{} 2.1 -
GET /servers/{}/ips 2.1 -
GET /servers/{}/ips/{} 2.1 -
GET /servers/{}/metadata 2.1 -
POST /servers/{}/metadata 2.1 -
PUT /servers/{}/metadata 2.1 -
GET /servers/{}/metadata/{} 2.1 -
PUT /servers/{}/metadata/{} 2.1 -
DELETE /servers/{}/metadata/{} 2.1 -
GET /servers/{}/migrations 2.23 -
GET /servers/{}/migrations/{} 2.23 -
DELETE /servers/{}/migrations/{} 2.24 -
POST /servers/{}/migrations/{}/action#force_complete 2.22 -
GET /servers/{}/os-instance-actions 2.1 -
GET /servers/{}/os-instance-actions/{} 2.1 -
GET /servers/{}/os-interface 2.1 -
GET /servers/{}/os-interface/{} 2.1 -
GET /servers/{}/os-volume_attachments 2.1 -
GET /servers/{}/os-volume_attachments/{} 2.1 -
GET /servers/{}/os-security-groups 2.1 -
POST /servers/{}/remote-consoles 2.6 -
GET /servers/{}/shares 2.97 -
POST /servers/{}/shares 2.97 -
GET /servers/{}/shares/{} 2.97 -
DELETE /servers/{}/shares/{} 2.97 -
GET /servers/{}/tags 2.26 -
PUT /servers/{}/tags 2.26 -
DELETE /servers/{}/tags 2.26 -
GET /servers/{}/tags/{} 2.26 -
PUT /servers/{}/tags/{} 2.26 -
DELETE /servers/{}/tags/{} 2.26 -
GET /servers/{}/topology 2.78 -
""".strip().splitlines()
LAST = (2, 10**6)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[object, object]]]:
    """``METHOD path#action`` -> the (since, until) of its rows."""
    service = described("compute", tmp_path_factory.mktemp("compute"))
    found: dict[str, list[tuple[object, object]]] = {}
    for row in service.routes:
        path = re.sub(r"\{[^}]+\}", "{}", row.path) + (f"#{row.action}" if row.action else "")
        found.setdefault(f"{row.method} {path}", []).append(
            (row.since or (2, 1), row.until or LAST)
        )
    return found


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_is_there_at_its_versions(
    table: dict[str, list[tuple[object, object]]], route: str
) -> None:
    method, path, since, until = route.split()
    known = table.get(f"{method} {path}") or table[f"{method} /v2.1{path}"]
    first, last = _number(since), LAST if until == "-" else _number(until)
    assert min(row[0] for row in known) == first  # type: ignore[type-var]
    assert max(row[1] for row in known) == last  # type: ignore[type-var]


def _number(words: str) -> tuple[int, int]:
    major, minor = words.split(".")
    return int(major), int(minor)
