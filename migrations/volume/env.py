"""Alembic's entry point for the volume service's tables."""

from minicloud.kit.db.env import run
from minicloud.volume.models import metadata

run(metadata)
