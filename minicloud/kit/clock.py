"""Time: stored and passed as float seconds since the epoch, UTC; shown as clients expect."""

from __future__ import annotations

import time
from datetime import datetime, timezone


def now() -> float:
    """Seconds since the epoch, UTC."""
    return time.time()


def iso(at: float | None) -> str | None:
    """``2026-11-23T08:00:00Z``: Nova, Glance and Neutron."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def iso_micro(at: float | None, suffix: str = "") -> str | None:
    """``2026-11-23T08:00:00.000000``: Nova's launched_at, Cinder; Keystone adds a Z."""
    if at is None:
        return None
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%f") + suffix


def sql_text(at: float) -> str:
    """``2026-11-23 08:00:00``: as databases write it."""
    return datetime.fromtimestamp(at, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def parse(text: str) -> float:
    """The instant that ISO 8601 ``text`` names; UTC where it names no zone. ValueError."""
    moment = datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace(" ", "T"))
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return moment.timestamp()
