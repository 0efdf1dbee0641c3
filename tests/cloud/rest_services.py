"""The REST services of a whole cloud in one process, each on a port of its own.

A service can be taken away and comes back on the same port with the same rows, as after a
restart. Every request that reaches one is noted.
"""

from __future__ import annotations

import random
import shutil
import socket
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from identity import ACCOUNTS, PASSWORDS, cheap_passwords
from volume import end_exporters

from minicloud.client.compute import ComputeClient
from minicloud.client.identity import Credentials, ServiceSession, TokenValidator
from minicloud.client.rest import RestClient
from minicloud.cmd import image as image_daemon
from minicloud.cmd import volume as volume_daemon
from minicloud.identity import routes as identity_routes
from minicloud.identity.bootstrap import bootstrap, catalog_of
from minicloud.identity.keys import ensure_keys
from minicloud.image.policies import RULES as IMAGE_RULES
from minicloud.image.quotas import RESOURCES
from minicloud.image.stores.files import FileStore
from minicloud.image.transfer import Limits
from minicloud.kit.db import Database, migrate
from minicloud.kit.policy import Policy
from minicloud.kit.web import Service, WebServer, build_app
from minicloud.network import routes as network_routes
from minicloud.network.service import NetworkService, Settings

REGION = "RegionOne"
PORTS = {"identity": 5000, "compute": 8774, "image": 9292, "network": 9696, "volume": 8776}
NETWORK_QUOTA = {
    "network": 100, "subnet": 100, "port": 2000, "security_group": 10, "security_group_rule": 100,
}  # fmt: skip
NO_IMAGE_LIMITS = dict.fromkeys(RESOURCES, -1)
VOLUME_QUOTA = {"volumes": 1000, "gigabytes": 10000, "per_volume_gigabytes": -1}


class Request(NamedTuple):
    service: str
    method: str
    path: str


class RestService:
    """One service: ``stop`` and ``start`` as often as a test likes."""

    def __init__(self, name: str, service: Service, noted: list[Request]) -> None:
        self.name = name
        self._app = _noting(name, build_app(service), noted)
        self._port = free_port()
        self._web: WebServer | None = None

    @property
    def port(self) -> int:
        return self._port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        self._web = WebServer(self._app, host="127.0.0.1", port=self._port, threads=16)
        self._web.start()

    def stop(self) -> None:
        if self._web is not None:
            self._web.stop()
            self._web = None


