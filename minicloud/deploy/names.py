"""The daemons by name, in the order in which they are started."""

from __future__ import annotations

DAEMONS = (
    "identity",
    "image",
    "network",
    "volume",
    "api",
    "scheduler",
    "conductor",
    "compute",
    "consoleproxy",
)
COMPUTE_ONLY = ("compute",)
"""What runs on a host that joined another machine's cloud."""
