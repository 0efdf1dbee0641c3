"""Every identity command of the real ``openstack``, with its effect looked at."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients.command_line import CommandLine
from identity import PASSWORDS, IdentityCloud, identity_cloud
from keystoneauth1.extras.oauth1.v3 import OAuth1 as OAuth
from keystoneauth1.session import Session

pytestmark = pytest.mark.clients


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityCloud]:
    with identity_cloud(tmp_path_factory.mktemp("identity")) as running:
        yield running


@pytest.fixture(scope="module")
def openstack(cloud: IdentityCloud) -> CommandLine:
    """The administrator's."""
    return CommandLine(
        "--os-auth-url", cloud.url, "--os-region-name", "RegionOne", "--os-username", "admin",
        "--os-password", PASSWORDS["admin"], "--os-project-name", "admin",
        "--os-user-domain-name", "Default", "--os-project-domain-name", "Default",
    )  # fmt: skip


def test_domains_projects_users_and_groups(openstack: CommandLine) -> None:
    cli = openstack
    cli("domain create --description d lab")
    cli("domain set --name labs --description other lab")
    assert cli.json("domain show labs")["description"] == "other"
    assert {"Default", "labs"} <= {d["Name"] for d in cli.json("domain list")}

    cli("project create --domain labs --tag a --property p=q top")
    cli("project create --domain labs --parent top below")
    cli("project set --name under --tag b --description d --domain labs below")
    top = cli.json("project show --domain labs --children top")
    below = cli.json("project show --domain labs --parents under")
    assert (top["p"], top["tags"]) == ("q", ["a"])
    assert below["parent_id"] == top["id"]
    assert below["id"] in top["subtree"]
    assert top["id"] in below["parents"]
    assert {p["Name"] for p in cli.json("project list --domain labs")} == {"top", "under"}
    assert [p["Name"] for p in cli.json("project list --tags b")] == ["under"]
    assert [p["Name"] for p in cli.json("project list --domain labs --parent top")] == ["under"]

    cli("user create --domain labs --project top --project-domain labs --password pw "
        "--email e@x --description d --ignore-lockout-failure-attempts ada")  # fmt: skip
    cli("user set --domain labs --name lovelace --disable ada")
    user = cli.json("user show --domain labs lovelace")
    assert (user["enabled"], user["email"]) == (False, "e@x")
    assert user["options"] == {"ignore_lockout_failure_attempts": True}
    cli("user set --domain labs --enable lovelace")
    assert [u["Name"] for u in cli.json("user list --domain labs")] == ["lovelace"]

    cli("group create --domain labs --description d team")
    cli("group set --domain labs --name crew team")
    assert cli.json("group show --domain labs crew")["description"] == "d"
    cli("group add user --group-domain labs --user-domain labs crew lovelace")
    assert "in group" in cli("group contains user --group-domain labs --user-domain labs "
                             "crew lovelace")  # fmt: skip
    assert [g["Name"] for g in cli.json("group list --domain labs --user lovelace "
                                        "--user-domain labs")] == ["crew"]  # fmt: skip
    crew = cli.json("group show --domain labs crew")["id"]
    assert [u["Name"] for u in cli.json(f"user list --group {crew}")] == ["lovelace"]

    cli("role add --user lovelace --user-domain labs --project top --project-domain labs member")
    cli("role add --group crew --group-domain labs --domain labs --inherited reader")
    cli("role add --user lovelace --user-domain labs --system all reader")
    names = "--names --user lovelace --user-domain labs"
    given = cli.json(f"role assignment list {names}")
    assert sorted((a["Role"], a["Project"], a["System"]) for a in given) == [
        ("member", "top@labs", ""), ("reader", "", "all")
    ]  # fmt: skip
    effective = cli.json(f"role assignment list {names} --effective")
    assert {a["Project"] for a in effective if a["Inherited"]} == {"top@labs", "under@labs"}
    cli("role remove --user lovelace --user-domain labs --project top --project-domain labs member")
    cli("role remove --group crew --group-domain labs --domain labs --inherited reader")
    cli("role remove --user lovelace --user-domain labs --system all reader")
    assert cli.json(f"role assignment list {names} --effective") == []

    cli("group remove user --group-domain labs --user-domain labs crew lovelace")
    assert cli("group contains user --group-domain labs --user-domain labs crew lovelace") == ""
    cli("group delete --domain labs crew")
    cli("user delete --domain labs lovelace")
    cli("project delete --domain labs under top")
    assert cli.json("project list --domain labs") == []
    assert "disable it first" in cli.refused("domain delete labs")
    cli("domain set --disable labs")
    cli("domain delete labs")
    assert "No Domain found" in cli.refused("domain show labs")


