"""``tools/join``: another machine becomes a compute host of this cloud.

This cloud writes a script for it, with the code, where the cloud is, and accounts that have the
rights of a compute host alone. What the script runs there is ``accept``.
"""

from __future__ import annotations

import base64
import io
import ipaddress
import pwd
import re
import socket
import subprocess
import tarfile
from pathlib import Path

import amqp  # type: ignore[import-untyped]  # ships no types
import msgspec

from minicloud.client.identity import Credentials, ServiceSession
from minicloud.deploy import account, config, files, host_access, pki, processes, settings
from minicloud.deploy.broker import VHOST, Broker, host_user
from minicloud.deploy.daemons import Daemons
from minicloud.deploy.host_access import HostAccess
from minicloud.deploy.hypervisor import Libvirt
from minicloud.deploy.ledger import Ledger
from minicloud.deploy.names import COMPUTE_ONLY
from minicloud.deploy.places import USER, Places
from minicloud.deploy.seed import Account
from minicloud.deploy.settings import Settings
from minicloud.deploy.stage import Stage, StageFailed, run_stages
from minicloud.deploy.up import keeper
from minicloud.deploy.virt_type import VirtType
from minicloud.domain.errors import MinicloudError

BASH_STAGES = 2
STAGES = 8
"""All of them, where a machine joins. tools/join has the same number."""

_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")
_LAB = re.compile(r"lab[0-9]+")
_CODE = ("minicloud", "migrations", "tools", "etc", "setup.cfg", "pyproject.toml", "README.rst")
_REPORT_LIMIT_S = 60.0
TLS = Path("/etc/pki/qemu")
"""Where QEMU's certificates are unless libvirt's settings say otherwise."""

_LINE = 76

_SCRIPT = """\
#!/bin/sh
# Makes this machine the compute host {name} of the cloud at {controller}: run it as root.
# It has the host's passwords in it: let nobody read it, and remove it afterwards.
set -eu
[ "$(id -u)" = 0 ] || {{ echo "Run it as root." >&2; exit 1; }}
umask 077
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/invitation" <<'END_OF_INVITATION'
{invitation}
END_OF_INVITATION
mkdir -p "$work/src"
base64 -d <<'END_OF_CODE' | tar -xz --no-same-owner -C "$work/src"
{code}
END_OF_CODE
chmod -R u=rwX,go=rX "$work/src"
umask 022
mkdir -p /opt/minicloud
rm -rf /opt/minicloud/src
mv "$work/src" /opt/minicloud/src
bash /opt/minicloud/src/tools/join --accept "$work/invitation" </dev/null
"""


class Invitation(msgspec.Struct, frozen=True, kw_only=True):
    """What the other machine has to know. As secret as the passwords in it."""

    controller: str
    """The address at which it reaches the cloud."""
    metadata_secret: str
    access: HostAccess


# -- on the machine with the cloud -----------------------------------------------------------------
def invite(places: Places, checkout: Path, name: str, *, ssh: str, file: Path | None) -> None:
    """Write the script for the host ``name``, or run it at ``ssh`` and wait for the host."""
    chosen = _cloud(places)
    if not _NAME.fullmatch(name) or _LAB.fullmatch(name):
        raise StageFailed(
            f"{name} cannot be the name of a host.",
            "small letters, digits, dots and hyphens are fine; lab1 and so on are tools/lab's",
        )
    if chosen.is_local:
        raise StageFailed(
            "Other machines do not reach this cloud: it answers on 127.0.0.1 alone.",
            advice="sudo tools/up --host ADDRESS, with the address they shall reach it at",
        )
    if name == socket.gethostname():
        raise StageFailed(f"{name} is this machine's own name.", advice="choose another")
    broker = Broker(places, Ledger(places.ledger), chosen)
    [access] = host_access.ensure(places, chosen, broker, [name])
    invitation = Invitation(
        controller=chosen.host, metadata_secret=chosen.metadata_secret, access=access
    )
    text = script(invitation, checkout)
    if file is not None:
        files.write(file, text, mode=0o600)
        print(f"Copy {file} to {name}, run it there as root, and remove it on both machines.")
        return
    become_root = 'if [ "$(id -u)" = 0 ]; then exec sh -s; else exec sudo -n sh -s; fi'
    done = subprocess.run(["ssh", ssh, become_root], input=text, text=True, check=False)
    if done.returncode != 0:
        raise StageFailed(
            f"{ssh} did not join.",
            f"ssh ended with status {done.returncode}",
            "its user has to be root, or one that sudo asks for no password",
        )
    _wait_for_report(chosen, name)
    print(f"\n  {name} is up. See: minicloud --cloud minicloud-admin host list\n")


