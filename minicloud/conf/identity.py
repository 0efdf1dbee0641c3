"""[identity]: tokens and passwords."""

from oslo_config import cfg

GROUP = "identity"
OPTS = [
    cfg.IntOpt("token_lifetime_s", default=3600, min=60, help="Seconds a token is valid."),
    cfg.StrOpt(
        "key_dir",
        default="/var/lib/minicloud/identity/keys",
        help="Directory of the Fernet keys, readable by the service alone.",
    ),
    cfg.StrOpt(
        "credential_key_dir",
        default="/var/lib/minicloud/identity/credential-keys",
        help="Directory of the keys that seal stored credentials, EC2 keys among them.",
    ),
    cfg.IntOpt(
        "lockout_attempts",
        default=0,
        min=0,
        help="Wrong passwords in a row that lock a user out; 0: none do.",
    ),
    cfg.IntOpt(
        "lockout_duration_s", default=1800, min=1, help="Seconds that a user is locked out."
    ),
    cfg.IntOpt(
        "oauth_request_token_lifetime_s",
        default=28800,
        min=0,
        help="Seconds that a consumer's request token can be authorized and used; 0: for ever.",
    ),
    cfg.IntOpt(
        "oauth_access_token_lifetime_s",
        default=86400,
        min=0,
        help="Seconds that a consumer may log in with an access token; 0: until it is deleted.",
    ),
    cfg.IntOpt("hash_memory_kib", default=19456, min=1024, help="Argon2id memory per hash, KiB."),
    cfg.IntOpt("hash_time_cost", default=2, min=1, help="Argon2id passes."),
    cfg.StrOpt("public_url", help="What version documents call this service, if not as asked."),
]
