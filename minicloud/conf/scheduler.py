"""[scheduler]: how hosts are chosen."""

from oslo_config import cfg

GROUP = "scheduler"
OPTS = [
    cfg.FloatOpt("cpu_ratio", default=8.0, min=0.1, help="Virtual CPUs per real one."),
    cfg.FloatOpt("memory_ratio", default=1.0, min=0.1, help="Guest memory per real memory."),
    cfg.FloatOpt("disk_ratio", default=4.0, min=0.1, help="Virtual disk per real disk."),
    cfg.IntOpt("reserved_memory_mb", default=512, min=0, help="MiB a host keeps for itself."),
    cfg.IntOpt(
        "service_down_s",
        default=30,
        min=3,
        help="Seconds without a report after which a host counts as down.",
    ),
    cfg.BoolOpt("resize_same_host", default=True, help="Let a resized server stay on its host."),
    cfg.IntOpt("max_attempts", default=3, min=1, help="Hosts tried for one launch."),
]
