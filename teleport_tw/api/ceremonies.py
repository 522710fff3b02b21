"""
What the ceremonies ask and answer, to protobuf and back.

@see: L{teleport_tw.api.convert} for the nouns, and for what the pairs of functions promise.
"""

from __future__ import annotations

from teleport_tw.api.contract import (
    Certificates,
    ClusterInfo,
    DatabaseCertificate,
    DatabaseCertRequest,
    HostIssueRequest,
    IssueRequest,
    Joined,
    JoinRequest,
    LoginRequest,
    OpenSSHIssueRequest,
    PublicKeys,
    SetupPurpose,
    SetupTicket,
)
from teleport_tw.api.convert import (
    duration_from_pb,
    duration_to_pb,
    json_from_text,
    json_to_text,
    resource_from_pb,
    resource_to_pb,
    time_from_pb,
    time_to_pb,
)
from teleport_tw.api.proofs import answer_from_pb, answer_to_pb, target_from_pb, target_to_pb
from teleport_tw.api.proto import auth_pb2, resource_pb2
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.pki.identity import RouteToDatabase, SystemRole
from teleport_tw.resources.metadata import Resource


def keys_to_pb(keys: PublicKeys) -> auth_pb2.PublicKeys:
    """
    @return: both keys.
    """
    return auth_pb2.PublicKeys(ssh=keys.ssh, tls=keys.tls)


def keys_from_pb(message: auth_pb2.PublicKeys) -> PublicKeys:
    """
    @return: both keys.
    """
    return PublicKeys(ssh=message.ssh, tls=message.tls)


_MOST_KEPT = 64
_sent: dict[int, tuple[Resource, resource_pb2.Resource]] = {}
_received: dict[bytes, Resource] = {}
"""Authorities go with every certificate and change once a year, so both sides keep what they made of them."""


def _authority_to_pb(authority: Resource) -> resource_pb2.Resource:
    kept = _sent.get(id(authority))
    if kept is None or kept[0] is not authority:
        if len(_sent) >= _MOST_KEPT:
            _sent.clear()
        kept = _sent[id(authority)] = (authority, resource_to_pb(authority))
    return kept[1]


def _authority_from_pb(message: resource_pb2.Resource) -> Resource:
    octets = message.SerializeToString(deterministic=True)
    kept = _received.get(octets)
    if kept is None:
        if len(_received) >= _MOST_KEPT:
            _received.clear()
        kept = _received[octets] = resource_from_pb(message)
    return kept


def certificates_to_pb(certificates: Certificates) -> auth_pb2.Certificates:
    """
    @return: the certificates and whom to trust.
    """
    return auth_pb2.Certificates(
        ssh=certificates.ssh,
        tls=certificates.tls,
        authorities=[_authority_to_pb(authority) for authority in certificates.authorities],
        host_id=certificates.host_id,
        cluster=certificates.cluster,
    )


def certificates_from_pb(message: auth_pb2.Certificates) -> Certificates:
    """
    @return: the certificates and whom to trust.
    """
    return Certificates(
        ssh=message.ssh,
        tls=message.tls,
        authorities=tuple(map(_authority_from_pb, message.authorities)),
        host_id=message.host_id,
        cluster=message.cluster,
    )


def info_to_pb(info: ClusterInfo) -> auth_pb2.PingResponse:
    """
    @return: what anybody may know.
    """
    return auth_pb2.PingResponse(
        cluster=info.cluster,
        version=info.version,
        ca_pins=info.ca_pins,
        auth_preference=json_to_text(info.auth_preference),
    )


def info_from_pb(message: auth_pb2.PingResponse) -> ClusterInfo:
    """
    @return: what anybody may know.
    """
    return ClusterInfo(
        cluster=message.cluster,
        version=message.version,
        ca_pins=tuple(message.ca_pins),
        auth_preference=json_from_text(message.auth_preference),
    )


def system_role(text: str) -> SystemRole:
    """
    @param text: as tokens have it, in any case.
    @raise TeleportError: BAD_PARAMETER, there is no such role.
    """
    for role in SystemRole:
        if role.value.lower() == text.lower():
            return role
    raise bad_parameter(f"{text!r} is not a role of a host; roles are {', '.join(role.value for role in SystemRole)}")


