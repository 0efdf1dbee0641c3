"""The real ``openstack`` network commands against a whole cloud in this process.

A test reads like a person's afternoon: what was asked for is looked at with another command.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from clients.command_line import CommandLine
from cloud import Cloud
from identity import PASSWORDS
from user import User

pytestmark = pytest.mark.clients
MAC = "fa:16:3e:11:22:33"


class Shells:
    """A cloud with a public network, and two accounts' command lines."""

    def __init__(self, directory: Path) -> None:
        self.cloud = Cloud(directory)
        self.admin, self.demo = self._client("admin"), self._client("demo")
        self.project = User(self.cloud.rest, "demo").project_id
        self.admin("network create --external --default public")
        self.admin(
            "subnet create --network public --subnet-range 172.24.4.0/24 --no-dhcp "
            "--allocation-pool start=172.24.4.10,end=172.24.4.200 public-subnet"
        )

    def _client(self, name: str) -> CommandLine:
        return CommandLine(
            "--os-auth-url", self.cloud.rest.services["identity"].url + "/v3",
            "--os-username", name, "--os-password", PASSWORDS[name], "--os-project-name", name,
            "--os-user-domain-name", "Default", "--os-project-domain-name", "Default",
        )  # fmt: skip

    def report(self, host: str) -> None:
        """As a host that asks for its wiring."""
        User(self.cloud.rest, "minicloud").ask(
            "network", "PUT", f"/v2.0/minicloud-host-wiring/{host}", 200,
            json={"host": {"is_gateway": True}},
        )  # fmt: skip


@pytest.fixture(scope="module")
def shells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shells]:
    shells = Shells(tmp_path_factory.mktemp("cloud"))
    yield shells
    shells.cloud.close()


@pytest.fixture
def demo(shells: Shells) -> CommandLine:
    return shells.demo


@pytest.fixture
def admin(shells: Shells) -> CommandLine:
    return shells.admin


def names(client: CommandLine, line: str) -> set[str]:
    return {row["Name"] for row in client.json(line)}


def network(client: CommandLine, name: str, cidr: str) -> None:
    client(f"network create {name}")
    client(f"subnet create --network {name} --subnet-range {cidr} {name}-subnet")


def test_networks_and_subnets(demo: CommandLine) -> None:
    made = demo.json("network create --mtu 1400 --disable-port-security --tag t1 --tag t2 lan")
    assert (made["mtu"], made["port_security_enabled"], made["tags"]) == (1400, False, ["t1", "t2"])
    demo("network set --enable-port-security --name lan2 --description d lan")
    assert demo.json("network show lan2")["port_security_enabled"] is True
    assert names(demo, "network list --external --enable") == {"public"}
    assert names(demo, "network list --tags t1") == {"lan2"}
    assert names(demo, "network list --not-tags t1") >= {"public"}
    demo("network unset --all-tag lan2")
    subnet = demo.json(
        "subnet create --network lan2 --subnet-range 10.7.0.0/26 --dns-nameserver 192.0.2.53 "
        "--host-route destination=10.9.0.0/24,gateway=10.7.0.9 --gateway auto four"
    )
    assert (subnet["gateway_ip"], subnet["dns_nameservers"]) == ("10.7.0.1", ["192.0.2.53"])
    demo("subnet set --dns-nameserver 192.0.2.54 --no-host-route four")
    demo("subnet unset --dns-nameserver 192.0.2.53 four")
    shown = demo.json("subnet show four")
    assert (shown["dns_nameservers"], shown["host_routes"]) == (["192.0.2.54"], [])
    six = demo.json(
        "subnet create --network lan2 --ip-version 6 --subnet-range fd00:7::/64 "
        "--ipv6-ra-mode slaac --ipv6-address-mode slaac six"
    )
    assert (six["ipv6_ra_mode"], six["gateway_ip"]) == ("slaac", "fd00:7::1")
    assert names(demo, "subnet list --network lan2 --ip-version 6") == {"six"}
    assert "overlaps" in demo.refused("subnet create --network lan2 --subnet-range 10.7.0.0/27 x")
    demo("subnet delete four six")
    demo("network delete lan2")
    assert "lan2" not in names(demo, "network list")