def test_roles(openstack: CommandLine) -> None:
    cli = openstack
    cli("role create --description d helper")
    cli("role set --name assistant helper")
    assert cli.json("role show assistant")["description"] == "d"
    assert "assistant" in {role["Name"] for role in cli.json("role list")}
    cli("implied role create --implied-role assistant member")
    rules = cli.json("implied role list")
    assert ("member", "assistant") in {
        (r["Prior Role Name"], r["Implied Role Name"]) for r in rules
    }  # fmt: skip
    cli("implied role delete --implied-role assistant member")
    assert len(cli.json("implied role list")) == len(rules) - 1
    cli("role create --domain Default own")
    assert [role["Name"] for role in cli.json("role list --domain Default")] == ["own"]
    cli("role delete --domain Default own")
    cli("role create --immutable fixed")
    assert "immutable" in cli.refused("role delete fixed")
    cli("role set --no-immutable fixed")
    cli("role delete fixed assistant")


def test_where_the_services_are(openstack: CommandLine) -> None:
    cli = openstack
    cli("region create --description d Two")
    cli("region set --description e Two")
    assert cli.json("region show Two")["description"] == "e"
    assert {"RegionOne", "Two"} == {r["Region"] for r in cli.json("region list")}
    cli("service create --name names --description d dns")
    cli("service set --disable --name zones names")
    assert cli.json("service show zones")["enabled"] is False
    assert "zones" in {s["Name"] for s in cli.json("service list")}
    cli("service set --enable zones")
    made = cli.json("endpoint create --region Two zones public http://127.0.0.1:9")["id"]
    cli(f"endpoint set --url http://127.0.0.1:8 {made}")
    assert cli.json(f"endpoint show {made}")["url"] == "http://127.0.0.1:8"
    assert [e["ID"] for e in cli.json("endpoint list --service dns")] == [made]
    assert "127.0.0.1:8" in str(cli.json("catalog show dns"))
    assert "dns" in {entry["Type"] for entry in cli.json("catalog list")}

    cli(f"endpoint add project {made} demo")
    assert [e["ID"] for e in cli.json("endpoint list --project demo")] == [made]
    cli(f"endpoint remove project {made} demo")
    assert cli.json("endpoint list --project demo") == []
    filters = Path(os.environ.get("TMPDIR", "/tmp")) / f"filters-{os.getpid()}.json"
    filters.write_text('{"interface": "public"}')
    cli(f"endpoint group create --description d some {filters}")
    cli("endpoint group set --name few some")
    assert cli.json("endpoint group show few")["filters"] == {"interface": "public"}
    cli("endpoint group add project few demo")
    assert [g["Name"] for g in cli.json("endpoint group list --project demo")] == ["few"]
    cli("endpoint group remove project few demo")
    cli("endpoint group delete few")
    assert cli.json("endpoint group list") == []
    filters.unlink()

    cli("registered limit create --service zones --default-limit 10 --region Two zone")
    (registered,) = cli.json("registered limit list")
    cli(f"registered limit set --default-limit 20 {registered['ID']}")
    assert cli.json(f"registered limit show {registered['ID']}")["default_limit"] == 20
    cli("limit create --service zones --project demo --resource-limit 5 --region Two zone")
    (limit,) = cli.json("limit list")
    cli(f"limit set --resource-limit 7 {limit['ID']}")
    assert cli.json(f"limit show {limit['ID']}")["resource_limit"] == 7
    cli.refused(f"registered limit delete {registered['ID']}")
    cli(f"limit delete {limit['ID']}")
    cli(f"registered limit delete {registered['ID']}")
    assert cli.json("registered limit list") == []

    cli(f"endpoint delete {made}")
    cli("service delete zones")
    cli("region delete Two")
    assert [r["Region"] for r in cli.json("region list")] == ["RegionOne"]


def test_what_users_delegate_and_keep(
    openstack: CommandLine, cloud: IdentityCloud, tmp_path: Path
) -> None:
    cli = openstack
    rules = json.dumps([{"service": "compute", "method": "GET", "path": "/v2.1/servers"}])
    made = json.loads(
        cli("application credential create --role reader --description d -f json robot "
            "--access-rules", rules)
    )  # fmt: skip
    assert len(made["Secret"]) > 40
    assert cli.json("application credential show robot")["Description"] == "d"
    assert [c["Name"] for c in cli.json("application credential list")] == ["robot"]
    (rule,) = cli.json("access rule list")
    assert cli.json(f"access rule show {rule['ID']}")["Path"] == "/v2.1/servers"
    cli.refused(f"access rule delete {rule['ID']}")
    cli("application credential delete robot")
    cli(f"access rule delete {rule['ID']}")
    assert cli.json("access rule list") == []

    trust = cli.json("trust create --project admin --role reader admin demo")["id"]
    assert [role["name"] for role in cli.json(f"trust show {trust}")["roles"]] == ["reader"]
    assert [t["ID"] for t in cli.json("trust list")] == [trust]
    cli(f"trust delete {trust}")
    assert cli.json("trust list") == []

    cli("credential create --type cert --project admin admin blob")
    (stored,) = cli.json("credential list")
    cli(f"credential set --user admin --type cert --data other --project admin {stored['ID']}")
    assert cli.json(f"credential show {stored['ID']}")["blob"] == "other"
    cli(f"credential delete {stored['ID']}")
    key = cli.json("ec2 credentials create")
    assert [k["Access"] for k in cli.json("ec2 credentials list")] == [key["access"]]
    assert cli.json(f"ec2 credentials show {key['access']}")["secret"] == key["secret"]
    cli(f"ec2 credentials delete {key['access']}")
    assert cli.json("credential list") == []

    rules_file = tmp_path / "policy.json"
    rules_file.write_text("{}")
    policy = cli.json(f"policy create --type application/json {rules_file}")["id"]
    rules_file.write_text('{"a": "b"}')
    cli(f"policy set --rules {rules_file} {policy}")
    assert json.loads(cli.json(f"policy show {policy}")["rules"]) == {"a": "b"}
    assert [p["ID"] for p in cli.json("policy list")] == [policy]
    cli(f"policy delete {policy}")