def join_to_pb(request: JoinRequest) -> auth_pb2.JoinRequest:
    """
    @return: the request, token in the clear.
    """
    return auth_pb2.JoinRequest(
        token=request.token.reveal(),
        role=request.role.value,
        host_id=request.host_id,
        node_name=request.node_name,
        keys=keys_to_pb(request.keys),
        addresses=request.addresses,
        remote_address=request.remote_address,
    )


def join_from_pb(message: auth_pb2.JoinRequest) -> JoinRequest:
    """
    @return: the request.
    """
    return JoinRequest(
        token=Secret(message.token),
        role=system_role(message.role),
        host_id=message.host_id,
        node_name=message.node_name,
        keys=keys_from_pb(message.keys),
        addresses=tuple(message.addresses),
        remote_address=message.remote_address,
    )


def login_to_pb(request: LoginRequest) -> auth_pb2.LoginRequest:
    """
    @return: the request, password and code in the clear.
    """
    return auth_pb2.LoginRequest(
        username=request.username,
        password=request.password.reveal(),
        otp=request.otp.reveal(),
        keys=keys_to_pb(request.keys),
        ttl=duration_to_pb(request.ttl),
        route_to_cluster=request.route_to_cluster,
        remote_address=request.remote_address,
        user_agent=request.user_agent,
        answer=answer_to_pb(request.answer),
    )


def login_from_pb(message: auth_pb2.LoginRequest) -> LoginRequest:
    """
    @return: the request.
    """
    return LoginRequest(
        username=message.username,
        password=Secret(message.password),
        otp=Secret(message.otp),
        keys=keys_from_pb(message.keys),
        ttl=duration_from_pb(message.ttl),
        route_to_cluster=message.route_to_cluster,
        remote_address=message.remote_address,
        user_agent=message.user_agent,
        answer=answer_from_pb(message.answer) if message.HasField("answer") else None,
    )


def issue_to_pb(request: IssueRequest) -> auth_pb2.IssueRequest:
    """
    @return: the request.
    """
    route = request.database
    return auth_pb2.IssueRequest(
        keys=keys_to_pb(request.keys),
        username=request.username,
        ttl=duration_to_pb(request.ttl),
        route_to_cluster=request.route_to_cluster,
        database=None
        if route is None
        else auth_pb2.DatabaseRoute(
            service=route.service,
            protocol=route.protocol,
            username=route.username,
            database=route.database,
            roles=route.roles,
        ),
        remote_address=request.remote_address,
        target=target_to_pb(request.target),
        answer=answer_to_pb(request.answer),
    )


def issue_from_pb(message: auth_pb2.IssueRequest) -> IssueRequest:
    """
    @return: the request.
    """
    route = message.database
    return IssueRequest(
        keys=keys_from_pb(message.keys),
        username=message.username,
        ttl=duration_from_pb(message.ttl),
        route_to_cluster=message.route_to_cluster,
        database=RouteToDatabase(
            service=route.service,
            protocol=route.protocol,
            username=route.username,
            database=route.database,
            roles=tuple(route.roles),
        )
        if message.HasField("database")
        else None,
        remote_address=message.remote_address,
        target=target_from_pb(message.target) if message.HasField("target") else None,
        answer=answer_from_pb(message.answer) if message.HasField("answer") else None,
    )


def issue_host_to_pb(request: HostIssueRequest) -> auth_pb2.IssueHostRequest:
    """
    @return: the request.
    """
    return auth_pb2.IssueHostRequest(
        principals=request.principals,
        keys=keys_to_pb(request.keys),
        ttl=duration_to_pb(request.ttl),
        authority=request.authority,
    )


def issue_host_from_pb(message: auth_pb2.IssueHostRequest) -> HostIssueRequest:
    """
    @return: the request.
    """
    return HostIssueRequest(
        principals=tuple(message.principals),
        keys=keys_from_pb(message.keys),
        ttl=duration_from_pb(message.ttl),
        authority=message.authority or "host",
    )


