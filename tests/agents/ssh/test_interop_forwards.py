"""
OpenSSH's C{-L}, C{-R}, C{-A} and C{-X} at our agent.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
from twisted.internet import reactor
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol

from teleport_tw.base.net.endpoints import TCPClient, TCPServer, UnixClient, UnixServer
from teleport_tw.config.sections import X11
from tests.agents.ssh.rig import ME, AgentTestCase
from tests.conch.openssh import run
from tests.doubles.cluster import role

pytestmark = pytest.mark.servers


class Shout(Protocol):
    """
    Greets first, then answers all it was sent, once the peer has ended its half.
    """

    def connectionMade(self) -> None:
        self.transport.write(b"hello ")
        self.kept = b""

    def dataReceived(self, data: bytes) -> None:
        self.kept += data
        if data.endswith(b"\n"):
            self.transport.write(self.kept.upper())
            self.transport.loseConnection()


class Listener(Protocol):
    """
    Sends a line and keeps what comes.
    """

    def __init__(self) -> None:
        self.got = b""
        self.ended = False

    def connectionMade(self) -> None:
        self.transport.write(b"x" * 200_000 + b"\n")

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ended = True


def free_port() -> int:
    """
    For programs that cannot be told to choose one.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def free_display() -> int:
    """
    A number no X server has.
    """
    return next(each for each in range(60, 200) if not Path(f"/tmp/.X11-unix/X{each}").exists())


class ForwardsTestCase(AgentTestCase):
    """
    C{background} runs ssh beside the test.
    """

    def background(self, *options: str, **more: Any) -> ProcessProtocol:
        """
        C{ssh -N} that ends with the test.
        """
        seen = ProcessProtocol()
        seen.err = b""
        seen.errReceived = lambda data: setattr(seen, "err", seen.err + data)
        arguments = [*self.arguments(self.certify(**more)), *options, "-v", "-N", f"{ME}@127.0.0.1"]
        arguments = [each.replace("LogLevel=ERROR", "ExitOnForwardFailure=yes") for each in arguments]
        process = reactor.spawnProcess(seen, shutil.which("ssh"), arguments, env=dict(os.environ))
        self.addCleanup(lambda: process.pid and process.signalProcess("KILL"))
        return seen

    def started(self, command: list[str], **options: Any) -> None:
        """
        A program that ends with the test.
        """
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(command, **quiet, **options)
        self.addCleanup(lambda: (process.terminate(), process.wait()))

    async def shout(self) -> int:
        """
        A server to reach.
        """
        port = await TCPServer(reactor, "127.0.0.1", 0).listen(Factory.forProtocol(Shout))
        self.addCleanup(port.stopListening)
        return port.getHost().port

    async def connect(self, endpoint: Any) -> Listener:
        """
        Until somebody answers.
        """
        listener = await endpoint.connect(Factory.forProtocol(Listener))
        await self.until(lambda: listener.ended)
        return listener


