"""[quota]: what a project may have. -1: without limit."""

from oslo_config import cfg

GROUP = "quota"
OPTS = [
    cfg.IntOpt("instances", default=50, min=-1, help="Servers."),
    cfg.IntOpt("cores", default=100, min=-1, help="Virtual CPUs."),
    cfg.IntOpt("ram", default=256 * 1024, min=-1, help="Memory, MiB."),
    cfg.IntOpt("key_pairs", default=100, min=-1, help="Key pairs of a user."),
    cfg.IntOpt("metadata_items", default=128, min=-1, help="Metadata keys of a server."),
    cfg.IntOpt("server_groups", default=50, min=-1, help="Server groups."),
    cfg.IntOpt(
        "server_group_members", default=50, min=-1, help="Servers of a server group at a time."
    ),
    cfg.IntOpt("networks", default=100, min=-1, help="Networks."),
    cfg.IntOpt("subnets", default=100, min=-1, help="Subnets."),
    cfg.IntOpt("ports", default=500, min=-1, help="Ports."),
    cfg.IntOpt("routers", default=50, min=-1, help="Routers."),
    cfg.IntOpt("floating_ips", default=100, min=-1, help="Floating IPs."),
    cfg.IntOpt("subnet_pools", default=20, min=-1, help="Subnet pools."),
    cfg.IntOpt("rbac_policies", default=20, min=-1, help="RBAC policies."),
    cfg.IntOpt("security_groups", default=100, min=-1, help="Security groups."),
    cfg.IntOpt("security_group_rules", default=1000, min=-1, help="Rules of all security groups."),
    cfg.IntOpt("volumes", default=50, min=-1, help="Volumes."),
    cfg.IntOpt("gigabytes", default=1000, min=-1, help="Sum of all volumes and snapshots, GiB."),
    cfg.IntOpt("snapshots", default=50, min=-1, help="Snapshots of volumes."),
    cfg.IntOpt("backups", default=50, min=-1, help="Backups of volumes."),
    cfg.IntOpt("backup_gigabytes", default=1000, min=-1, help="Sum of all backups, GiB."),
    cfg.IntOpt("groups", default=10, min=-1, help="Groups of volumes."),
    cfg.IntOpt("images", default=100, min=-1, help="Images."),
    cfg.IntOpt("image_uploads", default=-1, min=-1, help="Images that get their data."),
    cfg.IntOpt("image_mb", default=-1, min=-1, help="Sum of all image data, MiB."),
    cfg.IntOpt("image_stage_mb", default=-1, min=-1, help="Sum of all staged image data, MiB."),
]
