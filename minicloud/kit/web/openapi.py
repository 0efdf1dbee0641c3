"""A service's route table as an OpenAPI 3.1 document.

Rows that share a method and path (older microversions, actions) become one operation: its body is
one of theirs. Microversions stand in ``x-openstack``: ``min-ver`` and ``max-ver`` of a row, of a
query parameter or of a body's key. Older shapes, which a row's conversions lift to the newest or
make of it, are not described: a client that wants them knows them.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from minicloud.kit.policy import PUBLIC
from minicloud.kit.web.dialects import title
from minicloud.kit.web.route import Body, Route, Service
from minicloud.kit.web.versions import Json, Version, text

_REF = "#/components/schemas/"
_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")
_JSON = "application/json"


def document(service: Service) -> Json:
    """``service`` described; ``alias`` rows are left out."""
    rows = [row for row in service.routes if not row.alias]
    replies = service.replies() if service.replies is not None else {}
    bodies = _Bodies(rows, replies)
    paths: dict[str, dict[str, list[Route]]] = {}
    for row in rows:
        path = _PARAMETER.sub(r"{\1}", row.path)
        paths.setdefault(path, {}).setdefault(row.method.lower(), []).append(row)
    schemes: Json = {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}}
    return {
        "openapi": "3.1.0",
        "info": _info(service),
        "servers": [{"url": "/"}],
        "paths": {
            path: {method: _operation(service, path, some, bodies)
                   for method, some in sorted(methods.items())}
            for path, methods in sorted(paths.items())
        },
        "components": {"securitySchemes": schemes, "schemas": bodies.components},
    }  # fmt: skip


def render(service: Service) -> bytes:
    """``document`` as a file that changes only where the service does."""
    rendered = msgspec.json.format(msgspec.json.encode(document(service)), indent=1) + b"\n"
    # msgspec's descriptions of types can crash an interpreter that collects them at its exit.
    gc.freeze()
    return rendered


def _info(service: Service) -> Json:
    spoken = service.versions
    newest = text(spoken.newest) if spoken is not None else "1"
    about = "Made from the table of routes that the service itself runs on."
    if spoken is not None:
        about += f" Microversions {text(spoken.lowest)} to {newest}; the newest shapes are shown."
    return {"title": f"minicloud {service.name}", "version": newest, "description": about}


def _operation(service: Service, path: str, rows: Sequence[Route], bodies: _Bodies) -> Json:
    actions = sorted({row.action for row in rows if row.action})
    summary = next((row.summary for row in rows if row.summary), "")
    if len(actions) > 1:
        summary = "Do one of: " + ", ".join(actions) + "."
    operation: Json = {"operationId": f"{rows[0].method.lower()} {path}"}
    if summary:
        operation["summary"] = summary
    operation["parameters"] = [
        *_in_path(path),
        *_in_query(rows),
        *([_version_header(service)] if service.versions is not None else []),
    ]
    content = bodies.content(rows)
    if content:
        operation["requestBody"] = {"required": not bodies.may_be_empty(rows), "content": content}
    operation["responses"] = _responses(rows, bodies)
    if any(row.policy != PUBLIC for row in rows):
        operation["security"] = [{"token": []}]
    operation.update(_versions(_lowest(rows), _highest(rows)))
    return operation


def _in_path(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PARAMETER.findall(path)
    ]


def _in_query(rows: Iterable[Route]) -> list[Json]:
    known: dict[str, Version | None] = {}
    for row in rows:
        if row.query is not None:
            for name in row.query.names:
                known[name] = row.query.since.get(name)
    return [
        {"name": name, "in": "query", "schema": {"type": "string"}, **_versions(known[name])}
        for name in sorted(known)
    ]


def _version_header(service: Service) -> Json:
    spoken = service.versions
    assert spoken is not None
    words = f"{spoken.service_type} {text(spoken.newest)}"
    return {"name": "OpenStack-API-Version", "in": "header",
            "schema": {"type": "string", "examples": [words]}}  # fmt: skip


def _responses(rows: Sequence[Route], bodies: _Bodies) -> Json:
    found: Json = {}
    for row in rows:
        for status in (row.status, *(older for _, older in row.old_status)):
            found[str(status)] = {"description": title(status)}
    for status in {row.status for row in rows}:
        alike = [row for row in rows if row.status == status]
        schemas = bodies.replies(alike)
        if schemas:
            schema = schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
            found[str(status)]["content"] = {_JSON: {"schema": schema}}
            if any(bodies.has_no_reply(row) for row in alike):
                found[str(status)]["description"] += "; some have no body"
    return {**dict(sorted(found.items())),
            "default": {"description": "An error, in the service's dialect."}}  # fmt: skip


def _versions(since: Version | None, until: Version | None = None) -> Json:
    words = {}
    if since is not None:
        words["min-ver"] = text(since)
    if until is not None:
        words["max-ver"] = text(until)
    return {"x-openstack": words} if words else {}


def _lowest(rows: Sequence[Route]) -> Version | None:
    """The first version that any of ``rows`` knows; None: the service's first."""
    found = [row.since for row in rows if row.since is not None]
    return min(found) if len(found) == len(rows) else None


