"""Who may do what in identity, under Keystone's rule names.

Identity serves one cloud: an administrator is one wherever the role was given, as with Keystone's
own default. On a domain, a manager looks after the users, groups, projects and grants of that
domain, and a reader reads them; on the system, a reader reads everything. ``target.NOUN.x`` in a
rule is a property of what is asked for, ``user_id`` and the like are from the path.
"""

from __future__ import annotations

from collections.abc import Mapping

_HOME = "(rule:admin and not scope:domain)"
"""An administrator whose token is for a project or the system."""
_ALL = "(role:reader and system_scope:all)"
_READ = f"{_HOME} or {_ALL}"
_READ_ANYWHERE = f"rule:admin or {_ALL}"
_SELF = "user_id:%(user_id)s"
_CREDENTIAL = "user_id:%(target.credential.user_id)s"


def _in_domain(role: str, *targets: str) -> str:
    """``role`` on the domain that all ``targets`` are of."""
    same = " and ".join(f"domain_id:%(target.{each})s" for each in targets)
    return f"(role:{role} and {same})"


def _read(*targets: str) -> str:
    return f"{_READ_ANYWHERE} or {_in_domain('reader', *targets)}"


def _manage(*targets: str) -> str:
    return f"rule:admin or {_in_domain('manager', *targets)}"


_PAIRS = (
    ("user.domain_id", "project.domain_id"),
    ("user.domain_id", "domain.id"),
    ("group.domain_id", "project.domain_id"),
    ("group.domain_id", "domain.id"),
)
"""Who and where of a grant: both must be of the caller's domain."""


def _grants(role: str) -> str:
    return "(" + " or ".join(_in_domain(role, *pair) for pair in _PAIRS) + ")"


_ROLE_THERE = "(domain_id:%(target.role.domain_id)s or None:%(target.role.domain_id)s)"
_GRANT = f"rule:admin or ({_grants('manager')} and rule:domain_managed_target_role)"
_OWN_DOMAIN = "domain_id:%(target.domain.id)s or project_domain_id:%(target.domain.id)s"
_TRUSTOR = "user_id:%(target.trust.trustor_user_id)s"
_TRUSTEE = "user_id:%(target.trust.trustee_user_id)s"


def _plain(*nouns: str, plural: str = "") -> dict[str, str]:
    """Nouns of the cloud as a whole: administrators change them, the system's readers read."""
    rules = {}
    for noun in nouns:
        rules[f"identity:list_{plural or noun + 's'}"] = _READ
        rules[f"identity:get_{noun}"] = _READ
        for verb in ("create", "update", "delete"):
            rules[f"identity:{verb}_{noun}"] = _HOME
    return rules


def _of_domains(noun: str) -> dict[str, str]:
    """Nouns that are one domain's."""
    rules = {
        f"identity:list_{noun}s": f"{_READ_ANYWHERE} or (role:reader and scope:domain)",
        f"identity:get_{noun}": _read(f"{noun}.domain_id"),
    }
    for verb in ("create", "update", "delete"):
        rules[f"identity:{verb}_{noun}"] = _manage(f"{noun}.domain_id")
    return rules


