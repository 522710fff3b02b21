"""
Second factors, web sessions and headless requests to protobuf and back.

@see: L{teleport_tw.api.convert} for what the pairs of functions promise.
"""

from __future__ import annotations

from datetime import datetime

from google.protobuf.timestamp_pb2 import Timestamp

from teleport_tw.api.convert import json_from_text, json_to_text, time_from_pb, time_to_pb
from teleport_tw.api.factors import (
    AccountState,
    Challenge,
    Device,
    DeviceTicket,
    DeviceType,
    MfaAnswer,
    MfaNeed,
    MfaTarget,
    Scope,
)
from teleport_tw.api.proto import factors_pb2
from teleport_tw.api.taps import Tap, TapRequest
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret

HEADER = "teleport-mfa-bin"
"""The header of a call that carries an answer along: an C{MfaAnswer}, serialized."""

_SCOPES = {scope: factors_pb2.Scope.Value(f"SCOPE_{scope.name}") for scope in Scope}
_SCOPES_BACK = {number: scope for scope, number in _SCOPES.items()}
_TYPES = {type: factors_pb2.DeviceType.Value(f"DEVICE_TYPE_{type.name}") for type in DeviceType}
_TYPES_BACK = {number: type for type, number in _TYPES.items()}


def scope_to_pb(scope: Scope) -> factors_pb2.Scope.ValueType:
    """
    @return: the number of it.
    """
    return _SCOPES[scope]


def scope_from_pb(number: factors_pb2.Scope.ValueType) -> Scope:
    """
    @raise TeleportError: BAD_PARAMETER, there is no such scope.
    """
    try:
        return _SCOPES_BACK[number]
    except KeyError as error:
        raise bad_parameter(f"{number} is not a scope of a challenge") from error


def type_to_pb(type: DeviceType) -> factors_pb2.DeviceType.ValueType:
    """
    @return: the number of it.
    """
    return _TYPES[type]


def type_from_pb(number: factors_pb2.DeviceType.ValueType) -> DeviceType:
    """
    @raise TeleportError: BAD_PARAMETER, there is no such type.
    """
    try:
        return _TYPES_BACK[number]
    except KeyError as error:
        raise bad_parameter(f"{number} is not a type of device") from error


def answer_to_pb(answer: MfaAnswer | None) -> factors_pb2.MfaAnswer | None:
    """
    @return: codes in the clear.
    """
    if answer is None:
        return None
    return factors_pb2.MfaAnswer(
        otp=answer.otp.reveal(),
        webauthn=json_to_text(answer.webauthn),
        recovery=answer.recovery.reveal(),
        challenge=answer.challenge,
    )


def answer_from_pb(message: factors_pb2.MfaAnswer) -> MfaAnswer:
    """
    @return: the answer.
    """
    return MfaAnswer(
        otp=Secret(message.otp),
        webauthn=json_from_text(message.webauthn),
        recovery=Secret(message.recovery),
        challenge=message.challenge,
    )


def target_to_pb(target: MfaTarget | None) -> factors_pb2.MfaTarget | None:
    """
    @return: what is wanted.
    """
    if target is None:
        return None
    return factors_pb2.MfaTarget(kind=target.kind, name=target.name, login=target.login)


def target_from_pb(message: factors_pb2.MfaTarget) -> MfaTarget:
    """
    @return: what is wanted.
    """
    return MfaTarget(kind=message.kind, name=message.name, login=message.login)


def challenge_to_pb(challenge: Challenge) -> factors_pb2.Challenge:
    """
    @return: the challenge.
    """
    return factors_pb2.Challenge(
        id=challenge.id,
        otp=challenge.otp,
        webauthn=json_to_text(challenge.webauthn) if challenge.webauthn is not None else "",
        expires=time_to_pb(challenge.expires),
    )


def challenge_from_pb(message: factors_pb2.Challenge) -> Challenge:
    """
    @return: the challenge.
    """
    return Challenge(
        id=message.id,
        otp=message.otp,
        webauthn=json_from_text(message.webauthn) if message.webauthn else None,
        expires=time_from_pb(message.expires),
    )


def need_to_pb(need: MfaNeed) -> factors_pb2.MfaNeed:
    """
    @return: what a session asks for.
    """
    return factors_pb2.MfaNeed(required=need.required, covered=need.covered)


