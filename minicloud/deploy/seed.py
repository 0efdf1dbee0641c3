"""Stage: what a new cloud has in it: flavors, networks, an image, a key pair, open ssh.

All by the cloud's own REST interfaces, as any client would; what is there already is left alone.
"""

from __future__ import annotations

from typing import Any

from minicloud.client.identity import Credentials, ServiceSession
from minicloud.client.rest import RestClient
from minicloud.deploy import clouds, files
from minicloud.deploy.config import IDENTITY_PORT
from minicloud.deploy.image import BUILT, source
from minicloud.deploy.places import Places
from minicloud.deploy.settings import Settings
from minicloud.deploy.stage import StageFailed
from minicloud.domain.errors import MinicloudError

IMAGE = "tiny"
_QCOW2 = b"QFI\xfb"
"""What a qcow2 file begins with."""

KEY = "demo"
PUBLIC_NETWORK = "public"
PRIVATE_NETWORK = "private"
ROUTER = "router1"
FLAVORS = (
    # name, id as DevStack's, VCPUs, RAM in MiB, disk in GiB
    ("m1.nano", "42", 1, 192, 1),
    ("m1.micro", "84", 1, 256, 1),
    ("m1.tiny", "1", 1, 512, 1),
    ("m1.small", "2", 1, 2048, 20),
    ("m1.medium", "3", 2, 4096, 40),
    ("m1.large", "4", 4, 8192, 80),
)


class Account:
    """One user's way to the services."""

    def __init__(self, settings: Settings, user: str, password: str) -> None:
        session = ServiceSession(
            Credentials(
                url=f"http://{settings.host}:{IDENTITY_PORT}/v3",
                username=user,
                password=password,
                project_name=user,
                domain_name="Default",
            )
        )
        self.token = session.token

        def client(service: str, suffix: str = "") -> RestClient:
            return RestClient(
                service,
                lambda: session.endpoint(service).rstrip("/") + suffix,
                lambda: {"X-Auth-Token": session.token()},
                session=session.http,
                timeout_s=120,
            )

        self.identity = client("identity")
        self.compute = client("compute")
        self.image = client("image", "/v2")
        self.network = client("network", "/v2.0")


