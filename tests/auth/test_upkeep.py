"""
What auth does by itself: counting, closing recordings, comparing them, noticing changed authorities.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from teleport_tw.api.contract import EventQuery, SetupPurpose
from teleport_tw.auth import vouching
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.recordings.archive import ABANDONED_SECONDS
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.stores.authorities import Authorities
from tests.auth.cluster import PASSWORD, Keys
from tests.auth.test_service import AuthCase


class Upkeep(AuthCase):
    """
    With one cluster.
    """

    listen = False

    def host(self) -> tuple[Any, str]:
        name = str(uuid.uuid4())
        identity = Identity(username=f"{name}.example.com", cluster="example.com", system_roles=(SystemRole.NODE,))
        return self.cluster.auth.api_for(identity), name

    def upload(self, session: str, digest: str) -> dict[str, Any]:
        return {
            "uid": str(uuid.uuid4()),
            "event": "session.upload",
            "code": "T2005I",
            "time": "2026-01-31T15:04:05Z",
            "ei": 0,
            "sid": session,
            "recording_digest": digest,
        }

    async def test_a_missing_recording_is_told(self) -> None:
        """Verifying says when a recording that the log vouches for is another one, or gone."""
        host, _ = self.host()
        session = str(uuid.uuid4())
        await host.put_recording(session, 1, b"x")
        await host.emit([self.upload(session, "11" * 32)])
        problems = (await self.admin.verify()).problems
        self.assertEqual(len(problems), 1, problems)
        self.assertIn(session, problems[0])
        core = self.cluster.auth.core
        assert core is not None
        await core.recordings.delete(session)
        problems = (await self.admin.verify()).problems
        self.assertIn("is missing", problems[0])

    async def test_another_hosts_word_vouches_for_nothing(self) -> None:
        """Only the host that recorded a session says what its recording is."""
        host, _ = self.host()
        other, _ = self.host()
        session = str(uuid.uuid4())
        await host.put_recording(session, 1, b"x")
        await other.emit([self.upload(session, "11" * 32)])
        self.assertEqual((await self.admin.verify()).problems, ())

    async def test_abandoned(self) -> None:
        """A recording whose host died is closed, and the log vouches for what there is of it."""
        host, _ = self.host()
        session = str(uuid.uuid4())
        await host.put_recording(session, 1, b"x")
        core = self.cluster.auth.core
        assert core is not None
        self.assertEqual(await vouching.close_abandoned(core), 0)
        folder = Path(self.cluster.directory) / "log" / "records" / session
        long_ago = core.clock.seconds() - ABANDONED_SECONDS - 1
        os.utime(folder, (long_ago, long_ago))
        self.assertEqual(await vouching.close_abandoned(core), 1)
        self.assertEqual([event["sid"] for event in await self.events("session.upload")], [session])
        self.assertEqual(await vouching.close_abandoned(core), 0)

    def value(self, name: str, **labels: str) -> float:
        return self.cluster.auth.metrics.registry.get_sample_value(name, labels) or 0.0

    async def test_counted(self) -> None:
        """Sign-ins and certificates are counted by how they ended."""
        await self.cluster.user("alice", "access", logins=("root",))
        totp = await self.cluster.sign_up("alice")
        await self.refused(self.cluster.sign_in("alice", "000000", Keys()))
        await self.cluster.sign_in("alice", totp.now(), Keys())
        self.assertEqual(self.value("teleport_user_login_total", result="ok"), 1)
        self.assertEqual(self.value("teleport_user_login_total", result="failed"), 1)
        self.assertEqual(self.value("teleport_certificates_issued_total", type="user"), 1)

    async def test_second_factor_off(self) -> None:
        """Without a second factor one signs in by password alone, once that was asked for in so many words."""
        preference = await self.admin.get("cluster_auth_preference", "cluster-auth-preference")
        spec = {key: value for key, value in preference.spec.items() if key != "second_factors"}
        await self.admin.update(Resource(preference.kind, "v2", preference.metadata, {**spec, "second_factor": "off"}))
        await self.cluster.user("alice", "access", logins=("root",))
        ticket = await self.admin.create_setup("alice", SetupPurpose.INVITE, NEVER)
        self.assertFalse(ticket.otp_secret)
        await self.proxy.complete_setup(ticket.token, PASSWORD, Secret(""))
        self.assertTrue((await self.cluster.sign_in("alice", "", Keys())).ssh)
        await self.refused(self.cluster.sign_in("alice", "", Keys(), Secret("wrong horse battery")))

    async def test_a_hidden_token_is_not_written_back(self) -> None:
        """What a list shows of a token does not become a token that anybody could guess."""
        await self.admin.create(Resource("token", "v2", Metadata("a-secret-token-1"), {"roles": ["Node"]}))
        shown = (await self.admin.list("token")).items[0]
        error = await self.refused(self.admin.upsert(shown))
        self.assertEqual(error.kind, Kind.BAD_PARAMETER)
        self.assertEqual(len((await self.admin.list("token")).items), 1)

    async def test_settings_nobody_could_sign_in_under(self) -> None:
        """They are refused, with what to do."""
        preference = await self.admin.get("cluster_auth_preference", "cluster-auth-preference")
        for wrong, said in (
            ({"second_factors": ["sso"]}, "must have otp or webauthn"),
            ({"second_factors": ["otp"], "connector_name": "passwordless"}, "needs webauthn"),
            ({"second_factors": ["webauthn"], "webauthn": {"rp_id": "127.0.0.1"}}, "keys need a domain"),
        ):
            changed = Resource(preference.kind, "v2", Metadata(preference.name), {**preference.spec, **wrong})
            error = await self.refused(self.admin.upsert(changed))
            self.assertEqual(error.kind, Kind.BAD_PARAMETER)
            self.assertIn(said, error.message)

    async def test_authorities_of_another_auth(self) -> None:
        """What another auth writes of an authority is in the next certificate's list of whom to trust."""
        core = self.cluster.auth.core
        assert core is not None
        store = Authorities(core.backend)
        before = core.signing.public
        user = await store.get("user", "example.com", with_secrets=True)
        await store.update(user)
        for _ in range(100):
            if core.signing.public is not before:
                break
            await self.pause()
        revisions = {item.sub_kind: item.revision for item in core.signing.public}
        self.assertEqual(revisions["user"], (await store.get("user", "example.com")).revision)

    async def pause(self) -> None:
        from twisted.internet import reactor
        from twisted.internet.task import deferLater

        await deferLater(reactor, 0.02)  # type: ignore[arg-type]


