"""[libvirt]: the hypervisor."""

from oslo_config import cfg

GROUP = "libvirt"
OPTS = [
    cfg.StrOpt("uri", default="qemu:///system", help="libvirt connection URI."),
    cfg.StrOpt(
        "virt_type",
        default="auto",
        choices=["auto", "kvm", "qemu"],
        help="auto boots a probe guest: kvm if it comes up, else software emulation.",
    ),
]
