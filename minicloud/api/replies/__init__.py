"""What the Compute API answers in its newest microversion: the types of its replies, by route.

They describe: replies are made of plain dicts, and tests hold every answer that they get against
its type. Only who writes the OpenAPI document imports this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from minicloud.api.replies.catalogue import CATALOGUE
from minicloud.api.replies.hosts import HOSTS
from minicloud.api.replies.parts import PARTS
from minicloud.api.replies.servers import SERVERS

REPLIES: Mapping[str, Any] = {**SERVERS, **PARTS, **CATALOGUE, **HOSTS}
"""``METHOD path#action``, with the path below the version -> the reply's type; None: no body."""
