"""A small real HTTP server that plays a whole cloud to the CLI.

It keeps what is made, checks tokens, and answers in the shapes and with the codes of the real
services. A launch moves on by one stage each time somebody looks at the server, so that a test
sees every stage without waiting.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import time
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from minicloud.domain.steps import STEPS

TOKEN = "gAAAAfake"
PASSWORD = "s3cret"
_STAGES = ((3, 7), (8, 13), (14, 21), (22, 24), (25, 27), (28, 28))
"""First and last of the 28 steps that each look at a building server reveals."""


class Refused(Exception):
    def __init__(self, status: int, body: Any) -> None:
        self.status, self.body = status, body


def _nova(status: int, kind: str, message: str) -> Refused:
    return Refused(status, {kind: {"code": status, "message": message}})


class FakeCloud:
    """State, and a method a route; see ``_ROUTES``."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, str]] = []
        self.images: dict[str, dict[str, Any]] = {}
        self.data: dict[str, bytes] = {}
        self.networks: dict[str, dict[str, Any]] = {}
        self.subnets: dict[str, dict[str, Any]] = {}
        self.keys: dict[str, dict[str, Any]] = {}
        self.volumes: dict[str, dict[str, Any]] = {}
        self.actions: list[dict[str, Any]] = []
        self.servers: dict[str, dict[str, Any]] = {}
        self.looks: dict[str, int] = {}
        self.asked: list[dict[str, Any]] = []
        """Bodies of the launches."""
        self.fails_with = ""
        """The fault that launches end with."""
        self.away = 0
        """How many looks at a server find the service away."""
        self.moves = False
        """Whether launches fail on their first host and go to another."""
        self.without_trace = False
        """Whether compute is one that has no trace."""
        self.address = "10.0.0.7"
        """Of servers that come up."""
        self.is_admin = False
        self.page = 1000
        """Things a page of a list."""
        self.flavors = [
            {"id": str(n), "name": name, "vcpus": vcpus, "ram": ram, "disk": disk, "swap": 0,
             "description": None, "OS-FLV-EXT-DATA:ephemeral": 0, "extra_specs": {},
             "os-flavor-access:is_public": True}
            for n, (name, vcpus, ram, disk) in enumerate(
                [("m1.small", 1, 2048, 20), ("m1.tiny", 1, 512, 1), ("m1.nano", 1, 192, 1)], 1)
        ]  # fmt: skip

    # -- what a test puts in ---------------------------------------------------------------------
    def add_image(self, name: str, **facts: Any) -> dict[str, Any]:
        image = {
            "id": str(uuid.uuid4()), "name": name, "status": "active", "visibility": "public",
            "disk_format": "qcow2", "container_format": "bare", "size": 21_700_000,
            "virtual_size": 83_886_080, "min_disk": 0, "min_ram": 0, "owner": "p",
            "os_hash_algo": "sha512", "os_hash_value": "abc", "checksum": "0" * 32,
            "created_at": "2026-11-23T08:00:00Z", "updated_at": "2026-11-23T08:00:00Z",
            "protected": False, "os_hidden": False, "tags": [], **facts,
        }  # fmt: skip
        self.images[image["id"]] = image
        return image

    def add_network(self, name: str, cidr: str) -> dict[str, Any]:
        network = self.network_create({"network": {"name": name}})[1]["network"]
        self.subnet_create({"subnet": {"network_id": network["id"], "name": name, "cidr": cidr}})
        return network

    def add_server(self, name: str, **facts: Any) -> dict[str, Any]:
        """A server that is up."""
        server = {
            "id": str(uuid.uuid4()), "name": name, "status": "ACTIVE", "metadata": {},
            "OS-EXT-STS:task_state": None, "created": "2026-11-23T08:00:00Z",
            "OS-SRV-USG:launched_at": "2026-11-23T08:00:01.000000", "key_name": None,
            "image": "", "flavor": {"original_name": "m1.nano", "vcpus": 1, "ram": 192},
            "addresses": _addresses("10.0.0.5"), "os-extended-volumes:volumes_attached": [],
            **facts,
        }  # fmt: skip
        self.servers[server["id"]] = server
        self.looks[server["id"]] = len(_STAGES) + 1
        return server

    # -- identity --------------------------------------------------------------------------------
    def token(self, body: Any) -> Any:
        user = body["auth"]["identity"]["password"]["user"]
        if user["password"] != PASSWORD:
            raise Refused(401, {"error": {"code": 401, "title": "Unauthorized", "message": "No."}})
        catalog = [
            {"type": kind, "name": kind, "endpoints": [
                {"interface": "public", "region": "RegionOne", "url": self.url + path}]}
            for kind, path in (("compute", "/v2.1"), ("image", "/image"), ("network", "/network"),
                               ("block-storage", "/v3/p"))
        ]  # fmt: skip
        return 201, {"token": {"user": {"id": "u", "name": user["name"]}, "catalog": catalog}}

    # -- images ----------------------------------------------------------------------------------
    def image_list(self) -> Any:
        return 200, {"images": list(self.images.values()), "schema": "/v2/schemas/images"}

    def image_show(self, id: str) -> Any:
        if id not in self.images:
            raise Refused(404, {"message": "No image<br /><br />", "code": "404 Not Found"})
        return 200, self.images[id]

    def image_create(self, body: Any) -> Any:
        if body.get("visibility") == "public" and not self.is_admin:
            raise Refused(403, {"message": "You are not allowed to publicize images."})
        empty = {"status": "queued", "size": None, "virtual_size": None, "visibility": "shared"}
        return 201, self.add_image(body.pop("name"), **{**empty, **body})

    def image_upload(self, id: str, data: bytes) -> Any:
        image = self.images[id]
        if (image["disk_format"] == "qcow2") != data.startswith(b"QFI\xfb"):
            raise Refused(400, {"message": "Image is unacceptable: it is no qcow2"})
        self.data[id] = data
        image |= {"status": "active", "size": len(data), "virtual_size": len(data)}
        return 204, None

    def image_delete(self, id: str) -> Any:
        self.image_show(id)
        del self.images[id]
        return 204, None

    # -- networks --------------------------------------------------------------------------------
    def network_list(self) -> Any:
        return 200, {"networks": list(self.networks.values())}

    def network_show(self, id: str) -> Any:
        return 200, {"network": self.networks[id]}

    def network_create(self, body: Any) -> Any:
        network = {
            "id": str(uuid.uuid4()), "status": "ACTIVE", "mtu": 1450, "shared": False,
            "router:external": False, "subnets": [], "project_id": "p", **body["network"],
        }  # fmt: skip
        self.networks[network["id"]] = network
        return 201, {"network": network}

    def network_delete(self, id: str) -> Any:
        if any(server["status"] == "ACTIVE" for server in self.servers.values()):
            message = "Unable to complete operation: There are one or more ports still in use."
            raise Refused(409, {"NeutronError": {"type": "NetworkInUse", "message": message,
                                                 "detail": ""}})  # fmt: skip
        del self.networks[id]
        return 204, None

    def subnet_list(self) -> Any:
        return 200, {"subnets": list(self.subnets.values())}

    def subnet_create(self, body: Any) -> Any:
        subnet = {"id": str(uuid.uuid4()), "dns_nameservers": [], **body["subnet"]}
        if "/" not in subnet["cidr"]:
            message = f"Invalid input for cidr: '{subnet['cidr']}' is not a valid IP subnet."
            raise Refused(400, {"NeutronError": {"type": "HTTPBadRequest", "message": message,
                                                 "detail": ""}})  # fmt: skip
        subnet["gateway_ip"] = subnet["cidr"].partition("/")[0][:-1] + "1"
        self.subnets[subnet["id"]] = subnet
        return 201, {"subnet": subnet}

    # -- volumes ---------------------------------------------------------------------------------
    def volume_list(self) -> Any:
        return 200, {"volumes": list(self.volumes.values())}

    def volume_show(self, id: str) -> Any:
        if id not in self.volumes:
            raise _nova(404, "itemNotFound", f"Volume {id} could not be found.")
        volume = self.volumes[id]
        if volume["status"] == "deleting":
            del self.volumes[id]
        elif volume["status"] == "creating":
            volume["status"] = "available"
        return 200, {"volume": volume}

    def volume_create(self, body: Any) -> Any:
        volume = {
            "id": str(uuid.uuid4()), "status": "creating", "attachments": [], "metadata": {},
            "volume_type": "__DEFAULT__", "created_at": "2026-11-23T08:00:00.000000",
            **body["volume"],
        }  # fmt: skip
        self.volumes[volume["id"]] = volume
        return 202, {"volume": volume}

    def volume_delete(self, id: str) -> Any:
        self.volumes[id]["status"] = "deleting"
        return 202, None

    # -- compute ---------------------------------------------------------------------------------
    def flavor_list(self) -> Any:
        return 200, {"flavors": self.flavors}

    def key_list(self) -> Any:
        return 200, {"keypairs": [{"keypair": key} for key in self.keys.values()]}

    def key_create(self, body: Any) -> Any:
        key = body["keypair"]
        if key["name"] in self.keys:
            message = f"Key pair '{key['name']}' already exists."
            raise _nova(409, "conflictingRequest", message)
        self.keys[key["name"]] = {**key, "fingerprint": "aa:bb:cc", "user_id": "u"}
        return 201, {"keypair": self.keys[key["name"]]}

    def key_delete(self, id: str) -> Any:
        if id not in self.keys:
            raise _nova(404, "itemNotFound", f"Keypair {id} not found for user u")
        del self.keys[id]
        return 204, None

    def hypervisor_list(self) -> Any:
        if not self.is_admin:
            action = "os_compute_api:os-hypervisors:list-detail"
            message = f"Policy doesn't allow {action} to be performed."
            raise _nova(403, "forbidden", message)
        return 200, {"hypervisors": [
            {"id": str(uuid.UUID(int=n)), "hypervisor_hostname": f"lab{n}", "state": state,
             "status": "enabled", "hypervisor_type": "QEMU", "hypervisor_version": 7002022,
             "host_ip": "192.0.2.1", "vcpus": 4, "vcpus_used": n, "memory_mb": 8192,
             "memory_mb_used": 512 * n, "local_gb": 100, "local_gb_used": n, "running_vms": n,
             "service": {"id": "s", "host": f"lab{n}", "disabled_reason": None},
             "cpu_info": {"arch": "x86_64", "model": "Skylake-Server"}}
            for n, state in ((1, "up"), (2, "down"))
        ]}  # fmt: skip

    def server_list(self, marker: str = "") -> Any:
        ids = list(self.servers)
        first = ids.index(marker) + 1 if marker else 0
        shown = ids[first : first + self.page]
        body: dict[str, Any] = {"servers": [self.servers[id] for id in shown]}
        if first + self.page < len(ids):
            body["servers_links"] = [{"rel": "next", "href": "whichever"}]
        return 200, body

    def server_create(self, body: Any) -> Any:
        wish = body["server"]
        self.asked.append(wish)
        image = self.images[wish["imageRef"]]
        flavor = next(f for f in self.flavors if f["id"] == wish["flavorRef"])
        if wish.get("key_name") not in {None, *self.keys}:
            raise _nova(400, "badRequest", "Invalid key_name provided.")
        server = self.add_server(
            wish["name"], status="BUILD", addresses={}, image={"id": image["id"]},
            flavor={"original_name": flavor["name"], "vcpus": 1, "ram": flavor["ram"]},
            key_name=wish.get("key_name"), metadata=wish.get("metadata", {}),
            **{"OS-EXT-STS:task_state": "scheduling", "OS-SRV-USG:launched_at": None},
        )  # fmt: skip
        self.looks[server["id"]] = 0
        return 202, {"server": {"id": server["id"], "links": []}}

    def server_show(self, id: str) -> Any:
        if self.away:
            self.away -= 1
            raise _nova(503, "serviceUnavailable", "It is starting.")
        if id not in self.servers:
            raise _nova(404, "itemNotFound", f"Instance {id} could not be found.")
        server = self.servers[id]
        if server["OS-EXT-STS:task_state"] == "deleting":
            del self.servers[id]
        elif server["status"] == "BUILD":
            self.looks[id] += 1
            if self.fails_with and self.looks[id] > 1:
                server |= {
                    "status": "ERROR",
                    "OS-EXT-STS:task_state": None,
                    "fault": {
                        "code": 500,
                        "created": server["created"],
                        "message": self.fails_with,
                    },
                }
            elif self.looks[id] > len(_STAGES):
                server |= {"status": "ACTIVE", "OS-EXT-STS:task_state": None,
                           "addresses": _addresses(self.address)}  # fmt: skip
        return 200, {"server": server}

    def server_trace(self, id: str) -> Any:
        if self.without_trace:
            raise Refused(404, {"itemNotFound": {"code": 404, "message": "Not Found"}})
        looks = self.looks[id]
        known = _STAGES[min(looks, len(_STAGES)) - 1][1] if looks else 0
        # A launch that moves is placed anew at the fourth look, and the second host is heard of
        # one look later: until then the first one's steps are still there.
        placed = "lab2" if self.moves and looks >= 4 else "lab1"
        worked = "lab2" if self.moves and looks >= 5 else "lab1"
        steps = [self._step(step.number, known, placed, worked) for step in STEPS]
        trace = {"server_id": id, "request_id": "req-1", "steps": steps}
        return 200, {"trace": trace}

    def _step(self, number: int, known: int, placed: str, worked: str) -> dict[str, Any]:
        step = STEPS[number - 1]
        details = {11: placed, 21: "cached on this host", 24: self.address, 27: "1 volumes"}
        done = number <= known
        return {
            "number": number, "name": step.name, "sentence": step.sentence, "where": step.where,
            "start": time.time() - 60 + number * 0.02 if done else None,
            "duration": 0.015 if done else None, "service": step.where if done else None,
            "host": (worked if step.where == "compute" else "ctl") if done else None,
            "result": "Success" if done else None,
            "detail": details.get(number, "") if done else "",
        }  # fmt: skip

    def server_delete(self, id: str) -> Any:
        self.servers[id]["OS-EXT-STS:task_state"] = "deleting"
        return 204, None

    def server_action(self, id: str, body: Any) -> Any:
        server = self.servers[id]
        ((verb, wish),) = body.items()
        if verb == "os-getConsoleOutput":
            lines = [f"line {n}" for n in range(1, 6)]
            return 200, {"output": "\n".join(lines[-(wish.get("length") or 5) :]) + "\n"}
        allowed, status = {
            "os-start": ("SHUTOFF", "ACTIVE"), "os-stop": ("ACTIVE", "SHUTOFF"),
            "reboot": ("ACTIVE", "ACTIVE"),
            "pause": ("ACTIVE", "PAUSED"), "unpause": ("PAUSED", "ACTIVE"),
            "suspend": ("ACTIVE", "SUSPENDED"), "resume": ("SUSPENDED", "ACTIVE"),
            "rescue": ("ACTIVE", "RESCUE"), "unrescue": ("RESCUE", "ACTIVE"),
            "shelve": ("ACTIVE", "SHELVED_OFFLOADED"), "unshelve": ("SHELVED_OFFLOADED", "ACTIVE"),
            "resize": ("ACTIVE", "VERIFY_RESIZE"), "rebuild": ("ACTIVE", "ACTIVE"),
            "confirmResize": ("VERIFY_RESIZE", "ACTIVE"),
            "revertResize": ("VERIFY_RESIZE", "ACTIVE"), "createImage": ("ACTIVE", "ACTIVE"),
        }[verb]  # fmt: skip
        self.actions.append(body)
        if server["status"] != allowed:
            word = verb.removeprefix("os-")
            message = f"Cannot '{word}' instance {id} while it is in vm_state stopped"
            raise _nova(409, "conflictingRequest", message)
        server["status"] = status
        if verb == "createImage":
            made = self.image_create({"name": wish["name"], "disk_format": "qcow2"})[1]
            made["status"] = "active"
            return 202, {"image_id": made["id"]}
        return 202, None

    def server_console(self, id: str, body: Any) -> Any:
        wish = body["remote_console"]
        return 200, {"remote_console": {**wish, "url": f"http://console/{wish['type']}"}}


