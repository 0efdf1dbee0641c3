"""Stage: this host has reported itself, so that servers can be placed on it."""

from __future__ import annotations

from minicloud.deploy import processes
from minicloud.deploy.places import Places
from minicloud.deploy.seed import Account
from minicloud.deploy.settings import Settings
from minicloud.deploy.stage import StageFailed
from minicloud.domain.errors import MinicloudError

_LIMIT_S = 60.0
_PAUSE_S = 0.2


def ensure_reported(places: Places, settings: Settings) -> str:
    """Wait until a host counts as up; answers with the names of those that do."""
    up: list[str] = []

    def reported() -> bool:
        services = admin.compute.get("/os-services", binary="nova-compute").json["services"]
        up[:] = [service["host"] for service in services if service["state"] == "up"]
        return bool(up)

    try:
        admin = Account(settings, "admin", settings.admin_password)
        if processes.wait_until(reported, limit_s=_LIMIT_S, pause_s=_PAUSE_S):
            return f"{', '.join(up)} up"
        why = "minicloud-compute runs, but its reports do not reach the conductor"
    except MinicloudError as problem:
        why = problem.message
    raise StageFailed("No host can run servers.", why, "read the log", places.log("compute"))