class LocalTests(ForwardsTestCase):
    """
    C{direct-tcpip} and C{direct-streamlocal}.
    """

    async def test_a_port_is_reached(self) -> None:
        """
        Greeting, a large piece and the answer arrive whole; start and end are events.
        """
        await self.start()
        target, local = await self.shout(), free_port()
        client = self.background("-L", f"{local}:127.0.0.1:{target}")
        await self.until(lambda: b"Entering interactive session" in client.err)
        listener = await self.connect(TCPClient(reactor, "127.0.0.1", local))
        self.assertEqual(listener.got, b"hello " + b"X" * 200_000 + b"\n")
        await self.until(lambda: len(self.sink.named("port.local")) == 2)
        events = self.sink.named("port.local")
        self.assertEqual([event["code"] for event in events], ["T3003I", "T3003S"])
        self.assertEqual(events[0]["addr"], f"127.0.0.1:{target}")

    async def test_nobody_listens(self) -> None:
        """
        The client is told; the event is a failure.
        """
        await self.start()
        _, _err, _ = await self.ssh("-W", f"127.0.0.1:{free_port()}")
        local = free_port()
        client = self.background("-L", f"{local}:127.0.0.1:{free_port()}")
        await self.until(lambda: b"Entering interactive session" in client.err)
        listener = await self.connect(TCPClient(reactor, "127.0.0.1", local))
        self.assertEqual(listener.got, b"")
        await self.until(lambda: b"open failed: connect failed" in client.err)
        self.assertIn("T3003E", [event["code"] for event in self.sink.named("port.local")])

    async def test_sockets_are_reached_with_the_logins_rights(self) -> None:
        """
        C{-L port:socket}.
        """
        await self.start()
        path = str(self.root / "shout.sock")
        port = await UnixServer(reactor, path).listen(Factory.forProtocol(Shout))
        self.addCleanup(port.stopListening)
        local = free_port()
        client = self.background("-L", f"{local}:{path}")
        await self.until(lambda: b"Entering interactive session" in client.err)
        listener = await self.connect(TCPClient(reactor, "127.0.0.1", local))
        self.assertEqual(listener.got, b"hello " + b"X" * 200_000 + b"\n")

    async def test_roles_and_certificates_say_no(self) -> None:
        """
        Either is enough, and each is an event.
        """
        self.cluster.copy.put(
            role(
                "noforward",
                options={"ssh_port_forwarding": {"local": {"enabled": False}, "remote": {"enabled": False}}},
            )
        )
        await self.start()
        target = await self.shout()
        for number, facts in enumerate(({"roles": ("access", "noforward")}, {"permit_port_forwarding": False})):
            local = free_port()
            client = self.background("-L", f"{local}:127.0.0.1:{target}", name=f"key{number}", **facts)
            await self.until(lambda client=client: b"Entering interactive session" in client.err)
            listener = await self.connect(TCPClient(reactor, "127.0.0.1", local))
            self.assertEqual(listener.got, b"")
            await self.until(lambda client=client: b"administratively prohibited" in client.err)
        self.assertEqual({event["code"] for event in self.sink.named("port.local")}, {"T3003E"})


class RemoteTests(ForwardsTestCase):
    """
    C{tcpip-forward} and C{streamlocal-forward}.
    """

    async def test_a_port_here_reaches_the_client(self) -> None:
        """
        The kernel chooses a port, and the client is told which; it closes with the client.
        """
        await self.start()
        target = await self.shout()
        self.background("-R", f"0:127.0.0.1:{target}")
        await self.until(lambda: self.sink.named("port.remote"))
        [listening] = [one for kept in self.forwards._listeners.values() for one in kept.values()]
        listener = await self.connect(TCPClient(reactor, "127.0.0.1", listening.port.getHost().port))
        self.assertEqual(listener.got, b"hello " + b"X" * 200_000 + b"\n")
        self.assertEqual(listening.port.getHost().host, "127.0.0.1")
        await self.until(lambda: len(self.sink.named("port.remote_conn")) == 2)
        [user] = self.agent.realm.users
        user.connection.transport.abortConnection()
        await self.until(lambda: len(self.sink.named("port.remote")) == 2)
        self.assertEqual([event["code"] for event in self.sink.named("port.remote")], ["T3003I", "T3003S"])
        self.assertEqual(self.forwards._listeners, {})

    async def test_a_socket_here_reaches_the_client(self) -> None:
        """
        Made by the login; its name goes with the connection.
        """
        await self.start()
        target, path = await self.shout(), self.root / "remote.sock"
        self.background("-R", f"{path}:127.0.0.1:{target}")
        await self.until(lambda: self.sink.named("port.remote"))
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        listener = await self.connect(UnixClient(reactor, str(path)))
        self.assertEqual(listener.got, b"hello " + b"X" * 200_000 + b"\n")
        [user] = self.agent.realm.users
        user.connection.transport.abortConnection()
        await self.until(lambda: not path.exists())

    async def start(self, registry: Any = None, **section: Any) -> None:
        """
        With forwards that can be looked at.
        """
        from teleport_tw.agents.ssh.forward import Forwards
        from teleport_tw.agents.ssh.service import default_registry

        registry, self.forwards = default_registry(), Forwards()
        self.forwards.install(registry)
        await super().start(registry, **section)

    async def test_a_service_says_no(self) -> None:
        """
        C{port_forwarding: false}.
        """
        await self.start(port_forwarding=False)
        client = self.background("-R", f"0:127.0.0.1:{free_port()}")
        await self.until(lambda: self.sink.named("port.remote"))
        await self.until(lambda: b"remote port forwarding failed" in client.err)
        [event] = self.sink.named("port.remote")
        self.assertEqual((event["code"], event["success"]), ("T3003E", False))