class Calls(AuthCase):
    """
    Over gRPC.
    """

    async def test_counted(self) -> None:
        """Calls are counted by method and outcome."""
        from teleport_tw.api.admin import connect_admin

        api = connect_admin(self.cluster.directory)
        self.cluster.channels.append(api)
        await api.ping()
        with self.assertRaises(TeleportError):
            await api.get("role", "no-such-role")
        registry = self.cluster.auth.metrics.registry
        for method, code in (("AuthService.Ping", "OK"), ("ResourceService.Get", "NOT_FOUND")):
            found = registry.get_sample_value("teleport_grpc_calls_total", {"method": method, "code": code})
            self.assertEqual(found, 1, method)
        page = await self.admin.search(EventQuery())
        self.assertIsNotNone(page)

    async def test_what_is_older_than_is_kept_goes(self) -> None:
        """Recordings by their own time, and nothing that is younger."""
        core = self.cluster.auth.core
        assert core is not None
        storage: Any = core.recordings.storage
        now = core.clock.seconds()
        names = {"old": now - 13 * 86400, "grace": now - 11 * 86400, "young": now}
        storage.directory.mkdir(parents=True, exist_ok=True)
        for name, when in names.items():
            path = storage.directory / f"{name}.rec"
            path.write_bytes(b"")
            os.utime(path, (when, when))
        self.assertEqual(await vouching.forget_old(core, Duration(days=10)), 1)
        self.assertEqual(sorted(await storage.sessions()), ["grace", "young"])
        self.assertEqual(await vouching.forget_old(core, Duration(days=10)), 0)