RULES: Mapping[str, str] = {
    "domain_managed_target_role": "'manager':%(target.role.name)s or "
    "'member':%(target.role.name)s or 'reader':%(target.role.name)s",
    # -- tokens -----------------------------------------------------------------------------------
    "identity:validate_token": f"{_READ_ANYWHERE} or rule:service or user_id:%(user_id)s",
    "identity:check_token": f"{_READ_ANYWHERE} or rule:service or user_id:%(user_id)s",
    "identity:revoke_token": "rule:admin or user_id:%(user_id)s",
    "identity:revoke_tokens_for_user": f"rule:admin or {_SELF}",
    "identity:validate_expired_token": "rule:service",
    "identity:get_auth_catalog": "@",
    "identity:get_auth_projects": "@",
    "identity:get_auth_domains": "@",
    "identity:get_auth_system": "@",
    "identity:ec2tokens_validate": "rule:admin_or_service",
    "identity:s3tokens_validate": "rule:admin_or_service",
    # -- who there is -----------------------------------------------------------------------------
    **_plain("domain"),
    "identity:list_domains": f"{_READ_ANYWHERE} or (role:reader and scope:domain)",
    "identity:get_domain": f"{_READ_ANYWHERE} or {_OWN_DOMAIN}",
    **_of_domains("project"),
    "identity:get_project": f"{_read('project.domain_id')} or project_id:%(target.project.id)s",
    "identity:list_project_tags": "rule:identity:get_project",
    "identity:get_project_tag": "rule:identity:get_project",
    "identity:update_project_tags": _manage("project.domain_id"),
    "identity:create_project_tag": _manage("project.domain_id"),
    "identity:delete_project_tags": _manage("project.domain_id"),
    "identity:delete_project_tag": _manage("project.domain_id"),
    **_of_domains("user"),
    "identity:get_user": f"{_read('user.domain_id')} or {_SELF}",
    "identity:list_user_projects": f"{_read('user.domain_id')} or {_SELF}",
    "identity:list_groups_for_user": f"{_read('user.domain_id')} or {_SELF}",
    **_of_domains("group"),
    "identity:list_users_in_group": _read("group.domain_id"),
    "identity:check_user_in_group": _read("group.domain_id", "user.domain_id"),
    "identity:add_user_to_group": _manage("group.domain_id", "user.domain_id"),
    "identity:remove_user_from_group": _manage("group.domain_id", "user.domain_id"),
    # -- roles ------------------------------------------------------------------------------------
    **_plain("role"),
    "identity:list_roles": f"{_READ_ANYWHERE} or (role:manager and scope:domain)",
    "identity:get_role": f"{_READ_ANYWHERE} or (role:manager and rule:domain_managed_target_role)",
    **_plain("domain_role"),
    "identity:list_grants": f"{_READ_ANYWHERE} or {_grants('reader')}",
    "identity:check_grant": f"{_READ_ANYWHERE} or ({_grants('reader')} and {_ROLE_THERE})",
    "identity:create_grant": _GRANT,
    "identity:revoke_grant": _GRANT,
    **{
        f"identity:{verb}_system_grant{many}_for_{holder}": rule
        for holder in ("user", "group")
        for verb, many, rule in (
            ("list", "s", _READ),
            ("check", "", _READ),
            ("create", "", _HOME),
            ("revoke", "", _HOME),
        )
    },
    "identity:list_role_assignments": f"{_READ_ANYWHERE} or (role:reader and scope:domain)",
    "identity:list_role_assignments_for_tree": f"{_READ_ANYWHERE} or "
    f"{_in_domain('reader', 'project.domain_id')}",
    "identity:list_role_inference_rules": _READ,
    "identity:list_implied_roles": _READ,
    "identity:get_implied_role": _READ,
    "identity:check_implied_role": _READ,
    "identity:create_implied_role": _HOME,
    "identity:delete_implied_role": _HOME,
    # -- where the services are -------------------------------------------------------------------
    **_plain("region", "service", "endpoint", "endpoint_group"),
    "identity:get_region": "@",
    "identity:list_regions": "@",
    "identity:list_projects_associated_with_endpoint_group": _READ,
    "identity:list_endpoints_associated_with_endpoint_group": _READ,
    "identity:get_endpoint_group_in_project": _READ,
    "identity:list_endpoint_groups_for_project": _READ,
    "identity:add_endpoint_group_to_project": _HOME,
    "identity:remove_endpoint_group_from_project": _HOME,
    "identity:list_projects_for_endpoint": _READ,
    "identity:list_endpoints_for_project": _READ,
    "identity:check_endpoint_in_project": _READ,
    "identity:add_endpoint_to_project": _HOME,
    "identity:remove_endpoint_from_project": _HOME,
    # -- federation -------------------------------------------------------------------------------
    **_plain("identity_provider", "protocol", "mapping", "service_provider"),
    # -- what users delegate and keep -------------------------------------------------------------
    "identity:get_application_credential": f"{_READ} or {_SELF}",
    "identity:list_application_credentials": f"{_READ} or {_SELF}",
    "identity:create_application_credential": f"{_SELF} and scope:project",
    "identity:delete_application_credential": f"{_HOME} or {_SELF}",
    "identity:get_access_rule": f"{_ALL} or {_SELF}",
    "identity:list_access_rules": f"{_ALL} or {_SELF}",
    "identity:delete_access_rule": f"(rule:admin and system_scope:all) or {_SELF}",
    "identity:list_trusts": _READ,
    "identity:list_trusts_for_trustor": f"{_READ} or {_TRUSTOR}",
    "identity:list_trusts_for_trustee": f"{_READ} or {_TRUSTEE}",
    "identity:get_trust": f"{_READ} or {_TRUSTOR} or {_TRUSTEE}",
    "identity:list_roles_for_trust": "rule:identity:get_trust",
    "identity:get_role_for_trust": "rule:identity:get_trust",
    "identity:create_trust": f"{_TRUSTOR} and scope:project",
    "identity:delete_trust": f"{_HOME} or {_TRUSTOR}",
    "identity:list_credentials": "@",
    "identity:get_credential": f"{_READ_ANYWHERE} or {_CREDENTIAL}",
    "identity:create_credential": f"rule:admin or {_CREDENTIAL}",
    "identity:update_credential": f"rule:admin or {_CREDENTIAL}",
    "identity:delete_credential": f"rule:admin or {_CREDENTIAL}",
    "identity:ec2_list_credentials": f"{_READ} or {_SELF}",
    "identity:ec2_get_credential": f"{_READ} or {_CREDENTIAL}",
    "identity:ec2_create_credential": f"{_HOME} or (role:member and {_CREDENTIAL})",
    "identity:ec2_delete_credential": f"{_HOME} or (role:member and {_CREDENTIAL})",
    **_plain("consumer"),
    **{
        f"identity:{action}": "rule:admin and scope:project"
        for action in (
            "authorize_request_token",
            "list_access_tokens",
            "get_access_token",
            "delete_access_token",
            "list_access_token_roles",
            "get_access_token_role",
        )
    },
    # -- kept for clients -------------------------------------------------------------------------
    **_plain("policy", plural="policies"),
    **{
        f"identity:{verb}_policy_association_for_{place}": rule
        for place in ("endpoint", "service", "region_and_service")
        for verb, rule in (("check", _READ), ("create", _HOME), ("delete", _HOME))
    },
    "identity:list_endpoints_for_policy": _READ,
    "identity:get_policy_for_endpoint": _READ,
    "identity:get_domain_config": _READ,
    "identity:get_domain_config_default": _READ,
    "identity:create_domain_config": _HOME,
    "identity:update_domain_config": _HOME,
    "identity:delete_domain_config": _HOME,
    "identity:get_limit_model": "@",
    "identity:list_registered_limits": "@",
    "identity:get_registered_limit": "@",
    "identity:create_registered_limits": _HOME,
    "identity:update_registered_limit": _HOME,
    "identity:delete_registered_limit": _HOME,
    "identity:list_limits": "@",
    "identity:get_limit": f"{_READ} or rule:service or domain_id:%(target.limit.domain_id)s or "
    "domain_id:%(target.limit.project_domain_id)s or project_id:%(target.limit.project_id)s",
    "identity:create_limits": _HOME,
    "identity:update_limit": _HOME,
    "identity:delete_limit": _HOME,
}
