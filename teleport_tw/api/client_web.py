"""
The contract over gRPC: second factors, web sessions, headless sign-ins; L{teleport_tw.api.client} has the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import define
from google.protobuf.empty_pb2 import Empty

from teleport_tw.api import ceremonies, proofs, sessions
from teleport_tw.api.contract import (
    AccountState,
    BrowserLogin,
    Certificates,
    Challenge,
    Device,
    DeviceTicket,
    DeviceType,
    HeadlessRequest,
    LoginRequest,
    MfaAnswer,
    MfaNeed,
    MfaTarget,
    PublicKeys,
    Scope,
    SignIn,
    Tap,
    TapRequest,
    WebSession,
)
from teleport_tw.api.convert import duration_to_pb
from teleport_tw.api.proto import factors_pb2, websessions_pb2
from teleport_tw.api.proto.factors_pb2_grpc import FactorServiceStub
from teleport_tw.api.proto.websessions_pb2_grpc import WebSessionServiceStub
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.rpc.client import Channel, Saying

WAIT_SECONDS = 100.0
"""For one call that waits for a headless request; the server answers sooner."""


@define(eq=False)
class RpcFactors:
    """
    Implements L{teleport_tw.api.factors.Factors} and what belongs to it.
    """

    channel: Channel | Saying

    async def begin_login(self, username: str, *, passwordless: bool = False, remote_address: str = "") -> Challenge:
        """See the contract."""
        request = factors_pb2.BeginLoginRequest(
            username=username, passwordless=passwordless, remote_address=remote_address
        )
        stub = self.channel.stub(FactorServiceStub)
        return proofs.challenge_from_pb(await self.channel.call(stub.BeginLogin, request))

    async def begin_setup_device(
        self, token: Secret[str], type: DeviceType, *, passwordless: bool = False
    ) -> DeviceTicket:
        """See the contract."""
        request = factors_pb2.BeginSetupDeviceRequest(
            token=token.reveal(), type=proofs.type_to_pb(type), passwordless=passwordless
        )
        stub = self.channel.stub(FactorServiceStub)
        return proofs.ticket_from_pb(await self.channel.call(stub.BeginSetupDevice, request))

    async def create_challenge(self, scope: Scope, target: MfaTarget | None = None) -> Challenge:
        """See the contract."""
        request = factors_pb2.CreateChallengeRequest(
            scope=proofs.scope_to_pb(scope), target=proofs.target_to_pb(target)
        )
        stub = self.channel.stub(FactorServiceStub)
        return proofs.challenge_from_pb(await self.channel.call(stub.CreateChallenge, request))

    async def mfa_required(self, target: MfaTarget) -> MfaNeed:
        """See the contract."""
        stub = self.channel.stub(FactorServiceStub)
        request = factors_pb2.MfaTarget(kind=target.kind, name=target.name, login=target.login)
        return proofs.need_from_pb(await self.channel.call(stub.MfaRequired, request))

    async def account_state(self) -> AccountState:
        """See the contract."""
        stub = self.channel.stub(FactorServiceStub)
        return proofs.state_from_pb(await self.channel.call(stub.GetAccountState, Empty()))

    async def list_devices(self) -> tuple[Device, ...]:
        """See the contract."""
        stub = self.channel.stub(FactorServiceStub)
        return tuple(map(proofs.device_from_pb, (await self.channel.call(stub.ListDevices, Empty())).devices))

    async def begin_device(
        self, type: DeviceType, name: str, answer: MfaAnswer | None = None, *, passwordless: bool = False
    ) -> DeviceTicket:
        """See the contract."""
        request = factors_pb2.BeginDeviceRequest(
            type=proofs.type_to_pb(type), name=name, answer=proofs.answer_to_pb(answer), passwordless=passwordless
        )
        stub = self.channel.stub(FactorServiceStub)
        return proofs.ticket_from_pb(await self.channel.call(stub.BeginDevice, request))

    async def add_device(self, ticket: str, answer: MfaAnswer) -> Device:
        """See the contract."""
        request = factors_pb2.AddDeviceRequest(ticket=ticket, answer=proofs.answer_to_pb(answer))
        stub = self.channel.stub(FactorServiceStub)
        return proofs.device_from_pb(await self.channel.call(stub.AddDevice, request))

    async def rename_device(self, id: str, name: str) -> Device:
        """See the contract."""
        request = factors_pb2.RenameDeviceRequest(id=id, name=name)
        stub = self.channel.stub(FactorServiceStub)
        return proofs.device_from_pb(await self.channel.call(stub.RenameDevice, request))

    async def delete_device(self, id: str, answer: MfaAnswer) -> None:
        """See the contract."""
        request = factors_pb2.DeleteDeviceRequest(id=id, answer=proofs.answer_to_pb(answer))
        await self.channel.call(self.channel.stub(FactorServiceStub).DeleteDevice, request)

    async def recovery_codes(self, answer: MfaAnswer) -> tuple[Secret[str], ...]:
        """See the contract."""
        request = factors_pb2.RecoveryCodesRequest(answer=proofs.answer_to_pb(answer))
        stub = self.channel.stub(FactorServiceStub)
        return proofs.codes_from_pb(await self.channel.call(stub.MakeRecoveryCodes, request))

    async def change_password(
        self, old: Secret[str], new: Secret[str], answer: MfaAnswer | None = None, *, sign_in: str = ""
    ) -> None:
        """See the contract."""
        request = factors_pb2.ChangePasswordRequest(
            old=old.reveal(), new=new.reveal(), answer=proofs.answer_to_pb(answer), sign_in=sign_in
        )
        await self.channel.call(self.channel.stub(FactorServiceStub).ChangePassword, request)

    # --- taps

    async def tap_covered(self, request: TapRequest) -> str:
        """See the contract."""
        stub = self.channel.stub(FactorServiceStub)
        return str((await self.channel.call(stub.TapCovered, proofs.tap_request_to_pb(request))).device)

    async def begin_tap(self, request: TapRequest) -> Tap:
        """See the contract."""
        stub = self.channel.stub(FactorServiceStub)
        return proofs.tap_from_pb(await self.channel.call(stub.BeginTap, proofs.tap_request_to_pb(request)))

    async def answer_tap(self, id: str, code: Secret[str]) -> str:
        """See the contract."""
        request = factors_pb2.AnswerTapRequest(id=id, code=code.reveal())
        return str((await self.channel.call(self.channel.stub(FactorServiceStub).AnswerTap, request)).device)

    async def wait_tap(self, id: str) -> str:
        """See the contract."""
        request = factors_pb2.TapId(id=id)
        stub = self.channel.stub(FactorServiceStub)
        return str((await self.channel.call(stub.WaitTap, request, timeout=WAIT_SECONDS)).device)

    async def prove_presence(self, session: str, answer: MfaAnswer) -> None:
        """See the contract."""
        request = factors_pb2.ProvePresenceRequest(session=session, answer=proofs.answer_to_pb(answer))
        await self.channel.call(self.channel.stub(FactorServiceStub).ProvePresence, request)

    async def seen_present(self, session: str, users: Sequence[str]) -> Mapping[str, float]:
        """See the contract."""
        request = factors_pb2.SeenPresentRequest(session=session, users=users)
        return dict((await self.channel.call(self.channel.stub(FactorServiceStub).SeenPresent, request)).ages)

    async def get_tap(self, id: str) -> Tap:
        """See the contract."""
        stub = self.channel.stub(FactorServiceStub)
        return proofs.tap_from_pb(await self.channel.call(stub.GetTap, factors_pb2.TapId(id=id)))

    async def approve_tap(self, id: str, answer: MfaAnswer) -> None:
        """See the contract."""
        request = factors_pb2.ApproveTapRequest(id=id, answer=proofs.answer_to_pb(answer))
        await self.channel.call(self.channel.stub(FactorServiceStub).ApproveTap, request)

    # --- web sessions

    async def create_web_session(self, request: LoginRequest) -> WebSession:
        """See the contract."""
        stub = self.channel.stub(WebSessionServiceStub)
        return sessions.session_from_pb(await self.channel.call(stub.CreateWebSession, ceremonies.login_to_pb(request)))

    async def get_web_session(self, id: Secret[str], *, active: bool = True) -> WebSession:
        """See the contract."""
        request = websessions_pb2.WebSessionRequest(id=id.reveal(), active=active)
        stub = self.channel.stub(WebSessionServiceStub)
        return sessions.session_from_pb(await self.channel.call(stub.GetWebSession, request))

    async def renew_web_session(self, id: Secret[str]) -> WebSession:
        """See the contract."""
        request = websessions_pb2.WebSessionRequest(id=id.reveal(), active=True)
        stub = self.channel.stub(WebSessionServiceStub)
        return sessions.session_from_pb(await self.channel.call(stub.RenewWebSession, request))

    async def delete_web_session(self, id: Secret[str]) -> None:
        """See the contract."""
        request = websessions_pb2.WebSessionRequest(id=id.reveal())
        await self.channel.call(self.channel.stub(WebSessionServiceStub).DeleteWebSession, request)

    async def list_sign_ins(self) -> tuple[SignIn, ...]:
        """See the contract."""
        stub = self.channel.stub(WebSessionServiceStub)
        return tuple(map(sessions.sign_in_from_pb, (await self.channel.call(stub.ListSignIns, Empty())).sign_ins))

    async def delete_sign_in(self, id: str) -> None:
        """See the contract."""
        request = websessions_pb2.DeleteSignInRequest(id=id)
        await self.channel.call(self.channel.stub(WebSessionServiceStub).DeleteSignIn, request)

    # --- headless

    async def create_headless(
        self, username: str, keys: PublicKeys, remote_address: str = "", user_agent: str = ""
    ) -> HeadlessRequest:
        """See the contract."""
        request = websessions_pb2.CreateHeadlessRequest(
            username=username,
            keys=ceremonies.keys_to_pb(keys),
            remote_address=remote_address,
            user_agent=user_agent,
        )
        stub = self.channel.stub(WebSessionServiceStub)
        return sessions.headless_from_pb(await self.channel.call(stub.CreateHeadless, request))

    async def get_headless(self, id: str) -> HeadlessRequest:
        """See the contract."""
        request = websessions_pb2.GetHeadlessRequest(id=id)
        stub = self.channel.stub(WebSessionServiceStub)
        return sessions.headless_from_pb(await self.channel.call(stub.GetHeadless, request))

    async def answer_headless(self, id: str, approve: bool, answer: MfaAnswer | None = None) -> None:
        """See the contract."""
        request = websessions_pb2.AnswerHeadlessRequest(id=id, approve=approve, answer=proofs.answer_to_pb(answer))
        await self.channel.call(self.channel.stub(WebSessionServiceStub).AnswerHeadless, request)

    async def wait_headless(self, id: str) -> Certificates:
        """See the contract."""
        request = websessions_pb2.GetHeadlessRequest(id=id)
        while True:
            stub = self.channel.stub(WebSessionServiceStub)
            found = await self.channel.call(stub.WaitHeadless, request, timeout=WAIT_SECONDS)
            if not found.pending:
                return ceremonies.certificates_from_pb(found.certificates)

    # --- browser logins

    async def create_browser_login(
        self,
        keys: PublicKeys,
        code_challenge: str,
        *,
        ttl: Duration = NEVER,
        remote_address: str = "",
        user_agent: str = "",
    ) -> BrowserLogin:
        """See the contract."""
        request = websessions_pb2.CreateBrowserLoginRequest(
            keys=ceremonies.keys_to_pb(keys),
            code_challenge=code_challenge,
            ttl=duration_to_pb(ttl),
            remote_address=remote_address,
            user_agent=user_agent,
        )
        stub = self.channel.stub(WebSessionServiceStub)
        return sessions.browser_from_pb(await self.channel.call(stub.CreateBrowserLogin, request))

    async def get_browser_login(self, id: str) -> BrowserLogin:
        """See the contract."""
        request = websessions_pb2.GetBrowserLoginRequest(id=id)
        stub = self.channel.stub(WebSessionServiceStub)
        return sessions.browser_from_pb(await self.channel.call(stub.GetBrowserLogin, request))

    async def approve_browser_login(self, id: str, answer: MfaAnswer | None = None) -> Secret[str]:
        """See the contract."""
        request = websessions_pb2.ApproveBrowserLoginRequest(id=id, answer=proofs.answer_to_pb(answer))
        stub = self.channel.stub(WebSessionServiceStub)
        return Secret((await self.channel.call(stub.ApproveBrowserLogin, request)).code)

    async def finish_browser_login(self, id: str, code: Secret[str], verifier: Secret[str]) -> Certificates:
        """See the contract."""
        request = websessions_pb2.FinishBrowserLoginRequest(id=id, code=code.reveal(), verifier=verifier.reveal())
        stub = self.channel.stub(WebSessionServiceStub)
        return ceremonies.certificates_from_pb(await self.channel.call(stub.FinishBrowserLogin, request))
