"""
OpenSSH's client at our agent: shells, commands, and everybody who is not let in.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import subprocess
from datetime import timedelta
from unittest import SkipTest

import pytest
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from teleport_tw.base.tasks import in_thread
from teleport_tw.base.timing import utc_now
from teleport_tw.dial.lifetime import Ending
from teleport_tw.resources.sessions import Session
from tests.agents.ssh.rig import ME, AgentTestCase
from tests.doubles.cluster import HOST_ID, lock, role

pytestmark = pytest.mark.servers


class CommandTests(AgentTestCase):
    """
    Without a terminal.
    """

    async def test_a_command_runs_and_is_audited(self) -> None:
        """
        Output, error output and status come back apart; events say who did what.
        """
        await self.start()
        out, err, code = await self.ssh("echo out; echo err >&2; exit 7")
        self.assertEqual((out, err, code), (b"out\n", b"err\n", 7))
        await self.until(lambda: "session.end" in self.sink.names())
        self.assertEqual(self.sink.names(), ["session.start", "exec", "session.data", "session.end"])
        [event] = self.sink.named("exec")
        self.assertEqual((event["exitCode"], event["code"], event["login"]), ("7", "T3002E", ME))
        [end] = self.sink.named("session.end")
        self.assertFalse(end["interactive"])
        self.assertFalse(self.recordings.exists())

    async def test_a_signal_ends_a_command(self) -> None:
        """
        OpenSSH tells of exit-signal by status 255.
        """
        await self.start()
        _, _, code = await self.ssh("kill -TERM $$")
        self.assertEqual(code, 255)
        [event] = self.sink.named("exec")
        self.assertEqual(event["exitError"], "ended by signal TERM")

    async def test_input_and_its_end_reach_the_command(self) -> None:
        """
        Megabytes both ways, unchanged.
        """
        await self.start()
        data = os.urandom(3_000_000)
        out, err, code = await self.ssh("cat", feed=data)
        self.assertEqual((hashlib.sha256(out).digest(), err, code), (hashlib.sha256(data).digest(), b"", 0))

    async def test_a_slow_reader_costs_no_memory(self) -> None:
        """
        Fifty megabytes for a client that reads nothing for a while: the command waits, the agent does not swell.
        """
        await self.start()
        arguments = self.arguments(self.certify())
        command = [*arguments, f"{ME}@127.0.0.1", "head -c 50000000 /dev/zero; echo done >&2"]
        process = await self.threads.run(subprocess.Popen, command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        await self.until(lambda: any(user.sessions for user in self.agent.realm.users))
        before = _resident()
        await deferLater(reactor, 1.0)
        self.assertLess(_resident() - before, 16 << 20)
        self.assertEqual(self.sink.named("exec"), [])
        out, err = await self.threads.run(process.communicate)
        self.assertEqual((len(out), err), (50_000_000, b"done\n"))

    async def test_the_environment_is_the_login_s_and_names_the_session(self) -> None:
        """
        What the client may set, what it may not, and what we set.
        """
        await self.start()
        options = ("SetEnv=LC_TEST=grüße LD_PRELOAD=/evil.so EVIL=1 HOME=/evil",)
        out, _, _ = await self.ssh("env", options=options)
        found = dict(line.split("=", 1) for line in out.decode().splitlines() if "=" in line)
        [start] = self.sink.named("session.start")
        account = pwd.getpwnam(ME)
        expected = {
            "SSH_TELEPORT_USER": "alice",
            "SSH_TELEPORT_CLUSTER_NAME": "example.com",
            "SSH_TELEPORT_HOST_UUID": HOST_ID,
            "SSH_SESSION_WEBPROXY_ADDR": "proxy.example.com:443",
            "SSH_SESSION_ID": start["sid"],
            "HOME": account.pw_dir,
            "USER": ME,
            "SHELL": account.pw_shell,
            "LC_TEST": "grüße",
        }
        self.assertEqual({key: found.get(key) for key in expected}, expected)
        self.assertNotIn("LD_PRELOAD", found)
        self.assertNotIn("EVIL", found)
        self.assertIn("127.0.0.1", found["SSH_CONNECTION"])

    async def test_several_sessions_share_a_connection(self) -> None:
        """
        ControlMaster; the roles' max_sessions bounds them.
        """
        self.cluster.copy.put(role("access", allow={"logins": [ME]}, options={"max_sessions": 2}))
        await self.start()
        key = self.certify()
        path = self.root / "mux"
        master = (f"ControlPath={path}", "ControlMaster=yes")
        held = self.ssh("sleep 60 & wait", key=key, options=master)
        held.addErrback(lambda _: None)
        await self.until(path.exists)
        more = (f"ControlPath={path}", "ControlMaster=no")
        out, _, code = await self.ssh("echo second", key=key, options=more)
        self.assertEqual((out, code), (b"second\n", 0))
        second = self.ssh("echo up; sleep 60", key=key, options=more)
        await self.until(lambda: sum(len(user.sessions) for user in self.agent.realm.users) == 2)
        out, _, code = await self.ssh("echo third", key=key, options=("ControlPath=none",))
        self.assertEqual((out, code), (b"third\n", 0), "another connection counts anew")
        # A refused session would make the client connect anew.
        _, _, code = await self.ssh("echo third", key=key, options=(*more, "ProxyCommand=false"))
        self.assertNotEqual(code, 0)
        [event] = self.sink.named("session.rejected")
        self.assertEqual((event["reason"], event["max"]), ("max_sessions limit reached", 2))
        self.agent.realm.lifetimes.end_all(Ending("test", "the test is over"))
        await held
        await second

    async def test_as_root_a_command_runs_as_its_user(self) -> None:
        """
        Uid, gid, groups and home of the login, and a login that cannot be is told so.
        """
        if os.getuid() != 0:
            raise SkipTest("needs root to make a Unix user and become it")
        name = f"tt{os.getpid()}"
        command = ["useradd", "-m", "-s", "/bin/sh", "-G", "games", name]
        await in_thread(subprocess.run, command, check=True, capture_output=True)
        self.addCleanup(subprocess.run, ["userdel", "-r", name], capture_output=True, check=False)
        self.cluster.copy.put(role("access", allow={"logins": [name]}))
        await self.start()
        key = self.certify(logins=(name,))
        out, err, _ = await self.ssh(
            'id -un; id -Gn; pwd; grep -i cap /proc/self/status; ls -l /proc/$$/fd | grep -c ":"',
            login=name,
            key=key,
        )
        lines = out.decode().splitlines()
        self.assertEqual(lines[:3], [name, f"{name} games", f"/home/{name}"], err)
        self.assertIn("CapEff:\t0000000000000000", lines)
        out, err, _ = await self.ssh("-tt", "tty; stat -c %U $(tty); touch /etc/no", login=name, key=key)
        self.assertIn(name.encode(), out, err)
        self.assertIn(b"Permission denied", out)

    async def test_as_root_a_user_is_made_for_the_session(self) -> None:
        """
        And is gone after it.
        """
        if os.getuid() != 0:
            raise SkipTest("needs root to make a Unix user")
        name = f"ttm{os.getpid()}"
        self.addCleanup(subprocess.run, ["userdel", "-r", name], capture_output=True, check=False)
        options = {"create_host_user_mode": "insecure-drop"}
        allow = {"logins": [name], "host_groups": ["games"]}
        self.cluster.copy.put(role("access", allow=allow, options=options))
        await self.start()
        out, err, _ = await self.ssh("id -un; id -Gn", login=name, key=self.certify(logins=(name,)))
        self.assertEqual(out.decode().split(), [name, name, "games", "teleport-system"], err)
        await self.until(lambda: name not in [each.pw_name for each in pwd.getpwall()])


class ShellTests(AgentTestCase):
    """
    With a terminal.
    """

    async def test_a_shell_with_a_terminal_is_recorded(self) -> None:
        """
        The recording holds what the terminal showed.
        """
        await self.start()
        out, err, code = await self.ssh("-tt", feed=b"echo $((40+2))-marker; tty; exit 3\n")
        self.assertEqual(code, 3, (out, err))
        self.assertIn(b"42-marker", out)
        self.assertIn(b"/dev/pts/", out)
        await self.until(lambda: "session.end" in self.sink.names())
        [end] = self.sink.named("session.end")
        self.assertTrue(end["interactive"])
        self.assertTrue(end["recording_digest"])
        self.assertEqual(end["participants"], ["alice"])
        [(tracker, _)] = self.cluster.api.heartbeats
        shown = Session.parse(tracker)
        self.assertEqual((shown.name, shown.address, shown.login), (end["sid"], HOST_ID, ME))
        self.assertEqual(self.cluster.api.gone, [("session_tracker", end["sid"])])
        self.assertEqual(len(list(self.recordings.glob("*.rec"))), 1)

    async def test_node_sync_records_straight_to_auth(self) -> None:
        """
        Nothing stays on the host.
        """
        self.cluster.set("session_recording_config", mode="node-sync")
        await self.start()
        await self.ssh("-tt", "echo hello")
        await self.until(lambda: "session.end" in self.sink.names())
        [end] = self.sink.named("session.end")
        self.assertEqual(self.cluster.api.complete, [end["sid"]])
        self.assertFalse(self.recordings.exists())

    async def test_off_records_nothing(self) -> None:
        """
        The events stay.
        """
        self.cluster.set("session_recording_config", mode="off")
        await self.start()
        await self.ssh("-tt", "echo hello")
        await self.until(lambda: "session.end" in self.sink.names())
        self.assertFalse(self.recordings.exists())

    async def test_a_strict_session_that_cannot_be_recorded_does_not_start(self) -> None:
        """
        Best effort goes on, strict does not.
        """
        self.cluster.set("session_recording_config", mode="node-sync")
        self.cluster.api.away = True
        await self.start()
        out, _, code = await self.ssh("-tt", "echo hello")
        self.assertEqual((out, code), (b"hello\r\n", 0))
        strict = role("access", allow={"logins": [ME]}, options={"record_session": {"ssh": "strict"}})
        self.cluster.copy.put(strict)
        out, err, code = await self.ssh("-tt", "echo hello")
        self.assertEqual(code, 255)
        self.assertNotIn(b"hello", out)
        self.assertIn(b"must be recorded", out + err)
        self.flushLoggedErrors()

    async def test_a_background_job_does_not_hold_the_terminal_s_session(self) -> None:
        """
        The session ends with its shell.
        """
        await self.start()
        out, _, code = await self.ssh("-tt", "(trap '' HUP; sleep 30) & echo started", seconds=10)
        self.assertEqual((out.strip(), code), (b"started", 0))

    async def test_a_background_job_that_writes_on_does_not_hold_the_agent(self) -> None:
        """
        Nor the session.
        """
        await self.start()
        out, _, code = await self.ssh("-tt", "(trap '' HUP; yes) & sleep 0.1; exit 4", seconds=10)
        self.assertEqual(code, 4)
        self.assertLess(len(out), 500_000_000)

    async def test_a_certificate_without_permit_pty_gets_no_terminal(self) -> None:
        """
        The client goes on without one, as it was told to.
        """
        await self.start()
        out, _, _ = await self.ssh("-tt", "tty", key=self.certify(permit_pty=False))
        self.assertNotIn(b"/dev/pts", out)


class RefusalTests(AgentTestCase):
    """
    Each refusal has its own reason in the log, and none for the user.
    """

    async def refused(self, reason: str, **how: object) -> bytes:
        """
        @return: what the user read.
        """
        options = {"login": ME, **{name: how.pop(name) for name in ("login",) if name in how}}
        out, err, code = await self.ssh("echo in", key=self.certify(**how), options=("LogLevel=INFO",), **options)
        self.assertEqual((out, code), (b"", 255))
        self.assertIn(b"Permission denied", err)
        [event] = self.sink.named("auth")
        self.assertEqual(event["code"], "T3007W")
        self.assertIn(reason, event["error"])
        self.sink.events.clear()
        return err

    async def test_certificates_that_do_not_do(self) -> None:
        """
        Wrong login, expired, not yet valid, another authority's, another address's.
        """
        await self.start()
        now = self.cluster.now
        await self.refused("wrong principal", logins=("somebody",))
        hours = {"valid_after": now - timedelta(hours=3), "expires": now - timedelta(hours=2)}
        await self.refused("expired", **hours)
        hours = {"valid_after": now + timedelta(hours=1), "expires": now + timedelta(hours=2)}
        await self.refused("not yet valid", **hours)
        await self.refused("wrong authority", authority=self.cluster.stranger())
        await self.refused("source address", pinned_ip="192.0.2.1")

    async def test_roles_that_do_not_do(self) -> None:
        """
        None, one that is gone, one without the login, one that denies.
        """
        self.cluster.copy.put(role("other", allow={"logins": ["somebody"]}))
        deny = role("deny")
        deny.spec["deny"] = {"node_labels": {"env": "prod"}}
        self.cluster.copy.put(deny)
        await self.start()
        await self.refused("no roles", roles=())
        await self.refused("role 'gone'", roles=("access", "gone"))
        err = await self.refused("does not allow logins", roles=("other",))
        self.assertNotIn(b"does not allow", err)
        await self.refused("denies", roles=("access", "deny"))
        await self.refused("access request is for other", allowed_resources=("/example.com/node/other",))

    async def test_locks_are_told(self) -> None:
        """
        By user, role, login, host and device; the lock's own message is for the user.
        """
        await self.start()
        targets = ({"user": "alice"}, {"role": "access"}, {"login": ME}, {"server_id": HOST_ID}, {"mfa_device": "d1"})
        for target in targets:
            self.cluster.copy.put(lock("l1", "ask the desk", **target))
            err = await self.refused("ask the desk", mfa_device="d1")
            self.assertIn(b"ask the desk", err)
        self.cluster.copy.remove("lock", "l1")
        _, _, code = await self.ssh("true")
        self.assertEqual(code, 0)

    async def test_strict_locking_refuses_on_stale_locks(self) -> None:
        """
        Best effort does not.
        """
        self.cluster.copy.old = timedelta(minutes=6)
        await self.start()
        _, _, code = await self.ssh("true")
        self.assertEqual(code, 0)
        self.cluster.set("cluster_auth_preference", locking_mode="strict")
        await self.refused("out of date")

    async def test_a_session_that_needs_a_second_factor(self) -> None:
        """
        Not without, with.
        """
        self.cluster.set("cluster_auth_preference", require_session_mfa=True)
        await self.start()
        await self.refused("no MFA")
        _, _, code = await self.ssh("true", key=self.certify(mfa_device="d1"))
        self.assertEqual(code, 0)

    async def test_a_login_that_does_not_exist_is_told(self) -> None:
        """
        After the sign-in, which it may have.
        """
        await self.start()
        _, err, code = await self.ssh("true", login="nosuchlogin")
        self.assertEqual((err, code), (b"user nosuchlogin does not exist on this host\r\n", 255))
        [event] = self.sink.named("exec")
        self.assertEqual(event["code"], "T3002E")


class LifetimeTests(AgentTestCase):
    """
    Connections that end before their user ends them.
    """

    async def ended(self, message: bytes, **identity: object) -> None:
        """
        A long command ends with C{message}, and its program with it.
        """
        out, err, code = await self.ssh("sleep 60 & echo $!; wait", key=self.certify(**identity), seconds=20)
        self.assertEqual(code, 255)
        self.assertIn(message, err)
        [event] = self.sink.named("client.disconnect")
        self.assertEqual(event["code"], "T3006I")
        await self.until(lambda: not os.path.exists(f"/proc/{int(out)}"), 3)

    def output(self) -> list[int]:
        """
        How much each session's program has written.
        """
        sessions = [session for user in self.agent.realm.users for session in user.sessions]
        return [session.program._capture.sent_bytes for session in sessions if session.program is not None]

    async def test_a_lock_ends_a_session_at_once(self) -> None:
        """
        The user is told; the command gets SIGHUP.
        """
        await self.start()
        waiting = Deferred.fromCoroutine(self.ended(b"gone fishing"))
        await self.until(lambda: any(self.output()))
        self.cluster.copy.put(lock("l1", "gone fishing", user="alice"))
        await waiting

    async def test_idleness_ends_a_connection(self) -> None:
        """
        With the cluster's own words.
        """
        self.cluster.set("cluster_networking_config", client_idle_timeout="1s", idle_timeout_message="wake up")
        await self.start()
        await self.ended(b"wake up")

    async def test_the_certificate_s_end_ends_a_connection(self) -> None:
        """
        Where the cluster wants it.
        """
        self.cluster.set("cluster_auth_preference", disconnect_expired_cert=True)
        await self.start()
        await self.ended(b"certificate expired", expires=utc_now().replace(microsecond=0) + timedelta(seconds=3))

    async def test_connections_are_counted_across_the_cluster(self) -> None:
        """
        And given back.
        """
        self.cluster.copy.put(role("access", allow={"logins": [ME]}, options={"max_connections": 1}))
        await self.start()
        key = self.certify()
        first = self.ssh("cat", key=key)
        _, _, code = await first
        self.assertEqual(code, 0)
        await self.until(lambda: self.cluster.api.leases == {"alice": []})
        self.cluster.api.leases["alice"].append("another")
        _, err, code = await self.ssh("true", key=key, options=("LogLevel=INFO",))
        self.assertEqual(code, 255)
        self.assertIn(b"too many connections", err)
        [event] = self.sink.named("session.rejected")
        self.assertEqual((event["reason"], event["max"]), ("max_connections limit reached", 1))

    async def test_a_drained_agent_takes_nobody_and_waits(self) -> None:
        """
        Who is in may finish.
        """
        await self.start()
        held = self.ssh("sleep 1; echo finished")
        await self.until(lambda: self.sink.named("session.start"))
        idle = self.agent.drain()
        _, _, code = await self.ssh("true")
        self.assertEqual(code, 255)
        self.assertFalse(idle.called)
        out, _, _ = await held
        self.assertEqual(out, b"finished\n")
        await idle


def _resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
