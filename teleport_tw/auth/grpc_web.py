"""
Serves second factors, web sessions and headless sign-ins over gRPC; L{teleport_tw.auth.grpc} has the rest.
"""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError

from teleport_tw.api import ceremonies, proofs, sessions
from teleport_tw.api.contract import Api, MfaAnswer
from teleport_tw.api.convert import duration_from_pb
from teleport_tw.api.proto import auth_pb2, factors_pb2, websessions_pb2
from teleport_tw.auth.local_web import LocalFactors
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.rpc.peer import Peer


def answer_of(peer: Peer) -> MfaAnswer | None:
    """
    @return: the second factor that came along with the call.
    @raise TeleportError: BAD_PARAMETER, the header cannot be read.
    """
    said = peer.headers.get(proofs.HEADER)
    if not isinstance(said, bytes):
        return None
    try:
        return proofs.answer_from_pb(factors_pb2.MfaAnswer.FromString(said))
    except DecodeError as error:
        raise bad_parameter(f"the header {proofs.HEADER} cannot be read") from error


class FactorCalls:
    """
    C{teleport_tw.v1.FactorService}.
    """

    async def BeginLogin(self, request: factors_pb2.BeginLoginRequest, api: Api) -> factors_pb2.Challenge:
        """See the contract."""
        found = await api.begin_login(
            request.username, passwordless=request.passwordless, remote_address=request.remote_address
        )
        return proofs.challenge_to_pb(found)

    async def BeginSetupDevice(
        self, request: factors_pb2.BeginSetupDeviceRequest, api: Api
    ) -> factors_pb2.DeviceTicket:
        """See the contract."""
        ticket = await api.begin_setup_device(
            Secret(request.token), proofs.type_from_pb(request.type), passwordless=request.passwordless
        )
        return proofs.ticket_to_pb(ticket)

    async def CreateChallenge(self, request: factors_pb2.CreateChallengeRequest, api: Api) -> factors_pb2.Challenge:
        """See the contract."""
        target = proofs.target_from_pb(request.target) if request.HasField("target") else None
        return proofs.challenge_to_pb(await api.create_challenge(proofs.scope_from_pb(request.scope), target))

    async def MfaRequired(self, request: factors_pb2.MfaTarget, api: Api) -> factors_pb2.MfaNeed:
        """See the contract."""
        return proofs.need_to_pb(await api.mfa_required(proofs.target_from_pb(request)))

    async def GetAccountState(self, request: Empty, api: Api) -> factors_pb2.AccountState:
        """See the contract."""
        return proofs.state_to_pb(await api.account_state())

    async def ListDevices(self, request: Empty, api: Api) -> factors_pb2.ListDevicesResponse:
        """See the contract."""
        return factors_pb2.ListDevicesResponse(devices=map(proofs.device_to_pb, await api.list_devices()))

    async def BeginDevice(self, request: factors_pb2.BeginDeviceRequest, api: Api) -> factors_pb2.DeviceTicket:
        """See the contract."""
        answer = proofs.answer_from_pb(request.answer) if request.HasField("answer") else None
        ticket = await api.begin_device(
            proofs.type_from_pb(request.type), request.name, answer, passwordless=request.passwordless
        )
        return proofs.ticket_to_pb(ticket)

    async def AddDevice(self, request: factors_pb2.AddDeviceRequest, api: Api) -> factors_pb2.Device:
        """See the contract."""
        return proofs.device_to_pb(await api.add_device(request.ticket, proofs.answer_from_pb(request.answer)))

    async def RenameDevice(self, request: factors_pb2.RenameDeviceRequest, api: Api) -> factors_pb2.Device:
        """See the contract."""
        return proofs.device_to_pb(await api.rename_device(request.id, request.name))

    async def DeleteDevice(self, request: factors_pb2.DeleteDeviceRequest, api: Api) -> Empty:
        """See the contract."""
        await api.delete_device(request.id, proofs.answer_from_pb(request.answer))
        return Empty()

    async def MakeRecoveryCodes(self, request: factors_pb2.RecoveryCodesRequest, api: Api) -> factors_pb2.RecoveryCodes:
        """See the contract."""
        return proofs.codes_to_pb(await api.recovery_codes(proofs.answer_from_pb(request.answer)))

    async def ChangePassword(self, request: factors_pb2.ChangePasswordRequest, api: Api) -> Empty:
        """See the contract."""
        answer = proofs.answer_from_pb(request.answer) if request.HasField("answer") else None
        await api.change_password(Secret(request.old), Secret(request.new), answer, sign_in=request.sign_in)
        return Empty()

    async def TapCovered(self, request: factors_pb2.TapRequest, api: Api) -> factors_pb2.TapDevice:
        """See the contract."""
        return factors_pb2.TapDevice(device=await api.tap_covered(proofs.tap_request_from_pb(request)))

    async def BeginTap(self, request: factors_pb2.TapRequest, api: Api) -> factors_pb2.Tap:
        """See the contract."""
        return proofs.tap_to_pb(await api.begin_tap(proofs.tap_request_from_pb(request)))

    async def AnswerTap(self, request: factors_pb2.AnswerTapRequest, api: Api) -> factors_pb2.TapDevice:
        """See the contract."""
        return factors_pb2.TapDevice(device=await api.answer_tap(request.id, Secret(request.code)))

    async def WaitTap(self, request: factors_pb2.TapId, api: Api) -> factors_pb2.TapDevice:
        """See the contract."""
        return factors_pb2.TapDevice(device=await api.wait_tap(request.id))

    async def ProvePresence(self, request: factors_pb2.ProvePresenceRequest, api: Api) -> Empty:
        """See the contract."""
        await api.prove_presence(request.session, proofs.answer_from_pb(request.answer))
        return Empty()

    async def SeenPresent(self, request: factors_pb2.SeenPresentRequest, api: Api) -> factors_pb2.SeenPresentResponse:
        """See the contract."""
        return factors_pb2.SeenPresentResponse(ages=await api.seen_present(request.session, tuple(request.users)))

    async def GetTap(self, request: factors_pb2.TapId, api: Api) -> factors_pb2.Tap:
        """See the contract."""
        return proofs.tap_to_pb(await api.get_tap(request.id))

    async def ApproveTap(self, request: factors_pb2.ApproveTapRequest, api: Api) -> Empty:
        """See the contract."""
        await api.approve_tap(request.id, proofs.answer_from_pb(request.answer))
        return Empty()


