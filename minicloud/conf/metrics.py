"""[metrics]: Prometheus."""

from oslo_config import cfg

GROUP = "metrics"
PORTS = {
    "identity": 9101,
    "image": 9102,
    "network": 9103,
    "volume": 9104,
    "api": 9105,
    "scheduler": 9106,
    "conductor": 9107,
    "compute": 9108,
    "consoleproxy": 9109,
}
OPTS = [
    cfg.StrOpt("listen", default="127.0.0.1", help="Address of the metrics endpoint."),
    cfg.PortOpt("port", min=0, help="Its port; 0 for none. Default: 9101 and up by daemon."),
]
