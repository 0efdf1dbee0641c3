"""A person with a password and a script: what users do to a cloud, over REST alone."""

from __future__ import annotations

from typing import Any

import requests
from identity import PASSWORDS, password, project
from rest_services import RestServices

_HOMES = {"minicloud": "service"}
COMPUTE_VERSION = "2.90"


class User:
    def __init__(self, rest: RestServices, name: str) -> None:
        self._rest = rest
        self.name = name
        auth = {"identity": password(name), "scope": project(_HOMES.get(name, name))}
        url = rest.services["identity"].url + "/v3/auth/tokens"
        answer = requests.post(url, json={"auth": auth}, timeout=30)
        assert answer.status_code == 201, answer.text
        self.token = answer.headers["X-Subject-Token"]
        self.project_id = answer.json()["token"]["project"]["id"]
        self.user_id = answer.json()["token"]["user"]["id"]
        assert PASSWORDS[name] not in answer.text

    def call(self, service: str, method: str, path: str, **arguments: Any) -> requests.Response:
        """``path`` as the service serves it, version and all."""
        headers = {"X-Auth-Token": self.token, **arguments.pop("headers", {})}
        if service == "compute":
            headers.setdefault("OpenStack-API-Version", f"compute {COMPUTE_VERSION}")
        url = self._rest.services[service].url + path
        return requests.request(method, url, headers=headers, timeout=60, **arguments)

    def ask(self, service: str, method: str, path: str, status: int, **arguments: Any) -> Any:
        """``call`` that must answer ``status``; its JSON."""
        answer = self.call(service, method, path, **arguments)
        assert answer.status_code == status, (answer.status_code, answer.text)
        return answer.json() if answer.content else None

    def as_admin(self) -> User:
        """An administrator of the same cloud."""
        return User(self._rest, "admin")

    def log_out(self) -> None:
        """The token is void from now on."""
        headers = {"X-Subject-Token": self.token}
        self.ask("identity", "DELETE", "/v3/auth/tokens", 204, headers=headers)

    def make_image(self, name: str, data: bytes, **properties: Any) -> str:
        body = {
            "name": name, "disk_format": "raw", "container_format": "bare",
            "visibility": "public" if self.name == "admin" else "private", **properties,
        }  # fmt: skip
        image_id: str = self.ask("image", "POST", "/v2/images", 201, json=body)["id"]
        self.ask(
            "image", "PUT", f"/v2/images/{image_id}/file", 204, data=data,
            headers={"Content-Type": "application/octet-stream"},
        )  # fmt: skip
        return image_id

    def make_network(self, name: str, cidr: str) -> str:
        body = {"network": {"name": name}}
        made = self.ask("network", "POST", "/v2.0/networks", 201, json=body)
        network_id: str = made["network"]["id"]
        subnet = {"network_id": network_id, "cidr": cidr, "ip_version": 4}
        self.ask("network", "POST", "/v2.0/subnets", 201, json={"subnet": subnet})
        return network_id

    def make_volume(self, size_gb: int = 1) -> str:
        path = f"/v3/{self.project_id}/volumes"
        body = {"volume": {"size": size_gb}}
        volume_id: str = self.ask("volume", "POST", path, 202, json=body)["volume"]["id"]
        return volume_id

    # -- servers ---------------------------------------------------------------------------------
    def launch(self, image_id: str, status: int = 202, **more: Any) -> Any:
        """The id of a new server, or the refusal's body where ``status`` says so."""
        server = {"name": "vm", "imageRef": image_id, "flavorRef": "1", "networks": "auto", **more}
        answer = self.ask("compute", "POST", "/v2.1/servers", status, json={"server": server})
        return answer["server"]["id"] if status == 202 else answer

    def server(self, server_id: str) -> dict[str, Any]:
        found: dict[str, Any] = self.ask("compute", "GET", f"/v2.1/servers/{server_id}", 200)
        server: dict[str, Any] = found["server"]
        return server

    def status(self, server_id: str) -> str:
        """The server's status; empty when there is none (any more)."""
        answer = self.call("compute", "GET", f"/v2.1/servers/{server_id}")
        return str(answer.json()["server"]["status"]) if answer.status_code == 200 else ""

    def act(self, server_id: str, status: int = 202, **action: Any) -> Any:
        """One action: ``os_start={}`` for os-start, ``reboot={"type": "SOFT"}``."""
        body = {name.replace("os_", "os-"): value for name, value in action.items()}
        path = f"/v2.1/servers/{server_id}/action"
        return self.ask("compute", "POST", path, status, json=body)

    def delete(self, server_id: str, status: int = 204) -> Any:
        return self.ask("compute", "DELETE", f"/v2.1/servers/{server_id}", status)

    def trace(self, server_id: str) -> list[dict[str, Any]]:
        """The 28 steps."""
        path = f"/v2.1/servers/{server_id}/minicloud-trace"
        steps: list[dict[str, Any]] = self.ask("compute", "GET", path, 200)["trace"]["steps"]
        return steps
