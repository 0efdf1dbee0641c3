"""[compute]: a host that runs guests."""

from oslo_config import cfg

GROUP = "compute"
OPTS = [
    cfg.StrOpt(
        "driver", default="libvirt", choices=["libvirt", "fake"], help="fake runs no guests."
    ),
    cfg.StrOpt(
        "instances_dir",
        default="/var/lib/minicloud/compute/instances",
        help="Directory of the servers' disks.",
    ),
    cfg.StrOpt(
        "image_cache_dir",
        default="/var/lib/minicloud/compute/images",
        help="Directory of base images, fetched once a host; this host's alone.",
    ),
    cfg.IntOpt(
        "unused_images_s",
        default=86400,
        min=0,
        help="Seconds after which a base image that no server of this host uses is removed; 0: "
        "never.",
    ),
    cfg.StrOpt(
        "tunnel_address",
        default="",
        help="Address of this host on the network between the hosts: the end of its tunnels to the "
        "others' guests. Unset: the networks of its guests end at this host.",
    ),
    cfg.BoolOpt(
        "gateway",
        default=True,
        help="Whether routers, with their way outside and their floating IPs, may be on this host.",
    ),
    cfg.ListOpt(
        "physical_networks",
        default=[],
        help="Flat networks that this host is on, each as NAME:DEVICE. The device becomes a member "
        "of the network's bridge and must carry nothing else of the host's.",
    ),
    cfg.FloatOpt("report_s", default=5.0, min=0.2, help="Seconds between two host reports."),
    cfg.FloatOpt(
        "reconcile_s",
        default=5.0,
        min=0.2,
        help="Seconds between two looks at what the network service wants of this host.",
    ),
    cfg.IntOpt("operations", default=8, min=1, help="Operations at work at the same time."),
    cfg.IntOpt("shutdown_s", default=60, min=0, help="Seconds a guest has to shut itself down."),
    cfg.FloatOpt(
        "detach_s",
        default=30.0,
        min=1.0,
        max=120.0,
        help="Seconds a guest has to let a disk or a NIC go, before its detachment fails.",
    ),
    cfg.BoolOpt(
        "shelved_offload",
        default=True,
        help="Take a shelved server off its host at once, rather than when it is asked for.",
    ),
    cfg.BoolOpt(
        "config_drive", default=True, help="Give every server a config drive, asked for or not."
    ),
]