def _addresses(address: str) -> dict[str, Any]:
    nic = {"version": 4, "addr": address, "OS-EXT-IPS:type": "fixed"}
    return {"private": [nic]}


_ROUTES = {
    "POST /v3/auth/tokens": FakeCloud.token,
    "GET /image/v2/images": FakeCloud.image_list,
    "POST /image/v2/images": FakeCloud.image_create,
    "GET /image/v2/images/{id}": FakeCloud.image_show,
    "DELETE /image/v2/images/{id}": FakeCloud.image_delete,
    "PUT /image/v2/images/{id}/file": FakeCloud.image_upload,
    "GET /network/v2.0/networks": FakeCloud.network_list,
    "POST /network/v2.0/networks": FakeCloud.network_create,
    "GET /network/v2.0/networks/{id}": FakeCloud.network_show,
    "DELETE /network/v2.0/networks/{id}": FakeCloud.network_delete,
    "GET /network/v2.0/subnets": FakeCloud.subnet_list,
    "POST /network/v2.0/subnets": FakeCloud.subnet_create,
    "GET /v3/p/volumes/detail": FakeCloud.volume_list,
    "POST /v3/p/volumes": FakeCloud.volume_create,
    "GET /v3/p/volumes/{id}": FakeCloud.volume_show,
    "DELETE /v3/p/volumes/{id}": FakeCloud.volume_delete,
    "GET /v2.1/flavors/detail": FakeCloud.flavor_list,
    "GET /v2.1/os-keypairs": FakeCloud.key_list,
    "POST /v2.1/os-keypairs": FakeCloud.key_create,
    "DELETE /v2.1/os-keypairs/{id}": FakeCloud.key_delete,
    "GET /v2.1/os-hypervisors/detail": FakeCloud.hypervisor_list,
    "GET /v2.1/servers/detail": FakeCloud.server_list,
    "POST /v2.1/servers": FakeCloud.server_create,
    "GET /v2.1/servers/{id}": FakeCloud.server_show,
    "GET /v2.1/servers/{id}/minicloud-trace": FakeCloud.server_trace,
    "DELETE /v2.1/servers/{id}": FakeCloud.server_delete,
    "POST /v2.1/servers/{id}/action": FakeCloud.server_action,
    "POST /v2.1/servers/{id}/remote-consoles": FakeCloud.server_console,
}
_MATCHERS = [
    (re.compile(route.replace("{id}", "(?P<id>[^/]+)")), method)
    for route, method in _ROUTES.items()
]


