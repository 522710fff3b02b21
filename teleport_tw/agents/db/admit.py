"""
May this user come in here: from a certificate to an L{AuthorizedDatabase}.

It goes in two steps, since the name of user and database stand in the protocol: L{DatabaseAdmission.identify} when the
stream comes, L{DatabaseAdmission.admit} when the client has said what it wants.
"""

from __future__ import annotations

from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime

from teleport_tw.access.checker import Checker
from teleport_tw.access.decision import Decision
from teleport_tw.access.options import MergedOptions
from teleport_tw.agents.admit import checker_of, refuse_lacking, refuse_locked, terms_of
from teleport_tw.agents.db.grants import Grants, grants_of
from teleport_tw.api.streams import StreamHeader
from teleport_tw.base.addresses import split_address
from teleport_tw.base.errors import TeleportError, access_denied, bad_parameter
from teleport_tw.base.timing import from_timestamp
from teleport_tw.dial.lifetime import Terms
from teleport_tw.dial.view import View
from teleport_tw.pki import x509
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.identity import Identity, RouteToDatabase
from teleport_tw.resources.databases import Database
from teleport_tw.resources.roles import Principal, Target

USAGE = "usage:db"
"""What a certificate restricted to databases says."""


@frozen(kw_only=True)
class Caller:
    """
    A user whose certificate was verified, and the database it was made for.

    @ivar client_ip: empty where it is not known.
    """

    identity: Identity
    route: RouteToDatabase
    database: Database
    checker: Checker
    terms: Terms
    client_ip: str = ""


@frozen(kw_only=True)
class AuthorizedDatabase:
    """
    A user who may use this database as one of its users; only L{DatabaseAdmission.admit} makes it.

    @ivar user: of the database.
    @ivar name: of the logical database inside; empty where the client names none.
    @ivar grants: what an automatic user gets; C{None} where the user is one of the database's own.
    """

    caller: Caller
    user: str
    name: str
    grants: Grants | None = None

    @property
    def identity(self) -> Identity:
        """
        Who.
        """
        return self.caller.identity

    @property
    def database(self) -> Database:
        """
        Where.
        """
        return self.caller.database

    @property
    def options(self) -> MergedOptions:
        """
        What the user's roles say together.
        """
        return self.caller.checker.options


Permit = AuthorizedDatabase


@define(eq=False)
class DatabaseAdmission:
    """
    Decides for one agent.

    @ivar host_id: what locks call C{server_id}.
    """

    view: View
    clock: IReactorTime
    host_id: str

    def identify(self, header: StreamHeader, database: Database) -> Caller:
        """
        @param header: its certificate is verified here; that the user holds the key was proved to the proxy.
        @param database: as it is now, its labels included.
        @raise TeleportError: ACCESS_DENIED; the reason is in C{details}.
        """
        now = from_timestamp(self.clock.seconds())
        client_ip = _ip(header.client_address)
        authorities = self.view.authorities(AuthorityType.USER)
        identity = x509.verify(list(header.user_certificates[:1]), authorities, now, wanted=x509.Wanted.USER)
        if identity.pinned_ip and identity.pinned_ip != client_ip:
            raise access_denied(details=f"source address: {client_ip!r} is not {identity.pinned_ip}")
        if identity.usage and USAGE not in identity.usage:
            raise access_denied(details=f"the certificate is for {', '.join(identity.usage)} alone")
        route = identity.database
        if route is None or route.service != database.name:
            shown = route.service if route is not None else ""
            raise access_denied(
                f"the certificate is not for database {database.name!r}; run tsh db login {database.name}",
                details=f"wrong route: the certificate is for database {shown!r}",
            )
        if route.protocol and route.protocol != database.protocol:
            raise access_denied(details=f"wrong protocol: the certificate is for {route.protocol!r}")
        checker = checker_of(self.view, identity)
        terms = terms_of(self.view, identity, checker, server_id=self.host_id)
        return Caller(
            identity=identity, route=route, database=database, checker=checker, terms=terms, client_ip=client_ip
        )

    def admit(self, caller: Caller, user: str, name: str = "") -> AuthorizedDatabase:
        """
        @param user: of the database, as the client says; never empty.
        @param name: of the logical database; looked at where the protocol's roles limit it, and then never empty.
        @raise TeleportError: ACCESS_DENIED; BAD_PARAMETER, a name is missing.
        """
        database, checker, identity = caller.database, caller.checker, caller.identity
        if not user:
            raise bad_parameter("name a database user to connect as, for instance by tsh db login --db-user")
        refuse_locked(self.view, caller.terms, from_timestamp(self.clock.seconds()))
        self._check_requested(identity, database)
        if caller.route.username and caller.route.username != user:
            raise access_denied(
                f"the certificate is for database user {caller.route.username!r} and not {user!r}",
                details=f"wrong user: {user!r} is not {caller.route.username!r} of the certificate",
            )
        grants = grants_of(checker, database, caller.route.roles)
        if grants is not None and user != grants.user:
            raise access_denied(
                f"database users are made automatically here; connect as {grants.user!r}",
                details=f"wrong user: {user!r} is not the automatic user {grants.user!r}",
            )
        if grants is None and caller.route.roles:
            raise access_denied(details="database roles were asked for where users are not made automatically")
        decision = self.decision(caller, user, name, automatic=grants is not None)
        refuse_lacking(decision, identity)
        return AuthorizedDatabase(caller=caller, user=user, name=name, grants=grants)

    def admit_again(self, caller: Caller) -> None:
        """
        For what is asked on behalf of a session that stands: is the user still good, and the database in reach?

        @raise TeleportError: ACCESS_DENIED.
        """
        refuse_locked(self.view, caller.terms, from_timestamp(self.clock.seconds()))
        self._check_requested(caller.identity, caller.database)
        self.decision(caller, "", "", automatic=True)

    def decision(self, caller: Caller, user: str, name: str, *, automatic: bool = False) -> Decision:
        """
        May the roles' user and database be reached; MongoDB asks this of every command.

        @raise TeleportError: ACCESS_DENIED.
        """
        database = caller.database
        asked = {} if automatic else {Principal.DB_USERS: user}
        if database.checks_names and name:
            asked[Principal.DB_NAMES] = name
        decision = caller.checker.target(Target.DATABASE, database.all_labels, asked)
        if not decision.allowed:
            inside = f" to database {name!r}" if name and database.checks_names else ""
            raise access_denied(
                f"access denied{inside} as {user!r} on {database.name!r}; "
                "roles decide which database users and names may be used",
                details=decision.reason,
            )
        return decision

    def _check_requested(self, identity: Identity, database: Database) -> None:
        own = f"/{self.view.cluster}/db/{database.name}"
        if identity.allowed_resources and own not in identity.allowed_resources:
            raise access_denied(details=f"the access request is for other resources than {own}")


def _ip(address: str) -> str:
    try:
        return split_address(address)[0]
    except TeleportError:
        return ""
