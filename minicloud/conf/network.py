"""[network]: defaults of new networks."""

from oslo_config import cfg

GROUP = "network"
OPTS = [
    cfg.IntOpt("mtu", default=1450, min=1280, help="MTU of new tenant networks, bytes."),
    cfg.ListOpt(
        "physical_networks",
        default=["public"],
        help="Names of physical networks that flat networks can be laid on.",
    ),
    cfg.StrOpt("mac_prefix", default="fa:16:3e", help="First three octets of port MACs."),
    cfg.StrOpt("dns_domain", default="minicloud.local", help="Domain of the guests' host names."),
    cfg.ListOpt(
        "dns_servers",
        default=[],
        help="Name servers told to guests of subnets that name none.",
    ),
    cfg.FloatOpt(
        "host_down_s",
        default=15.0,
        min=1,
        help="Seconds after which the routers of a silent gateway host, unless they answer, go "
        "to another.",
    ),
]
