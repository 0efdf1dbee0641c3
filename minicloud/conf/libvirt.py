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
    cfg.StrOpt(
        "rbd_user",
        help="User of Ceph with whose key guests open volumes of the driver type rbd, where the "
        "volume service names no other.",
    ),
    cfg.StrOpt(
        "rbd_secret_uuid",
        help="UUID of libvirt's secret with that key, the same as the volume service has. This "
        "host defines it, out of rbd_keyring, unless libvirt has it already.",
    ),
    cfg.StrOpt(
        "rbd_keyring",
        help="File with the key of rbd_user. Unset: /etc/ceph/ceph.client.USER.keyring.",
    ),
]