def _highest(rows: Sequence[Route]) -> Version | None:
    found = [row.until for row in rows if row.until is not None]
    return max(found) if len(found) == len(rows) else None


class _Bodies:
    """The request bodies of some rows, and their replies, as JSON Schema."""

    def __init__(self, rows: Sequence[Route], replies: Mapping[str, Any]) -> None:
        self._replies = replies
        kinds = []
        for kind in (*(_kind(row.body) for row in rows), *replies.values()):
            if kind is not None and kind not in kinds:
                kinds.append(kind)
        schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF + "{name}")
        self.components: Json = _ecma(dict(sorted(components.items())))
        self._schemas = list(zip(kinds, _ecma(list(schemas)), strict=True))

    def content(self, rows: Sequence[Route]) -> Json:
        """Media type -> schema; empty where no row reads a body."""
        found: dict[str, list[Json]] = {}
        actions: set[str] = set()
        for row in rows:
            if row.raw:
                found.setdefault("application/octet-stream", [])
            elif row.action in actions:
                continue  # its newest shape comes first
            elif row.action or row.body is not None:
                for media in row.media_types or (_JSON,):
                    options = found.setdefault(media, [])
                    schema = self._schema(row)
                    if row.action:
                        actions.add(row.action)
                        of_key = [other for other in rows if other.action == row.action]
                        schema |= _versions(_lowest(of_key), _highest(of_key))
                    if schema not in options:
                        options.append(schema)
        word = "oneOf" if actions else "anyOf"
        return {
            media: {"schema": options[0] if len(options) == 1 else {word: options}}
            if options
            else {}
            for media, options in sorted(found.items())
        }

    def replies(self, rows: Iterable[Route]) -> list[Json]:
        """What the rows answer; empty where that has no body, or is not described."""
        found: list[Json] = []
        for row in rows:
            kind = self._replies.get(reply_key(row))
            if kind is not None and self._of(kind) not in found:
                found.append(self._of(kind))
        return found

    def has_no_reply(self, row: Route) -> bool:
        """Whether the row is known to answer without a body."""
        return self._replies.get(reply_key(row), ...) is None

    def may_be_empty(self, rows: Iterable[Route]) -> bool:
        return all(row.raw for row in rows)

    def _schema(self, row: Route) -> Json:
        spec = row.body
        if spec is None:
            return _wrapped({row.action: True}, [row.action])
        if not isinstance(spec, Body):
            inside = self._of(spec)
            return _wrapped({row.action: inside}, [row.action]) if row.action else inside
        inside = self._of(spec.shape or spec.type)
        beside: Json = {}
        if spec.since or spec.until or spec.beside:
            inside = {**self._resolved(inside)}
            properties = {**inside.get("properties", {})}
            beside = {key: properties.pop(key) for key in spec.beside if key in properties}
            for key, schema in properties.items():
                properties[key] = {**schema, **_versions(spec.since.get(key), spec.until.get(key))}
            inside["properties"] = properties
        if spec.may_be_null:
            inside = {"anyOf": [inside, {"type": "null"}]}
        wrapper = spec.wrapper or row.action
        return _wrapped({wrapper: inside, **beside}, [wrapper]) if wrapper else inside

    def _of(self, kind: Any) -> Json:
        return next(schema for known, schema in self._schemas if known == kind)

    def _resolved(self, schema: Json) -> Json:
        name = schema.get("$ref", "").removeprefix(_REF)
        found: Json = self.components.get(name, schema)
        return found


def reply_key(row: Route) -> str:
    """What a row's reply is found by in ``Service.replies``."""
    return f"{row.method} {row.path}" + (f"#{row.action}" if row.action else "")


def _kind(spec: Any) -> Any:
    return (spec.shape or spec.type) if isinstance(spec, Body) else spec


def _wrapped(properties: Mapping[str, Any], required: Sequence[str]) -> Json:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(required),
        "additionalProperties": False,
    }


def _ecma(value: Any) -> Any:
    """``value`` with its patterns as JSON Schema has them: the end of a text is ``$``."""
    if isinstance(value, dict):
        return {
            key: part.replace(r"\Z", "$")
            if key == "pattern" and isinstance(part, str)
            else _ecma(part)
            for key, part in value.items()
        }
    if isinstance(value, list):
        return [_ecma(part) for part in value]
    return value
