"""Compute's tables, shared by api, scheduler and conductor. Times are seconds since the epoch."""

from __future__ import annotations

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
_ID = sa.String(36)
_TIME: sa.Double[float] = sa.Double()

flavors = sa.Table(
    "flavors",
    metadata,
    sa.Column("id", sa.String(255), primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("ram", sa.Integer, nullable=False),
    sa.Column("disk", sa.Integer, nullable=False),
    sa.Column("ephemeral", sa.Integer, nullable=False),
    sa.Column("swap", sa.Integer, nullable=False),
    sa.Column("rxtx_factor", sa.Double(), nullable=False),
    sa.Column("is_public", sa.Boolean, nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("extra_specs", sa.JSON, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
)

flavor_access = sa.Table(
    "flavor_access",
    metadata,
    sa.Column("flavor_id", sa.ForeignKey("flavors.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("project_id", sa.String(64), primary_key=True),
)

keypairs = sa.Table(
    "keypairs",
    metadata,
    sa.Column("user_id", sa.String(64), primary_key=True),
    sa.Column("name", sa.String(255), primary_key=True),
    sa.Column("type", sa.String(16), nullable=False),
    sa.Column("public_key", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.String(255), nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
)

services = sa.Table(
    "services",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", _ID, nullable=False, unique=True),
    sa.Column("binary", sa.String(64), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("disabled", sa.Boolean, nullable=False),
    sa.Column("disabled_reason", sa.String(255)),
    sa.Column("forced_down", sa.Boolean, nullable=False),
    sa.Column("last_seen", _TIME, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
    sa.UniqueConstraint("binary", "host"),
)

hosts = sa.Table(
    "hosts",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mb", sa.Integer, nullable=False),
    sa.Column("disk_gb", sa.Integer, nullable=False),
    sa.Column("disk_free_gb", sa.Integer, nullable=False),
    sa.Column("vcpus_used", sa.Integer, nullable=False),
    sa.Column("memory_mb_used", sa.Integer, nullable=False),
    sa.Column("disk_gb_used", sa.Integer, nullable=False),
    sa.Column("hypervisor_type", sa.String(32), nullable=False),
    sa.Column("hypervisor_version", sa.Integer, nullable=False),
    sa.Column("virt_type", sa.String(16), nullable=False),
    sa.Column("virt_type_reason", sa.String(255), nullable=False),
    sa.Column("cpu_arch", sa.String(32), nullable=False),
    sa.Column("cpu_model", sa.String(255), nullable=False),
    sa.Column("uptime", sa.String(255), nullable=False, server_default=""),
    sa.Column("address", sa.String(64), nullable=False, server_default=""),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
)

aggregates = sa.Table(
    "aggregates",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", _ID, nullable=False, unique=True),
    sa.Column("name", sa.String(255), nullable=False, unique=True),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("updated_at", _TIME),
)

aggregate_hosts = sa.Table(
    "aggregate_hosts",
    metadata,
    sa.Column(
        "aggregate", sa.ForeignKey("aggregates.number", ondelete="CASCADE"), primary_key=True
    ),
    sa.Column("host", sa.String(255), primary_key=True),
)

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("server_id", _ID, primary_key=True),
    sa.Column("slot", sa.String(16), primary_key=True),
    sa.Column("host", sa.String(255), nullable=False, index=True),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mb", sa.Integer, nullable=False),
    sa.Column("disk_gb", sa.Integer, nullable=False),
)
"""``slot``: current; next while the server moves or changes its size; previous until that is
confirmed."""

servers = sa.Table(
    "servers",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("hostname", sa.String(255), nullable=False),
    sa.Column("vm_state", sa.String(32), nullable=False),
    sa.Column("task_state", sa.String(64)),
    sa.Column("power_state", sa.Integer, nullable=False),
    sa.Column("operation_id", _ID),
    sa.Column("host", sa.String(255), index=True),
    sa.Column("availability_zone", sa.String(255)),
    sa.Column("flavor_id", sa.String(255), nullable=False),
    sa.Column("vcpus", sa.Integer, nullable=False),
    sa.Column("memory_mb", sa.Integer, nullable=False),
    sa.Column("flavor", sa.JSON, nullable=False),
    sa.Column("image_id", sa.String(36), nullable=False),
    sa.Column("image_properties", sa.JSON, nullable=False),
    sa.Column("key_name", sa.String(255)),
    sa.Column("public_key", sa.Text),
    sa.Column("guest_password", sa.Text),
    sa.Column("user_data", sa.Text),
    sa.Column("config_drive", sa.Boolean, nullable=False),
    sa.Column("metadata", sa.JSON, nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("group_id", _ID, index=True),
    sa.Column("requested_host", sa.String(255)),
    sa.Column("scheduler_hints", sa.JSON, nullable=False, server_default="{}"),
    sa.Column("requested_nics", sa.JSON, nullable=False),
    sa.Column("block_devices", sa.JSON, nullable=False),
    sa.Column("security_groups", sa.JSON, nullable=False),
    sa.Column("nics", sa.JSON, nullable=False),
    sa.Column("volumes", sa.JSON, nullable=False),
    sa.Column("access_ip_v4", sa.String(64), nullable=False),
    sa.Column("access_ip_v6", sa.String(64), nullable=False),
    sa.Column("disk_config", sa.String(16), nullable=False),
    sa.Column("reservation_id", sa.String(32), nullable=False),
    sa.Column("launch_index", sa.Integer, nullable=False),
    sa.Column("locked", sa.Boolean, nullable=False),
    sa.Column("locked_reason", sa.String(255)),
    sa.Column("locked_by", sa.String(16)),
    sa.Column("resized", sa.JSON),
    sa.Column("shelved_image_id", _ID),
    sa.Column("fault", sa.JSON),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("updated_at", _TIME, nullable=False),
    sa.Column("launched_at", _TIME),
    sa.Column("terminated_at", _TIME),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.Index(None, "project_id", "deleted", "created_at"),
    sa.Index(None, "deleted", "created_at"),
)

server_groups = sa.Table(
    "server_groups",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("project_id", sa.String(64), nullable=False, index=True),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("policy", sa.String(32), nullable=False),
    sa.Column("max_per_host", sa.Integer, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
)
"""Members are the living servers that name the group."""

migrations = sa.Table(
    "migrations",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", _ID, nullable=False, unique=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("status", sa.String(32), nullable=False),
    sa.Column("server_id", _ID, nullable=False, index=True),
    sa.Column("operation_id", _ID, index=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("source", sa.String(255)),
    sa.Column("destination", sa.String(255)),
    sa.Column("old_flavor_id", sa.String(255), nullable=False),
    sa.Column("new_flavor_id", sa.String(255), nullable=False),
    sa.Column("progress", sa.JSON, nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("updated_at", _TIME, nullable=False),
)

operations = sa.Table(
    "operations",
    metadata,
    sa.Column("id", _ID, primary_key=True),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("verb", sa.String(32), nullable=False),
    sa.Column("server_id", _ID, nullable=False, index=True),
    sa.Column("project_id", sa.String(64), nullable=False),
    sa.Column("user_id", sa.String(64), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("host", sa.String(255)),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("excluded", sa.JSON, nullable=False),
    sa.Column("params", sa.JSON, nullable=False),
    sa.Column("prior_state", sa.String(32), nullable=False),
    sa.Column("message", sa.Text),
    sa.Column("problem", sa.JSON),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("updated_at", _TIME, nullable=False),
    sa.Column("deadline_at", _TIME, nullable=False),
    sa.Index(None, "state", "host"),
)

operation_events = sa.Table(
    "operation_events",
    metadata,
    sa.Column("operation_id", _ID, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("step", sa.String(64), primary_key=True),
    sa.Column("started_at", _TIME, nullable=False),
    sa.Column("finished_at", _TIME),
    sa.Column("result", sa.String(16)),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
)

launch_steps = sa.Table(
    "launch_steps",
    metadata,
    sa.Column("server_id", _ID, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("request_id", sa.String(64), nullable=False),
    sa.Column("start", _TIME, nullable=False),
    sa.Column("duration", _TIME),
    sa.Column("service", sa.String(32), nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("result", sa.String(16), nullable=False),
    sa.Column("detail", sa.String(255), nullable=False),
)

project_locks = sa.Table(
    "project_locks",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
)
"""A row a project, locked while its quota is counted."""

quotas = sa.Table(
    "quotas",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("limit", sa.Integer, nullable=False),
)
"""Limits of a project that differ from the configured ones."""

user_quotas = sa.Table(
    "user_quotas",
    metadata,
    sa.Column("project_id", sa.String(64), primary_key=True),
    sa.Column("user_id", sa.String(64), primary_key=True),
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("limit", sa.Integer, nullable=False),
)
"""Limits of a user within a project, where they are not the project's."""

quota_classes = sa.Table(
    "quota_classes",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("resource", sa.String(64), primary_key=True),
    sa.Column("limit", sa.Integer, nullable=False),
)
"""``default`` stands before the configured limits; other classes are kept and have no effect."""

console_tokens = sa.Table(
    "console_tokens",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    sa.Column("server_id", _ID, nullable=False),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("console_type", sa.String(16), nullable=False),
    sa.Column("created_at", _TIME, nullable=False),
    sa.Column("expires_at", _TIME, nullable=False, index=True),
)
"""Tokens that open a console once; ``token_hash`` is the SHA-256 in hexadecimal."""
