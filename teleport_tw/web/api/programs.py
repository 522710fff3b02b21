"""
Programs that a person signs in with a browser: the browser beside them, or one on another machine.

Both ask here first and get the address of a page for the person to open; then they wait, or come back with what the
page sent them, for the certificates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from teleport_tw.api import joining
from teleport_tw.api.contract import Api, PublicKeys
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, parse_duration
from teleport_tw.web.answers import when
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.routes import Call, Limit, Reply, Route, Who
from teleport_tw.web.shapes import FREE, Shape, Table, Text

KEYS: Mapping[str, Shape] = {
    "ssh_pub_key": Text(most=16384, about="a line of authorized_keys"),
    "tls_pub_key": Text(most=16384, about="SubjectPublicKeyInfo as PEM"),
}
ID = Text(least=1, most=128)
BEGUN = Table(
    members={"id": ID, "url": Text(most=4096, about="for the person to open"), "expires": Text(form="date-time")},
    needs=("id", "url", "expires"),
)


@frozen
class Programs:
    """
    @ivar api: auth, as the proxy's own identity.
    """

    api: Api
    facts: PublicFacts

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        stranger: dict[str, Any] = {"method": "POST", "who": Who.PUBLIC, "limit": Limit.COSTLY}
        browser: dict[str, Shape] = {
            **KEYS,
            "code_challenge": Text(least=43, most=43, pattern="[A-Za-z0-9_-]{43}", about="RFC 7636, S256"),
            "ttl": Text(most=16),
        }
        finish: dict[str, Shape] = {
            "id": ID,
            "code": Text(least=1, most=256, secret=True),
            "code_verifier": Text(least=1, most=256, secret=True),
        }
        return (
            Route(
                path="/login/headless",
                handler=self.begin_headless,
                about="Ask to be signed in as a user, who approves it elsewhere.",
                body=Table(members={"user": Text(least=1, most=1000), **KEYS}, needs=("user",)),
                answer=BEGUN,
                **stranger,
            ),
            Route(
                path="/login/headless/finish",
                handler=self.finish_headless,
                about="Wait until the user approves, some three minutes at most; certificates.",
                body=Table(members={"id": ID}, needs=("id",)),
                answer=FREE,
                **stranger,
            ),
            Route(
                path="/login/browser",
                handler=self.begin_browser,
                about="Ask to be signed in by the browser on the same machine.",
                body=Table(members=browser, needs=("code_challenge",)),
                answer=BEGUN,
                **stranger,
            ),
            Route(
                path="/login/browser/finish",
                handler=self.finish_browser,
                about="Certificates for the code that the page sent and the program's own secret.",
                body=Table(members=finish, needs=("id", "code", "code_verifier")),
                answer=FREE,
                **stranger,
            ),
        )

    async def begin_headless(self, call: Call) -> Reply:
        """
        C{POST /webapi/login/headless}.
        """
        made = await self.api.create_headless(call.body["user"], keys_of(call.body), call.address, call.user_agent)
        return {"id": made.id, "url": self._page(call, "headless", made.id), "expires": when(made.expires)}

    async def finish_headless(self, call: Call) -> Reply:
        """
        C{POST /webapi/login/headless/finish}.
        """
        return joining.answer_to_json(await self.api.wait_headless(call.body["id"]))

    async def begin_browser(self, call: Call) -> Reply:
        """
        C{POST /webapi/login/browser}.
        """
        ttl = call.body.get("ttl", "")
        made = await self.api.create_browser_login(
            keys_of(call.body),
            call.body["code_challenge"],
            ttl=parse_duration(ttl) if ttl else NEVER,
            remote_address=call.address,
            user_agent=call.user_agent,
        )
        return {"id": made.id, "url": self._page(call, "browser", made.id), "expires": when(made.expires)}

    async def finish_browser(self, call: Call) -> Reply:
        """
        C{POST /webapi/login/browser/finish}.
        """
        body = call.body
        code, verifier = Secret(body["code"]), Secret(body["code_verifier"])
        return joining.answer_to_json(await self.api.finish_browser_login(body["id"], code, verifier))

    def _page(self, call: Call, kind: str, id: str) -> str:
        return f"https://{self.facts.named(call.host)}/web/{kind}/{id}"


def keys_of(body: Mapping[str, Any]) -> PublicKeys:
    """
    @raise TeleportError: BAD_PARAMETER, there is none.
    """
    keys = PublicKeys(ssh=body.get("ssh_pub_key", "").encode(), tls=body.get("tls_pub_key", "").encode())
    if not keys.ssh and not keys.tls:
        raise bad_parameter("say a public key: ssh_pub_key, tls_pub_key or both")
    return keys