def need_from_pb(message: factors_pb2.MfaNeed) -> MfaNeed:
    """
    @return: what a session asks for.
    """
    return MfaNeed(required=message.required, covered=message.covered)


def state_to_pb(state: AccountState) -> factors_pb2.AccountState:
    """
    @return: the state.
    """
    return factors_pb2.AccountState(password=state.password, recovery_codes=state.recovery_codes)


def state_from_pb(message: factors_pb2.AccountState) -> AccountState:
    """
    @return: the state.
    """
    return AccountState(password=message.password, recovery_codes=message.recovery_codes)


def device_to_pb(device: Device) -> factors_pb2.Device:
    """
    @return: the device.
    """
    return factors_pb2.Device(
        id=device.id,
        name=device.name,
        type=type_to_pb(device.type),
        added=_moment(device.added),
        last_used=_moment(device.last_used),
        passwordless=device.passwordless,
        suspect=device.suspect,
    )


def device_from_pb(message: factors_pb2.Device) -> Device:
    """
    @return: the device.
    """
    return Device(
        id=message.id,
        name=message.name,
        type=type_from_pb(message.type),
        added=time_from_pb(message.added) if message.HasField("added") else None,
        last_used=time_from_pb(message.last_used) if message.HasField("last_used") else None,
        passwordless=message.passwordless,
        suspect=message.suspect,
    )


def _moment(moment: datetime | None) -> Timestamp | None:
    return time_to_pb(moment) if moment is not None else None


def ticket_to_pb(ticket: DeviceTicket) -> factors_pb2.DeviceTicket:
    """
    @return: the ticket, secrets in the clear.
    """
    return factors_pb2.DeviceTicket(
        id=ticket.id,
        otp_secret=ticket.otp_secret.reveal(),
        otp_uri=ticket.otp_uri.reveal(),
        webauthn=json_to_text(ticket.webauthn) if ticket.webauthn is not None else "",
        expires=time_to_pb(ticket.expires),
    )


def ticket_from_pb(message: factors_pb2.DeviceTicket) -> DeviceTicket:
    """
    @return: the ticket.
    """
    return DeviceTicket(
        id=message.id,
        otp_secret=Secret(message.otp_secret),
        otp_uri=Secret(message.otp_uri),
        webauthn=json_from_text(message.webauthn) if message.webauthn else None,
        expires=time_from_pb(message.expires),
    )


def codes_to_pb(codes: tuple[Secret[str], ...]) -> factors_pb2.RecoveryCodes:
    """
    @return: the codes, in the clear.
    """
    return factors_pb2.RecoveryCodes(codes=[code.reveal() for code in codes])


def codes_from_pb(message: factors_pb2.RecoveryCodes) -> tuple[Secret[str], ...]:
    """
    @return: the codes.
    """
    return tuple(map(Secret, message.codes))


def tap_request_to_pb(request: TapRequest) -> factors_pb2.TapRequest:
    """
    @return: the message.
    """
    return factors_pb2.TapRequest(
        certificate=request.certificate, node=request.node, login=request.login, address=request.address
    )


def tap_request_from_pb(message: factors_pb2.TapRequest) -> TapRequest:
    """
    @return: the request.
    """
    return TapRequest(certificate=message.certificate, node=message.node, login=message.login, address=message.address)


def tap_to_pb(tap: Tap) -> factors_pb2.Tap:
    """
    @return: the message.
    """
    return factors_pb2.Tap(
        id=tap.id,
        username=tap.username,
        node=tap.node,
        hostname=tap.hostname,
        login=tap.login,
        address=tap.address,
        otp=tap.otp,
        link=tap.link,
        created=time_to_pb(tap.created),
        expires=time_to_pb(tap.expires),
        device=tap.device,
    )


def tap_from_pb(message: factors_pb2.Tap) -> Tap:
    """
    @return: the tap.
    """
    return Tap(
        id=message.id,
        username=message.username,
        node=message.node,
        hostname=message.hostname,
        login=message.login,
        address=message.address,
        otp=message.otp,
        link=message.link,
        created=time_from_pb(message.created),
        expires=time_from_pb(message.expires),
        device=message.device,
    )
