"""What a project may have, and the count that holds under concurrency.

``take`` locks the project's row before it counts, so parallel creates never pass the limit.
"""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa

from minicloud.domain.errors import Invalid, QuotaExceeded
from minicloud.kit.db import Database, Transaction
from minicloud.network.models import (
    floating_ips,
    networks,
    ports,
    quotas,
    rbac_policies,
    routers,
    security_group_rules,
    security_groups,
    subnet_pools,
    subnets,
)
from minicloud.network.store import project_lock, rows_count

TABLES: Mapping[str, sa.Table] = {
    "network": networks,
    "subnet": subnets,
    "port": ports,
    "router": routers,
    "floatingip": floating_ips,
    "subnetpool": subnet_pools,
    "rbac_policy": rbac_policies,
    "security_group": security_groups,
    "security_group_rule": security_group_rules,
}
"""Resource as the quota API calls it -> the table whose rows count."""
_OWN = sa.select(quotas.c.resource, quotas.c.maximum).where(
    quotas.c.project_id == sa.bindparam("project")
)


class Quotas:
    """``defaults``: resource -> limit of a project that has none of its own; -1 is no limit."""

    def __init__(self, database: Database, defaults: Mapping[str, int]) -> None:
        self._database = database
        self.defaults = {resource: defaults.get(resource, -1) for resource in TABLES}

    def show(self, project_id: str) -> dict[str, int]:
        with self._database.read() as tx:
            return self._limits(tx, project_id)

    def usage(self, project_id: str) -> dict[str, dict[str, int]]:
        """resource -> limit, used, reserved."""
        with self._database.read() as tx:
            limits = self._limits(tx, project_id)
            return {
                resource: {
                    "limit": limits[resource],
                    "used": rows_count(tx, table, project_id),
                    "reserved": 0,
                }
                for resource, table in TABLES.items()
            }

    def list_own(self) -> dict[str, dict[str, int]]:
        """project id -> limits, of the projects that have limits of their own."""
        with self._database.read() as tx:
            found: dict[str, dict[str, int]] = {}
            statement = sa.select(quotas).order_by(quotas.c.project_id)
            for project_id, resource, maximum in tx.execute(statement):
                found.setdefault(project_id, dict(self.defaults))[resource] = maximum
            return found

    def update(self, project_id: str, limits: Mapping[str, int]) -> dict[str, int]:
        """Set some limits of the project. Invalid for a resource without one."""
        for resource in limits:
            if resource not in TABLES:
                raise Invalid(reason=f"There is no quota for {resource[:64]}.")
        with self._database.write() as tx:
            project_lock(tx, project_id)
            chosen = sa.and_(quotas.c.project_id == project_id, quotas.c.resource.in_(limits))
            tx.execute(sa.delete(quotas).where(chosen))
            for resource, maximum in limits.items():
                tx.execute(
                    sa.insert(quotas).values(
                        project_id=project_id, resource=resource, maximum=maximum
                    )
                )
            return self._limits(tx, project_id)

    def reset(self, project_id: str) -> None:
        """Back to the defaults."""
        with self._database.write() as tx:
            tx.execute(sa.delete(quotas).where(quotas.c.project_id == project_id))

    def take(self, tx: Transaction, project_id: str, **amounts: int) -> None:
        """Make sure that ``amounts`` more of each resource fit. QuotaExceeded."""
        project_lock(tx, project_id)
        limits = self._limits(tx, project_id)
        for resource, amount in amounts.items():
            limit = limits[resource]
            if limit < 0:
                continue
            used = rows_count(tx, TABLES[resource], project_id)
            if used + amount > limit:
                raise QuotaExceeded(resource=resource, requested=amount, used=used, limit=limit)

    def _limits(self, tx: Transaction, project_id: str) -> dict[str, int]:
        rows = tx.execute(_OWN, {"project": project_id})
        own = {row.resource: row.maximum for row in rows}
        return {**self.defaults, **own}
