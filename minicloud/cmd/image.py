"""minicloud-image: the image service's object graph."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from minicloud.cmd import wire
from minicloud.image.blobs import BlobStore
from minicloud.image.policies import RULES
from minicloud.image.routes import rest_service
from minicloud.image.service import ImageService
from minicloud.image.uploads import ImageData
from minicloud.kit import daemon
from minicloud.kit.daemon import Periodic
from minicloud.kit.db import migrate
from minicloud.kit.policy import Policy

LOG = logging.getLogger(__name__)
_SWEEP_S = 60.0
_GIB = 1024**3


def main(argv: Sequence[str] | None = None) -> None:
    options = wire.configure("image", argv)
    database = wire.database(options, "image")
    if not migrate.is_current("image", database):
        LOG.critical("The tables are behind: run minicloud-manage db upgrade image")
        sys.exit(1)
    policy = Policy(RULES, policy_file=options.policy_file)
    blobs = BlobStore(Path(options.image.data_dir))
    images = ImageService(database, blobs, policy)
    data = ImageData(database, images, blobs, policy, max_size=options.image.max_size_gb * _GIB)
    tokens = wire.token_validator(options, wire.service_session(options))
    web = wire.web_server(options, "image", rest_service(images, data, policy, tokens.authenticate))
    # Its first turn is at once: what a killed daemon left is cleared up at the start.
    sweep = Periodic("sweep", _SWEEP_S, data.sweep)
    daemon.run("image", start=[sweep.start, web.start], stop=[web.stop, sweep.stop, database.close])


if __name__ == "__main__":
    main()
