"""[volume]: where volumes lie and how they are exported."""

from oslo_config import cfg

GROUP = "volume"
OPTS = [
    cfg.StrOpt(
        "data_dir", default="/var/lib/minicloud/volume/data", help="Directory of the volume files."
    ),
    cfg.StrOpt(
        "export_dir",
        default="/var/lib/minicloud/volume/exports",
        help="Directory of the NBD sockets; a guest on this host connects to one of them.",
    ),
    cfg.StrOpt(
        "backup_dir",
        default="/var/lib/minicloud/volume/backups",
        help="Directory of the backups: mount another disk or machine there.",
    ),
    cfg.DictOpt(
        "more_backends",
        default={},
        help="Backends besides files, as NAME:DIRECTORY,NAME:DIRECTORY. A volume type chooses one "
        "by its extra spec volume_backend_name.",
    ),
    cfg.DictOpt(
        "rbd_backends",
        default={},
        help="Backends in a Ceph cluster, as NAME:POOL,NAME:POOL; each pool is one backend's and "
        "one host's alone. A volume type chooses one by its extra spec volume_backend_name.",
    ),
    cfg.StrOpt(
        "rbd_user",
        default="minicloud",
        help='User of Ceph, without client., who has the caps "profile rbd" for those pools.',
    ),
    cfg.StrOpt(
        "ceph_conf",
        default="/etc/ceph/ceph.conf",
        help="Ceph's configuration: the cluster's monitors and, unless it lies in /etc/ceph as "
        "ceph.client.USER.keyring, the user's keyring.",
    ),
    cfg.DictOpt(
        "open_files",
        default={},
        help="Backends whose volumes guests open as files instead of reaching them over NBD, with "
        "the hosts that have the backend's directory under the same name: NAME:HOST+HOST, or "
        "NAME:all. Guests of other hosts go on to use NBD. Unset: no backend.",
    ),
    cfg.DictOpt(
        "open_rbd",
        default={},
        help="Backends in Ceph whose volumes guests open by QEMU's own driver instead of reaching "
        "them over NBD, with the hosts that have the key ([libvirt] rbd_user): NAME:HOST+HOST, or "
        "NAME:all. Guests of other hosts go on to use NBD. Unset: no backend.",
    ),
    cfg.StrOpt(
        "file_group",
        help="Group of the files that guests open: both this service's user and QEMU's must be in "
        "it. Unset: QEMU may open this service's own files.",
    ),
    cfg.BoolOpt(
        "secure_delete",
        default=False,
        help="Overwrite what is deleted with zeroes before its space is given back: of files, not "
        "of what is in Ceph.",
    ),
    cfg.StrOpt(
        "nbd_address",
        help="Address on which volumes are exported to guests on other hosts, by TCP. Without "
        "tls_dir name one on a network of the hosts alone. Unset: to this host only.",
    ),
    cfg.StrOpt(
        "tls_dir",
        help="Directory with ca-cert.pem, server-cert.pem and server-key.pem: exports by TCP are "
        "encrypted and taken only by hosts with a certificate of that authority. Unset: without "
        "TLS.",
    ),
    cfg.StrOpt(
        "tls_peer",
        help="The distinguished name that a host's certificate must have to reach the volumes of "
        "its own guests and no others, with {host} for the host's name: CN={host}. Unset: any "
        "host with a certificate.",
    ),
    cfg.IntOpt(
        "reconnect_s",
        default=60,
        min=1,
        help="Seconds for which a guest waits for an exporter that is away before it reports an "
        "error.",
    ),
    cfg.StrOpt("nbd_ports", default="10810-11809", help="First and last TCP port of exports."),
    cfg.FloatOpt(
        "reconcile_s",
        default=5.0,
        min=0.2,
        help="Seconds between two passes that mend exports and finish what a kill interrupted.",
    ),
]
