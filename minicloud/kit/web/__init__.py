"""REST by table: a row per endpoint becomes Flask rules, policy, validation and errors.

The only importer of Flask (``app.py``) and cheroot (``server.py``).
"""

from minicloud.kit.web.app import build_app
from minicloud.kit.web.route import Body, Call, Query, Reply, Route, Service
from minicloud.kit.web.server import WebServer
from minicloud.kit.web.versions import Version, Versions

__all__ = [
    "Body",
    "Call",
    "Query",
    "Reply",
    "Route",
    "Service",
    "Version",
    "Versions",
    "WebServer",
    "build_app",
]
