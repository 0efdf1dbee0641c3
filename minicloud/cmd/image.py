"""minicloud-image: the image service's object graph."""

from __future__ import annotations

import ipaddress
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from werkzeug.datastructures import Headers

from minicloud.client.identity import ServiceSession
from minicloud.client.limits import ServiceLimits
from minicloud.cmd import wire
from minicloud.image import import_requests, protections
from minicloud.image.cache import Cache
from minicloud.image.cache_routes import CacheRoutes
from minicloud.image.data_routes import DataRoutes
from minicloud.image.downloads import Downloads
from minicloud.image.fetch import Fetcher, Rules
from minicloud.image.image_routes import ImageRoutes
from minicloud.image.import_requests import ImportRequests
from minicloud.image.imports import METHODS, Imports
from minicloud.image.info_routes import InfoRoutes
from minicloud.image.member_routes import MemberRoutes
from minicloud.image.metadef_routes import MetadefRoutes
from minicloud.image.metadef_service import Metadefs
from minicloud.image.policies import RULES
from minicloud.image.protections import Protections
from minicloud.image.quotas import COUNT, RESOURCES, SIZE_MB, STAGE_MB, UPLOADING, Quotas
from minicloud.image.routes import Routes, rest_service
from minicloud.image.service import ImageService
from minicloud.image.staging import Staging
from minicloud.image.stores.base import Store
from minicloud.image.stores.files import FileStore
from minicloud.image.stores.http import HttpStore
from minicloud.image.stores.registry import Stores
from minicloud.image.stores.s3 import S3Options, S3Store
from minicloud.image.sweeping import Sweeper
from minicloud.image.task_routes import TaskRoutes
from minicloud.image.tasks import Job, TaskRunner
from minicloud.image.transfer import LEASE_S, Limits
from minicloud.image.uploads import Uploads
from minicloud.kit import daemon
from minicloud.kit.context import Context
from minicloud.kit.daemon import Periodic
from minicloud.kit.db import Database, migrate
from minicloud.kit.policy import Policy
from minicloud.kit.web import Service

LOG = logging.getLogger(__name__)
_SWEEP_S = 60.0
_FILL_S = 30.0
_MIB, _GIB = 1024**2, 1024**3
Authenticate = Callable[[Headers, dict[str, float], str], Context]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the graph needs besides its database; sizes in bytes."""

    directory: Path
    """Of staged data (``staging``) and the cache (``cache``), unless they are given."""
    staging: Path | None = None
    cache: Path | None = None
    stores: Sequence[Store]
    limits: Limits
    rules: Rules = Rules()
    """What may be fetched for users."""
    methods: Sequence[str] = METHODS
    protections: Protections = Protections()
    quotas: Callable[[str], Mapping[str, int]]
    """A project's id -> resource -> limit."""
    cache_size: int = 0
    host: str = "localhost"
    threads: int = 2
    lease_s: float = LEASE_S


class Graph(msgspec.Struct, frozen=True, kw_only=True):
    """What an image daemon serves and what it repeats."""

    service: Service
    sweeper: Sweeper
    runner: TaskRunner
    cache: Cache


def build(
    settings: Settings,
    database: Database,
    policy: Policy,
    authenticate: Authenticate,
    *,
    fetcher: Fetcher | None = None,
    kick_cache: Callable[[], None] = lambda: None,
) -> Graph:
    stores = Stores(settings.stores)
    staging = Staging(settings.staging or settings.directory / "staging")
    cache = Cache(
        database, stores, settings.cache or settings.directory / "cache", settings.host,
        most=settings.cache_size, kick=kick_cache,
    )  # fmt: skip
    quotas = Quotas(settings.quotas)
    images = ImageService(database, stores, policy, quotas, settings.protections)
    fetcher = fetcher or Fetcher(settings.rules)
    work = Imports(database, stores, staging, fetcher, quotas, settings.limits)
    runner = TaskRunner(
        database,
        {
            import_requests.IMPORT_TASK: Job(work.run, work.undo),
            import_requests.LEGACY_TASK: Job(work.run, work.undo),
            import_requests.LOCATION_TASK: Job(work.run_location, work.undo_location),
        },
        threads=settings.threads,
        lease_s=settings.lease_s,
    )
    imports = ImportRequests(
        database, images, stores, fetcher, quotas, policy, runner.kick, methods=settings.methods
    )
    uploads = Uploads(database, images, stores, staging, quotas, policy, settings.limits)
    nouns: list[Routes] = [
        InfoRoutes(database, stores, quotas, settings.methods),
        ImageRoutes(images, stores, settings.methods),
        MemberRoutes(images),
        DataRoutes(uploads, Downloads(images, stores, cache, policy), imports),
        TaskRoutes(database, images, imports),
        CacheRoutes(images, cache),
        MetadefRoutes(Metadefs(database)),
    ]
    return Graph(
        service=rest_service(nouns, policy, authenticate),
        sweeper=Sweeper(database, stores, staging, cache),
        runner=runner,
        cache=cache,
    )


