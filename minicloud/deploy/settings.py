"""What is decided once for an installation and kept: random secrets and the operator's choices."""

from __future__ import annotations

import ipaddress
import secrets

import msgspec

from minicloud.deploy import files
from minicloud.deploy.places import Places
from minicloud.deploy.stage import StageFailed

_ENTROPY_BYTES = 24


def _random() -> str:
    return secrets.token_urlsafe(_ENTROPY_BYTES)


class Settings(msgspec.Struct, kw_only=True):
    """Kept in secrets.json, which only root reads. Each secret is made once."""

    rabbitmq_password: str = msgspec.field(default_factory=_random)
    service_password: str = msgspec.field(default_factory=_random)
    admin_password: str = msgspec.field(default_factory=_random)
    demo_password: str = msgspec.field(default_factory=_random)
    alt_password: str = msgspec.field(default_factory=_random)
    metadata_secret: str = msgspec.field(default_factory=_random)
    host: str = "127.0.0.1"
    """The address that clients reach this cloud at."""
    database_url: str = ""
    """Of PostgreSQL, without the services' suffixes; "" for SQLite."""
    lab_address: str = ""
    """This host's address on the network of its lab hosts; "" while there are none."""

    @property
    def is_local(self) -> bool:
        """Whether the cloud answers on this machine alone."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @property
    def listen(self) -> str:
        """Where the REST daemons listen: on this machine alone unless others shall reach them."""
        return "127.0.0.1" if self.is_local else "0.0.0.0"  # noqa: S104 - what --host asks for

    @property
    def tunnel_address(self) -> str:
        """Where other hosts reach this one; "" where there can be none."""
        if self.lab_address or self.is_local:
            return self.lab_address
        try:
            return str(ipaddress.ip_address(self.host))
        except ValueError:
            return ""  # a name may mean another address tomorrow: the operator names the address


def load(places: Places) -> Settings | None:
    """The settings of an earlier run, or None."""
    try:
        return msgspec.json.decode(places.secrets.read_bytes(), type=Settings)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise StageFailed(
            f"{places.secrets} cannot be read.", str(error), "Mend it, or remove it for new secrets"
        ) from error


def ensure(places: Places, *, host: str = "", database_url: str = "") -> Settings:
    """The settings, made or changed as asked; "" leaves a choice as it was."""
    settings = load(places) or Settings()
    settings.host = host or settings.host
    settings.database_url = database_url or settings.database_url
    write(places, settings)
    return settings


def write(places: Places, settings: Settings) -> None:
    text = msgspec.json.format(msgspec.json.encode(settings), indent=1).decode()
    files.write(places.secrets, text + "\n", mode=0o600)
