"""Disks and NICs with names that stay, why operations failed, and passwords that guests set."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("operations", sa.Column("problem", sa.JSON(), nullable=True))
    op.add_column("servers", sa.Column("guest_password", sa.Text(), nullable=True))
    servers = sa.table(
        "servers",
        sa.column("id", sa.String()),
        sa.column("requested_nics", sa.JSON()),
        sa.column("block_devices", sa.JSON()),
        sa.column("security_groups", sa.JSON()),
        sa.column("nics", sa.JSON()),
        sa.column("volumes", sa.JSON()),
    )
    connection = op.get_bind()
    for row in connection.execute(sa.select(servers)).all():
        nics = [{"number": n, **nic} for n, nic in enumerate(row.requested_nics)]
        wired = [{"number": n, **nic} for n, nic in enumerate(row.nics)]
        volumes = {volume["device"]: volume["volume_id"] for volume in row.volumes}
        disks = [_disk(number, disk, volumes) for number, disk in enumerate(row.block_devices)]
        groups = row.security_groups or (["default"] if nics else [])
        connection.execute(
            servers.update()
            .where(servers.c.id == row.id)
            .values(requested_nics=nics, nics=wired, block_devices=disks, security_groups=groups)
        )


def _disk(number: int, disk: dict[str, Any], volumes: dict[str, str]) -> dict[str, Any]:
    """With the name that it had by its place: vdb, vdc and on."""
    letters, rest = "", number + 2
    while rest:
        rest, letter = divmod(rest - 1, 26)
        letters = chr(ord("a") + letter) + letters
    device = f"vd{letters}"
    made = {"volume_id": volumes[f"/dev/{device}"]} if f"/dev/{device}" in volumes else {}
    return {"number": number, "device": device, **disk, **made}
