from minicloud.identity.models import metadata
from minicloud.kit.db.env import run

run(metadata)