def script(invitation: Invitation, checkout: Path) -> str:
    """What the other machine has to run: one file, with all in it but its packages."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for part in _CODE:
            archive.add(checkout / part, part, filter=_without_remains)
    return _SCRIPT.format(
        name=invitation.access.name,
        controller=invitation.controller,
        invitation=msgspec.json.encode(invitation).decode(),
        code="\n".join(_lines(base64.b64encode(packed.getvalue()).decode())),
    )


def dismiss(places: Places, name: str) -> None:
    """The host ``name`` has no access any more."""
    chosen = _cloud(places)
    if name not in host_access.known(places):
        raise StageFailed(f"{name} was not given access.", f"{host_access.known(places)} were")
    host_access.remove(places, chosen, Broker(places, Ledger(places.ledger), chosen), [name])
    print(f"{name} is shut out. On that machine: sudo tools/down --purge")


def _cloud(places: Places) -> Settings:
    chosen = settings.load(places)
    if chosen is None:
        raise StageFailed("No cloud is set up here.", advice="sudo tools/up --host ADDRESS")
    return chosen


def _wait_for_report(chosen: Settings, name: str) -> None:
    admin = Account(chosen, "admin", chosen.admin_password)

    def reported() -> bool:
        found = admin.compute.get("/os-services", binary="nova-compute", host=name)
        return any(service["state"] == "up" for service in found.json["services"])

    if not processes.wait_until(reported, limit_s=_REPORT_LIMIT_S, pause_s=0.3):
        raise StageFailed(
            f"{name} has joined, but does not report.",
            "its messages do not reach the conductor",
            "see /var/log/minicloud/compute.log on that machine",
        )


def _without_remains(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    name = member.name.rpartition("/")[2]
    if name == "__pycache__" or name.endswith((".pyc", ".egg-info")):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = "root"
    return member


def _lines(text: str) -> list[str]:
    return [text[start : start + _LINE] for start in range(0, len(text), _LINE)]


# -- on the machine that joins ---------------------------------------------------------------------
def accept(places: Places, checkout: Path, invitation: Invitation) -> bool:
    """Every stage here; False when one failed and said so."""
    ledger = Ledger(places.ledger)
    if places.secrets.exists():
        raise StageFailed(
            "This machine has a cloud of its own.", advice="sudo tools/down --purge, first"
        )
    ledger.record.daemons = COMPUTE_ONLY
    ledger.save()
    told = _credentials(ledger, invitation)
    libvirt = Libvirt(places, ledger)
    virt_type = VirtType(places)
    kept = keeper(places, ledger, checkout)
    daemons = Daemons(places, ledger, kept, checkout)
    accounts = Stage("user and directories", lambda: account.ensure(places, ledger))
    stages = [
        Stage("the cloud", lambda: f"{_reach(invitation)}{told}"),
        Stage("libvirt", libvirt.ensure, libvirt.begin),
        Stage("KVM or emulation", virt_type.ensure, virt_type.begin),
        Stage("configuration", lambda: _configure(places, invitation)),
        Stage("daemon", daemons.ensure),
    ]
    first = BASH_STAGES + 1
    return run_stages([accounts], first=first, total=STAGES) and run_stages(
        stages, first=first + 1, total=STAGES
    )


def _credentials(ledger: Ledger, invitation: Invitation) -> str:
    """Where QEMU looks for them by itself; says so where somebody else's are there already."""
    if invitation.access.tls is None:
        return ""
    if TLS.exists() and not ledger.made(f"tls:{TLS}"):
        return f"; {TLS} is not ours, so no volumes come over the network"
    ledger.note_made(f"tls:{TLS}")
    uid = _qemu_user()
    files.directory(TLS.parent, mode=0o755)
    files.directory(TLS, mode=0o750, uid=uid)
    pki.write(invitation.access.tls, TLS, "client", uid=uid)
    return ""


def remove_credentials(ledger: Ledger) -> None:
    """Take away what ``accept`` put outside of our own directories."""
    if ledger.made(f"tls:{TLS}"):
        files.remove(TLS)


def _qemu_user() -> int:
    """The distribution's user for guests; root where it has none."""
    try:
        return pwd.getpwnam("libvirt-qemu").pw_uid
    except KeyError:
        return 0


def _reach(invitation: Invitation) -> str:
    """Identity and RabbitMQ let this host in."""
    access, at = invitation.access, host_access.in_url(invitation.controller)
    try:
        ServiceSession(
            Credentials(
                url=f"http://{at}:{config.IDENTITY_PORT}/v3",
                username=host_user(access.name),
                password=access.service_password,
                project_name="service",
                domain_name="Default",
            )
        ).token()
    except MinicloudError as problem:
        raise StageFailed(
            f"The cloud at {at} cannot be used.", problem.message, "does a firewall stand between?"
        ) from problem
    connection = amqp.Connection(
        f"{at}:{config.BROKER_PORT}",
        userid=host_user(access.name),
        password=access.rabbitmq_password,
        virtual_host=VHOST,
        connect_timeout=5,
        read_timeout=5,
    )
    try:
        connection.connect()
    except (amqp.AMQPError, OSError) as problem:
        raise StageFailed(
            f"RabbitMQ at {at}:{config.BROKER_PORT} does not let this host in.",
            str(problem) or type(problem).__name__,
            "does a firewall stand between? Was it set up with tools/up --host?",
        ) from problem
    connection.close()
    return at


def _configure(places: Places, invitation: Invitation) -> str:
    _, gid = files.ids(USER, USER)
    own = _own_address(invitation.controller)
    text = host_access.configuration(
        Settings(metadata_secret=invitation.metadata_secret),
        invitation.access,
        controller=invitation.controller,
        tunnel_address=own,
    )
    changed = False
    for name, lines in (("minicloud", text), ("compute", config.render({}))):
        path = places.config / f"{name}.conf"
        existing = path.read_text(encoding="utf-8") if path.exists() else ""
        changed |= files.write(path, config.merged(lines, existing), mode=0o640, gid=gid)
    return f"{own}, {'written' if changed else 'unchanged'}"


def _own_address(controller: str) -> str:
    """The address that this machine speaks to the cloud from: the cloud reaches it there."""
    [found, *_] = socket.getaddrinfo(controller, config.IDENTITY_PORT, type=socket.SOCK_DGRAM)
    with socket.socket(found[0], socket.SOCK_DGRAM) as probe:
        probe.connect(found[4])  # sends nothing: it only chooses the way
        return str(ipaddress.ip_address(probe.getsockname()[0]))
