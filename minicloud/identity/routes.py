"""The whole identity service put together: what it serves, over which database and keys."""

from __future__ import annotations

from pathlib import Path

from minicloud.identity import noun_routes, versions
from minicloud.identity.application_credential_routes import ApplicationCredentialRoutes
from minicloud.identity.application_credentials import ApplicationCredentials
from minicloud.identity.auth_routes import AuthRoutes
from minicloud.identity.credential_routes import CredentialRoutes
from minicloud.identity.credentials import Credentials
from minicloud.identity.directory import Groups, Users
from minicloud.identity.domain_config import DomainConfig
from minicloud.identity.domain_config_routes import DomainConfigRoutes
from minicloud.identity.endpoint_group_routes import EndpointGroupRoutes
from minicloud.identity.endpoint_groups import EndpointGroups
from minicloud.identity.federation import IdentityProviders, Mappings, ServiceProviders
from minicloud.identity.federation_routes import FederationRoutes
from minicloud.identity.grant_routes import GrantRoutes
from minicloud.identity.grants import Grants
from minicloud.identity.keys import Keys
from minicloud.identity.limit_routes import LimitRoutes
from minicloud.identity.limits import Limits, RegisteredLimits
from minicloud.identity.links import Links
from minicloud.identity.logins import NO_LOCKOUT, Lockout, Logins
from minicloud.identity.oauth import LIFETIMES, Lifetimes, OAuth
from minicloud.identity.oauth_routes import OAuthRoutes
from minicloud.identity.passwords import Passwords
from minicloud.identity.policies import RULES
from minicloud.identity.policy_association_routes import PolicyAssociationRoutes
from minicloud.identity.policy_associations import PolicyAssociations
from minicloud.identity.project_routes import ProjectRoutes
from minicloud.identity.service import Authentication
from minicloud.identity.targets import Targets
from minicloud.identity.tokens import Tokens
from minicloud.identity.trust_routes import TrustRoutes
from minicloud.identity.trusts import Trusts
from minicloud.kit.db import Database
from minicloud.kit.policy import Policy
from minicloud.kit.web import Service, dialects


def rest_service(
    database: Database,
    *,
    key_dir: Path,
    credential_key_dir: Path,
    token_lifetime_s: float,
    passwords: Passwords,
    lockout: Lockout = NO_LOCKOUT,
    oauth_lifetimes: Lifetimes = LIFETIMES,
    public_url: str = "",
    policy_file: str | None = None,
) -> Service:
    """Identity over ``database``, whose tables are current, with keys in the two directories."""
    links, targets = Links(public_url), Targets(database)
    tokens = Tokens(database, Keys(key_dir), lifetime_s=token_lifetime_s)
    sealing_keys = Keys(credential_key_dir)
    oauth = OAuth(database, sealing_keys, oauth_lifetimes)
    logins = Logins(database, tokens, passwords, lockout, oauth)
    authentication = Authentication(database, tokens, passwords, logins)
    users, groups = Users(database, passwords), Groups(database)
    credentials = Credentials(database, sealing_keys)
    parts = (
        AuthRoutes(database, authentication, tokens, links),
        ProjectRoutes(database, users, links, targets),
        GrantRoutes(Grants(database), users, groups, links, targets),
        ApplicationCredentialRoutes(ApplicationCredentials(database, passwords), links, targets),
        TrustRoutes(Trusts(database), links),
        CredentialRoutes(credentials, authentication, links),
        EndpointGroupRoutes(EndpointGroups(database), links),
        LimitRoutes(RegisteredLimits(database), Limits(database), links),
        OAuthRoutes(oauth, links),
        PolicyAssociationRoutes(PolicyAssociations(database), links),
        DomainConfigRoutes(DomainConfig(database)),
        FederationRoutes(
            IdentityProviders(database), Mappings(database), ServiceProviders(database), links
        ),
    )
    return Service(
        name="identity",
        routes=[
            *versions.routes(links),
            *(row for part in parts for row in part.routes()),
            *noun_routes.rows(database, passwords, links),
        ],
        policy=Policy(RULES, policy_file=policy_file),
        dialect=dialects.keystone,
        authenticate=authentication.authenticate,
        vary="X-Auth-Token",
        unauthenticated_headers={"WWW-Authenticate": f'Keystone uri="{public_url or "/v3"}"'},
        catalog_types=frozenset({"identity"}),
    )
