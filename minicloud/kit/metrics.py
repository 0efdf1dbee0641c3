"""Prometheus metrics, one endpoint a daemon. The only importer of prometheus_client."""

from __future__ import annotations

import logging

from prometheus_client import Counter, Gauge, Histogram, start_http_server

LOG = logging.getLogger(__name__)

REQUESTS = Histogram(
    "minicloud_http_request_seconds",
    "REST requests answered, by service, method and status",
    ["service", "method", "status"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)
RPC = Histogram(
    "minicloud_rpc_seconds",
    "RPC methods served, by topic, method and result",
    ["topic", "method", "result"],
    buckets=(0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5, 30),
)
OPERATIONS = Counter(
    "minicloud_operations_total", "Operations ended on this host, by verb and end", ["verb", "end"]
)
OPERATIONS_RUNNING = Gauge("minicloud_operations_running", "Operations running on this host")
DOMAINS = Gauge("minicloud_domains", "Domains of minicloud on this host")


def serve(host: str, port: int) -> None:
    """Answer GET /metrics on ``port``; 0 turns it off."""
    if port:
        start_http_server(port, addr=host)
        LOG.info("Metrics on http://%s:%s/metrics", host, port)
