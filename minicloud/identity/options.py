"""The options of users, projects, domains and roles that identity knows.

``ignore_*`` concern rules that an operator may or may not have configured; ``lock_password``,
``multi_factor_*`` and ``immutable`` are kept here and obeyed where they apply.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from minicloud.domain.errors import Invalid, NotAllowed
from minicloud.identity.tokens import METHODS

Check = Callable[[Any], bool]


def _flag(value: Any) -> bool:
    return isinstance(value, bool)


def _rules(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(rule, list)
        and rule
        and len(set(map(str, rule))) == len(rule)
        and all(each in METHODS for each in rule)
        for rule in value
    )


OF_USERS: Mapping[str, Check] = {
    "ignore_change_password_upon_first_use": _flag,
    "ignore_password_expiry": _flag,
    "ignore_lockout_failure_attempts": _flag,
    "ignore_user_inactivity": _flag,
    "lock_password": _flag,
    "multi_factor_auth_enabled": _flag,
    "multi_factor_auth_rules": _rules,
}
OF_PLACES: Mapping[str, Check] = {"immutable": _flag}


def changed(
    known: Mapping[str, Check], now: Mapping[str, Any], asked: Mapping[str, Any]
) -> dict[str, Any]:
    """``now`` with what was ``asked``; null takes an option away. Invalid."""
    for key, value in asked.items():
        if key not in known:
            raise Invalid(reason=f"There is no option {key[:64]}: use {', '.join(known)}.")
        if value is not None and not known[key](value):
            raise Invalid(reason=f"The value of option {key} does not fit.")
    both = {**now, **asked}
    return {key: value for key, value in both.items() if value is not None}


def check_changeable(
    kind: str, id_: str, options: Mapping[str, Any], asked: Mapping[str, Any] | None
) -> None:
    """NotAllowed for an immutable object. ``asked``: the change, or None to delete it.

    The one change that is let through makes it changeable again.
    """
    if not options.get("immutable"):
        return
    if asked is not None and set(asked) <= {"options", "extra"} and not asked.get("extra"):
        wanted = asked.get("options", {})
        if "immutable" in wanted and not wanted["immutable"]:
            return
    raise NotAllowed(
        reason=f"{kind} {id_} is immutable: set its option immutable to false first, alone."
    )
