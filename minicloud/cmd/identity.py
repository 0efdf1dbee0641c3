"""minicloud-identity: the Identity v3 API."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from minicloud.cmd import wire
from minicloud.identity.keys import ensure_keys
from minicloud.identity.logins import Lockout
from minicloud.identity.oauth import Lifetimes
from minicloud.identity.passwords import Passwords, return_memory
from minicloud.identity.routes import rest_service
from minicloud.kit import daemon
from minicloud.kit.db import migrate

LOG = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> None:
    options = wire.configure("identity", argv)
    database = wire.database(options, "identity")
    if not migrate.is_current("identity", database):
        LOG.error("The tables are behind: run minicloud-manage db upgrade identity")
        sys.exit(1)
    return_memory()
    key_dir = Path(options.identity.key_dir)
    credential_key_dir = Path(options.identity.credential_key_dir)
    for directory in (key_dir, credential_key_dir):
        ensure_keys(directory)
    service = rest_service(
        database,
        key_dir=key_dir,
        credential_key_dir=credential_key_dir,
        token_lifetime_s=options.identity.token_lifetime_s,
        passwords=Passwords(
            memory_kib=options.identity.hash_memory_kib,
            time_cost=options.identity.hash_time_cost,
        ),
        lockout=Lockout(
            attempts=options.identity.lockout_attempts,
            duration_s=options.identity.lockout_duration_s,
        ),
        oauth_lifetimes=Lifetimes(
            request_s=options.identity.oauth_request_token_lifetime_s,
            access_s=options.identity.oauth_access_token_lifetime_s,
        ),
        public_url=options.identity.public_url or "",
        policy_file=options.policy_file,
    )
    web = wire.web_server(options, "identity", service)
    daemon.run("identity", start=[web.start], stop=[web.stop, database.close])


if __name__ == "__main__":
    main()