def _handler(cloud: FakeCloud) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            cloud.requests.append((self.command, self.path))

        def answer(self) -> None:
            url = urlsplit(self.path)
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                status, body = self._serve(url.path, data, parse_qs(url.query))
            except Refused as refused:
                status, body = refused.status, refused.body
            content = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            if url.path.endswith("/auth/tokens") and status == 201:
                self.send_header("X-Subject-Token", TOKEN)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _serve(self, path: str, data: bytes, query: dict[str, list[str]]) -> Any:
            for pattern, method in _MATCHERS:
                match = pattern.fullmatch(f"{self.command} {path}")
                if match is None:
                    continue
                if method is not FakeCloud.token and self.headers["X-Auth-Token"] != TOKEN:
                    raise Refused(401, {"error": {"code": 401, "message": "Who are you?"}})
                given: dict[str, Any] = dict(match.groupdict())
                if self.headers.get("Content-Type") == "application/octet-stream":
                    given["data"] = data
                elif data:
                    given["body"] = json.loads(data)
                if "marker" in query:
                    given["marker"] = query["marker"][0]
                return method(cloud, **given)
            raise Refused(404, {"itemNotFound": {"code": 404, "message": f"No route {path}"}})

        do_GET = do_POST = do_PUT = do_DELETE = answer

    return Handler


@contextlib.contextmanager
def fake_cloud() -> Iterator[FakeCloud]:
    """It runs on a free loopback port while the block lasts; ``url`` says where."""
    cloud = FakeCloud()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(cloud))
    server.daemon_threads = True
    cloud.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield cloud
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def environment(cloud: FakeCloud) -> dict[str, str]:
    """OS_* variables of a user of it."""
    return {
        "OS_AUTH_URL": cloud.url, "OS_USERNAME": "demo", "OS_PASSWORD": PASSWORD,
        "OS_PROJECT_NAME": "demo", "OS_CLOUD": "",
    }  # fmt: skip