def test_ports_in_full(demo: CommandLine) -> None:
    network(demo, "ports", "10.6.0.0/26")
    made = demo.json(
        f"port create --network ports --fixed-ip subnet=ports-subnet,ip-address=10.6.0.20 "
        f"--mac-address {MAC} --allowed-address ip-address=10.6.0.0/28 --dns-name web --tag a "
        "--extra-dhcp-option name=bootfile-name,value=pxe.0 p1"
    )
    assert made["allowed_address_pairs"] == [{"ip_address": "10.6.0.0/28", "mac_address": MAC}]
    assert made["extra_dhcp_opts"][0]["opt_value"] == "pxe.0"
    assert (made["dns_name"], made["tags"]) == ("web", ["a"])
    assert names(demo, "port list --network ports --fixed-ip ip-substring=6.0.2") == {"p1"}
    assert names(demo, f"port list --mac-address {MAC} --long") == {"p1"}
    demo("port set --disable --no-allowed-address --fixed-ip ip-address=10.6.0.21 p1")
    shown = demo.json("port show p1")
    assert (shown["admin_state_up"], shown["allowed_address_pairs"]) == (False, [])
    assert len(shown["fixed_ips"]) == 2
    demo("port unset --fixed-ip subnet=ports-subnet,ip-address=10.6.0.20 p1")
    assert [ip["ip_address"] for ip in demo.json("port show p1")["fixed_ips"]] == ["10.6.0.21"]
    demo("port set --no-security-group --disable-port-security p1")
    assert demo.json("port show p1")["port_security_enabled"] is False
    assert "in use" in demo.refused("network delete ports")
    demo("port delete p1")
    demo("network delete ports")


def test_routers(demo: CommandLine, admin: CommandLine, shells: Shells) -> None:
    network(demo, "r-lan", "10.5.0.0/26")
    made = demo.json("router create --external-gateway public --tag x r1")
    assert made["external_gateway_info"]["enable_snat"] is True
    admin("router set --disable-snat --external-gateway public "
              "--fixed-ip ip-address=172.24.4.50 r1")  # fmt: skip
    info = demo.json("router show r1")["external_gateway_info"]
    assert info["enable_snat"] is False
    assert info["external_fixed_ips"][0]["ip_address"] == "172.24.4.50"
    demo("router add subnet r1 r-lan-subnet")
    (interface,) = demo.json("router show r1")["interfaces_info"]
    assert interface["ip_address"] == "10.5.0.1"
    assert names(demo, "port list --router r1") == {""}
    demo("router add route --route destination=10.50.0.0/24,gateway=10.5.0.30 r1")
    demo("router set --route destination=10.51.0.0/24,gateway=10.5.0.30 r1")
    demo("router remove route --route destination=10.50.0.0/24,gateway=10.5.0.30 r1")
    assert [route["destination"] for route in demo.json("router show r1")["routes"]] == [
        "10.51.0.0/24"
    ]
    demo("router unset --route destination=10.51.0.0/24,gateway=10.5.0.30 r1")
    demo("port create --network r-lan rp")
    demo("router create r2")
    demo("router add port r2 rp")
    assert names(demo, "router list --tags x") == {"r1"}
    shells.report("lab1")
    (agent,) = admin.json("network agent list --router r1")
    assert (agent["Host"], agent["Alive"]) == ("lab1", True)
    assert names(admin, f"router list --agent {agent['ID']}") >= {"r1", "r2"}
    assert "active ports" in demo.refused("router delete r1")
    demo("router remove port r2 rp")
    demo("router remove subnet r1 r-lan-subnet")
    demo("router unset --external-gateway r1")
    demo("router delete r1 r2")
    demo("network delete r-lan")


def test_floating_ips_and_forwarded_ports(
    demo: CommandLine, admin: CommandLine, shells: Shells
) -> None:
    network(demo, "f-lan", "10.4.0.0/26")
    demo("router create --external-gateway public f-router")
    demo("router add subnet f-router f-lan-subnet")
    port = demo.json("port create --network f-lan f-port")
    inner = port["fixed_ips"][0]["ip_address"]
    made = demo.json("floating ip create --port f-port --description web --tag z public")
    assert (made["fixed_ip_address"], made["status"]) == (inner, "ACTIVE")
    (found,) = demo.json("floating ip list --port f-port --status ACTIVE --router f-router")
    assert found["ID"] == made["id"]
    demo(f"floating ip unset --port {made['floating_ip_address']}")
    assert demo.json(f"floating ip show {made['id']}")["port_id"] is None
    demo(f"floating ip set --port f-port --fixed-ip-address {inner} {made['id']}")
    assert "already has a floating IP" in demo.refused("floating ip create --port f-port public")
    second = admin.json(
        f"floating ip create --floating-ip-address 172.24.4.77 --project {shells.project} public"
    )["floating_ip_address"]
    forward = demo.json(
        f"floating ip port forwarding create --internal-ip-address {inner} --port f-port "
        f"--internal-protocol-port 22 --external-protocol-port 2222 --protocol tcp {second}"
    )
    assert forward["external_port"] == 2222
    demo("floating ip port forwarding set --external-protocol-port 2223 "
             f"{second} {forward['id']}")  # fmt: skip
    (listed,) = demo.json(f"floating ip port forwarding list {second}")
    assert listed["External Port"] == 2223
    shown = demo.json(f"floating ip port forwarding show {second} {forward['id']}")
    assert (shown["external_port"], shown["internal_port"]) == (2223, 22)
    demo(f"floating ip port forwarding delete {second} {forward['id']}")
    demo(f"floating ip delete {second} {made['floating_ip_address']}")
    assert demo.json("floating ip list") == []
    demo("router remove subnet f-router f-lan-subnet")
    demo("router delete f-router")
    demo("port delete f-port")
    demo("network delete f-lan")


