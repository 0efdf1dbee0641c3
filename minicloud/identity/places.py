"""Where the services are: regions, services, endpoints. Tokens carry them as the catalog.

Policies are kept beside them for clients that want to.
"""

from __future__ import annotations

import re

from minicloud.domain.errors import Invalid
from minicloud.identity import records, store
from minicloud.identity.nouns import Noun, Values, new_id
from minicloud.kit.context import Context
from minicloud.kit.db import Transaction

_PLACEHOLDER = re.compile(r"[$%]\((\w+)\)s")
_KNOWN = {"project_id", "tenant_id", "user_id"}


class Regions(Noun[records.Region]):
    rows = store.regions
    raises_generation = True
    in_use = "it or a region below it has endpoints"

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.Region:
        self._check_parent(tx, values)
        values["id"] = values.get("id") or new_id()
        return records.Region(**values)

    def changes(self, tx: Transaction, record: records.Region, values: Values) -> Values:
        self._check_parent(tx, values)
        above = values.get("parent_region_id")
        while above is not None:
            if above == record.id:
                raise Invalid(reason="A region cannot be below itself.")
            above = store.regions.get(tx, above).parent_region_id
        return values

    def _check_parent(self, tx: Transaction, values: Values) -> None:
        if "parent_region_id" in values:
            values["parent_region_id"] = values["parent_region_id"] or None
            if values["parent_region_id"] is not None:
                store.regions.get(tx, values["parent_region_id"])


class Policies(Noun[records.PolicyBlob]):
    rows = store.policies

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.PolicyBlob:
        return records.PolicyBlob(id=new_id(), **values)


class Services(Noun[records.Service]):
    rows = store.services
    raises_generation = True

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.Service:
        values["name"] = values.get("name") or ""
        return records.Service(id=new_id(), **values)

    def changes(self, tx: Transaction, record: records.Service, values: Values) -> Values:
        if "name" in values:
            values["name"] = values["name"] or ""
        return values


class Endpoints(Noun[records.Endpoint]):
    rows = store.endpoints
    raises_generation = True

    def new(self, tx: Transaction, ctx: Context, values: Values) -> records.Endpoint:
        return records.Endpoint(id=new_id(), **self._checked(tx, values))

    def changes(self, tx: Transaction, record: records.Endpoint, values: Values) -> Values:
        return self._checked(tx, values)

    def _checked(self, tx: Transaction, values: Values) -> Values:
        """``values`` with one region and a short interface. Invalid where they name nothing."""
        region = values.pop("region", None)
        if region and not values.get("region_id"):
            # The older way to name a region makes it where there is none.
            if store.regions.find(tx, id=region) is None:
                store.regions.insert(tx, records.Region(id=region))
            values["region_id"] = region
        elif values.get("region_id") and store.regions.find(tx, id=values["region_id"]) is None:
            raise Invalid(reason=f"There is no region {values['region_id']}.")
        if "service_id" in values and store.services.find(tx, id=values["service_id"]) is None:
            raise Invalid(reason=f"There is no service {values['service_id']}.")
        if "interface" in values:
            values["interface"] = values["interface"].removesuffix("URL")
        unknown = set(_PLACEHOLDER.findall(values.get("url", ""))) - _KNOWN
        if unknown:
            raise Invalid(reason=f"The URL has an unknown placeholder: {sorted(unknown)[0]}.")
        return values
