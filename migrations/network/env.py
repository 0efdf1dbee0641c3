"""Alembic's entry point for the network service's tables."""

from minicloud.kit.db.env import run
from minicloud.network.models import metadata

run(metadata)