def joined_to_pb(joined: Joined) -> auth_pb2.Joined:
    """
    @return: the message.
    """
    return auth_pb2.Joined(
        host_id=joined.host_id, node_name=joined.node_name, role=joined.role.value, at=time_to_pb(joined.at)
    )


def joined_from_pb(message: auth_pb2.Joined) -> Joined:
    """
    @raise TeleportError: BAD_PARAMETER.
    """
    return Joined(
        host_id=message.host_id,
        node_name=message.node_name,
        role=system_role(message.role),
        at=time_from_pb(message.at),
    )


def issue_openssh_to_pb(request: OpenSSHIssueRequest) -> auth_pb2.IssueOpenSSHRequest:
    """
    @return: the request.
    """
    return auth_pb2.IssueOpenSSHRequest(
        user_certificate=request.user_certificate, login=request.login, node=request.node, ssh_key=request.ssh_key
    )


def issue_openssh_from_pb(message: auth_pb2.IssueOpenSSHRequest) -> OpenSSHIssueRequest:
    """
    @return: the request.
    """
    return OpenSSHIssueRequest(
        user_certificate=message.user_certificate, login=message.login, node=message.node, ssh_key=message.ssh_key
    )


def issue_database_to_pb(request: DatabaseCertRequest) -> auth_pb2.IssueDatabaseRequest:
    """
    @return: the request.
    """
    return auth_pb2.IssueDatabaseRequest(key=request.key, username=request.username, ttl=duration_to_pb(request.ttl))


def issue_database_from_pb(message: auth_pb2.IssueDatabaseRequest) -> DatabaseCertRequest:
    """
    @return: the request.
    """
    return DatabaseCertRequest(key=message.key, username=message.username, ttl=duration_from_pb(message.ttl))


def database_certificate_to_pb(issued: DatabaseCertificate) -> auth_pb2.IssueDatabaseResponse:
    """
    @return: the certificate and whom to believe.
    """
    return auth_pb2.IssueDatabaseResponse(certificate=issued.certificate, roots=issued.roots)


def database_certificate_from_pb(message: auth_pb2.IssueDatabaseResponse) -> DatabaseCertificate:
    """
    @return: the certificate and whom to believe.
    """
    return DatabaseCertificate(certificate=message.certificate, roots=message.roots)


_PURPOSES = {
    SetupPurpose.INVITE: auth_pb2.SETUP_PURPOSE_INVITE,
    SetupPurpose.RESET: auth_pb2.SETUP_PURPOSE_RESET,
}
_PURPOSES_BACK = {number: purpose for purpose, number in _PURPOSES.items()}


def purpose_to_pb(purpose: SetupPurpose) -> auth_pb2.SetupPurpose.ValueType:
    """
    @return: the number of it.
    """
    return _PURPOSES[purpose]


def purpose_from_pb(number: auth_pb2.SetupPurpose.ValueType) -> SetupPurpose:
    """
    @raise TeleportError: BAD_PARAMETER, there is no such purpose.
    """
    try:
        return _PURPOSES_BACK[number]
    except KeyError as error:
        raise bad_parameter(f"{number} is not a purpose of a link") from error


def ticket_to_pb(ticket: SetupTicket) -> auth_pb2.SetupTicket:
    """
    @return: the ticket, secrets in the clear.
    """
    return auth_pb2.SetupTicket(
        token=ticket.token.reveal(),
        username=ticket.username,
        purpose=purpose_to_pb(ticket.purpose),
        expires=time_to_pb(ticket.expires),
        otp_secret=ticket.otp_secret.reveal(),
        otp_uri=ticket.otp_uri.reveal(),
    )


def ticket_from_pb(message: auth_pb2.SetupTicket) -> SetupTicket:
    """
    @return: the ticket.
    """
    return SetupTicket(
        token=Secret(message.token),
        username=message.username,
        purpose=purpose_from_pb(message.purpose),
        expires=time_from_pb(message.expires),
        otp_secret=Secret(message.otp_secret),
        otp_uri=Secret(message.otp_uri),
    )
