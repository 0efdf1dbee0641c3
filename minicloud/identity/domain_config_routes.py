"""/v3/domains/{domain_id}/config, whole, by group and by option, and the defaults."""

from __future__ import annotations

from typing import Any

import msgspec

from minicloud.identity import domain_config
from minicloud.identity.domain_config import DomainConfig, Values
from minicloud.kit.web import Body, Call, Reply, Route
from minicloud.kit.web.decode import convert

Json = dict[str, Any]


class Config(msgspec.Struct):
    config: Values


class OptionConfig(msgspec.Struct):
    """Of one group or option: clients send it with the group around it, or without."""

    config: dict[str, Any]


class DomainConfigRoutes:
    def __init__(self, config: DomainConfig) -> None:
        self._config = config

    def routes(self) -> list[Route]:
        whole = "/v3/domains/{domain_id}/config"
        rows = [
            _row("PUT", whole, self.replace, "create_domain_config", 201, Body(type=Config)),
            _row("GET", "/v3/domains/config/default", self.default, "get_domain_config_default"),
            _row("GET", "/v3/domains/config/{group}/default", self.default,
                 "get_domain_config_default"),
            _row("GET", "/v3/domains/config/{group}/{option}/default", self.default,
                 "get_domain_config_default"),
        ]  # fmt: skip
        for path, shape in (
            (whole, Config), (f"{whole}/{{group}}", OptionConfig),
            (f"{whole}/{{group}}/{{option}}", OptionConfig),
        ):  # fmt: skip
            rows += [
                _row("GET", path, self.show, "get_domain_config"),
                _row("PATCH", path, self.update, "update_domain_config", 200, Body(type=shape)),
                _row("DELETE", path, self.delete, "delete_domain_config", 204),
            ]
        return rows

    def show(self, call: Call) -> Json:
        domain_id, group, option = _place(call)
        found = self._config.show(domain_id, group, option)
        if group is None:
            return {"config": found}
        inside = found[group]
        return {"config": {group: inside} if option is None else {option: inside[option]}}

    def replace(self, call: Call) -> Reply:
        domain_id, _, _ = _place(call)
        there = self._config.exists(domain_id)
        found = self._config.replace(domain_id, call.body.config)
        return Reply(body={"config": found}, status=200 if there else 201)

    def update(self, call: Call) -> Json:
        domain_id, group, option = _place(call)
        values: Any = call.body.config
        if group is not None and option is not None and set(values) == {option}:
            values = {group: values}
        values = _values(values)
        return {"config": self._config.update(domain_id, values, group, option)}

    def delete(self, call: Call) -> None:
        self._config.delete(*_place(call))

    def default(self, call: Call) -> Json:
        group, option = call.params.get("group"), call.params.get("option")
        found = domain_config.default(group, option)
        if group is None:
            return {"config": found}
        return {"config": {group if option is None else option: found}}


def _values(values: Any) -> Values:
    checked: Values = convert(values, Values)
    return checked


def _place(call: Call) -> tuple[str, str | None, str | None]:
    return call.params["domain_id"], call.params.get("group"), call.params.get("option")


def _row(
    method: str, path: str, handler: Any, policy: str, status: int = 200, body: Any = None
) -> Route:
    return Route(method=method, path=path, handler=handler, policy=f"identity:{policy}",
                 status=status, body=body)  # fmt: skip
