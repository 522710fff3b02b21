"""
From the proxy on to the server: as the user, over SSH of the proxy's own.

A server without an agent is shown a certificate of the C{openssh} authority, which its sshd trusts; one with an agent
is signed in to with the agent that the user forwards, since the proxy holds nothing of the user's. What the server
opens from its side (forwarded ports, agent, X11) goes back to the user where that was granted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.logger import Logger
from zope.interface import implementer

from teleport_tw.base.errors import Kind, TeleportError, access_denied
from teleport_tw.conch.agents import Agent
from teleport_tw.conch.channel import Channel
from teleport_tw.conch.connection import ChannelOpen, Connection
from teleport_tw.conch.exchange import HostProof
from teleport_tw.conch.signatures import Signer
from teleport_tw.conch.streams import StreamChannel
from teleport_tw.conch.transport import ClientSettings, connect
from teleport_tw.events.kinds import PortRemoteConnection
from teleport_tw.pki import sshcert
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.identity import SystemRole
from teleport_tw.protocols.ssh.wire import Reader
from teleport_tw.proxy.forward_channels import through
from teleport_tw.resources.clusters import ORIGIN_LABEL
from teleport_tw.resources.nodes import SELF_REGISTERED

if TYPE_CHECKING:
    from teleport_tw.proxy.visit import Visit

AGENT_CHANNEL = "auth-agent@openssh.com"

NO_AGENT = (
    "this cluster records sessions at the proxy (session_recording: proxy), which needs your SSH agent: connect with "
    "agent forwarding, ssh -A, and have your certificate in the agent (tsh login --add-keys-to-agent=yes)"
)


class _AgentChannel(StreamChannel):
    name = AGENT_CHANNEL.encode("ascii")


@implementer(IStreamClientEndpoint)
class _AgentEndpoint:
    """
    The agent that the user forwards.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """
        See C{IStreamClientEndpoint.connect}.
        """
        return Deferred.fromCoroutine(self._connect(protocolFactory))

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        channel = _AgentChannel()
        await self._connection.open(channel)
        protocol: Any = factory.buildProtocol(channel.getPeer())  # type: ignore[no-untyped-call]
        channel.attach(protocol)
        return protocol  # type: ignore[no-any-return]


