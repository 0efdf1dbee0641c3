"""[image]: where image data lies and how large it may be."""

from oslo_config import cfg

GROUP = "image"
OPTS = [
    cfg.StrOpt(
        "data_dir", default="/var/lib/minicloud/image/data", help="Directory of the image files."
    ),
    cfg.IntOpt(
        "max_size_gb", default=100, min=1, help="Largest upload and largest virtual size, GiB."
    ),
]
