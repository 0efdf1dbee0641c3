"""[database]: one URL a service; api, scheduler and conductor share one."""

from oslo_config import cfg

GROUP = "database"
OPTS = [
    cfg.StrOpt(
        "url",
        secret=True,
        help="SQLAlchemy URL. Default: an SQLite file below state_dir. PostgreSQL: "
        "postgresql://user:password@host/database.",
    ),
    cfg.IntOpt("pool_size", default=5, min=1, help="Connections kept open."),
]
