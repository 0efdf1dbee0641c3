"""[metadata]: what guests are told about themselves."""

from oslo_config import cfg

GROUP = "metadata"
OPTS = [
    cfg.StrOpt("url", default="http://127.0.0.1:8775", help="The API's metadata service."),
    cfg.StrOpt("listen", default="127.0.0.1", help="Where the API serves it."),
    cfg.PortOpt("port", default=8775, help="On which port."),
    cfg.StrOpt(
        "shared_secret",
        default="",
        secret=True,
        help="Signs which server asks, between the hosts' proxies and the API.",
    ),
]