@define(eq=False)
class Onward:
    """
    One connection from the proxy to a server.

    @ivar visit: for whom.
    @ivar connection: once it stands.
    """

    visit: Visit
    connection: Connection | None = field(default=None, init=False)
    _waiting: list[Deferred[Connection]] = field(factory=list, init=False)
    _making: bool = field(default=False, init=False)
    _lost: bool = field(default=False, init=False)
    _log = Logger()

    async def get(self) -> Connection:
        """
        @return: the connection, made when first wanted.
        @raise TeleportError: the server is not reached, not the right one, or does not let the user in.
        """
        if self._lost:
            raise TeleportError(Kind.CONNECTION_PROBLEM, "the connection to the server was lost")
        if self.connection is not None:
            return self.connection
        answer: Deferred[Connection] = Deferred(self._waiting.remove)
        self._waiting.append(answer)
        if not self._making:
            self._making = True
            self.visit.tasks.spawn("connecting to a server for a user", self._make())
        return await answer

    async def _make(self) -> None:
        try:
            await self._try()
        finally:
            self._making = False

    async def _try(self) -> None:
        seconds = self.visit.shared.view.networking().ssh_dial_timeout.total_seconds()
        dialling = Deferred.fromCoroutine(self._dial())
        try:
            connection = await dialling.addTimeout(seconds, self.visit.shared.reactor)
        except TimeoutError:
            self._fail(TeleportError(Kind.CONNECTION_PROBLEM, f"{self._name} did not answer in {seconds:g} seconds"))
        except TeleportError as error:
            self._fail(error)
        except Exception as error:
            self._log.failure("connecting to {server} failed", server=self._name)
            self._fail(TeleportError(Kind.CONNECTION_PROBLEM, f"{self._name} cannot be reached", details=repr(error)))
        else:
            if self.visit.gone:
                connection.transport.loseConnection()
                return
            self.connection = connection
            waiting, self._waiting = self._waiting, []
            for each in waiting:
                each.callback(connection)

    def _fail(self, error: TeleportError) -> None:
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.errback(error)

    @property
    def _name(self) -> str:
        return self.visit.node.hostname or self.visit.node.name

    async def _dial(self) -> Connection:
        visit, agentless = self.visit, self.visit.agentless
        endpoint = visit.shared.endpoint(
            visit.resource, evolve(visit.header, user_certificates=(visit.target.certificate,))
        )
        agent = None
        signers: Sequence[Signer]
        if agentless:
            shared = visit.shared
            signers = [await shared.passes.signer(visit.target.certificate, visit.target.login, visit.node.name)]
        else:
            agent = await self._agent()
        try:
            if agent is not None:
                signers = await self._certificates(agent)
            settings = ClientSettings(
                clock=visit.shared.reactor,
                username=visit.target.login,
                verify_host=self._verify_agentless if agentless else self._verify_node,
                signers=signers,
                responder=FarSide(visit),
                algorithms=visit.shared.algorithms,
            )
            return await connect(endpoint, settings)
        except ConnectError as error:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM, f"{self._name} cannot be reached", details=str(error)
            ) from error
        except TeleportError as error:
            raise self._worded(error) from error
        finally:
            if agent is not None:
                agent.close()

    def _worded(self, error: TeleportError) -> TeleportError:
        if error.kind is not Kind.ACCESS_DENIED or not self.visit.agentless:
            return error
        return access_denied(
            f"{self._name} does not accept {self.visit.target.login} with a certificate of this cluster: there must be "
            "such an account, and sshd must trust the cluster's openssh authority (TrustedUserCAKeys; run `teleport "
            "join openssh` there)",
            details=error.details or error.message,
        )

    # Who the server is.

    async def _verify_node(self, proof: HostProof) -> None:
        """
        An agent has a certificate of the cluster's with its id.
        """
        shared, node = self.visit.shared, self.visit.node
        try:
            if not proof.certified:
                raise access_denied(details="a host key without certificate")
            identity = sshcert.verify_host(
                proof.blob, shared.view.authorities(AuthorityType.HOST), node.name, shared.now()
            )
            if identity.host_id != node.name or SystemRole.NODE not in identity.system_roles:
                raise access_denied(details=f"the host is {identity.username}, not {node.name}")
        except TeleportError as error:
            raise self._stranger(error.details) from error

    async def _verify_agentless(self, proof: HostProof) -> None:
        """
        A stock sshd has one with a name it is registered by, or any key where the cluster does not check.
        """
        shared = self.visit.shared
        if not shared.view.recording().proxy_checks_host_keys:
            return
        why = "a host key without certificate"
        if proof.certified:
            authorities = shared.view.authorities(AuthorityType.HOST)
            for name in self.visit.node.names(shared.cluster):
                try:
                    identity = sshcert.verify_host(proof.blob, authorities, name, shared.now())
                except TeleportError as error:
                    why = error.details
                    continue
                if self._registered_itself and identity.host_id != self.visit.node.name:
                    why = f"the host is {identity.username}, not the one that registered itself"
                    continue
                return
        raise self._stranger(why)

    @property
    def _registered_itself(self) -> bool:
        """
        Whether the host itself says which labels and address it has; it then cannot say so of another.
        """
        return self.visit.resource.metadata.labels.get(ORIGIN_LABEL) == SELF_REGISTERED

    def _stranger(self, why: str) -> TeleportError:
        return TeleportError(
            Kind.CONNECTION_PROBLEM,
            f"{self._name} could not prove who it is: its host key has no certificate of this cluster for that name "
            "(`teleport join openssh` gets one; proxy_checks_host_keys: no in the session recording settings does "
            "without one)",
            details=why,
        )

    # The user's agent.

    async def _agent(self) -> Agent:
        connection = self.visit.connection
        if connection is None or (not self.visit.agent_offered and self.visit.sessions):
            raise access_denied(NO_AGENT, details="no agent was forwarded")
        try:
            return await Agent.connect(_AgentEndpoint(connection), self.visit.shared.reactor)
        except TeleportError as error:
            raise access_denied(NO_AGENT, details=error.message) from error

    async def _certificates(self, agent: Agent) -> list[Signer]:
        """
        @return: those of the agent's keys that are this user's certificates for this login.
        """
        visit, found = self.visit, list[Signer]()
        authorities = visit.shared.view.authorities(AuthorityType.USER)
        for signer in await agent.signers():
            try:
                identity = sshcert.verify_user(
                    signer.blob,
                    authorities,
                    visit.shared.now(),
                    login=visit.target.login,
                    source_ip=visit.target.client_ip or None,
                )
            except TeleportError:
                continue
            if identity.username == visit.target.identity.username:
                found.append(signer)
        if not found:
            raise access_denied(NO_AGENT, details="the forwarded agent has no certificate of the user's")
        return found

    # The end.

    def lost(self) -> None:
        """
        The server's side is over.
        """
        self._lost = True
        self.connection = None

    def close(self) -> None:
        """
        The user's side is over.
        """
        self._lost = True
        self._fail(TeleportError(Kind.CONNECTION_PROBLEM, "the SSH connection was lost"))
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.transport.loseConnection()


@define(eq=False)
class FarSide:
    """
    Answers what the server asks.
    """

    visit: Visit
    _log = Logger()

    def connected(self, connection: Connection) -> None:
        """
        The user is in.
        """

    def connection_lost(self) -> None:
        """
        The user's connection has nothing to stand on.
        """
        self.visit.onward_lost()

    async def global_request(self, name: str, payload: bytes) -> bytes | None:
        """
        Nothing: the server's further host keys are not the proxy's to tell.
        """
        return None

    async def open_channel(self, request: ChannelOpen) -> Channel:
        """
        What the user has asked for, back to the user.
        """
        visit = self.visit
        permitted: dict[str, Callable[[], bool]] = {
            "forwarded-tcpip": lambda: self._tcp_granted(request.payload),
            "forwarded-streamlocal@openssh.com": lambda: Reader(request.payload).text() in visit.remote_paths,
            AGENT_CHANNEL: lambda: visit.agent_allowed,
            "x11": lambda: visit.x11_allowed,
        }
        allowed = permitted.get(request.kind)
        if allowed is None or not allowed() or visit.connection is None:
            raise access_denied("this was not asked for")
        channel = await through(visit.connection, request.kind, request.payload, visit.touch)
        if request.kind == "forwarded-tcpip":
            reader = Reader(request.payload)
            reader.text(), reader.uint32()
            address = f"{reader.text()}:{reader.uint32()}"
            visit.emit(PortRemoteConnection(**visit.common, address=address))
        return channel

    def _tcp_granted(self, payload: bytes) -> bool:
        """
        C{string} address connected to; C{uint32} port; C{string} originator; C{uint32} its port.
        """
        reader = Reader(payload)
        reader.text()
        port = reader.uint32()
        return any(port == granted for _, granted in self.visit.remote_ports)