class Seed:
    def __init__(self, places: Places, settings: Settings) -> None:
        self._places = places
        self._settings = settings

    def ensure(self) -> str:
        """Everything is there; says what was made."""
        made: list[str] = []
        try:
            admin = Account(self._settings, "admin", self._settings.admin_password)
            demo = Account(self._settings, "demo", self._settings.demo_password)
            alt = Account(self._settings, "alt_demo", self._settings.alt_password)
            self._flavors(admin, made)
            self._networks(admin, demo, made)
            ensure_router(demo, made)
            for account in (demo, alt):
                open_ssh(account, made)
            self._image(admin, made)
            self._key(demo, made)
        except MinicloudError as problem:
            raise StageFailed(
                "The cloud could not be filled.", problem.message, "see the logs of the services",
                self._places.log("api"),
            ) from problem  # fmt: skip
        return f"made {', '.join(dict.fromkeys(made))}" if made else "all there"

    def _flavors(self, admin: Account, made: list[str]) -> None:
        known = {f["id"] for f in admin.compute.get("/flavors/detail").json["flavors"]}
        missing = [flavor for flavor in FLAVORS if flavor[1] not in known]
        for name, flavor_id, vcpus, ram, disk in missing:
            body = {"name": name, "id": flavor_id, "vcpus": vcpus, "ram": ram, "disk": disk}
            admin.compute.post("/flavors", {"flavor": body})
        if missing:
            made.append("flavors")

    def _networks(self, admin: Account, demo: Account, made: list[str]) -> None:
        ensure_network(
            admin, PUBLIC_NETWORK, {"router:external": True},
            {"name": "public-subnet", "cidr": "172.24.4.0/24", "enable_dhcp": False}, made,
        )  # fmt: skip
        ensure_network(
            demo, PRIVATE_NETWORK, {}, {"name": "private-subnet", "cidr": "10.0.0.0/26"}, made
        )

    def _image(self, admin: Account, made: list[str]) -> None:
        """The demo image, public.

        One whose upload broke off, or that is from elsewhere than the file, is made anew.
        """
        origin = source(self._places.demo_image)
        for image in admin.image.get("/images", name=IMAGE).json["images"]:
            if image["status"] == "active" and image.get("demo_source", BUILT) == origin:
                return
            admin.image.delete(f"/images/{image['id']}")
        with self._places.demo_image.open("rb") as data:
            is_qcow2 = data.read(len(_QCOW2)) == _QCOW2
        body = {
            "name": IMAGE, "disk_format": "qcow2" if is_qcow2 else "raw",
            "container_format": "bare", "visibility": "public", "os_admin_user": "cirros",
            "demo_source": origin,
        }  # fmt: skip
        image_id = admin.image.post("/images", body).json["id"]
        with self._places.demo_image.open("rb") as data:
            admin.image.upload(f"/images/{image_id}/file", data)
        made.append("image")

    def _key(self, demo: Account, made: list[str]) -> None:
        """A key pair for the demo user; its private half goes to the person who set this up."""
        path, uid, gid = clouds.demo_key(self._places)
        known = {k["keypair"]["name"] for k in demo.compute.get("/os-keypairs").json["keypairs"]}
        if KEY in known and path.exists():
            return
        if KEY in known:
            demo.compute.delete(f"/os-keypairs/{KEY}")
        pair = demo.compute.post("/os-keypairs", {"keypair": {"name": KEY}}).json["keypair"]
        files.write(path, pair["private_key"], mode=0o600, uid=uid, gid=gid)
        made.append("key")


def ensure_network(
    account: Account,
    name: str,
    network: dict[str, Any],
    subnet: dict[str, Any],
    made: list[str],
) -> None:
    found = account.network.get("/networks", name=name).json["networks"]
    if not found:
        body = {"network": {"name": name, **network}}
        found = [account.network.post("/networks", body).json["network"]]
        made.append("networks")
    network_id = found[0]["id"]
    if not account.network.get("/subnets", network_id=network_id).json["subnets"]:
        body = {"subnet": {"network_id": network_id, "ip_version": 4, **subnet}}
        account.network.post("/subnets", body)


def ensure_router(account: Account, made: list[str]) -> None:
    """The private network's way out, and the way of floating IPs in."""
    if account.network.get("/routers", name=ROUTER).json["routers"]:
        return
    network = account.network.get("/networks", name=PRIVATE_NETWORK).json["networks"][0]
    external = account.network.get("/networks", name=PUBLIC_NETWORK).json["networks"][0]
    gateway = {"network_id": external["id"]}
    body = {"router": {"name": ROUTER, "external_gateway_info": gateway}}
    router_id = account.network.post("/routers", body).json["router"]["id"]
    for subnet_id in network["subnets"]:
        path = f"/routers/{router_id}/add_router_interface"
        account.network.request("PUT", path, body={"subnet_id": subnet_id})
    made.append("router")


def open_ssh(account: Account, made: list[str]) -> None:
    """The project's default group lets ssh and ping in, as a person who tries it expects."""
    groups = account.network.get("/security-groups", name="default").json["security_groups"]
    if not groups:
        return
    group = groups[0]
    known = {(r["protocol"], r["port_range_min"]) for r in group["security_group_rules"]}
    rules: tuple[tuple[str, int | None], ...] = (("tcp", 22), ("icmp", None))
    for protocol, port in rules:
        if (protocol, port) in known:
            continue
        rule = {
            "security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv4",
            "protocol": protocol, "port_range_min": port, "port_range_max": port,
        }  # fmt: skip
        account.network.post("/security-group-rules", {"security_group_rule": rule})
        made.append("ssh rules")
