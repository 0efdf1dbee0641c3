"""The route table as a Flask application.

For each request, in this order: request id, microversion, token, policy, body, handler, reply.
Errors of ``domain.errors`` become the service's dialect; anything else is a 500 that carries the
request id and nothing more, and is logged with its traceback.
"""

from __future__ import annotations

import functools
import logging
import re
import time
from collections.abc import Mapping
from typing import Any

import flask
import msgspec
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import HTTPException
from werkzeug.exceptions import MethodNotAllowed as HttpMethodNotAllowed
from werkzeug.routing import BaseConverter

from minicloud.domain.errors import (
    Invalid,
    MethodNotAllowed,
    MinicloudError,
    RouteNotFound,
    TooLarge,
    UnsupportedMediaType,
)
from minicloud.domain.ids import new_request_id
from minicloud.kit import clock, context
from minicloud.kit.context import Context
from minicloud.kit.metrics import REQUESTS
from minicloud.kit.policy import PUBLIC
from minicloud.kit.web import access
from minicloud.kit.web.decode import action_of, fit, parse
from minicloud.kit.web.legacy import OVERLOOKS, LegacyPath
from minicloud.kit.web.route import Body, Call, Query, Reply, Route, Service
from minicloud.kit.web.versions import Version, down

LOG = logging.getLogger(__name__)
ACCESS = logging.getLogger("minicloud.access")
_REQUEST_ID = re.compile(r"^req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
_encode = msgspec.json.Encoder().encode


class _Segment(BaseConverter):
    """One path segment of any text: names are tried as ids, so anything may come."""

    regex = "[^/]+"
    part_isolating = True


class _Path(BaseConverter):
    """``{name:path}``: the rest of the path, slashes and all."""

    regex = ".*?"
    part_isolating = False


def build_app(service: Service) -> flask.Flask:
    """A WSGI application that serves ``service``. ValueError for a row that cannot work."""
    app = flask.Flask(service.name, static_folder=None)
    app.url_map.converters["segment"] = _Segment
    app.url_map.converters["rest"] = _Path
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    rows: dict[str, dict[str, list[Route]]] = {}
    for route in (*service.routes, *_self_description(service)):
        if route.policy != PUBLIC and not service.policy.knows(route.policy):
            raise ValueError(f"{route.method} {route.path}: no rule named {route.policy}")
        rows.setdefault(_rule(route.path), {}).setdefault(route.method, []).append(route)
    for number, (rule, methods) in enumerate(sorted(rows.items())):
        names = set(methods) | ({"HEAD"} if "GET" in methods else set())
        app.add_url_rule(
            rule,
            endpoint=str(number),
            view_func=_Endpoint(service, methods),
            methods=sorted(names),
            provide_automatic_options=False,
        )
    app.register_error_handler(HTTPException, _Unrouted(service))
    if service.versions is not None and service.legacy_path:
        old, new = service.legacy_path
        wrapped = LegacyPath(
            app.wsgi_app, old=old, new=new, version_headers=service.versions.reply_headers((1, 0))
        )
        app.wsgi_app = wrapped  # type: ignore[method-assign]  # as Flask says to
    return app


def _self_description(service: Service) -> list[Route]:
    """The row of the service's OpenAPI document, made when it is first asked for."""
    if not service.document_path:
        return []

    @functools.cache
    def rendered() -> bytes:
        from minicloud.kit.web.openapi import render

        return render(service)

    def show(_call: Call) -> Reply:
        return Reply(body=rendered(), headers={"Content-Type": "application/json"})

    return [Route(method="GET", path=service.document_path, handler=show, policy=PUBLIC)]


def _rule(path: str) -> str:
    path = re.sub(r"\{(\w+):path\}", r"<rest:\1>", path)
    return re.sub(r"\{(\w+)\}", r"<segment:\1>", path)


class _Endpoint:
    """All methods of one path."""

    def __init__(self, service: Service, methods: Mapping[str, list[Route]]) -> None:
        self._service = service
        self._methods = methods
        self.__name__ = "endpoint"

    def __call__(self, **params: str) -> flask.Response:
        request = flask.request
        method = request.method
        if method == "HEAD" and "HEAD" not in self._methods:
            method = "GET"
        return _answer(self._service, self._methods[method], params)


class _Unrouted:
    """Paths and methods that no row names, in the service's own dialect."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def __call__(self, problem: Any) -> flask.Response:
        if isinstance(problem, HttpMethodNotAllowed) and flask.request.method == "OPTIONS":
            allowed = {"Allow": ", ".join(sorted({"OPTIONS", *(problem.valid_methods or ())}))}
            return _finish(
                self._service, flask.Response(b"", 200, allowed), new_request_id(), None, {},
                time.perf_counter(),
            )  # fmt: skip
        error: MinicloudError = RouteNotFound()
        if isinstance(problem, HttpMethodNotAllowed):
            error = MethodNotAllowed()
        elif problem.code == 413:
            error = TooLarge(reason="The request body is too large.")
        elif problem.code == 400:
            error = Invalid(reason="The request is malformed.")
        response = _render_error(self._service, error)
        if isinstance(problem, HttpMethodNotAllowed) and problem.valid_methods:
            response.headers["Allow"] = ", ".join(sorted(problem.valid_methods))
        return _finish(self._service, response, new_request_id(), None, {}, time.perf_counter())


def _answer(service: Service, routes: list[Route], params: dict[str, str]) -> flask.Response:
    started, arrived = time.perf_counter(), clock.now()
    request = flask.request
    request_id = new_request_id()
    version: Version | None = None
    timings: dict[str, float] = {}
    try:
        if b"%00" in request.query_string or "\x00" in request.path:
            # No name or id has one, and PostgreSQL refuses a text that does.
            raise Invalid(reason="The URL must not contain a NUL character.")
        if service.versions is not None:
            version = service.versions.negotiate(request.headers)
        route = _at_version(routes, version)
        ctx = Context(request_id=request_id)
        if route.policy != PUBLIC:
            ctx = service.authenticate(request.headers, timings, request_id)
            access.check(ctx, service.catalog_types, request.method, request.path)
            inherited = request.headers.get("X-Openstack-Request-Id", "")
            if ctx.is_service and _REQUEST_ID.match(inherited):
                ctx = msgspec.structs.replace(ctx, request_id=inherited)
                request_id = inherited
        with context.working_for(ctx):
            value = None
            if route.action:
                value = _read_json(service, route)
                route = _of_action(routes, action_of(value), version)
            if route.policy != PUBLIC and route.target is None:
                service.policy.check(ctx, route.policy)
            query = request.args
            if route.query is not None:
                query = _known(route.query, query, version)
            if not route.action and not route.raw and route.body is not None:
                value = _read_json(service, route)
            call = Call(
                ctx=ctx,
                params=params,
                query=query,
                headers=request.headers,
                body=None
                if route.body is None
                else fit(
                    value,
                    route.body,
                    version,
                    strict=service.strict,
                    overlooks=OVERLOOKS in request.environ,
                ),
                stream=request.stream if route.raw else None,
                path=request.path,
                base_url=request.host_url.rstrip("/"),
                policy=service.policy,
                timings=timings,
                arrived=arrived,
                peer=request.remote_addr or "",
            )
            if route.target is not None:
                service.policy.check(ctx, route.policy, route.target(call))
            response = _render(route, route.handler(call), version)
    except MinicloudError as error:
        if error.http >= 500:
            LOG.warning("Answering %s: %s", error.http, error.message)
        response = _render_error(service, error)
    except Exception:
        LOG.exception("Unforeseen error, answered as 500 under request id %s", request_id)
        response = _render_error(service, _Unforeseen(request_id=request_id))
    return _finish(service, response, request_id, version, timings, started)


class _Unforeseen(MinicloudError):
    fmt = "An unexpected error occurred. Give the operator this request id: {request_id}"


def _at_version(routes: list[Route], version: Version | None) -> Route:
    for route in routes:
        if version is None or (
            (route.since is None or version >= route.since)
            and (route.until is None or version <= route.until)
        ):
            return route
    raise RouteNotFound()


def _of_action(routes: list[Route], action: str, version: Version | None) -> Route:
    named = [route for route in routes if route.action == action]
    if not named:
        raise Invalid(reason=f"There is no such action: {action[:64]}")
    return _at_version(named, version)


def _known(spec: Query, given: MultiDict[str, str], version: Version | None) -> MultiDict[str, str]:
    """The parameters that ``version`` knows."""
    pairs = []
    for name, value in given.items(multi=True):
        first = spec.since.get(name)
        known = spec.open or name in spec.names
        if known and (version is None or first is None or version >= first):
            pairs.append((name, value))
        elif spec.strict_from is not None and (version is None or version >= spec.strict_from):
            raise Invalid(
                reason=f"Additional query parameters are not allowed: '{name[:64]}' is not known."
            )
    known_ones = MultiDict(pairs)
    for name in spec.once:
        if len(known_ones.getlist(name)) > 1:
            raise Invalid(reason=f"Invalid input for query parameters {name}: give it once.")
    return known_ones


def _read_json(service: Service, route: Route) -> Any:
    request = flask.request
    length = request.content_length or 0
    if length > service.max_body:
        raise TooLarge(reason=f"The request body is larger than {service.max_body} bytes.")
    kind = request.mimetype
    if kind and kind != "application/json" and kind not in route.media_types:
        raise UnsupportedMediaType(reason=f"The content type {kind} is not supported.")
    if (
        kind not in route.media_types
        and route.media_types
        and "application/json" not in route.media_types
    ):
        raise UnsupportedMediaType(reason=f"Use one of: {', '.join(route.media_types)}.")
    try:
        data = request.stream.read(service.max_body + 1)
    except (OSError, ValueError):  # the client went away, or its chunks are malformed
        raise Invalid(reason="The request body broke off or is malformed.") from None
    if len(data) > service.max_body:
        raise TooLarge(reason=f"The request body is larger than {service.max_body} bytes.")
    if not data and not isinstance(route.body, Body):
        raise Invalid(reason="A JSON request body is required.")
    return parse(data)


def _render(route: Route, answer: Any, version: Version | None) -> flask.Response:
    reply = answer if isinstance(answer, Reply) else Reply(body=answer)
    status = reply.status or route.status
    if reply.status is None:
        for since, older in route.old_status:
            if version is not None and version < since:
                status = older
    if reply.stream is not None:
        return flask.Response(reply.stream, status, reply.headers, direct_passthrough=True)
    if reply.body is None:
        return flask.Response(b"", status, reply.headers)
    body = reply.body
    if route.down and isinstance(body, dict):
        body = down(body, version, route.down)
    if isinstance(body, bytes):
        return flask.Response(body, status, reply.headers)
    return flask.Response(
        _encode(body), status, {"Content-Type": "application/json", **reply.headers}
    )


def _render_error(service: Service, error: MinicloudError) -> flask.Response:
    status, body, headers = service.dialect(error, flask.request.headers.get("Accept", ""))
    if status == 401:
        headers = {**headers, **service.unauthenticated_headers}
    if not isinstance(body, bytes):
        body = _encode(body)
        headers = {"Content-Type": "application/json", **headers}
    return flask.Response(body, status, headers)


def _finish(
    service: Service,
    response: flask.Response,
    request_id: str,
    version: Version | None,
    timings: dict[str, float],
    started: float,
) -> flask.Response:
    request = flask.request
    elapsed = time.perf_counter() - started
    headers = response.headers
    for name in service.request_id_headers:
        headers[name] = request_id
    if service.versions is not None:
        for name, value in service.versions.reply_headers(version).items():
            headers.setdefault(name, value)
    elif service.vary:
        headers.setdefault("Vary", service.vary)
    parts = [f"{name};dur={ms:.2f}" for name, ms in timings.items()]
    headers["Server-Timing"] = ", ".join([*parts, f"total;dur={elapsed * 1000:.2f}"])
    if response.status_code == 204:
        headers.pop("Content-Type", None)
    REQUESTS.labels(service.name, request.method, str(response.status_code)).observe(elapsed)
    ACCESS.info(
        "%s %s %s %s %.1f ms", request_id, request.method, _shown_path(), response.status_code,
        elapsed * 1000,
    )  # fmt: skip
    return response


def _shown_path() -> str:
    """The request's path as the log may have it: a parameter named ``token`` opens something."""
    path, token = flask.request.path, (flask.request.view_args or {}).get("token")
    return path.replace(token, "***") if token else path
