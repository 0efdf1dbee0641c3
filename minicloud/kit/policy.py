"""Who may do what: oslo.policy's language and override files, asked through two methods.

The only importer of oslo.policy. A service's rules stand in its ``policies.py``; an operator
overrides them in policy.yaml as with any OpenStack service. ``token is valid but not allowed``
becomes Forbidden (403) here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from oslo_config import cfg
from oslo_policy import opts as policy_opts
from oslo_policy import policy as oslo_policy

from minicloud.domain.errors import Forbidden
from minicloud.kit.context import Context

PUBLIC = "@public"
"""The policy of a route that needs no token."""

BASE_RULES: Mapping[str, str] = {
    "admin": "role:admin",
    "service": "role:service or service_roles:service",
    "admin_or_service": "rule:admin or rule:service",
    "member": "rule:admin or (role:member and project_id:%(project_id)s)",
    "reader": "rule:admin or role:service or (role:reader and project_id:%(project_id)s) "
    "or (role:member and project_id:%(project_id)s)",
    "any": "@",
}
"""Rules that every service's own rules may refer to as ``rule:member`` and so on."""

_KEPT = 4096
_LOOK_S = 1.0
"""Between two looks for a change of the operator's: each is dozens of files asked for."""


class Policy:
    """The rules of one service."""

    def __init__(self, rules: Mapping[str, str], *, policy_file: str | None = None) -> None:
        conf = cfg.ConfigOpts()
        policy_opts._register(conf)
        conf([], project="minicloud", default_config_files=[], default_config_dirs=[])
        # A file that does not exist stands for no overrides.
        self._enforcer = oslo_policy.Enforcer(conf, policy_file=policy_file or "none.yaml")
        self._enforcer.suppress_default_change_warnings = True
        self._enforcer.suppress_deprecation_warnings = True
        for name, check in {**BASE_RULES, **rules}.items():
            self._enforcer.register_default(oslo_policy.RuleDefault(name, check))
        self._answers: dict[Any, bool] = {}
        self._answered_by: Any = None
        self._decided_here = True
        self._look_at = 0.0
        self._answers_now()

    def allows(self, ctx: Context, action: str, target: Mapping[str, Any] | None = None) -> bool:
        """Whether ``ctx`` may do ``action`` to ``target`` (default: something of its own)."""
        own = {"project_id": ctx.project_id, "user_id": ctx.user_id}
        asked = dict(own if target is None else target)
        who = (ctx.project_id, ctx.user_id, ctx.domain_id, ctx.user_domain_id,
               ctx.project_domain_id, ctx.system_scope, ctx.scope)  # fmt: skip
        roles = (tuple(ctx.roles), tuple(ctx.service_roles))
        # The language compares texts.
        question = (action, who, roles, *((name, str(asked[name])) for name in sorted(asked)))
        answers = self._answers_now()
        answer = answers.get(question)
        if answer is None:
            answer = answers[question] = self._ask(ctx, action, asked)
        return answer

    def _ask(self, ctx: Context, action: str, target: dict[str, Any]) -> bool:
        credentials = {
            "roles": list(ctx.roles),
            "service_roles": list(ctx.service_roles),
            "project_id": ctx.project_id,
            "user_id": ctx.user_id,
            "domain_id": ctx.domain_id,
            "user_domain_id": ctx.user_domain_id,
            "project_domain_id": ctx.project_domain_id,
            "system_scope": ctx.system_scope,
            "scope": ctx.scope,
        }
        return bool(self._enforcer.enforce(action, target, credentials))

    def _answers_now(self) -> dict[Any, bool]:
        """Answers by the rules as they are: the same few questions are asked all the time, and
        oslo.policy takes a while over each. An operator may have changed the file, or let another
        server decide.
        """
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_S
            self._enforcer.load_rules()
        rules = self._enforcer.rules
        if rules is not self._answered_by:
            self._answers, self._answered_by = {}, rules
            self._decided_here = not any("http" in str(check) for check in rules.values())
        if not self._decided_here or len(self._answers) >= _KEPT:
            self._answers = {}
        return self._answers

    def check(self, ctx: Context, action: str, target: Mapping[str, Any] | None = None) -> None:
        """Raise Forbidden unless allowed."""
        if not self.allows(ctx, action, target):
            raise Forbidden(action=action)

    def knows(self, action: str) -> bool:
        return action in self._enforcer.registered_rules
