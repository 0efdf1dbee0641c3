"""Protected properties: which roles may make, read, change and remove a property, by its name.

The file is Glance's ``property-protections.conf``: a section for each pattern of names, in order,
with ``create``, ``read``, ``update`` and ``delete`` as comma-separated roles; ``@`` is everyone,
``!`` nobody. The first pattern that matches decides, and where none does nobody may. Without a
file nothing is protected.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from minicloud.domain.errors import NotAllowed
from minicloud.image.records import Image
from minicloud.image.schemas import RESERVED_PREFIX
from minicloud.kit.context import Context

CREATE, READ, UPDATE, DELETE = OPERATIONS = ("create", "read", "update", "delete")
_EVERYONE, _NOBODY = "@", "!"


class Protections:
    """``rules``: (pattern, operation -> roles), the first match decides; none: all is allowed."""

    def __init__(
        self, rules: Sequence[tuple[re.Pattern[str], Mapping[str, Sequence[str]]]] | None = None
    ) -> None:
        self._rules = rules

    def allows(self, ctx: Context, operation: str, name: str) -> bool:
        if self._rules is None or name.startswith(RESERVED_PREFIX):
            return True
        for pattern, roles in self._rules:
            if pattern.match(name):
                wanted = roles[operation]
                if _NOBODY in wanted:
                    return False
                return _EVERYONE in wanted or any(role.lower() in wanted for role in ctx.roles)
        return False

    def check_change(
        self, ctx: Context, before: Mapping[str, str], after: Mapping[str, str]
    ) -> None:
        """NotAllowed unless the caller may make ``before`` into ``after``."""
        for name in sorted({*before, *after}):
            if name not in before:
                self._check(ctx, CREATE, name)
            elif name not in after:
                self._check(ctx, DELETE, name)
            elif before[name] != after[name]:
                self._check(ctx, UPDATE, name)

    def check_filters(self, ctx: Context, names: Iterable[str]) -> None:
        """NotAllowed for a property that the caller may not read: a list would tell."""
        for name in names:
            self._check(ctx, READ, name)

    def readable(self, ctx: Context, image: Image) -> Image:
        """The image without what the caller may not read."""
        if self._rules is None:
            return image
        shown = {
            name: value for name, value in image.properties.items() if self.allows(ctx, READ, name)
        }
        return msgspec.structs.replace(image, properties=shown)

    def _check(self, ctx: Context, operation: str, name: str) -> None:
        if not self.allows(ctx, operation, name):
            raise NotAllowed(reason=f"Property '{name[:255]}' is protected.")


def load(path: str) -> Protections:
    """The protections of a file; of none for an empty ``path``. ValueError says what is wrong."""
    if not path:
        return Protections()
    parser = configparser.RawConfigParser(strict=True)
    try:
        parser.read_string(Path(path).read_text(encoding="utf-8"))
        rules = []
        for section in parser.sections():
            roles = {
                operation: [
                    role.strip().lower() for role in parser.get(section, operation).split(",")
                ]
                for operation in OPERATIONS
            }
            rules.append((re.compile(section), roles))
    except (OSError, configparser.Error, re.error) as problem:
        raise ValueError(f"{path} cannot be used: {problem}") from problem
    return Protections(rules)
