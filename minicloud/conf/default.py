"""[DEFAULT]: what every daemon has."""

import socket

from oslo_config import cfg

GROUP = "DEFAULT"
OPTS = [
    cfg.StrOpt(
        "host",
        default=socket.gethostname(),
        sample_default="<this machine's host name>",
        help="Name of this host in minicloud. Changing it makes it another host.",
    ),
    cfg.StrOpt("region", default="RegionOne", help="Region of this cloud's endpoints."),
    cfg.StrOpt(
        "state_dir",
        default="/var/lib/minicloud",
        help="Directory for databases, images, disks and other state.",
    ),
    cfg.StrOpt(
        "log_level",
        default="INFO",
        choices=["DEBUG", "INFO", "WARNING", "ERROR"],
        help="Least severe level that is logged.",
    ),
    cfg.StrOpt(
        "log_style", default="json", choices=["json", "text"], help="How a log line is written."
    ),
    cfg.StrOpt(
        "policy_file", help="YAML file with rules that replace the built-in policy of the service."
    ),
]
