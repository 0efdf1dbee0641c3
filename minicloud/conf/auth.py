"""[auth]: where identity is, and who this service is to it."""

from oslo_config import cfg

GROUP = "auth"
OPTS = [
    cfg.StrOpt(
        "url", default="http://127.0.0.1:5000/v3", help="Identity endpoint used by the daemons."
    ),
    cfg.StrOpt("username", default="minicloud", help="The service's own user."),
    cfg.StrOpt("password", secret=True, default="", help="Its password."),
    cfg.StrOpt("project_name", default="service", help="Its project."),
    cfg.StrOpt("domain_name", default="Default", help="Domain of both."),
    cfg.IntOpt(
        "token_cache_s",
        default=60,
        min=0,
        help="Seconds for which a validated token is believed without asking identity again. "
        "A revoked token may work that much longer.",
    ),
    cfg.StrOpt(
        "interface",
        default="public",
        help="Catalog interface the daemons use: public or internal.",
    ),
]