def test_federation(openstack: CommandLine, tmp_path: Path) -> None:
    cli = openstack
    cli("identity provider create --remote-id a --remote-id b --authorization-ttl 5 --disable acme")
    cli("identity provider set --remote-id c --description d --enable acme")
    shown = cli.json("identity provider show acme")
    assert (shown["enabled"], shown["remote_ids"], shown["authorization_ttl"]) == (True, ["c"], 5)
    cli("identity provider create --domain default other --disable")
    enabled = cli.json("identity provider list --enabled")
    assert [p["ID"] for p in enabled] == ["acme"]

    rules = tmp_path / "rules.json"
    rule = {"local": [{"user": {"name": "{0}"}}], "remote": [{"type": "SUB"}]}
    rules.write_text(json.dumps([rule]))
    cli(f"mapping create --rules {rules} m")
    rules.write_text(json.dumps([rule, rule]))
    cli(f"mapping set --rules {rules} m")
    assert cli.json("mapping show m")["rules"] == [rule, rule]
    assert [(m["ID"], m["schema_version"]) for m in cli.json("mapping list")] == [("m", "1.0")]
    rules.write_text("[]")
    assert "400" in cli.refused(f"mapping create --rules {rules} none")

    cli("federation protocol create --identity-provider acme --mapping m openid")
    rules.write_text(json.dumps([rule]))
    cli(f"mapping create --rules {rules} n")
    # This command of the client's ends with a table for its status.
    provider = "--identity-provider acme"
    assert cli.refused(f"federation protocol set {provider} --mapping n openid") == ""
    one = cli.json("federation protocol show --identity-provider acme openid")
    assert one["mapping"] == "n"
    listed = cli.json("federation protocol list --identity-provider acme")
    assert [p["id"] for p in listed] == ["openid"]
    cli("federation protocol delete --identity-provider acme openid")

    cli("service provider create --auth-url http://x/v3 --service-provider-url http://x/s there")
    cli("service provider set --description d --disable there")
    assert cli.json("service provider show there")["enabled"] is False
    assert [p["ID"] for p in cli.json("service provider list")] == ["there"]
    cli("service provider delete there")
    cli("mapping delete m n")
    cli("identity provider delete acme other")
    assert cli.json("identity provider list") == []


def test_oauth(openstack: CommandLine, cloud: IdentityCloud) -> None:
    cli = openstack
    consumer = cli.json("consumer create --description d")
    cli(f"consumer set --description e {consumer['id']}")
    assert cli.json(f"consumer show {consumer['id']}") == {
        "id": consumer["id"], "description": "e"
    }  # fmt: skip
    assert [c["Description"] for c in cli.json("consumer list")] == ["e"]
    keys = f"--consumer-key {consumer['id']} --consumer-secret {consumer['secret']}"
    asked = cli.json(f"request token create {keys} --project admin")
    told = cli.json(f"request token authorize --request-key {asked['id']} --role reader")
    access = cli.json(
        f"access token create {keys} --request-key {asked['id']} "
        f"--request-secret {asked['secret']} --verifier {told['oauth_verifier']}"
    )
    assert "401" in cli.refused(
        f"request token create --consumer-key {consumer['id']} "
        "--consumer-secret wrong --project admin"
    )
    login = OAuth(
        cloud.url,
        consumer_key=consumer["id"],
        consumer_secret=consumer["secret"],
        access_key=access["id"],
        access_secret=access["secret"],
    )
    shown = login.get_access(Session())
    assert shown.role_names == ["reader"]
    assert shown.oauth_consumer_id == consumer["id"]
    cli(f"consumer delete {consumer['id']}")
    assert cloud.validate(shown.auth_token, cloud.token("admin")).status_code == 404


def test_tokens(openstack: CommandLine, cloud: IdentityCloud) -> None:
    cli = openstack
    token = cli.json("token issue")["id"]
    assert cloud.validate(token, token).status_code == 200
    cli(f"token revoke {token}")
    assert cloud.call("GET", "/auth/projects", token).status_code == 401
    projects = {p["Name"] for p in cli.json("federation project list")}
    assert projects == {"admin", "demo", "alt_demo"}
    assert cli.json("federation domain list") == []
    as_demo = "--os-username demo --os-project-name demo --os-password"
    cli(f"{as_demo} {PASSWORDS['demo']} user password set --original-password "
        f"{PASSWORDS['demo']} --password new")  # fmt: skip
    assert cli.json(f"{as_demo} new token issue")["id"]
    assert "requires authentication" in cli.refused(f"{as_demo} old token issue")
