"""minicloud-api: the Compute API and the metadata service over compute's database."""

from __future__ import annotations

from minicloud.api.lookups import RestLookups
from minicloud.api.metadata_service import MetadataService, metadata_service
from minicloud.api.placing import Placer
from minicloud.api.policies import RULES
from minicloud.api.schemas.quotas import RESOURCES
from minicloud.api.service import Parts, rest_service
from minicloud.cmd import wire
from minicloud.kit.daemon import run
from minicloud.kit.policy import Policy
from minicloud.kit.web import WebServer, build_app
from minicloud.rpc import scheduler as scheduler_contract


def main() -> None:
    options = wire.configure("api")
    database = wire.compute_database(options)
    transport = wire.transport(options)
    session = wire.service_session(options)
    tokens = wire.token_validator(options, session)
    scheduler = transport.client(scheduler_contract.SchedulerRPC, topic=scheduler_contract.TOPIC)
    placer = Placer(database, scheduler, host=options.host)
    lookups = RestLookups(session)
    policy = Policy(RULES, policy_file=options.policy_file)
    parts = Parts(
        database=database,
        placer=placer,
        compute=wire.compute_clients(transport),
        lookups=lookups,
        facts=tokens.validate,
        limits={resource: options.quota[resource] for resource in RESOURCES},
        service_down_s=options.scheduler.service_down_s,
        host=options.host,
        shelved_offload=options.compute.shelved_offload,
        console_url=options.consoleproxy.base_url,
    )
    web = wire.web_server(options, "api", rest_service(parts, policy, tokens.authenticate))
    guests = MetadataService(database, lookups, secret=options.metadata.shared_secret)
    metadata = WebServer(
        build_app(metadata_service(guests, policy)),
        host=options.metadata.listen,
        port=options.metadata.port,
    )
    run(
        "api",
        start=[metadata.start, web.start],
        stop=[web.stop, metadata.stop, placer.close, transport.close, database.close],
    )


if __name__ == "__main__":
    main()
