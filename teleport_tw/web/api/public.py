"""
What anybody may ask: facts of the cluster, joining, and certificates for a password.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import frozen

from teleport_tw import __version__
from teleport_tw.api import joining, signin
from teleport_tw.api.contract import Api, ClusterInfo
from teleport_tw.base.addresses import host_of
from teleport_tw.base.errors import not_found
from teleport_tw.pki.authority import Authority
from teleport_tw.pki.export import authority_of, export
from teleport_tw.resources.clusters import AUTH_PREFERENCE, SINGLETONS, AuthPreference
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.routes import Answer, Call, Limit, Reply, Route, Who
from teleport_tw.web.shapes import FREE, Table, Text


@frozen
class Public:
    """
    @ivar api: auth, as the proxy's own identity.
    """

    api: Api
    facts: PublicFacts

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        cheap: dict[str, Any] = {"method": "GET", "who": Who.PUBLIC, "limit": Limit.CHEAP}
        costly: dict[str, Any] = {"method": "POST", "who": Who.PUBLIC, "limit": Limit.COSTLY}
        return (
            Route(path="/ping", handler=self.ping, about="The cluster, and how to sign in.", answer=FREE, **cheap),
            Route(
                path="/ping/<connector>", handler=self.ping, about="The same of one connector.", answer=FREE, **cheap
            ),
            Route(path="/find", handler=self.find, about="Cheap facts for agents.", answer=FREE, **cheap),
            Route(
                path="/motd",
                handler=self.motd,
                about="The text to acknowledge before signing in.",
                answer=Table(members={"Text": Text()}, needs=("Text",)),
                **cheap,
            ),
            Route(
                path="/sites/<site>/auth/export",
                handler=self.export,
                about="The public keys of an authority.",
                query={"type": Text(least=1, most=32)},
                media="text/plain",
                **cheap,
            ),
            Route(
                path="/host/credentials",
                handler=self.join,
                about="Certificates of a host for a join token.",
                answer=FREE,
                **costly,
            ),
            Route(
                path="/ssh/certs",
                handler=self.certificates,
                about="Certificates of a user for a password and a second factor.",
                answer=FREE,
                **costly,
            ),
        )

    async def find(self, call: Call) -> Reply:
        """
        C{GET /webapi/find}.
        """
        return self._found(await self.api.ping())

    async def ping(self, call: Call) -> Reply:
        """
        C{GET /webapi/ping}: the same and how to sign in.
        """
        connector = call.path.get("connector", "local")
        if connector not in ("local", "passwordless"):
            raise not_found("there is no such connector")
        info = await self.api.ping()
        return {"auth": auth_of(info), **self._found(info)}

    def _found(self, info: ClusterInfo) -> dict[str, Any]:
        return {
            "proxy": self.facts.proxy(),
            "server_version": info.version,
            "min_client_version": __version__,
            "cluster_name": info.cluster,
            "automatic_upgrades": False,
            "edition": "community",
            "fips": False,
        }

    async def motd(self, call: Call) -> Reply:
        """
        C{GET /webapi/motd}.
        """
        info = await self.api.ping()
        return {"Text": str(info.auth_preference.get("message_of_the_day") or "")}

    async def join(self, call: Call) -> Reply:
        """
        C{POST /webapi/host/credentials}.
        """
        asked = joining.request_from_json(call.raw(joining.MAX_REQUEST), call.address)
        return joining.answer_to_json(await self.api.join(asked))

    async def certificates(self, call: Call) -> Reply:
        """
        C{POST /webapi/ssh/certs}.
        """
        asked = signin.request_from_json(
            call.raw(joining.MAX_REQUEST), remote_address=call.address, user_agent=call.user_agent
        )
        return joining.answer_to_json(await self.api.login(asked))

    async def export(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/auth/export?type=}.
        """
        form = call.query.get("type", "host")
        site = call.path["site"]
        if site == "-current-":
            site = (await self.api.ping()).cluster
        found = await self.api.get("cert_authority", site, sub_kind=authority_of(form))
        kind = b"application/octet-stream" if form.endswith("der") else b"text/plain"
        hosts = [host_of(address) for address in (self.facts.web, self.facts.ssh) if address]
        return Answer(body=export(Authority.parse(found), form, hosts), content_type=kind)


def auth_of(info: ClusterInfo) -> dict[str, Any]:
    """
    @return: the C{auth} member of C{ping}: how to sign in.
    """
    spec = info.auth_preference
    told = AuthPreference.parse(Resource(AUTH_PREFERENCE, "v2", Metadata(SINGLETONS[AUTH_PREFERENCE]), spec))
    keys = "webauthn" in told.second_factors
    said = {
        "type": told.type,
        "second_factor": _second_factor(told.second_factors),
        "second_factors": list(told.second_factors),
        "preferred_local_mfa": "webauthn" if keys else "otp" if told.second_factors else "",
        "allow_passwordless": keys and told.allow_passwordless,
        "allow_headless": keys and told.allow_headless,
        "connector_name": told.connector_name,
        "local": {"name": "local"},
        "private_key_policy": "none",
        "has_motd": bool(told.message_of_the_day),
        "default_session_ttl": str(spec.get("default_session_ttl") or "12h"),
    }
    return {**said, "webauthn": {"rp_id": told.webauthn_rp_id}} if keys else said


def _second_factor(factors: Sequence[str]) -> str:
    """
    @return: the older word for it.
    """
    if not factors:
        return "off"
    return factors[0] if len(factors) == 1 else "on"
