"""[consoleproxy]: the guests' screens in a browser. Read by the proxy and, for the URL, the API."""

from oslo_config import cfg

GROUP = "consoleproxy"
OPTS = [
    cfg.StrOpt(
        "base_url",
        default="",
        help="URL at which browsers reach the proxy, without a page. Unset: http, port 6080 of the "
        "host that the API's caller named. Set it where the proxy has another port or TLS in "
        "front.",
    ),
    cfg.StrOpt(
        "novnc_dir",
        default="/usr/share/novnc",
        help="Directory of noVNC's pages, as the distribution's package novnc has them.",
    ),
    cfg.IntOpt("connections", default=100, min=4, help="Connections served at the same time."),
    cfg.IntOpt(
        "idle_s",
        default=3600,
        min=1,
        help="Seconds without a byte either way after which a console is closed.",
    ),
]
