"""
Second factors in the middle of an SSH login, which a host asks for on behalf of a user.

What is proven counts with the very SSH certificate that the host was shown, for C{mfa_grace}; so ten hosts take one
tap, and a copy of the user's certificate without its key gains nothing by it. A host that makes requests up can make
a user's codes be tried, which counts as wrong guesses do everywhere; it cannot learn whose they are, nor use them.

@see: L{teleport_tw.api.taps}
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from hashlib import sha256

from attrs import define, evolve
from twisted.internet.task import deferLater

from teleport_tw.api.contract import MfaAnswer, Scope, Tap, TapRequest
from teleport_tw.auth.account import Accounts, person
from teleport_tw.auth.core import Core
from teleport_tw.auth.gate import Gate
from teleport_tw.auth.taps import Taps
from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, access_denied, bad_parameter, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Duration, format_time, parse_time
from teleport_tw.pki import sshcert
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.protocols.ssh import certificate as certificates
from teleport_tw.resources.nodes import Node
from teleport_tw.resources.servers import Server
from teleport_tw.stores import layout, records
from teleport_tw.stores.devices import KeyDevice, OtpDevice

WAITS: Duration = timedelta(minutes=3)
"""From the prompt to the answer; hosts give a login two minutes."""

LOOK_SECONDS = 0.25
"""Between looks at whether the user has answered: somebody waits at a terminal."""

OVER = "this login waited too long; connect again"


def target_of(id: str) -> str:
    """
    @return: what a challenge for this tap is bound to.
    """
    return f"ssh/{id}"


def holder_of(certificate: bytes) -> str:
    """
    @param certificate: SSH, the blob.
    @return: what proofs made with it are kept under.
    """
    return sha256(certificate).hexdigest()


@define(eq=False)
class TapDesk:
    """
    Keeps taps until they are over.
    """

    core: Core
    taps: Taps
    accounts: Accounts

    async def covered(self, gate: Gate, request: TapRequest) -> str:
        """See the contract."""
        who, _ = await self._checked(gate, request)
        device = await self.taps.covering(who, who.identity.username)
        if device:
            who.check_locks(evolve(who.identity, mfa_device=device), login=request.login)
        return device

    async def begin(self, gate: Gate, request: TapRequest) -> Tap:
        """See the contract."""
        who, hostname = await self._checked(gate, request)
        core, username, now = self.core, who.identity.username, self.core.now()
        factors, devices = core.preference().second_factors, await core.devices.all(username)
        otp = "otp" in factors and any(isinstance(each, OtpDevice) for each in devices)
        keys = "webauthn" in factors and any(isinstance(each, KeyDevice) for each in devices)
        if not otp and not keys:
            raise bad_parameter("this session needs a second factor, and you have none: add one with `tsh mfa add`")
        id = secrets.token_hex(16)
        link = await self._link(id)
        if not otp and not link:
            raise bad_parameter("this session needs a security key, and no proxy has a page for it: connect with tsh")
        tap = Tap(
            id=id,
            username=username,
            node=request.node,
            hostname=hostname,
            login=request.login,
            address=request.address,
            otp=otp,
            link=link,
            created=now,
            expires=now + WAITS,
        )
        fields = {
            "username": username,
            "holder": who.holder,
            "by": gate.identity.username,
            "node": tap.node,
            "hostname": hostname,
            "login": tap.login,
            "address": tap.address,
            "otp": otp,
            "link": tap.link,
            "created": format_time(now),
            "expires": format_time(tap.expires),
            "device": "",
        }
        await core.backend.create(layout.tap_key(tap.id), records.encode(fields), tap.expires)
        return tap

    async def answer(self, gate: Gate, id: str, code: Secret[str]) -> str:
        """See the contract."""
        fields = await self._of_host(gate, id)
        if not fields["device"]:
            await self._prove(fields, id, MfaAnswer(otp=code), "")
            fields = await self._of_host(gate, id)
        return str(fields["device"])

    async def wait(self, gate: Gate, id: str, seconds: float) -> str:
        """See the contract."""
        until = self.core.now() + timedelta(seconds=seconds)
        while True:
            fields = await self._of_host(gate, id)
            if fields["device"] or self.core.now() >= until:
                return str(fields["device"])
            await deferLater(self.core.clock, LOOK_SECONDS)

    async def get(self, gate: Gate, id: str) -> Tap:
        """See the contract."""
        fields = await self._own(gate, id)
        return Tap(
            id=id,
            username=fields["username"],
            node=fields["node"],
            hostname=fields["hostname"],
            login=fields["login"],
            address=fields["address"],
            otp=fields["otp"],
            link=fields["link"],
            created=parse_time(fields["created"]),
            expires=parse_time(fields["expires"]),
            device=fields["device"],
        )

    async def approve(self, gate: Gate, id: str, answer: MfaAnswer) -> None:
        """See the contract."""
        fields = await self._own(gate, id)
        if fields["device"]:
            raise TeleportError(Kind.COMPARE_FAILED, "this login was approved already")
        if not answer.webauthn:
            raise access_denied("approve it with a security key or passkey; a code is typed where the login waits")
        await self._prove(fields, id, answer, target_of(id))

    # --- behind them

    async def _prove(self, fields: records.Fields, id: str, answer: MfaAnswer, bound: str) -> None:
        """
        @raise TeleportError: ACCESS_DENIED, the answer is wrong, or what it proves is locked.
        """
        core, username = self.core, str(fields["username"])
        device = (await self.accounts.prove(username, answer, Scope.SESSION, bound)).device
        Gate(core, Identity(username=username, mfa_device=device)).check_locks(
            Identity(username=username, mfa_device=device), login=fields["login"]
        )

        def step(before: records.Fields | None) -> records.Change:
            if before is None:
                return records.Change(None)
            return records.Change({**before, "device": before["device"] or device}, parse_time(fields["expires"]))

        await records.change(core.backend, layout.tap_key(id), step)
        await self.taps.count(username, fields["holder"], device, node=fields["node"])

    async def _checked(self, gate: Gate, request: TapRequest) -> tuple[Gate, str]:
        """
        @return: the user, as the certificate has it; and what the server is called.
        """
        own = gate.is_a(SystemRole.NODE) and gate.identity.host_id == request.node
        if not own and not gate.is_a(SystemRole.PROXY):
            raise gate.refuse("a second factor is asked for by the server itself, or by proxies")
        core = self.core
        try:
            pinned = certificates.parse(request.certificate).critical_options.get(sshcert.SOURCE_ADDRESS, "")
        except RemoteProtocolError as error:
            raise bad_parameter(f"the user's certificate cannot be read: {error}") from error
        # Where the user is, the host alone can see, and has compared.
        source = pinned.partition(",")[0].partition("/")[0] or None
        authority = core.signing.authority(AuthorityType.USER)
        user = sshcert.verify_user(request.certificate, (authority,), core.now(), source_ip=source)
        who = Gate(core, user, request.address, holder_of(request.certificate))
        who.check_locks(user, login=request.login)
        node = await core.resources.find("node", request.node)
        return who, Node.parse(node).hostname if node is not None else request.node

    async def _of_host(self, gate: Gate, id: str) -> records.Fields:
        fields = await self._find(id)
        if fields is None or (fields["by"] != gate.identity.username and not gate.is_a()):
            raise access_denied(OVER)
        return fields

    async def _own(self, gate: Gate, id: str) -> records.Fields:
        fields = await self._find(id)
        if fields is None or fields["username"] != person(gate):
            raise not_found("there is no such login; it may have ended")
        return fields

    async def _find(self, id: str) -> records.Fields | None:
        try:
            fields = await records.read(self.core.backend, layout.tap_key(id))
        except TeleportError as error:
            if error.kind is Kind.BAD_PARAMETER:
                return None
            raise
        return fields if fields is not None and self.core.now() < parse_time(fields["expires"]) else None

    async def _link(self, id: str) -> str:
        for each in await self.core.factors.proxies():
            for address in Server.parse(each).public_addrs:
                return f"https://{address}/web/tap/{id}".replace(":443/", "/")
        return ""
