"""[conductor]: the pass that finds what a lost message would have started."""

from oslo_config import cfg

GROUP = "conductor"
OPTS = [
    cfg.FloatOpt("reconcile_s", default=5.0, min=0.2, help="Seconds between two passes."),
    cfg.FloatOpt(
        "unplaced_grace_s",
        default=20.0,
        min=0.2,
        help="Seconds after which a server without a host is placed by the conductor.",
    ),
]
