"""The identity service answers whatever comes."""

from __future__ import annotations

from pathlib import Path

from fuzz import fuzz
from identity import IdentityCloud, identity_cloud

NOUNS = ("user", "project", "domain", "group", "role", "service", "endpoint", "region")
LIST = ("limit", "marker", "name", "name__contains", "name__istartswith", "domain_id", "enabled",
        "parent_id", "service_id", "interface", "user.id", "scope.project.id", "tags", "not-tags",
        "is_domain", "effective", "include_names", "include_subtree", "parents_as_ids",
        "trustor_user_id", "type", "resource_name")  # fmt: skip


def test_no_request_breaks_the_identity_service(tmp_path: Path) -> None:
    with identity_cloud(tmp_path) as cloud:
        token = cloud.token("admin")
        found = {
            noun: [item["id"] for item in cloud.call("GET", f"/{noun}s", token).json()[f"{noun}s"]]
            for noun in NOUNS
        }
        # Only the admin's own user, project and role would end the test when they are changed.
        spare = {noun: cloud.make(token, noun, name=f"spare-{noun}")["id"]
                 for noun in ("user", "project", "group", "role")}  # fmt: skip
        known = {f"{noun}_id": ids for noun, ids in found.items()}
        known |= {f"{noun}_id": [id_] for noun, id_ in spare.items()}
        known |= {f"{name}_id": known["role_id"] for name in ("prior", "implied")}
        known |= {"trustee_user_id": known["user_id"], "tenant_id": known["project_id"]}
        known |= {"group": ["ldap", "identity"], "option": ["url", "driver"], "tag": ["a", "b"]}
        known |= stored(cloud, token, spare["user"], found["service"][0])
        answered = fuzz(
            cloud.url.removesuffix("/v3"),
            headers={"X-Auth-Token": token},
            known=known,
            queries=LIST,
            seconds=60,
        )
    assert answered > 200


def stored(cloud: IdentityCloud, token: str, user: str, service: str) -> dict[str, list[str]]:
    """Ids of what is kept for clients: parameter of a path -> one of them."""
    place = {"service_id": service, "resource_name": "x"}
    project = cloud.named(token, "project", "demo")
    found = {}
    for path, plural, name, one in (
        ("/policies", "policy", "policy_id", {"type": "x", "blob": "x"}),
        ("/credentials", "credential", "credential_id",
         {"type": "x", "blob": "x", "user_id": user}),
        ("/OS-OAUTH1/consumers", "consumer", "consumer_id", {"description": "x"}),
        ("/OS-EP-FILTER/endpoint_groups", "endpoint_group", "endpoint_group_id",
         {"name": "x", "filters": {"interface": "public"}}),
        ("/registered_limits", "registered_limits", "registered_limit_id",
         [{**place, "default_limit": 1}]),
        ("/limits", "limits", "limit_id",
         [{**place, "resource_limit": 1, "project_id": project}]),
    ):  # fmt: skip
        answer = cloud.call("POST", path, token, json={plural: one})
        assert answer.status_code == 201, answer.text
        made = answer.json()[plural]
        found[name] = [made[0]["id"] if isinstance(made, list) else made["id"]]
    for name, path, noun, values in (
        ("idp_id", "identity_providers/i", "identity_provider", {}),
        ("mapping_id", "mappings/m", "mapping",
         {"rules": [{"local": [], "remote": [{"type": "x"}]}]}),
        ("protocol_id", "identity_providers/i/protocols/p", "protocol", {"mapping_id": "m"}),
        ("service_provider_id", "service_providers/s", "service_provider",
         {"auth_url": "http://x", "sp_url": "http://x"}),
    ):  # fmt: skip
        answer = cloud.call("PUT", f"/OS-FEDERATION/{path}", token, json={noun: values})
        assert answer.status_code == 201, answer.text
        found[name] = [answer.json()[noun]["id"]]
    return found
