"""
Users at stock sshds by way of the proxy, with OpenSSH's own client.
"""

from __future__ import annotations

import hashlib
import os
import socket
import threading
from typing import Any
from unittest import SkipTest

import pytest
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from teleport_tw.recordings.container import Reader
from teleport_tw.resources.metadata import Metadata, Resource
from tests.conch.openssh import MISSING, SSHD, free_port
from tests.proxy.world import NODE_ID, World, pause, until

pytestmark = pytest.mark.servers


class Greeter:
    """
    A TCP server that sends back what it gets, in capitals.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65536):
                    connection.sendall(data.upper())

    def close(self) -> None:
        """
        No more.
        """
        self._listener.close()


def exchange(port: int, data: bytes) -> bytes:
    """
    Send, end, and read all; for a thread.
    """
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece
        return received


def _answer_once(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data.upper())


class StockServerTests(TestCase):
    """
    Each has a cluster of its own.
    """

    timeout = 120

    def setUp(self) -> None:
        if MISSING or not SSHD:
            raise SkipTest(MISSING or "sshd is not installed")

    async def world(self, **options: Any) -> World:
        """
        With a role C{ops} of these options.
        """
        world = await World.start(self)
        await world.role("ops", **options)
        return world

    async def test_a_command_runs_and_its_exit_status_comes_back(self) -> None:
        """
        Output, error output and status; and the audit log knows whose it was, and by whom it was forwarded.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        out, err, code = await world.run(*world.ssh(key, "-q"), "echo hello; echo oops >&2; exit 7")
        self.assertEqual((out, err, code), (b"hello\n", b"oops\n", 7))
        await until(lambda: world.sink.named("session.end"))
        (run,) = world.sink.named("exec")
        self.assertEqual((run["user"], run["login"], run["exitCode"]), ("alice", "root", "7"))
        (start,) = world.sink.named("session.start")
        self.assertEqual(start["sid"], run["sid"])
        for event in (run, start):
            self.assertEqual(event["forwarded_by"], world.proxy.identity.host_id)
            self.assertEqual((event["server_id"], event["server_sub_kind"]), (NODE_ID, "openssh"))

    async def test_a_signal_that_ends_the_program_is_told(self) -> None:
        """
        C{exit-signal} reaches the client as its own end by 255, and the log by name.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        _, _, code = await world.run(*world.ssh(key, "-q"), "kill -TERM $$")
        self.assertEqual(code, 255)
        await until(lambda: world.sink.named("exec"))
        self.assertEqual(world.sink.named("exec")[0]["exitError"], "signal TERM")

    async def test_much_goes_both_ways_unchanged(self) -> None:
        """
        Several windows' worth up and down, with input ended by half.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        data = os.urandom(1 << 20) * 9
        out, err, code = await world.run(*world.ssh(key, "-q"), "cat", feed=data)
        self.assertEqual((hashlib.sha256(out).digest(), err, code), (hashlib.sha256(data).digest(), b"", 0))

    async def test_a_terminal_is_recorded_at_the_proxy(self) -> None:
        """
        What the user saw is in the spool, with size and end.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        out, _, code = await world.run(*world.ssh(key, "-q", "-tt"), "echo on a $(tty | cut -c1-8); exit 3")
        self.assertEqual(code, 3)
        self.assertIn(b"on a /dev/pts", out)
        await until(lambda: world.sink.named("session.end"))
        (end,) = world.sink.named("session.end")
        self.assertEqual((end["session_recording"], end["interactive"]), ("proxy", True))
        self.assertTrue(end["recording_digest"])
        files = [path for path in world.spool.iterdir() if path.name.startswith(end["sid"])]
        self.assertEqual(len(files), 1)
        reader = Reader()
        text = b"".join(getattr(each.fact, "data", b"") for each in reader.feed(files[0].read_bytes()))
        self.assertTrue(reader.complete)
        self.assertEqual(text, out)

    async def test_a_shell_with_variables(self) -> None:
        """
        C{SendEnv} goes through to sshd, which decides what it takes.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        out, _, code = await world.run(
            *world.ssh(key, "-q", "-T", "-o", "SendEnv=GREETING SECRET"),
            feed=b"echo [$GREETING] [$SECRET]\n",
            env={"GREETING": "good day", "SECRET": "no"},
        )
        self.assertEqual((out, code), (b"[good day] []\n", 0))

    async def test_scp_and_sftp(self) -> None:
        """
        Both protocols of scp; the log names each file, though the server reports nothing.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        source, data = world.root / "source", os.urandom(300_000)
        source.write_bytes(data)
        for index, protocol in enumerate(("-s", "-O")):
            there, back = world.root / f"there{index}", world.root / f"back{index}"
            put = await world.run("scp", "-q", protocol, *world.through(key), str(source), f"root@db1:{there}")
            got = await world.run("scp", "-q", protocol, *world.through(key), f"root@db1:{there}", str(back))
            self.assertEqual((put[1:], got[1:]), ((b"", 0), (b"", 0)))
            self.assertEqual(back.read_bytes(), data)
        self.assertEqual({event["name"] for event in world.sink.named("subsystem")}, {"sftp"})
        size, sftp, scp = len(data), world.root / "there0", str(world.root / "there1")
        opened = [event["path"] for event in world.sink.named("sftp") if event["code"] == "TS001I"]
        self.assertEqual(opened, [str(sftp)] * 2)
        stats = [event["file_transfer_stats"] for event in world.sink.named("sftp_summary")]
        self.assertEqual(
            [tuple(file.values()) for files in stats for file in files], [(str(sftp), 0, size), (str(sftp), size, 0)]
        )
        told = [(event["code"], event["path"], event["len"]) for event in world.sink.named("scp")]
        self.assertEqual(told, [("T3005I", scp, size), ("T3004I", scp, size)])

    async def test_what_cannot_be_followed_is_stopped(self) -> None:
        """
        Garbage for an SFTP server: the session ends, and no byte of it gets there.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        _, err, code = await world.run(*world.ssh(key, "-q", "-s"), "sftp", feed=b"\xff" * 64)
        self.assertIn(b"the copy was stopped", err)
        self.assertEqual(code, 255)
        self.assertEqual(world.sink.named("subsystem")[-1]["code"], "T3001E")

    async def test_file_copying_that_roles_switch_off(self) -> None:
        """
        Neither by sftp nor by the old protocol; a command still runs.
        """
        world = await self.world(ssh_file_copy=False)
        await world.sshd()
        key = await world.user("alice")
        source = world.root / "source"
        source.write_bytes(b"x")
        for protocol in ("-s", "-O"):
            _, err, code = await world.run("scp", protocol, *world.through(key), str(source), "root@db1:/tmp/x")
            self.assertNotEqual(code, 0)
            self.assertIn(b"file copying is not allowed", err)
        self.assertEqual(world.sink.named("subsystem")[0]["code"], "T3001E")
        out, _, _ = await world.run(*world.ssh(key, "-q"), "echo ok")
        self.assertEqual(out, b"ok\n")

    async def in_thread(self, port: int, data: bytes) -> bytes:
        """
        L{exchange} beside the reactor.
        """
        return await deferToThread(exchange, port, data)

    async def test_local_forwarding(self) -> None:
        """
        C{-L}: bytes both ways, half-close, and both ends in the log.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        greeter, local = Greeter(), free_port()
        self.addCleanup(greeter.close)
        client = world.run(
            *world.ssh(key, "-q", "-L", f"127.0.0.1:{local}:127.0.0.1:{greeter.port}"),
            f"echo up; {self.lasting(world)}",
            seconds=60,
        )
        running = self._spawn(client)
        await until(lambda: world.sink.named("session.start"))
        data = b"hello " * 200_000
        self.assertEqual(await self.in_thread(local, data), data.upper())
        await until(lambda: len(world.sink.named("port.local")) == 2)
        codes = [event["code"] for event in world.sink.named("port.local")]
        self.assertEqual(codes, ["T3003I", "T3003S"])
        self.assertEqual(world.sink.named("port.local")[0]["addr"], f"127.0.0.1:{greeter.port}")
        self.over(world)
        await running

    def _spawn(self, work: Any) -> Any:
        return Deferred.fromCoroutine(work)

    def lasting(self, world: World) -> str:
        """
        @return: a command that runs until L{over}.
        """
        return f"until test -e {world.root}/over; do sleep 0.05; done"

    def over(self, world: World) -> None:
        """
        End what lasts.
        """
        (world.root / "over").touch()

    async def test_remote_forwarding(self) -> None:
        """
        C{-R}: the sshd listens, and who connects there reaches the client's side.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        greeter, remote = Greeter(), free_port()
        self.addCleanup(greeter.close)
        client = world.run(
            *world.ssh(key, "-q", "-R", f"127.0.0.1:{remote}:127.0.0.1:{greeter.port}"),
            f"echo up; {self.lasting(world)}",
            seconds=60,
        )
        running = self._spawn(client)
        await until(lambda: world.sink.named("port.remote") and world.sink.named("session.start"))
        data = b"hello " * 100_000
        self.assertEqual(await self.in_thread(remote, data), data.upper())
        self.assertEqual(world.sink.named("port.remote")[0]["addr"], f"127.0.0.1:{remote}")
        self.assertEqual(len(world.sink.named("port.remote_conn")), 1)
        self.over(world)
        await running
        await until(lambda: world.sink.named("port.remote")[-1]["code"] == "T3003S")

    async def test_forwarding_that_roles_switch_off(self) -> None:
        """
        Neither direction, and both refusals are noted.
        """
        world = await self.world(port_forwarding=False)
        await world.sshd()
        key = await world.user("alice")
        out, _, code = await world.run(*world.ssh(key, "-q", "-W", "127.0.0.1:1"))
        self.assertEqual((out, code), (b"", 255))
        _, _, code = await world.run(*world.ssh(key, "-N", "-o", "ExitOnForwardFailure=yes", "-R", "0:127.0.0.1:1"))
        self.assertEqual(code, 255)
        self.assertEqual([event["code"] for event in world.sink.named("port.local")], ["T3003E"])
        self.assertEqual([event["code"] for event in world.sink.named("port.remote")], ["T3003E"])

    async def test_a_forwarded_agent_is_there_only_where_roles_allow(self) -> None:
        """
        C{ssh -A} and a real agent.
        """
        for allowed, found in ((True, b"ED25519-CERT"), (False, b"no agent")):
            world = await self.world(forward_agent=allowed)
            await world.sshd()
            key = await world.user("alice")
            command = [*world.ssh(key, "-q", "-A"), "ssh-add -l 2>/dev/null || echo no agent"]
            out, err, _ = await world.run("ssh-agent", "sh", "-c", 'ssh-add -q "$0" && exec "$@"', key, *command)
            self.assertIn(found, out, err)
            self.assertEqual(world.sink.named("agent-forward")[0]["code"], "T3013I" if allowed else "T3013W")

    async def test_many_channels_of_one_connection(self) -> None:
        """
        ControlMaster: sessions side by side over one login; C{max_sessions} counts them.
        """
        world = await self.world(max_sessions=3)
        await world.sshd()
        key = await world.user("alice")
        control = ("-q", "-o", f"ControlPath={world.root}/mux")
        master = self._spawn(
            world.run(
                *world.ssh(key, *control, "-o", "ControlMaster=yes"), f"echo first; {self.lasting(world)}", seconds=60
            )
        )
        await until(lambda: (world.root / "mux").exists() and world.sink.named("session.start"))
        for number in range(5):
            out, _, code = await world.run(*world.ssh(key, *control), f"echo {number}")
            self.assertEqual((out, code), (f"{number}\n".encode(), 0))
        held = [self._spawn(world.run(*world.ssh(key, *control), self.lasting(world), seconds=60)) for _ in range(2)]
        await until(lambda: len(world.sink.named("session.start")) == 8)
        # Refused a fourth session, the client makes a connection of its own.
        await world.run(*world.ssh(key, *control), "echo too many")
        self.assertEqual(world.sink.named("session.rejected")[0]["max"], 3)
        self.over(world)
        for each in (*held, master):
            await each

    async def test_sockets_in_the_file_system(self) -> None:
        """
        C{-L} to a path on the server.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        local, path = free_port(), f"{world.root}/s"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            client = world.run(
                *world.ssh(key, "-q", "-L", f"127.0.0.1:{local}:{path}"), self.lasting(world), seconds=60
            )
            running = self._spawn(client)
            await until(lambda: world.sink.named("session.start"))
            answer = deferToThread(_answer_once, listener)
            self.assertEqual(await self.in_thread(local, b"hello"), b"HELLO")
            await answer
        self.assertEqual(world.sink.named("port.local")[0]["addr"], path)
        self.over(world)
        await running

    async def test_idle_users_are_disconnected(self) -> None:
        """
        With the reason on the terminal.
        """
        world = await self.world(client_idle_timeout="2s")
        await world.sshd()
        key = await world.user("alice")
        out, _, code = await world.run(*world.ssh(key, "-q", "-tt"), "echo up; sleep 30", seconds=40)
        self.assertEqual(code, 255)
        self.assertIn(b"no activity", out)

    # --- refusals

    async def test_a_session_that_must_be_recorded_and_cannot_be(self) -> None:
        """
        Does not begin where a role is strict, and does where none is.
        """
        world = await self.world(record_session={"default": "strict"})
        await world.sshd()
        key = await world.user("alice")
        world.spool.rmdir()
        world.spool.write_text("in the way")
        _, err, code = await world.run(*world.ssh(key, "-q", "-tt"), "touch", f"{world.root}/ran")
        self.assertEqual(code, 255)
        self.assertFalse((world.root / "ran").exists())
        await world.role("ops", record_session={"default": "best_effort"})
        out, _, code = await world.run(*world.ssh(key, "-q", "-tt"), "echo in")
        self.assertEqual((out, code), (b"in\r\n", 0), err)
        self.flushLoggedErrors()

    async def test_only_so_many_connections_at_a_time(self) -> None:
        """
        C{max_connections}, counted by auth.
        """
        world = await self.world(max_connections=1)
        await world.sshd()
        key = await world.user("alice")
        running = self._spawn(world.run(*world.ssh(key, "-q"), self.lasting(world), seconds=60))
        await until(lambda: world.sink.named("session.start"))
        _, err, code = await world.run(*world.ssh(key), "echo in")
        self.assertEqual(code, 255)
        self.assertIn(b"too many connections", err)
        self.assertEqual(world.sink.named("session.rejected")[0]["max"], 1)
        self.over(world)
        await running
        out, _, _ = await world.run(*world.ssh(key, "-q"), "echo in")
        self.assertEqual(out, b"in\n")

    async def test_a_pinned_certificate(self) -> None:
        """
        C{pin_source_ip}: the proxy has compared the address, and sshd sees the proxy's.
        """
        world = await self.world(pin_source_ip=True)
        await world.sshd()
        await world.cluster.user("alice", "ops")
        here = await world.sign("alice", address="127.0.0.1")
        out, err, code = await world.run(*world.ssh(here, "-q"), "echo in")
        self.assertEqual((out, code), (b"in\n", 0), err)
        elsewhere = await world.sign("alice", "away", address="192.0.2.1")
        _, _, code = await world.run(*world.ssh(elsewhere, "-q"), "echo in")
        self.assertEqual(code, 255)

    async def test_a_login_that_no_role_allows(self) -> None:
        """
        The certificate is good, the login is not; sshd is not even asked.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        _, err, code = await world.run(*world.ssh(key, login="daemon"), "echo in")
        self.assertEqual(code, 255)
        self.assertIn(b"Permission denied", err)
        (refused,) = world.sink.named("auth")
        self.assertEqual((refused["user"], refused["login"], refused["code"]), ("alice", "daemon", "T3007W"))
        self.assertEqual(refused["forwarded_by"], world.proxy.identity.host_id)
        self.assertIn("daemon", refused["error"])

    async def test_a_server_that_no_role_reaches(self) -> None:
        """
        By labels.
        """
        world = await World.start(self)
        await world.role("ops", {"node_labels": {"env": "prod"}})
        await world.sshd(labels={"env": "staging"})
        key = await world.user("alice")
        _, err, code = await world.run(*world.ssh(key), "echo in")
        self.assertEqual(code, 255)
        self.assertIn(b"ERROR: access denied", err)

    async def test_a_locked_user_does_not_come_in_and_does_not_stay(self) -> None:
        """
        The lock's own words reach the terminal within seconds; a second try is refused.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        running = self._spawn(world.run(*world.ssh(key, "-q", "-tt"), "echo up; sleep 30", seconds=40))
        await until(lambda: world.sink.named("session.start"))
        await pause(0.3)
        lock = Resource("lock", "v2", Metadata("l"), {"target": {"user": "alice"}, "message": "see the boss"})
        await world.cluster.local().create(lock)
        out, _, code = await running
        self.assertEqual(code, 255)
        self.assertIn(b"see the boss", out)
        self.assertTrue(world.sink.named("client.disconnect"))
        await until(lambda: world.sink.named("session.end"))
        _, _, code = await world.run(*world.ssh(key, "-q"), "echo in")
        self.assertEqual(code, 255)

    async def test_an_sshd_that_does_not_trust_the_cluster(self) -> None:
        """
        The user reads what is to be done.
        """
        world = await self.world()
        await world.sshd(trusts=False)
        key = await world.user("alice")
        _, err, code = await world.run(*world.ssh(key), "echo in")
        self.assertEqual(code, 255)
        self.assertIn(b"TrustedUserCAKeys", err)

    async def test_an_sshd_with_a_bare_host_key(self) -> None:
        """
        Is no host of the cluster's, unless the cluster does not care.
        """
        world = await self.world()
        await world.sshd(certified=False)
        key = await world.user("alice")
        _, err, code = await world.run(*world.ssh(key), "echo in")
        self.assertEqual(code, 255)
        self.assertIn(b"could not prove who it is", err)
        await world.set("session_recording_config", mode="node", proxy_checks_host_keys=False)
        out, _, code = await world.run(*world.ssh(key, "-q"), "echo in")
        self.assertEqual((out, code), (b"in\n", 0))

    async def test_an_sshd_certified_for_another_name(self) -> None:
        """
        One agentless host cannot pose as another.
        """
        world = await self.world()
        port = await world.sshd(name="web1", register=False)
        await world.register(port, "db1")
        world_node = await world.cluster.local().get("node", NODE_ID)
        await world.put(evolve(world_node, spec={"hostname": "db1", "addr": f"localhost:{port}"}))
        key = await world.user("alice")
        _, err, code = await world.run(*world.ssh(key), "echo in")
        self.assertEqual(code, 255)
        self.assertIn(b"could not prove who it is", err)

    async def test_a_server_that_is_down(self) -> None:
        """
        Said in words.
        """
        world = await self.world()
        await world.register(free_port())
        key = await world.user("alice")
        _, err, code = await world.run(*world.ssh(key), "echo in")
        self.assertEqual(code, 255)
        self.assertIn(b"db1 cannot be reached", err)

    async def test_the_way_of_one_user_is_no_way_for_another(self) -> None:
        """
        Mallory dials with her own certificate and signs in with Alice's: whoever holds both keys still is two people.
        """
        world = await self.world()
        await world.sshd()
        alice, mallory = await world.user("alice"), await world.user("mallory")
        _, err, code = await world.run(*world.ssh(alice, jump=mallory), "echo in")
        self.assertEqual(code, 255)
        self.assertIn(b"Permission denied", err)
        self.assertIn("'mallory' dialled, 'alice' signs in", world.sink.named("auth")[0]["error"])

    async def test_one_certificate_serves_many_connections(self) -> None:
        """
        Nothing is signed per connection.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        forwarder = world.proxy.forwarder
        assert forwarder is not None
        asked: list[str] = []
        for keeper in (forwarder.stand_ins, forwarder.passes):
            api: Any = keeper.api
            keeper.api = Noting(api, asked)
        for _ in range(3):
            _, _, code = await world.run(*world.ssh(key, "-q"), "true")
            self.assertEqual(code, 0)
        self.assertEqual(asked, ["issue_host", "issue_openssh"])

    async def test_the_proxy_stops_and_says_so(self) -> None:
        """
        Users at stock servers are told why.
        """
        world = await self.world()
        await world.sshd()
        key = await world.user("alice")
        running = self._spawn(world.run(*world.ssh(key, "-q", "-tt"), "echo up; sleep 30", seconds=40))
        await until(lambda: world.sink.named("session.start"))
        await pause(0.3)
        forwarder = world.proxy.forwarder
        assert forwarder is not None
        self.assertEqual(len(forwarder.visits), 1)
        await world.proxy.stopService()
        out, _, code = await running
        self.assertEqual(code, 255)
        self.assertIn(b"going down", out)
        self.assertEqual(len(forwarder.visits), 0)


class Noting:
    """
    Auth, and what it was asked for.
    """

    def __init__(self, api: Any, asked: list[str]) -> None:
        self._api, self._asked = api, asked

    def __getattr__(self, name: str) -> Any:
        self._asked.append(name)
        return getattr(self._api, name)
