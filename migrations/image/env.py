"""Alembic's entry point for the image service's tables."""

from minicloud.image.models import metadata
from minicloud.kit.db.env import run

run(metadata)
