"""Field types that several request bodies share. Control characters are refused everywhere."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import Annotated, Any, Literal

from msgspec import Meta

from minicloud.domain.errors import Invalid
from minicloud.kit.context import Context

# Names and texts: printable, so that PostgreSQL takes them and no terminal is played with.
UNSEEN = (
    r"\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
)
"""Of a class of characters: those that show nothing, or turn what follows around."""
Name = Annotated[str, Meta(min_length=1, max_length=255,
                           pattern=rf"^[^\s{UNSEEN}](?:[^{UNSEEN}]*[^\s{UNSEEN}])?\Z")]  # fmt: skip
"""1 to 255 characters, without blanks at either end."""
ONE_LINE = rf"^[^{UNSEEN}]*\Z"
Line = Annotated[str, Meta(max_length=255, pattern=ONE_LINE)]
Text = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z")]
LongText = Annotated[str, Meta(max_length=65535, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z")]
Key = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9-_:. ]{1,255}\Z")]
"""A metadata key or an extra spec's name."""
HostName = Annotated[
    str,
    Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9]+(?:[.-]*[a-zA-Z0-9]+)*\Z"),
]
DaemonHost = Annotated[str, Meta(min_length=1, max_length=255, pattern=r"^[a-zA-Z0-9-._]*\Z")]
"""A host as its daemons name it."""
Uuid = Annotated[
    str,
    Meta(pattern=r"^[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}\Z"),
]
Number = int | Annotated[str, Meta(pattern=r"^-?[0-9]{1,10}\Z")]
"""A whole number, also written as text."""
Flag = (
    bool
    | Literal["True", "TRUE", "true", "1", "ON", "On", "on", "YES", "Yes", "yes"]
    | Literal["False", "FALSE", "false", "0", "OFF", "Off", "off", "NO", "No", "no"]
)
"""A yes or no, also written as text: see ``truth``."""

_YES = ("1", "t", "true", "on", "y", "yes")
_NO = ("0", "f", "false", "off", "n", "no", "")
_LARGEST = 2**31 - 1


def truth(value: Any, name: str) -> bool:
    """``value`` of the field ``name`` as a bool. Invalid."""
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word not in (*_YES, *_NO):
        raise Invalid(reason=f"Invalid input for field/attribute {name}: use true or false.")
    return word in _YES


def whole(value: int | str, name: str, *, least: int, most: int = _LARGEST) -> int:
    """``value`` of the field ``name`` as an int in its range. Invalid."""
    number = int(value)
    if isinstance(value, bool) or not least <= number <= most:
        raise Invalid(
            reason=f"Invalid input for field/attribute {name}. Value: {number}. "
            f"It must be between {least} and {most}."
        )
    return number


def own_project(ctx: Context) -> str:
    """The caller's project. Invalid when the token is for none."""
    if not ctx.project_id:
        raise Invalid(reason="The token must be scoped to a project.")
    return ctx.project_id


_NOT_IN_NAMES = re.compile(r"[^\w.-]+", re.ASCII)


def host_name(name: str, fallback: str) -> str:
    """A server's host name out of its display name; ``fallback`` where nothing is left of it."""
    word = re.sub(r"[ _]", "-", name.encode("ascii", "ignore").decode())
    word = _NOT_IN_NAMES.sub("", word).lower().strip(".-")[:63].strip(".-")
    return word or fallback


def check_address(text: str, version: int) -> None:
    """Raise Invalid unless ``text`` is an address of the IP version, 4 or 6."""
    if _ip_version(text) != version:
        raise Invalid(reason=f"accessIPv{version} is not proper IPv{version} format")


def check_fixed_ip(text: str) -> None:
    """Raise Invalid unless ``text`` is an address."""
    if _ip_version(text) is None:
        raise Invalid(reason=f"Fixed IP {text} is not a valid ip address.")


def check_user_data(text: str) -> None:
    """Raise Invalid unless ``text`` is base64."""
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid(
            reason="Invalid input for field/attribute user_data. It must be base64."
        ) from None


def _ip_version(text: str) -> int | None:
    """4 or 6; None where ``text`` is no address."""
    try:
        return ipaddress.ip_address(text).version
    except ValueError:
        return None
