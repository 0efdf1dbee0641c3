"""Who may do what in identity, under Keystone's rule names.

Identity serves one cloud: an administrator is one wherever the role was given, as with Keystone's
own default. ``user_id`` and ``project_id`` in a rule are those of the object asked for.
"""

from __future__ import annotations

from collections.abc import Mapping

_READ = "rule:admin or (role:reader and system_scope:all)"
_ADMIN = "rule:admin"
_OWN_USER = f"{_READ} or user_id:%(user_id)s"

_NOUNS = ("domain", "project", "user", "group", "role", "region", "service", "endpoint")
_READABLE = {
    "get_domain": f"{_READ} or domain_id:%(domain_id)s or user_domain_id:%(domain_id)s",
    "get_project": f"{_READ} or project_id:%(project_id)s",
    "get_user": _OWN_USER,
    "get_region": "@",
    "list_regions": "@",
}


def _crud() -> dict[str, str]:
    rules = {}
    for noun in _NOUNS:
        rules[f"identity:list_{noun}s"] = _READ
        rules[f"identity:get_{noun}"] = _READ
        for verb in ("create", "update", "delete"):
            rules[f"identity:{verb}_{noun}"] = _ADMIN
    return rules


RULES: Mapping[str, str] = {
    **_crud(),
    **{f"identity:{name}": rule for name, rule in _READABLE.items()},
    "identity:validate_token": f"{_READ} or rule:service or user_id:%(user_id)s",
    "identity:check_token": f"{_READ} or rule:service or user_id:%(user_id)s",
    "identity:revoke_token": f"{_ADMIN} or user_id:%(user_id)s",
    "identity:validate_expired_token": "rule:service",
    "identity:get_auth_catalog": "@",
    "identity:get_auth_projects": "@",
    "identity:get_auth_domains": "@",
    "identity:get_auth_system": "@",
    "identity:list_user_projects": _OWN_USER,
    "identity:list_groups_for_user": _OWN_USER,
    "identity:list_users_in_group": _READ,
    "identity:check_user_in_group": _READ,
    "identity:add_user_to_group": _ADMIN,
    "identity:remove_user_from_group": _ADMIN,
    "identity:list_grants": _READ,
    "identity:check_grant": _READ,
    "identity:create_grant": _ADMIN,
    "identity:revoke_grant": _ADMIN,
    "identity:list_role_assignments": _READ,
    "identity:list_role_inference_rules": _READ,
    "identity:list_implied_roles": _READ,
    "identity:check_implied_role": _READ,
    "identity:create_implied_role": _ADMIN,
    "identity:delete_implied_role": _ADMIN,
}
