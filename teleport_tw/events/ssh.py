"""
Events of SSH sessions, commands and forwards.

@see: reference 7.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Annotated, Any, ClassVar

from attrs import frozen

from teleport_tw.events.groups import Actor, Connection, Recorded, Server, Session
from teleport_tw.events.rating import Fact, Judged, Name, Public, Rating, Sensitive, filled


@frozen(kw_only=True)
class SessionStart(Fact):
    """
    A shell or command started.

    @ivar size: C{W:H} in characters; empty without a terminal.
    @ivar initial_command: the command and its arguments; empty for a shell.
    """

    NAME: ClassVar[str] = "session.start"
    CODE: ClassVar[str] = "T2000I"
    SAYS: ClassVar[str] = "User [{user}] started a session as [{login}] on [{server_hostname|server_id}]"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session]
    size: Public[str] = ""
    session_recording: Public[str] = ""
    initial_command: Sensitive[tuple[str, ...]] = ()
    reason: Sensitive[str] = ""
    invited: Public[tuple[str, ...]] = ()


@frozen(kw_only=True)
class _Participant(Fact):
    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session]
    mode: Public[str] = ""


@frozen(kw_only=True)
class SessionJoin(_Participant):
    """
    Somebody joined a running session.
    """

    NAME: ClassVar[str] = "session.join"
    CODE: ClassVar[str] = "T2001I"
    SAYS: ClassVar[str] = "User [{user}] joined session [{sid}]"


@frozen(kw_only=True)
class SessionLeave(_Participant):
    """
    Somebody left a session.
    """

    NAME: ClassVar[str] = "session.leave"
    CODE: ClassVar[str] = "T2003I"
    SAYS: ClassVar[str] = "User [{user}] left session [{sid}]"


@frozen(kw_only=True)
class Resize(Fact):
    """
    A terminal changed its size, C{W:H}.
    """

    NAME: ClassVar[str] = "resize"
    CODE: ClassVar[str] = "T2002I"
    SAYS: ClassVar[str] = "The terminal of session [{sid}] was resized to {size}"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session]
    size: Public[str]


@frozen(kw_only=True)
class Print(Fact):
    """
    Terminal output, found in recordings only and without a code.

    @ivar data: what the terminal was sent; base64 in JSON.
    @ivar ms: since the session started.
    @ivar offset: bytes printed before.
    """

    NAME: ClassVar[str] = "print"
    CODE: ClassVar[str] = ""
    SAYS: ClassVar[str] = "{bytes} bytes of output"

    data: Sensitive[bytes]
    ms: Public[int]
    offset: Public[int]
    size: Annotated[int, Rating.PUBLIC, Name("bytes")] = 0


@frozen(kw_only=True)
class SessionEnd(Fact):
    """
    A session ended.

    @ivar interactive: whether it had a terminal.
    """

    NAME: ClassVar[str] = "session.end"
    CODE: ClassVar[str] = "T2004I"
    SAYS: ClassVar[str] = "User [{user}] ended a session on [{server_hostname|server_id}]"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session]
    started: Annotated[datetime | None, Rating.PUBLIC, Name("session_start")] = None
    stopped: Annotated[datetime | None, Rating.PUBLIC, Name("session_stop")] = None
    participants: Public[tuple[str, ...]] = ()
    interactive: Public[bool] = True
    enhanced_recording: Public[bool] = False
    recorded: Public[Recorded | None] = None
    initial_command: Sensitive[tuple[str, ...]] = ()


@frozen(kw_only=True)
class SessionUpload(Fact):
    """
    A recording is complete in the store.
    """

    NAME: ClassVar[str] = "session.upload"
    CODE: ClassVar[str] = "T2005I"
    SAYS: ClassVar[str] = "The recording of session [{sid}] was stored"

    session: Public[Session]
    url: Public[str] = ""
    recorded: Public[Recorded | None] = None


@frozen(kw_only=True)
class SessionData(Fact):
    """
    Bytes that went both ways.
    """

    NAME: ClassVar[str] = "session.data"
    CODE: ClassVar[str] = "T2006I"
    SAYS: ClassVar[str] = "Session [{sid}] sent {tx} and received {rx} bytes"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session]
    tx: Public[int] = 0
    rx: Public[int] = 0


@frozen(kw_only=True)
class SessionConnect(Fact):
    """
    A proxy made an SSH connection to a server.
    """

    NAME: ClassVar[str] = "session.connect"
    CODE: ClassVar[str] = "T2010I"
    SAYS: ClassVar[str] = "A connection was made to [{server_addr|server_hostname}]"

    actor: Public[Actor | None] = None
    connection: Public[Connection | None] = None
    server: Public[Server]


@frozen(kw_only=True)
class SessionRecordingAccess(Fact):
    """
    Somebody looked at a recording.
    """

    NAME: ClassVar[str] = "session.recording.access"
    CODE: ClassVar[str] = "T2012I"
    SAYS: ClassVar[str] = "User [{user}] accessed the recording of session [{sid}]"

    actor: Public[Actor]
    session: Public[Session]
    session_type: Public[str] = "ssh"
    format: Public[str] = ""


@frozen(kw_only=True)
class SessionRejected(Fact):
    """
    A limit refused a connection or session, or somebody may not join one.

    @ivar reason: C{max_connections limit reached}, C{max_sessions limit reached}, or which session may not be joined.
    @ivar maximum: the limit; 0 where it was none.
    """

    NAME: ClassVar[str] = "session.rejected"
    CODE: ClassVar[str] = "T1006W"
    SAYS: ClassVar[str] = "User [{user}] was refused a session on [{server_hostname|server_id}]: {reason}"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    reason: Public[str]
    maximum: Annotated[int, Rating.PUBLIC, Name("max")] = 0


@frozen(kw_only=True)
class Exec(Judged):
    """
    A command was run.

    @ivar exit_code: decimal, as the reference has it; empty while unknown.
    """

    NAME: ClassVar[str] = "exec"
    CODE: ClassVar[str] = "T3002I"
    FAILED: ClassVar[str] = "T3002E"
    SAYS: ClassVar[str] = "User [{user}] ran a command on [{server_hostname|server_id}]"
    SAYS_FAILED: ClassVar[str] = "User [{user}] could not run a command on [{server_hostname|server_id}]: {exitError}"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session | None] = None
    command: Sensitive[str]
    exit_code: Annotated[str, Rating.PUBLIC, Name("exitCode")] = ""
    exit_error: Annotated[str, Rating.SENSITIVE, Name("exitError")] = ""

    def rated(self) -> list[tuple[str, Any, Rating]]:
        """
        @return: without C{success}, which the reference does not have here.
        """
        return [item for item in super().rated() if item[0] != "success"]


@frozen(kw_only=True)
class Subsystem(Judged):
    """
    An SSH subsystem was asked for.
    """

    NAME: ClassVar[str] = "subsystem"
    CODE: ClassVar[str] = "T3001I"
    FAILED: ClassVar[str] = "T3001E"
    SAYS: ClassVar[str] = "User [{user}] started subsystem [{name}]"
    SAYS_FAILED: ClassVar[str] = "User [{user}] could not start subsystem [{name}]: {exitError}"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session | None] = None
    name: Public[str]
    exit_error: Annotated[str, Rating.SENSITIVE, Name("exitError")] = ""


class Phase(Enum):
    """
    Beginning or end of a port forward; the value is the code of success.
    """

    START = "T3003I"
    STOP = "T3003S"


@frozen(kw_only=True)
class _PortForward(Judged):
    CODE: ClassVar[str] = "T3003I"
    FAILED: ClassVar[str] = "T3003E"
    SAYS_FAILED: ClassVar[str] = "User [{user}] was refused port forwarding to [{addr}]: {error}"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session | None] = None
    address: Annotated[str, Rating.PUBLIC, Name("addr")]
    phase: Public[Phase] = Phase.START

    @property
    def code(self) -> str:
        """
        T3003 with I at the start, S at the end, E for a failure.
        """
        return self.phase.value if self.success else self.FAILED

    def rated(self) -> list[tuple[str, Any, Rating]]:
        """
        @return: without the phase, which the code tells.
        """
        return [item for item in super().rated() if item[0] != "phase"]

    @classmethod
    def codes(cls) -> tuple[str, ...]:
        """
        @return: start, stop, failure.
        """
        return (Phase.START.value, Phase.STOP.value, cls.FAILED)

    @classmethod
    def sentence(cls, stored: Mapping[str, Any]) -> str:
        """
        @return: started, stopped or refused.
        """
        if stored.get("code") == Phase.STOP.value:
            return filled("User [{user}] stopped port forwarding to [{addr}]", stored)
        return super().sentence(stored)


@frozen(kw_only=True)
class Port(_PortForward):
    """
    Port forwarding, direction not told.
    """

    NAME: ClassVar[str] = "port"
    SAYS: ClassVar[str] = "User [{user}] started port forwarding to [{addr}]"


@frozen(kw_only=True)
class PortLocal(_PortForward):
    """
    C{ssh -L} or C{-D}: a C{direct-tcpip} channel to C{addr}.
    """

    NAME: ClassVar[str] = "port.local"
    SAYS: ClassVar[str] = "User [{user}] started local port forwarding to [{addr}]"


@frozen(kw_only=True)
class PortRemote(_PortForward):
    """
    C{ssh -R}: the server listens on C{addr}.
    """

    NAME: ClassVar[str] = "port.remote"
    SAYS: ClassVar[str] = "User [{user}] started remote port forwarding on [{addr}]"


@frozen(kw_only=True)
class PortRemoteConnection(_PortForward):
    """
    Somebody connected to a listener of C{ssh -R}.
    """

    NAME: ClassVar[str] = "port.remote_conn"
    SAYS: ClassVar[str] = "A connection from [{addr}] went to the remote port forward of [{user}]"


@frozen(kw_only=True)
class _Granted(Judged):
    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session | None] = None


@frozen(kw_only=True)
class X11Forward(_Granted):
    """
    X11 forwarding was asked for.
    """

    NAME: ClassVar[str] = "x11-forward"
    CODE: ClassVar[str] = "T3008I"
    FAILED: ClassVar[str] = "T3008W"
    SAYS: ClassVar[str] = "User [{user}] forwarded X11"
    SAYS_FAILED: ClassVar[str] = "User [{user}] was refused X11 forwarding: {error}"


@frozen(kw_only=True)
class AgentForward(_Granted):
    """
    Agent forwarding was asked for.
    """

    NAME: ClassVar[str] = "agent-forward"
    CODE: ClassVar[str] = "T3013I"
    FAILED: ClassVar[str] = "T3013W"
    SAYS: ClassVar[str] = "User [{user}] forwarded an SSH agent"
    SAYS_FAILED: ClassVar[str] = "User [{user}] was refused agent forwarding: {error}"


@frozen(kw_only=True)
class ClientDisconnect(Fact):
    """
    We ended a client's connection: idle, certificate expired, locked.
    """

    NAME: ClassVar[str] = "client.disconnect"
    CODE: ClassVar[str] = "T3006I"
    SAYS: ClassVar[str] = "User [{user}] was disconnected: {reason}"

    actor: Public[Actor]
    connection: Public[Connection | None] = None
    server: Public[Server | None] = None
    session: Public[Session | None] = None
    reason: Public[str]


@frozen(kw_only=True)
class _Enhanced(Fact):
    actor: Public[Actor]
    server: Public[Server | None] = None
    session: Public[Session]
    pid: Public[int] = 0
    cgroup_id: Public[int] = 0
    program: Public[str] = ""


@frozen(kw_only=True)
class SessionCommand(_Enhanced):
    """
    A program was executed in a session.
    """

    NAME: ClassVar[str] = "session.command"
    CODE: ClassVar[str] = "T4000I"
    SAYS: ClassVar[str] = "Program [{program}] was run in session [{sid}]"

    ppid: Public[int] = 0
    path: Sensitive[str] = ""
    argv: Sensitive[tuple[str, ...]] = ()
    return_code: Public[int] = 0


@frozen(kw_only=True)
class SessionDisk(_Enhanced):
    """
    A file was opened in a session.
    """

    NAME: ClassVar[str] = "session.disk"
    CODE: ClassVar[str] = "T4001I"
    SAYS: ClassVar[str] = "Path [{path}] was opened in session [{sid}]"

    path: Sensitive[str] = ""
    flags: Public[int] = 0
    return_code: Public[int] = 0


@frozen(kw_only=True)
class SessionNetwork(_Enhanced):
    """
    A program in a session made a network connection.
    """

    NAME: ClassVar[str] = "session.network"
    CODE: ClassVar[str] = "T4002I"
    SAYS: ClassVar[str] = "Program [{program}] connected to [{dst_addr}] in session [{sid}]"

    src_addr: Public[str] = ""
    dst_addr: Public[str] = ""
    dst_port: Public[int] = 0
    version: Public[int] = 4
    action: Public[int] = 1
