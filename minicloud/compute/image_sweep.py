"""The pass that removes base images which no server of this host uses any more."""

from __future__ import annotations

import logging

from minicloud.compute.recipes import HostTools

LOG = logging.getLogger(__name__)


class ImageSweep:
    """``unused_s``: for how long nothing has to have used a base; 0: all are kept."""

    def __init__(self, tools: HostTools, *, unused_s: float) -> None:
        self._tools, self._unused_s = tools, unused_s

    def run(self) -> None:
        """One pass. Where a guest's disks cannot be seen, as when what they are on is not
        mounted, nothing is known of the bases below them: nothing is removed.
        """
        if not self._unused_s:
            return
        guests = {domain.server_id for domain in self._tools.driver.list_domains()}
        unseen = guests - self._tools.storage.servers()
        if unseen:
            LOG.warning(
                "No base image is removed: %s has no disks of server %s",
                self._tools.storage.instances_dir,
                min(unseen),
            )
            return
        self._tools.images.remove_unused(self._unused_s)
