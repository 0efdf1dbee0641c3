"""[image]: where image data lies, how large it may be, and what may be fetched."""

from oslo_config import cfg, types

GROUP = "image"
OPTS = [
    cfg.StrOpt(
        "data_dir", default="/var/lib/minicloud/image/data", help="Directory of the image files."
    ),
    cfg.StrOpt(
        "staging_dir",
        default="/var/lib/minicloud/image/staging",
        help="Directory of uploads that wait for an import. All daemons of the service share it.",
    ),
    cfg.StrOpt(
        "cache_dir",
        default="/var/lib/minicloud/image/cache",
        help="Directory of this host's copies of images whose store is far away.",
    ),
    cfg.IntOpt(
        "cache_max_mb", default=10240, min=0, help="Size of the cache, MiB. 0: nothing is cached."
    ),
    cfg.IntOpt("max_size_gb", default=100, min=1, help="Largest upload, GiB."),
    cfg.IntOpt(
        "max_virtual_size_gb",
        default=100,
        min=1,
        help="Largest disk that an image may unfold into, GiB.",
    ),
    cfg.BoolOpt(
        "use_keystone_limits",
        default=False,
        help="Whether a project may have what identity's limits of the service image say, instead "
        "of [quota]. Of what is not registered there nobody may have anything.",
    ),
    cfg.ListOpt(
        "stores",
        default=["file"],
        help="Where image data may lie; the first is the default. file: data_dir; http: other "
        "servers by URL, read-only; s3: a bucket; NAME=/DIRECTORY: another directory of files.",
    ),
    cfg.ListOpt(
        "import_methods",
        default=["glance-direct", "web-download", "copy-image"],
        item_type=types.String(choices=["glance-direct", "web-download", "copy-image"]),
        help="How images may be imported.",
    ),
    cfg.IntOpt("import_threads", default=2, min=1, help="Imports at work at the same time."),
    cfg.ListOpt(
        "web_schemes",
        default=["http", "https"],
        item_type=types.String(choices=["http", "https"]),
        help="Schemes of URLs that are fetched for users.",
    ),
    cfg.ListOpt(
        "web_ports",
        default=[80, 443],
        item_type=types.Port(),
        help="Ports of URLs that are fetched for users.",
    ),
    cfg.ListOpt(
        "web_networks",
        default=[],
        help="Networks that URLs may lead to although they are loopback, link-local, private or "
        "otherwise special, such as 10.1.0.0/16. Whoever may make images can read from there.",
    ),
    cfg.StrOpt("s3_endpoint_url", default="", help="URL of the S3 service. Default: Amazon's."),
    cfg.StrOpt("s3_bucket", default="", help="Bucket of the store s3."),
    cfg.StrOpt("s3_region", default="", help="Region of the bucket."),
    cfg.StrOpt(
        "s3_access_key",
        default="",
        help="Access key. Default: as boto3 finds it, in the environment or from the machine's "
        "role.",
    ),
    cfg.StrOpt("s3_secret_key", default="", secret=True, help="Its secret key."),
    cfg.IntOpt("s3_part_mb", default=16, min=5, max=5000, help="Size of a part of an upload, MiB."),
    cfg.StrOpt(
        "property_protection_file",
        default="",
        help="File that says which roles may make, read, change and remove which properties, in "
        "the format of Glance's property-protections.conf. Unset: everyone.",
    ),
]
