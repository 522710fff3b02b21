"""
Web sessions and headless requests to protobuf and back.

@see: L{teleport_tw.api.convert} for what the pairs of functions promise.
"""

from __future__ import annotations

from teleport_tw.api.ceremonies import certificates_from_pb, certificates_to_pb
from teleport_tw.api.convert import duration_from_pb, duration_to_pb, time_from_pb, time_to_pb
from teleport_tw.api.proto import websessions_pb2
from teleport_tw.api.websessions import BrowserLogin, HeadlessRequest, SignIn, WebSession
from teleport_tw.base.secret import Secret


def session_to_pb(session: WebSession) -> websessions_pb2.WebSession:
    """
    @return: the session, keys in the clear.
    """
    return websessions_pb2.WebSession(
        id=session.id.reveal(),
        bearer=session.bearer.reveal(),
        username=session.username,
        certificates=certificates_to_pb(session.certificates),
        tls_key=session.tls_key.reveal(),
        ssh_key=session.ssh_key.reveal(),
        sign_in=session.sign_in,
        created=time_to_pb(session.created),
        expires=time_to_pb(session.expires),
        idle_timeout=duration_to_pb(session.idle_timeout),
    )


def session_from_pb(message: websessions_pb2.WebSession) -> WebSession:
    """
    @return: the session.
    """
    return WebSession(
        id=Secret(message.id),
        bearer=Secret(message.bearer),
        username=message.username,
        certificates=certificates_from_pb(message.certificates),
        tls_key=Secret(message.tls_key),
        ssh_key=Secret(message.ssh_key),
        sign_in=message.sign_in,
        created=time_from_pb(message.created),
        expires=time_from_pb(message.expires),
        idle_timeout=duration_from_pb(message.idle_timeout),
    )


def sign_in_to_pb(sign_in: SignIn) -> websessions_pb2.SignIn:
    """
    @return: what its user may see.
    """
    return websessions_pb2.SignIn(
        id=sign_in.id,
        created=time_to_pb(sign_in.created),
        last_used=time_to_pb(sign_in.last_used),
        expires=time_to_pb(sign_in.expires),
        address=sign_in.address,
        user_agent=sign_in.user_agent,
    )


def sign_in_from_pb(message: websessions_pb2.SignIn) -> SignIn:
    """
    @return: what its user may see.
    """
    return SignIn(
        id=message.id,
        created=time_from_pb(message.created),
        last_used=time_from_pb(message.last_used),
        expires=time_from_pb(message.expires),
        address=message.address,
        user_agent=message.user_agent,
    )


def headless_to_pb(request: HeadlessRequest) -> websessions_pb2.HeadlessRequest:
    """
    @return: the request.
    """
    return websessions_pb2.HeadlessRequest(
        id=request.id,
        username=request.username,
        address=request.address,
        user_agent=request.user_agent,
        created=time_to_pb(request.created),
        expires=time_to_pb(request.expires),
        state=request.state,
    )


def headless_from_pb(message: websessions_pb2.HeadlessRequest) -> HeadlessRequest:
    """
    @return: the request.
    """
    return HeadlessRequest(
        id=message.id,
        username=message.username,
        address=message.address,
        user_agent=message.user_agent,
        created=time_from_pb(message.created),
        expires=time_from_pb(message.expires),
        state=message.state,
    )


def browser_to_pb(login: BrowserLogin) -> websessions_pb2.BrowserLogin:
    """
    @return: the request.
    """
    return websessions_pb2.BrowserLogin(
        id=login.id,
        address=login.address,
        user_agent=login.user_agent,
        created=time_to_pb(login.created),
        expires=time_to_pb(login.expires),
    )


def browser_from_pb(message: websessions_pb2.BrowserLogin) -> BrowserLogin:
    """
    @return: the request.
    """
    return BrowserLogin(
        id=message.id,
        address=message.address,
        user_agent=message.user_agent,
        created=time_from_pb(message.created),
        expires=time_from_pb(message.expires),
    )
