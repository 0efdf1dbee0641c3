"""The administrator's password that replies carry, as clients expect one.

It is made up or given back and kept nowhere: guests get keys, not passwords. Who needs one in the
guest sets it with changePassword, where the guest's agent answers.
"""

from __future__ import annotations

import secrets
import string

_LENGTH = 12
_LETTERS = string.ascii_letters + string.digits


def admin_password(given: str | None) -> str:
    return given or "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
