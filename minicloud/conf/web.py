"""[web]: where a REST daemon listens. Each daemon's file has its own."""

from oslo_config import cfg

GROUP = "web"
PORTS = {
    "identity": 5000,
    "image": 9292,
    "network": 9696,
    "volume": 8776,
    "api": 8774,
    "consoleproxy": 6080,
}
OPTS = [
    cfg.StrOpt("listen", default="0.0.0.0", help="Address to listen on."),  # noqa: S104 - a cloud
    cfg.PortOpt("port", help="Port; by default the one OpenStack's service of that kind has."),
    cfg.IntOpt("threads", default=10, min=2, help="Requests served at the same time."),
]