def test_a_server_gets_a_floating_ip(demo: CommandLine, admin: CommandLine, shells: Shells) -> None:
    admin("flavor create --ram 64 --disk 1 --vcpus 1 tiny")
    image = User(shells.cloud.rest, "demo").make_image("disk", b"nothing")
    network(demo, "s-lan", "10.3.0.0/26")
    demo("router create --external-gateway public s-router")
    demo("router add subnet s-router s-lan-subnet")
    demo(f"server create --flavor tiny --image {image} --network s-lan web")
    shells.cloud.settle()
    address = demo.json("floating ip create public")["floating_ip_address"]
    demo(f"server add floating ip web {address}")
    shown = demo.json(f"floating ip show {address}")
    (port,) = demo.json("port list --server web")
    assert (shown["port_id"], shown["status"]) == (port["ID"], "ACTIVE")
    assert address in demo.json("server show web")["addresses"]["s-lan"]
    demo(f"server remove floating ip web {address}")
    assert demo.json(f"floating ip show {address}")["port_id"] is None
    assert address not in demo.json("server show web")["addresses"]["s-lan"]
    demo(f"server add floating ip web {address}")
    demo("server delete web")
    shells.cloud.settle()
    assert demo.json(f"floating ip show {address}")["port_id"] is None
    demo(f"floating ip delete {address}")
    demo("router remove subnet s-router s-lan-subnet")
    demo("router delete s-router")
    demo("network delete s-lan")


def test_security_groups_and_address_groups(demo: CommandLine, admin: CommandLine) -> None:
    made = demo.json("address group create --address 192.0.2.1 --description x offices")
    assert made["addresses"] == ["192.0.2.1/32"]
    demo("address group set --address 192.0.2.2 offices")
    demo("address group unset --address 192.0.2.1 offices")
    assert demo.json("address group show offices")["addresses"] == ["192.0.2.2/32"]
    assert names(demo, "address group list") == {"offices"}
    assert demo.json("security group create --stateless --tag y web")["stateful"] is False
    for rule in (
        "--protocol tcp --dst-port 80:90 --remote-ip 0.0.0.0/0",
        "--protocol icmp --icmp-type 8 --icmp-code 0",
        "--protocol tcp --dst-port 22 --remote-address-group offices",
        "--egress --ethertype IPv6 --protocol ipv6-icmp --remote-group web",
    ):
        demo(f"security group rule create {rule} web")
    rules = demo.json("security group rule list web")
    assert {rule["Port Range"] for rule in rules} >= {"80:90", "22:22"}
    assert len(demo.json("security group rule list --ingress web")) == 3
    assert "already" in demo.refused("security group rule create --protocol tcp --dst-port 80:90 "
                                   "--remote-ip 0.0.0.0/0 web")  # fmt: skip
    assert "in use" in demo.refused("address group delete offices")
    assert names(demo, "security group list --tags y") == {"web"}
    one = next(rule["ID"] for rule in rules if rule["Port Range"] == "80:90")
    shown = demo.json(f"security group rule show {one}")
    assert (shown["protocol"], shown["port_range_max"]) == ("tcp", 90)
    demo(f"security group rule delete {one}")
    assert one not in demo("security group rule list web")
    demo("security group set --name site --description d --tag z web")
    demo("security group unset --tag y site")
    shown = demo.json("security group show site")
    assert (shown["description"], shown["tags"]) == ("d", ["z"])
    demo("security group delete site")
    demo("address group delete offices")
    made = admin.json("default security group rule create --ingress --protocol tcp --dst-port 22")
    assert made["id"] in {rule["ID"] for rule in demo.json("default security group rule list")}
    assert admin.json(f"default security group rule show {made['id']}")["protocol"] == "tcp"
    admin(f"default security group rule delete {made['id']}")


