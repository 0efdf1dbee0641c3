"""/v3/OS-FEDERATION: identity providers, protocols, mappings and service providers.

Behind a real Keystone a web server's module (mod_auth_mellon, mod_auth_openidc) checks what an
identity provider says of somebody who logs in, and hands it on in the request's environment. This
service has no such module before it, so whoever logs in that way has nothing to show: 401.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from minicloud.domain.errors import Invalid
from minicloud.identity import attribute_rules, audit, filters
from minicloud.identity.attribute_rules import Rules
from minicloud.identity.audit import Attempt, Refused
from minicloud.identity.federation import (
    IdentityProviders,
    Mappings,
    Provider,
    ServiceProviders,
)
from minicloud.identity.links import Links
from minicloud.identity.records import AttributeMapping, Protocol, ServiceProvider
from minicloud.identity.schemas import Id, Text
from minicloud.kit.policy import PUBLIC
from minicloud.kit.web import Body, Call, Query, Route
from minicloud.kit.web.decode import convert

Json = dict[str, Any]
_TOP = "/v3/OS-FEDERATION"
_LINE = r"\A[^\x00-\x1f\x7f]*\Z"
RemoteId = Annotated[str, Meta(max_length=64, pattern=_LINE)]
Url = Annotated[str, Meta(max_length=225, pattern=r"\A[a-zA-Z0-9+.-]+:[^\x00-\x1f\x7f]+\Z")]
RELAY_STATE_PREFIX = "ss:mem:"
_FILTERS = {"id": "id", "enabled": "enabled"}


class IdentityProviderUpdate(msgspec.Struct, forbid_unknown_fields=True):
    enabled: bool | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    authorization_ttl: Annotated[int, Meta(ge=0, le=2**31 - 1)] | UnsetType | None = UNSET
    remote_ids: Annotated[list[RemoteId], Meta(max_length=1000)] | UnsetType | None = UNSET


class IdentityProviderCreate(IdentityProviderUpdate, forbid_unknown_fields=True):
    domain_id: Id | UnsetType | None = UNSET


class ProtocolUpdate(msgspec.Struct, forbid_unknown_fields=True):
    mapping_id: Id
    remote_id_attribute: RemoteId | UnsetType = UNSET


class ProtocolCreate(msgspec.Struct, forbid_unknown_fields=True):
    mapping_id: Id
    remote_id_attribute: RemoteId | UnsetType | None = UNSET


class MappingBody(msgspec.Struct):
    rules: Rules
    schema_version: Annotated[str, Meta(max_length=5)] | UnsetType | None = UNSET


class ServiceProviderUpdate(msgspec.Struct, forbid_unknown_fields=True):
    auth_url: Url | UnsetType = UNSET
    sp_url: Url | UnsetType = UNSET
    enabled: bool | UnsetType = UNSET
    description: Text | UnsetType | None = UNSET
    relay_state_prefix: Annotated[str, Meta(max_length=256, pattern=_LINE)] | UnsetType | None = (
        UNSET
    )


class ServiceProviderCreate(ServiceProviderUpdate, kw_only=True, forbid_unknown_fields=True):
    auth_url: Url
    sp_url: Url


class FederationRoutes:
    def __init__(
        self,
        providers: IdentityProviders,
        mappings: Mappings,
        service_providers: ServiceProviders,
        links: Links,
    ) -> None:
        self._providers = providers
        self._mappings = mappings
        self._service_providers = service_providers
        self._links = links

    def routes(self) -> list[Route]:
        providers = f"{_TOP}/identity_providers"
        provider = f"{providers}/{{idp_id}}"
        protocols = f"{provider}/protocols"
        protocol = f"{protocols}/{{protocol_id}}"
        mapping = f"{_TOP}/mappings/{{mapping_id}}"
        others = f"{_TOP}/service_providers"
        other = f"{others}/{{service_provider_id}}"
        query = Query(names=filters.names(_FILTERS), strict_from=None)

        def body(noun: str, shape: type[Any]) -> Body:
            return Body(type=shape, wrapper=noun)

        return [
            _row("GET", providers, self.list, "list_identity_providers", query=query),
            _row("GET", provider, self.show, "get_identity_provider"),
            _row("PUT", provider, self.create, "create_identity_provider", 201,
                 body=body("identity_provider", IdentityProviderCreate)),
            _row("PATCH", provider, self.update, "update_identity_provider",
                 body=body("identity_provider", IdentityProviderUpdate)),
            _row("DELETE", provider, self.delete, "delete_identity_provider", 204),
            _row("GET", protocols, self.list_protocols, "list_protocols"),
            _row("GET", protocol, self.show_protocol, "get_protocol"),
            _row("PUT", protocol, self.create_protocol, "create_protocol", 201,
                 body=body("protocol", ProtocolCreate)),
            _row("PATCH", protocol, self.update_protocol, "update_protocol",
                 body=body("protocol", ProtocolUpdate)),
            _row("DELETE", protocol, self.delete_protocol, "delete_protocol", 204),
            _row("GET", f"{_TOP}/mappings", self.list_mappings, "list_mappings"),
            _row("GET", mapping, self.show_mapping, "get_mapping"),
            _row("PUT", mapping, self.create_mapping, "create_mapping", 201,
                 body=body("mapping", MappingBody)),
            _row("PATCH", mapping, self.update_mapping, "update_mapping",
                 body=body("mapping", MappingBody)),
            _row("DELETE", mapping, self.delete_mapping, "delete_mapping", 204),
            _row("GET", others, self.list_others, "list_service_providers", query=query),
            _row("GET", other, self.show_other, "get_service_provider"),
            _row("PUT", other, self.create_other, "create_service_provider", 201,
                 body=body("service_provider", ServiceProviderCreate)),
            _row("PATCH", other, self.update_other, "update_service_provider",
                 body=body("service_provider", ServiceProviderUpdate)),
            _row("DELETE", other, self.delete_other, "delete_service_provider", 204),
            *self._logins(protocol),
        ]  # fmt: skip

    def _logins(self, protocol: str) -> list[Route]:
        top = "/v3/auth/OS-FEDERATION"
        of_provider = f"{top}/identity_providers/{{idp_id}}/protocols/{{protocol_id}}/websso"
        return [
            Route(method=method, path=path, handler=handler, policy=PUBLIC, status=201)
            for method in ("GET", "POST")
            for path, handler in (
                (f"{protocol}/auth", self.log_in),
                (f"{top}/websso/{{protocol_id}}", self.log_in),
                (of_provider, self.log_in_from_dashboard),
            )
        ]

    # -- identity providers -----------------------------------------------------------------------
    def list(self, call: Call) -> Json:
        found = self._providers.list(*filters.read(call, _FILTERS))
        return self._listing(
            call, "identity_providers", [self._provider(call, each) for each in found]
        )

    def show(self, call: Call) -> Json:
        found = self._providers.get(call.params["idp_id"])
        return {"identity_provider": self._provider(call, found)}

    def create(self, call: Call) -> Json:
        made = self._providers.create(_new_id(call, "idp_id"), _provider_values(call.body))
        return {"identity_provider": self._provider(call, made)}

    def update(self, call: Call) -> Json:
        found = self._providers.update(call.params["idp_id"], _changes(_provider_values(call.body)))
        return {"identity_provider": self._provider(call, found)}

    def delete(self, call: Call) -> None:
        self._providers.delete(call.params["idp_id"])

    # -- protocols --------------------------------------------------------------------------------
    def list_protocols(self, call: Call) -> Json:
        found = []
        for each in self._providers.protocols(call.params["idp_id"]):
            shown = self._protocol(call, each)
            shown |= {"idp_id": each.identity_provider_id}
            shown |= {"remote_id_attribute": each.remote_id_attribute}
            found.append(shown)
        return self._listing(call, "protocols", found)

    def show_protocol(self, call: Call) -> Json:
        found = self._providers.protocol(call.params["idp_id"], call.params["protocol_id"])
        return {"protocol": self._protocol(call, found)}

    def create_protocol(self, call: Call) -> Json:
        protocol = Protocol(
            id=_new_id(call, "protocol_id"),
            identity_provider_id=call.params["idp_id"],
            **_given(call.body),
        )
        return {"protocol": self._protocol(call, self._providers.protocol_create(protocol))}

    def update_protocol(self, call: Call) -> Json:
        found = self._providers.protocol_update(
            call.params["idp_id"], call.params["protocol_id"], _given(call.body)
        )
        return {"protocol": self._protocol(call, found)}

    def delete_protocol(self, call: Call) -> None:
        self._providers.protocol_delete(call.params["idp_id"], call.params["protocol_id"])

    # -- mappings ---------------------------------------------------------------------------------
    def list_mappings(self, call: Call) -> Json:
        found = [self._mapping(call, each) for each in self._mappings.list()]
        return self._listing(call, "mappings", found)

    def show_mapping(self, call: Call) -> Json:
        return {"mapping": self._mapping(call, self._mappings.get(call.params["mapping_id"]))}

    def create_mapping(self, call: Call) -> Json:
        mapping = _mapping(_new_id(call, "mapping_id"), call.body)
        return {"mapping": self._mapping(call, self._mappings.create(mapping))}

    def update_mapping(self, call: Call) -> Json:
        mapping = _mapping(call.params["mapping_id"], call.body)
        return {"mapping": self._mapping(call, self._mappings.update(mapping))}

    def delete_mapping(self, call: Call) -> None:
        self._mappings.delete(call.params["mapping_id"])

    # -- service providers ------------------------------------------------------------------------
    def list_others(self, call: Call) -> Json:
        found = self._service_providers.list(*filters.read(call, _FILTERS))
        return self._listing(call, "service_providers", [self._other(call, each) for each in found])

    def show_other(self, call: Call) -> Json:
        found = self._service_providers.get(call.params["service_provider_id"])
        return {"service_provider": self._other(call, found)}

    def create_other(self, call: Call) -> Json:
        values = {"relay_state_prefix": RELAY_STATE_PREFIX, **_other_values(call.body)}
        provider = ServiceProvider(id=_new_id(call, "service_provider_id"), **values)
        return {"service_provider": self._other(call, self._service_providers.create(provider))}

    def update_other(self, call: Call) -> Json:
        changes = _changes(_other_values(call.body))
        found = self._service_providers.update(call.params["service_provider_id"], changes)
        return {"service_provider": self._other(call, found)}

    def delete_other(self, call: Call) -> None:
        self._service_providers.delete(call.params["service_provider_id"])

    # -- logins -----------------------------------------------------------------------------------
    def log_in(self, call: Call) -> None:
        """Refused, always."""
        attempt = Attempt(
            peer=call.peer,
            methods="federation",
            claimed=f"a user of {call.params.get('idp_id', 'an identity provider')}",
            scope="no scope",
        )
        problem = Refused(why="no web server's module vouches for it")
        audit.refused(attempt, problem)
        raise problem

    def log_in_from_dashboard(self, call: Call) -> None:
        """Refused; Invalid where it is not said from which dashboard."""
        if not call.query.get("origin"):
            raise Invalid(reason="Request must have an origin query parameter")
        self.log_in(call)

    # -- as shown ---------------------------------------------------------------------------------
    def _listing(self, call: Call, plural: str, found: Sequence[Json]) -> Json:
        return {
            plural: found,
            "links": {"next": None, "self": self._links.here(call), "previous": None},
        }

    def _url(self, call: Call, plural: str, id_: str) -> str:
        return f"{self._links.base(call)}/OS-FEDERATION/{plural}/{id_}"

    def _provider(self, call: Call, provider: Provider) -> Json:
        url = self._url(call, "identity_providers", provider.record.id)
        return {
            **msgspec.structs.asdict(provider.record),
            "remote_ids": provider.remote_ids,
            "links": {"self": url, "protocols": f"{url}/protocols"},
        }

    def _protocol(self, call: Call, protocol: Protocol) -> Json:
        provider = self._url(call, "identity_providers", protocol.identity_provider_id)
        links = {"self": f"{provider}/protocols/{protocol.id}", "identity_provider": provider}
        return {"id": protocol.id, "mapping_id": protocol.mapping_id, "links": links}

    def _mapping(self, call: Call, mapping: AttributeMapping) -> Json:
        links = {"self": self._url(call, "mappings", mapping.id)}
        return {**msgspec.structs.asdict(mapping), "links": links}

    def _other(self, call: Call, provider: ServiceProvider) -> Json:
        links = {"self": self._url(call, "service_providers", provider.id)}
        return {**msgspec.structs.asdict(provider), "links": links}


def _new_id(call: Call, parameter: str) -> str:
    """The id in the path, of something new. Invalid."""
    id_: str = convert(call.params[parameter], Id)
    return id_


def _given(body: Any) -> Json:
    values = msgspec.structs.asdict(body)
    return {key: value for key, value in values.items() if value is not UNSET}


def _changes(values: Json) -> Json:
    if not values:
        raise Invalid(reason="The request body changes nothing.")
    return values


def _provider_values(body: IdentityProviderUpdate) -> Json:
    remote_ids = body.remote_ids
    if isinstance(remote_ids, list) and len(set(remote_ids)) < len(remote_ids):
        raise Invalid(reason="remote_ids has an element twice.")
    return _given(body)


def _other_values(body: ServiceProviderUpdate) -> Json:
    values = _given(body)
    if values.get("relay_state_prefix", "") is None:
        values["relay_state_prefix"] = RELAY_STATE_PREFIX
    return values


def _mapping(id_: str, body: MappingBody) -> AttributeMapping:
    version = body.schema_version or attribute_rules.OLDEST
    attribute_rules.check(body.rules, version)
    return AttributeMapping(id=id_, rules=msgspec.to_builtins(body.rules), schema_version=version)


def _row(
    method: str, path: str, handler: Any, policy: str, status: int = 200, **more: Any
) -> Route:
    return Route(method=method, path=path, handler=handler, policy=f"identity:{policy}",
                 status=status, **more)  # fmt: skip