def _noting(name: str, app: Any, noted: list[Request]) -> Any:
    def noting(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        noted.append(Request(name, environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        answer: Iterable[bytes] = app(environ, start_response)
        return answer

    return noting


class RestServices:
    """identity, image, network and volume, bootstrapped. ``token_cache_s``: how long services
    believe a token; ``urls``: databases that are not SQLite files in ``directory``, by service;
    ``volumes``: settings of the volume service.
    """

    def __init__(
        self,
        directory: Path,
        *,
        host: str,
        token_cache_s: float,
        urls: Mapping[str, str],
        volumes: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        self._urls, self._volumes = urls, volumes
        self.noted: list[Request] = []
        self.databases: dict[str, Database] = {}
        self.services: dict[str, RestService] = {}
        # A Unix socket's path is short, a test's directory need not be.
        self.volume_dir = Path(tempfile.mkdtemp(prefix="minicloud-"))
        self._directory, self._cache_s = directory, token_cache_s
        self.passwords = cheap_passwords()
        self.volume_turn: Callable[[], object] = lambda: None
        try:
            self.add("identity", self._identity())
            self.session = self.new_session()
            self.add("image", self._image())
            self.add("network", self._network())
            self.add("volume", self._volume(host))
        except BaseException:
            self.close()  # their threads would keep the test run from ending
            raise

    def database(self, name: str) -> Database:
        """The migrated database of a service, made at the first call."""
        if name not in self.databases:
            own = f"sqlite:///{self._directory / name}.sqlite"
            self.databases[name] = Database(self._urls.get(name, own))
            migrate.upgrade(name, self.databases[name])
        return self.databases[name]

    def add(self, name: str, service: Service) -> RestService:
        """Serve ``service`` from now on."""
        self.services[name] = RestService(name, service, self.noted)
        self.services[name].start()
        return self.services[name]

    def bootstrap(self) -> None:
        """Users, projects and a catalog that names the ports of the services added so far."""
        entries = []
        for entry in catalog_of("127.0.0.1"):
            url = entry.url
            for name, port in PORTS.items():
                here = self.services.get(name)
                url = url.replace(f":{port}", f":{here.port if here else 9}")
            entries.append(type(entry)(entry.type, entry.name, url))
        bootstrap(
            self.database("identity"),
            self.passwords,
            accounts=ACCOUNTS,
            catalog=entries,
            region=REGION,
        )

    def new_session(self) -> ServiceSession:
        """A daemon's own token and catalog."""
        return ServiceSession(
            Credentials(
                url=self.services["identity"].url + "/v3",
                username="minicloud",
                password=PASSWORDS["minicloud"],
                project_name="service",
                domain_name="Default",
                region=REGION,
            )
        )

    def servers_changed(self, server_ids: Collection[str]) -> None:
        """The network service tells compute, at once and not in a thread of its own."""
        if server_ids and "compute" in self.services:
            rest = RestClient(
                "compute",
                lambda: self.services["compute"].url + "/v2.1",
                lambda: {"X-Auth-Token": self.session.token()},
            )
            ComputeClient(rest).network_changed(server_ids)

    def tokens(self) -> TokenValidator:
        url = self.services["identity"].url + "/v3"
        return TokenValidator(self.new_session(), url, cache_s=self._cache_s)

    def close(self) -> None:
        with ThreadPoolExecutor(len(self.services)) as pool:
            list(pool.map(lambda service: service.stop(), self.services.values()))
        for database in self.databases.values():
            database.close()
        end_exporters(self.volume_dir)
        shutil.rmtree(self.volume_dir)

    # --------------------------------------------------------------------------------------------
    def _identity(self) -> Service:
        keys = self._directory / "keys"
        credential_keys = self._directory / "credential-keys"
        ensure_keys(keys)
        ensure_keys(credential_keys)
        return identity_routes.rest_service(
            self.database("identity"),
            key_dir=keys,
            credential_key_dir=credential_keys,
            token_lifetime_s=3600,
            passwords=self.passwords,
        )

    def _image(self) -> Service:
        database = self.database("image")
        settings = image_daemon.Settings(
            directory=self._directory / "image",
            stores=[FileStore(self._directory / "image-data")],
            limits=Limits(size=1 << 30, virtual_size=1 << 30),
            quotas=lambda _project: NO_IMAGE_LIMITS,
        )
        policy = Policy(IMAGE_RULES)
        return image_daemon.build(settings, database, policy, self.tokens().authenticate).service

    def _network(self) -> Service:
        service = NetworkService(
            self.database("network"),
            Settings(quota=NETWORK_QUOTA),
            servers_changed=self.servers_changed,
        )
        return network_routes.rest_service(service, self.tokens().authenticate)

    def _volume(self, host: str) -> Service:
        settings = volume_daemon.Settings(
            host=host,
            data_dir=self._directory / "volume-data",
            export_dir=self.volume_dir,
            quotas=VOLUME_QUOTA,
            nbd_address="127.0.0.1",
            nbd_ports=range(21810, 21910),
            more_backends={"fast": self._directory / "volume-fast"},
            **self._volumes,
        )
        graph = volume_daemon.build(
            settings, self.database("volume"), self.tokens().authenticate, self.new_session()
        )
        self.volume_jobs = graph.jobs
        self.volume_turn = graph.reconciler.run
        return graph.service


def free_port() -> int:
    """A port on which nothing listens, and that no client gets by chance: it can be taken again
    after a stop, while old connections linger."""
    while True:
        port = random.randrange(20000, 30000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