def stores_of(options: Any, fetcher: Fetcher) -> list[Store]:
    """The stores of the configuration. ValueError says what is wrong with it."""
    found: list[Store] = []
    for word in options.stores:
        name, mark, directory = word.partition("=")
        if mark:
            found.append(FileStore(Path(directory), name))
        elif name == "file":
            found.append(FileStore(Path(options.data_dir)))
        elif name == "http":
            found.append(HttpStore(fetcher))
        elif name == "s3":
            if not options.s3_bucket:
                raise ValueError("the store s3 needs image.s3_bucket")
            found.append(S3Store(_s3_options(options)))
        else:
            raise ValueError(f"image.stores has {name!r}: use file, http, s3 or NAME=/DIRECTORY")
    if all(store.read_only for store in found):
        raise ValueError("image.stores has no store to write to")
    if len({store.id for store in found}) != len(found):
        raise ValueError("image.stores names a store twice")
    return found


def _s3_options(options: Any) -> S3Options:
    return S3Options(
        bucket=options.s3_bucket,
        endpoint_url=options.s3_endpoint_url,
        region=options.s3_region,
        access_key=options.s3_access_key,
        secret_key=options.s3_secret_key,
        part_mb=options.s3_part_mb,
    )


def _quotas(options: Any, session: ServiceSession) -> Callable[[str], Mapping[str, int]]:
    if options.image.use_keystone_limits:
        return ServiceLimits(
            session,
            options.auth.url,
            service_type="image",
            region=options.region,
            resources=RESOURCES,
        ).of
    limits = {
        COUNT: options.quota.images,
        UPLOADING: options.quota.image_uploads,
        SIZE_MB: options.quota.image_mb,
        STAGE_MB: options.quota.image_stage_mb,
    }
    return lambda _project: limits


def _settings(
    options: Any, rules: Rules, stores: Sequence[Store], session: ServiceSession
) -> Settings:
    group = options.image
    return Settings(
        directory=Path(options.state_dir) / "image",
        staging=Path(group.staging_dir),
        cache=Path(group.cache_dir),
        stores=stores,
        limits=Limits(size=group.max_size_gb * _GIB, virtual_size=group.max_virtual_size_gb * _GIB),
        rules=rules,
        methods=group.import_methods,
        protections=protections.load(group.property_protection_file),
        quotas=_quotas(options, session),
        cache_size=group.cache_max_mb * _MIB,
        host=options.host,
        threads=group.import_threads,
    )


def main(argv: Sequence[str] | None = None) -> None:
    options = wire.configure("image", argv)
    database = wire.database(options, "image")
    if not migrate.is_current("image", database):
        LOG.critical("The tables are behind: run minicloud-manage db upgrade image")
        sys.exit(1)
    session = wire.service_session(options)
    try:
        rules = Rules(
            schemes=options.image.web_schemes,
            ports=options.image.web_ports,
            networks=[ipaddress.ip_network(text) for text in options.image.web_networks],
        )
        fetcher = Fetcher(rules)
        settings = _settings(options, rules, stores_of(options.image, fetcher), session)
    except ValueError as problem:
        LOG.critical("The configuration is wrong: %s", problem)
        sys.exit(1)
    tokens = wire.token_validator(options, session)
    policy = Policy(RULES, policy_file=options.policy_file)
    graph = build(
        settings, database, policy, tokens.authenticate, fetcher=fetcher,
        kick_cache=lambda: fill.kick(),
    )  # fmt: skip
    web = wire.web_server(options, "image", graph.service)
    # Its first turn is at once: what a killed daemon left is cleared up at the start.
    sweep = Periodic("sweep", _SWEEP_S, graph.sweeper.sweep)
    fill = Periodic("cache", _FILL_S, graph.cache.fill)
    daemon.run(
        "image",
        start=[sweep.start, fill.start, graph.runner.start, web.start],
        stop=[web.stop, graph.runner.stop, fill.stop, sweep.stop, database.close],
    )


if __name__ == "__main__":
    main()
