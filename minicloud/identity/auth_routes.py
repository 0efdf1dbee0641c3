"""/v3/auth: tokens, and what their owners may reach."""

from __future__ import annotations

from typing import Any

from minicloud.domain.errors import NotAllowed, NotFound
from minicloud.identity import auth_schemas, schemas, store
from minicloud.identity.assignments import domains_of_user, has_system_role
from minicloud.identity.links import Links
from minicloud.identity.projects import Projects
from minicloud.identity.records import Scope
from minicloud.identity.service import Authentication
from minicloud.identity.standing import standing_get
from minicloud.identity.tokens import Token, Tokens
from minicloud.kit.db import Database
from minicloud.kit.policy import PUBLIC
from minicloud.kit.web import Body, Call, Reply, Route


class AuthRoutes:
    def __init__(
        self, database: Database, authentication: Authentication, tokens: Tokens, links: Links
    ) -> None:
        self._database = database
        self._authentication = authentication
        self._tokens = tokens
        self._links = links
        self._projects = Projects(database)

    def routes(self) -> list[Route]:
        tokens = "/v3/auth/tokens"
        mine = "identity:get_auth_"
        return [
            Route(
                method="POST",
                path=tokens,
                handler=self.issue,
                policy=PUBLIC,
                status=201,
                body=Body(type=auth_schemas.AuthRequest, wrapper="auth"),
            ),
            # Their policies depend on whose token it is: the handlers ask.
            Route(method="GET", path=tokens, handler=self.validate, policy="any"),
            Route(method="HEAD", path=tokens, handler=self.check, policy="any"),
            Route(method="DELETE", path=tokens, handler=self.revoke, policy="any", status=204),
            Route(
                method="GET",
                path="/v3/auth/catalog",
                handler=self.catalog,
                policy=f"{mine}catalog",
            ),
            *(
                Route(method="GET", path=f"{top}/{noun}", handler=handler, policy=f"{mine}{noun}",
                      alias=top != "/v3/auth")
                for top in ("/v3/auth", "/v3/OS-FEDERATION")
                for noun, handler in (("projects", self.projects), ("domains", self.domains))
            ),
            Route(
                method="GET", path="/v3/auth/system", handler=self.system, policy=f"{mine}system"
            ),
            # Needs no token: the original password proves the user.
            Route(
                method="POST",
                path="/v3/users/{user_id}/password",
                handler=self.change_password,
                policy=PUBLIC,
                status=204,
                body=Body(type=schemas.NewPassword, wrapper="user"),
            ),
        ]  # fmt: skip

    def issue(self, call: Call) -> Reply:
        request: auth_schemas.AuthRequest = call.body
        with_catalog = not call.flag("nocatalog")
        sealed, token = self._authentication.token(
            auth_schemas.shown(request.identity, self._links.signed(call)),
            auth_schemas.scope(request.scope),
            began=call.arrived,
            with_catalog=with_catalog,
            peer=call.peer,
        )
        call.timings["issue"] = token.issue_ms
        return Reply(
            body=auth_schemas.token_view(token, with_catalog=with_catalog),
            headers={"X-Subject-Token": sealed},
        )

    def validate(self, call: Call) -> Reply:
        with_catalog = not call.flag("nocatalog")
        token = self._subject(call, "identity:validate_token", with_catalog=with_catalog)
        call.timings["issue"] = token.issue_ms
        return Reply(
            body=auth_schemas.token_view(token, with_catalog=with_catalog),
            headers={"X-Subject-Token": call.headers["X-Subject-Token"]},
        )

    def check(self, call: Call) -> Reply:
        self._subject(call, "identity:check_token")
        return Reply(headers={"X-Subject-Token": call.headers["X-Subject-Token"]})

    def revoke(self, call: Call) -> None:
        self._tokens.revoke(self._subject(call, "identity:revoke_token"))

    def catalog(self, call: Call) -> dict[str, Any]:
        ctx = call.ctx
        if not ctx.project_id:
            raise NotAllowed(reason="The catalog is that of a project: ask with its token.")
        with self._database.read() as tx:
            scope = Scope("project", ctx.project_id)
            standing = standing_get(tx, ctx.user_id, scope)
            entries = [] if standing is None else self._tokens.catalog(tx, standing)
        return {"catalog": entries, "links": {"self": self._links.here(call)}}

    def projects(self, call: Call) -> dict[str, Any]:
        found = self._projects.of_user(call.ctx.user_id, only_enabled=True)
        return schemas.listing("projects", found, self._links.base(call), self._links.here(call))

    def domains(self, call: Call) -> dict[str, Any]:
        with self._database.read() as tx:
            places = domains_of_user(call.ctx.user_id)
            found = store.domains.list(tx, {"enabled": True}, ids=places)
        return schemas.listing("domains", found, self._links.base(call), self._links.here(call))

    def system(self, call: Call) -> dict[str, Any]:
        with self._database.read() as tx:
            has = has_system_role(tx, call.ctx.user_id)
        return {
            "system": [{"all": True}] if has else [],
            "links": {"next": None, "self": self._links.here(call), "previous": None},
        }

    def change_password(self, call: Call) -> None:
        body: schemas.NewPassword = call.body
        self._authentication.change_password(
            call.params["user_id"], body.original_password, body.password, peer=call.peer
        )

    def _subject(self, call: Call, action: str, *, with_catalog: bool = False) -> Token:
        """The token in X-Subject-Token. NotFound where it does not hold; Forbidden."""
        sealed = call.headers.get("X-Subject-Token", "")
        allow_expired = call.flag("allow_expired") and call.allowed(
            "identity:validate_expired_token"
        )
        token = None
        if sealed:
            token = self._tokens.validate(
                sealed, allow_expired=allow_expired, with_catalog=with_catalog
            )
        if token is not None and token.delegation.access_rules is not None:
            # A service that does not know access rules would take the token for anything.
            knows = call.headers.get("OpenStack-Identity-Access-Rules", "").partition(".")[0]
            token = token if knows.isdecimal() and int(knows) >= 1 else None
        if token is None:
            raise NotFound(kind="Token", id="in X-Subject-Token")
        call.check(action, {"user_id": token.standing.user_id})
        return token
