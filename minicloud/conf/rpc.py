"""[rpc]: how the daemons talk."""

from oslo_config import cfg

GROUP = "rpc"
OPTS = [
    cfg.StrOpt(
        "transport_url",
        default="rabbit://guest:guest@127.0.0.1:5672/",
        secret=True,
        help="oslo.messaging transport URL.",
    ),
    cfg.IntOpt("threads", default=16, min=1, help="Messages worked on at the same time."),
    cfg.IntOpt("call_timeout", default=15, min=1, help="Seconds a call waits for its answer."),
    cfg.BoolOpt(
        "quorum_queues",
        default=False,
        help="Use RabbitMQ quorum queues: for a cluster of brokers. Rows, not messages, are what "
        "minicloud relies on, so a single broker does without.",
    ),
]