def test_pools_scopes_and_sharing(demo: CommandLine, admin: CommandLine, shells: Shells) -> None:
    demo("address scope create --ip-version 4 scope")
    demo("address scope set --name scope2 scope")
    assert demo.json("address scope show scope2")["ip_version"] == 4
    assert names(demo, "address scope list") == {"scope2"}
    made = demo.json(
        "subnet pool create --pool-prefix 10.8.0.0/16 --default-prefix-length 24 "
        "--address-scope scope2 --tag q pool"
    )
    assert made["prefixes"] == ["10.8.0.0/16"]
    demo("subnet pool set --pool-prefix 10.9.0.0/16 --default-quota 100000 pool")
    demo("subnet pool unset --tag q pool")
    shown = demo.json("subnet pool show pool")
    assert (shown["prefixes"], shown["tags"]) == (["10.8.0.0/15"], [])
    assert names(demo, "subnet pool list --address-scope scope2") == {"pool"}
    demo("network create pooled")
    cut = demo.json("subnet create --network pooled --subnet-pool pool --prefix-length 25 cut")
    assert cut["cidr"] == "10.8.0.0/25"
    assert demo.json("network show pooled")["ipv4_address_scope"] is not None
    network(demo, "taken", "10.77.0.0/24")
    demo("subnet pool add network taken pool")
    assert "10.77.0.0/24" in demo.json("subnet pool show pool")["prefixes"]
    policy = admin.json(
        "network rbac create --type network --action access_as_shared --target-project alt_demo "
        "pooled"
    )
    (listed,) = admin.json("network rbac list --target-project alt_demo")
    assert listed["ID"] == policy["id"]
    admin(f"network rbac set --target-project demo {policy['id']}")
    shown = admin.json(f"network rbac show {policy['id']}")
    assert shown["target_project_id"] == shells.project
    (left,) = [row for row in admin.json("ip availability list --ip-version 4")
               if row["Network Name"] == "pooled"]  # fmt: skip
    assert (left["Total IPs"], left["Used IPs"]) == (125, 0)
    assert admin.json("ip availability show pooled")["total_ips"] == 125
    admin(f"network rbac delete {policy['id']}")
    demo("network delete pooled taken")
    demo("subnet pool delete pool")
    demo("address scope delete scope2")


def test_the_cloud_itself(demo: CommandLine, admin: CommandLine, shells: Shells) -> None:
    shells.report("lab1")
    (agent,) = admin.json("network agent list --host lab1")
    admin(f"network agent set --description x {agent['ID']}")
    assert admin.json(f"network agent show {agent['ID']}")["alive"] is True
    demo("router create --external-gateway public wanderer")
    shells.report("lab1")
    assert names(admin, f"router list --agent {agent['ID']}") == {"wanderer"}
    shells.report("lab2")
    (other,) = admin.json("network agent list --host lab2")
    admin(f"network agent remove router --l3 {agent['ID']} wanderer")
    assert names(admin, f"router list --agent {agent['ID']}") == set()
    admin(f"network agent add router --l3 {other['ID']} wanderer")
    assert [row["Host"] for row in admin.json("network agent list --router wanderer")] == ["lab2"]
    demo("router delete wanderer")
    assert "is alive" in admin.refused(f"network agent delete {other['ID']}")
    assert demo.json("availability zone list --network")[0]["Zone Name"] == "nova"
    assert "router" in {row["Alias"] for row in demo.json("extension list --network")}
    assert demo.json("extension show floating-ip-port-forwarding")["alias"]
    assert demo.json("network service provider list")
    project = shells.project
    admin(f"quota set --networks 50 --floating-ips 9 --routers 5 --subnetpools 3 {project}")

    def limits(line: str) -> dict[str, Any]:
        return {row["Resource"]: row for row in admin.json(line)}

    assert limits(f"quota show --network {project}")["routers"]["Limit"] == 5
    assert limits(f"quota show --network --usage {project}")["networks"]["In Use"] == 0
    admin(f"quota delete --network {project}")
    assert limits(f"quota show --network {project}")["routers"]["Limit"] != 5
    assert "No default pools" in demo.refused("network auto allocated topology create")
    admin("subnet pool create --pool-prefix 10.8.0.0/16 --default-prefix-length 24 --default "
              "--share shared-pool")  # fmt: skip
    made = demo.json("network auto allocated topology create")
    assert demo.json(f"network show {made['id']}")["name"] == "auto_allocated_network"
    demo("network auto allocated topology delete")
    admin("subnet pool delete shared-pool")