class AgentTests(ForwardsTestCase):
    """
    C{-A}.
    """

    async def test_programs_reach_the_users_agent(self) -> None:
        """
        C{ssh-add -l} in the session shows the user's keys; the socket goes with the session.
        """
        await self.start()
        socket_path = self.root / "agent"
        self.started(["ssh-agent", "-D", "-a", str(socket_path)])
        await self.until(socket_path.exists)
        key, env = self.certify(), {"SSH_AUTH_SOCK": str(socket_path)}
        await run("ssh-add", str(key), env=env)
        self.cluster.copy.put(role("agents", options={"forward_agent": True}))
        key = self.certify("forwarding", roles=("access", "agents"), permit_agent_forwarding=True)
        options = (f"IdentityAgent={socket_path}", "ForwardAgent=yes")
        command = "ssh-add -l; stat -c '%a %U' $(dirname $SSH_AUTH_SOCK); echo $SSH_AUTH_SOCK"
        out, err, code = await self.ssh(command, key=key, options=options)
        lines = out.decode().splitlines()
        self.assertEqual((code, len(lines)), (0, 4), (out, err))
        self.assertIn("ED25519", lines[0])
        self.assertEqual(lines[2], f"700 {ME}")
        self.assertEqual([event["code"] for event in self.sink.named("agent-forward")], ["T3013I"])
        await self.until(lambda: not Path(lines[3]).parent.exists())

    async def test_without_the_right_there_is_no_socket(self) -> None:
        """
        Role and certificate both have to say yes.
        """
        await self.start()
        key = self.certify(permit_agent_forwarding=True)
        out, _, _ = await self.ssh("echo [$SSH_AUTH_SOCK]", key=key, options=("ForwardAgent=yes",))
        self.assertEqual(out, b"[]\n")


class X11Tests(ForwardsTestCase):
    """
    C{-X} and C{-Y}, with a display of our own.
    """

    async def display(self) -> dict[str, str]:
        """
        An X server with a cookie.
        """
        for tool in ("Xvfb", "xauth", "xdpyinfo"):
            if shutil.which(tool) is None:
                self.skipTest(f"{tool} is not installed")
        authority, number = str(self.root / "authority"), free_display()
        reading, writing = os.pipe()
        await run("xauth", "-q", "-f", authority, "add", f":{number}", ".", os.urandom(16).hex())
        options = ["-auth", authority, "-nolisten", "tcp", "-displayfd", str(writing)]
        self.started(["Xvfb", f":{number}", *options], pass_fds=(writing,))
        os.close(writing)
        self.addCleanup(os.close, reading)
        os.set_blocking(reading, False)

        def ready() -> bool:
            try:
                return bool(os.read(reading, 16))
            except BlockingIOError:
                return False

        await self.until(ready)
        return {"DISPLAY": f":{number}", "XAUTHORITY": authority}

    async def test_programs_reach_the_users_display(self) -> None:
        """
        C{xdpyinfo} in the session shows the display, by the cookie the client made up.
        """
        env = await self.display()
        self.cluster.copy.put(role("x11", options={"permit_x11_forwarding": True}))
        await self.start(x11=X11(enabled=True))
        key = self.certify(roles=("access", "x11"), permit_x11_forwarding=True)
        options = ("ForwardX11=yes", "ForwardX11Trusted=yes")
        out, err, code = await self.ssh("echo $DISPLAY; xdpyinfo", key=key, options=options, env=env)
        self.assertEqual(code, 0, (out, err))
        self.assertTrue(out.startswith(b"localhost:"), out)
        self.assertIn(b"version number:    11.0", out)
        self.assertEqual([event["code"] for event in self.sink.named("x11-forward")], ["T3008I"])

    async def test_without_the_right_there_is_no_display(self) -> None:
        """
        The service, the role and the certificate all have to say yes.
        """
        env = await self.display()
        await self.start()
        key = self.certify(permit_x11_forwarding=True)
        options = ("ForwardX11=yes", "ForwardX11Trusted=yes")
        out, _, _ = await self.ssh("echo [$DISPLAY]", key=key, options=options, env=env)
        self.assertEqual(out, b"[]\n")
        self.assertEqual([event["code"] for event in self.sink.named("x11-forward")], ["T3008W"])
