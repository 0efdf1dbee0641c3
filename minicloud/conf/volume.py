"""[volume]: where volumes lie and how they are exported."""

from oslo_config import cfg

GROUP = "volume"
OPTS = [
    cfg.StrOpt(
        "data_dir", default="/var/lib/minicloud/volume/data", help="Directory of the volume files."
    ),
    cfg.StrOpt(
        "export_dir",
        default="/var/lib/minicloud/volume/exports",
        help="Directory of the NBD sockets; a guest on this host connects to one of them.",
    ),
    cfg.StrOpt(
        "nbd_address",
        help="Address on which volumes are exported to guests on other hosts, by TCP without "
        "encryption: name one on a network of the hosts alone. Unset: to this host only.",
    ),
    cfg.StrOpt("nbd_ports", default="10810-11809", help="First and last TCP port of exports."),
    cfg.FloatOpt(
        "reconcile_s",
        default=5.0,
        min=0.2,
        help="Seconds between two passes that mend exports and finish what a kill interrupted.",
    ),
]