class WebSessionCalls:
    """
    C{teleport_tw.v1.WebSessionService}.
    """

    async def CreateWebSession(self, request: auth_pb2.LoginRequest, api: Api) -> websessions_pb2.WebSession:
        """See the contract."""
        return sessions.session_to_pb(await api.create_web_session(ceremonies.login_from_pb(request)))

    async def GetWebSession(self, request: websessions_pb2.WebSessionRequest, api: Api) -> websessions_pb2.WebSession:
        """See the contract."""
        return sessions.session_to_pb(await api.get_web_session(Secret(request.id), active=request.active))

    async def RenewWebSession(self, request: websessions_pb2.WebSessionRequest, api: Api) -> websessions_pb2.WebSession:
        """See the contract."""
        return sessions.session_to_pb(await api.renew_web_session(Secret(request.id)))

    async def DeleteWebSession(self, request: websessions_pb2.WebSessionRequest, api: Api) -> Empty:
        """See the contract."""
        await api.delete_web_session(Secret(request.id))
        return Empty()

    async def ListSignIns(self, request: Empty, api: Api) -> websessions_pb2.ListSignInsResponse:
        """See the contract."""
        return websessions_pb2.ListSignInsResponse(sign_ins=map(sessions.sign_in_to_pb, await api.list_sign_ins()))

    async def DeleteSignIn(self, request: websessions_pb2.DeleteSignInRequest, api: Api) -> Empty:
        """See the contract."""
        await api.delete_sign_in(request.id)
        return Empty()

    async def CreateHeadless(
        self, request: websessions_pb2.CreateHeadlessRequest, api: Api
    ) -> websessions_pb2.HeadlessRequest:
        """See the contract."""
        made = await api.create_headless(
            request.username, ceremonies.keys_from_pb(request.keys), request.remote_address, request.user_agent
        )
        return sessions.headless_to_pb(made)

    async def GetHeadless(
        self, request: websessions_pb2.GetHeadlessRequest, api: Api
    ) -> websessions_pb2.HeadlessRequest:
        """See the contract."""
        return sessions.headless_to_pb(await api.get_headless(request.id))

    async def AnswerHeadless(self, request: websessions_pb2.AnswerHeadlessRequest, api: Api) -> Empty:
        """See the contract."""
        answer = proofs.answer_from_pb(request.answer) if request.HasField("answer") else None
        await api.answer_headless(request.id, request.approve, answer)
        return Empty()

    async def WaitHeadless(
        self, request: websessions_pb2.GetHeadlessRequest, api: LocalFactors
    ) -> websessions_pb2.WaitHeadlessResponse:
        """See the contract."""
        found = await api.look_headless(request.id)
        if found is None:
            return websessions_pb2.WaitHeadlessResponse(pending=True)
        return websessions_pb2.WaitHeadlessResponse(certificates=ceremonies.certificates_to_pb(found))

    async def CreateBrowserLogin(
        self, request: websessions_pb2.CreateBrowserLoginRequest, api: Api
    ) -> websessions_pb2.BrowserLogin:
        """See the contract."""
        made = await api.create_browser_login(
            ceremonies.keys_from_pb(request.keys),
            request.code_challenge,
            ttl=duration_from_pb(request.ttl),
            remote_address=request.remote_address,
            user_agent=request.user_agent,
        )
        return sessions.browser_to_pb(made)

    async def GetBrowserLogin(
        self, request: websessions_pb2.GetBrowserLoginRequest, api: Api
    ) -> websessions_pb2.BrowserLogin:
        """See the contract."""
        return sessions.browser_to_pb(await api.get_browser_login(request.id))

    async def ApproveBrowserLogin(
        self, request: websessions_pb2.ApproveBrowserLoginRequest, api: Api
    ) -> websessions_pb2.ApproveBrowserLoginResponse:
        """See the contract."""
        answer = proofs.answer_from_pb(request.answer) if request.HasField("answer") else None
        code = await api.approve_browser_login(request.id, answer)
        return websessions_pb2.ApproveBrowserLoginResponse(code=code.reveal())

    async def FinishBrowserLogin(
        self, request: websessions_pb2.FinishBrowserLoginRequest, api: Api
    ) -> auth_pb2.Certificates:
        """See the contract."""
        found = await api.finish_browser_login(request.id, Secret(request.code), Secret(request.verifier))
        return ceremonies.certificates_to_pb(found)
