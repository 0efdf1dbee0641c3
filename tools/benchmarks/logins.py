"""A token, and its validation, as a client on this machine sees them."""

from __future__ import annotations

from collections.abc import Iterator

import requests
from cloud import Bench, Figure, figure, median, times_ms


def measure(bench: Bench) -> Iterator[Figure]:
    url = f"http://{bench.settings.host}:5000/v3/auth/tokens"
    domain = {"name": "Default"}
    user = {"name": "demo", "password": bench.settings.demo_password, "domain": domain}
    body = {
        "auth": {
            "identity": {"methods": ["password"], "password": {"user": user}},
            "scope": {"project": {"name": "demo", "domain": domain}},
        }
    }
    with requests.Session() as session:
        issued = times_ms(lambda: session.post(url, json=body).raise_for_status(), 20)
        token = session.post(url, json=body).headers["X-Subject-Token"]
        headers = {"X-Auth-Token": token, "X-Subject-Token": token}
        validated = times_ms(lambda: session.get(url, headers=headers).raise_for_status(), 100)
    yield figure("token issue (with the password's hash)", median(issued), "ms")
    yield figure("token validation", median(validated), "ms", aim="2")
