"""
The cluster, and what the user may do in it: what a page asks first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from teleport_tw.access.checker import Checker
from teleport_tw.api.contract import ClusterInfo, MfaTarget
from teleport_tw.resources.metadata import Json
from teleport_tw.web.answers import when
from teleport_tw.web.catalogue import Catalogue
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.people import Rights
from teleport_tw.web.routes import Call, Reply, Route
from teleport_tw.web.shapes import FREE, NAME, Flag, Many, Table, Text

KINDS = (
    "user", "role", "token", "lock", "event", "session", "session_tracker", "node", "db", "db_server", "instance",
    "cert_authority", "cluster_auth_preference", "cluster_networking_config", "session_recording_config", "host_cert",
    "access_request", "trusted_cluster", "bot",
)  # fmt: skip
"""What a page asks rights of."""

VERBS: Mapping[str, str] = {"list": "list", "read": "read", "edit": "update", "create": "create", "remove": "delete"}
"""A page's words, and those of rules."""


@frozen
class Cluster:
    """
    @ivar rights: what the users' roles say.
    """

    facts: PublicFacts
    rights: Rights
    catalogue: Catalogue

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        target = {"kind": Text(least=1, most=64), "name": NAME, "login": Text(most=256)}
        return (
            Route(
                method="GET",
                path="/sites",
                handler=self.sites,
                about="The clusters that can be reached from here.",
                answer=Table(members={"items": Many(of=FREE)}, needs=("items",)),
            ),
            Route(
                method="GET",
                path="/sites/<site>/info",
                handler=self.info,
                about="One cluster.",
                answer=FREE,
            ),
            Route(
                method="GET",
                path="/sites/<site>/context",
                handler=self.context,
                about="Who is signed in, and what they may do.",
                answer=FREE,
            ),
            Route(
                method="GET",
                path="/user/status",
                handler=self.status,
                about="Whether the user is still signed in.",
                answer=FREE,
            ),
            Route(
                method="POST",
                path="/sites/<site>/mfa/required",
                handler=self.mfa_required,
                about="Whether a session with something needs a second factor of its own.",
                body=Table(members=target, needs=("kind", "name")),
                answer=Table(members={"required": Flag(), "covered": Flag()}, needs=("required", "covered")),
            ),
        )

    async def sites(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites}.
        """
        return {"items": [self._site(await call.api.ping())]}

    async def info(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/info}.
        """
        return self._site(await call.api.ping())

    def _site(self, info: ClusterInfo) -> Json:
        return {
            "name": info.cluster,
            "clusterId": info.cluster,
            "status": "online",
            "publicURL": self.facts.web,
            "authVersion": info.version,
            "proxyVersion": info.version,
            "nodeCount": len(self.catalogue.indices["node"].entries),
        }

    async def context(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/context}.
        """
        session, checker = call.user, self.rights.checker(call.user)
        info, state = await call.api.ping(), await call.api.account_state()
        return {
            "authType": "local",
            "userName": session.username,
            "roles": list(checker.role_names),
            "traits": {name: list(values) for name, values in checker.traits.items()},
            "cluster": self._site(info),
            "acl": {kind: rights_of(checker, kind) for kind in KINDS},
            "access": {
                "webTerminal": True,
                "fileTransfer": checker.options.ssh_file_copy,
                "recordedSessions": rights_of(checker, "session")["list"],
            },
            "passwordState": "set" if state.password else "unset",
            "recoveryCodes": state.recovery_codes,
            "sessionExpires": when(session.expires),
            "sessionInactiveTimeout": int(session.idle_timeout.total_seconds() * 1000),
        }

    async def status(self, call: Call) -> Reply:
        """
        C{GET /webapi/user/status}: asking it shows it.
        """
        return {"userName": call.user.username, "sessionExpires": when(call.user.expires)}

    async def mfa_required(self, call: Call) -> Reply:
        """
        C{POST /webapi/sites/:site/mfa/required}.
        """
        asked: Mapping[str, Any] = call.body
        target = MfaTarget(kind=asked["kind"], name=asked["name"], login=asked.get("login", ""))
        need = await call.api.mfa_required(target)
        return {"required": need.required, "covered": need.covered}


def rights_of(checker: Checker, kind: str) -> dict[str, bool]:
    """
    @return: by a page's words, whether some of the kind might be allowed.
    """
    return {word: checker.may_list(kind, verb) for word, verb in VERBS.items()}
