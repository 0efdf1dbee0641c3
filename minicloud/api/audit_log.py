"""os-instance_usage_audit_log: which hosts have told of their servers' use in a period.

Nobody here writes such audits: the answer says so, host by host. What servers used is in
os-simple-tenant-usage.
"""

from __future__ import annotations

import time
from typing import Any

from minicloud.db import services
from minicloud.db.hosts import COMPUTE
from minicloud.domain.errors import Invalid
from minicloud.kit import clock
from minicloud.kit.clock import iso_micro
from minicloud.kit.db import Database
from minicloud.kit.web import Call


class AuditLog:
    def __init__(self, database: Database) -> None:
        self._database = database

    def index(self, _call: Call) -> Any:
        return {"instance_usage_audit_logs": self._view(clock.now())}

    def show(self, call: Call) -> Any:
        """The period before a moment."""
        try:
            before = clock.parse(call.params["before"])
        except (ValueError, OverflowError):
            raise Invalid(reason="Invalid timestamp for date: YYYY-MM-DD hh:mm:ss.") from None
        return {"instance_usage_audit_log": self._view(before)}

    def _view(self, before: float) -> dict[str, Any]:
        begin, end = _month_before(before)
        with self._database.read() as tx:
            hosts = [service.host for service in services.service_list(tx, binary=COMPUTE)]
        return {
            "hosts_not_run": hosts,
            "log": {},
            "num_hosts": len(hosts),
            "num_hosts_done": 0,
            "num_hosts_not_run": len(hosts),
            "num_hosts_running": 0,
            "overall_status": f"0 of {len(hosts)} hosts done. 0 errors.",
            "period_beginning": _words(begin),
            "period_ending": _words(end),
            "total_errors": 0,
            "total_instances": 0,
        }


def _month_before(moment: float) -> tuple[float, float]:
    """The last whole month before ``moment``, in UTC."""
    then = time.gmtime(moment)
    end = clock.parse(f"{then.tm_year:04}-{then.tm_mon:02}-01T00:00:00")
    last = time.gmtime(end - 1)
    return clock.parse(f"{last.tm_year:04}-{last.tm_mon:02}-01T00:00:00"), end


def _words(moment: float) -> str:
    return str(iso_micro(moment)).replace("T", " ")[:19]
