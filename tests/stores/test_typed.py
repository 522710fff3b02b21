"""
What is kept beside the resources: secrets, uses, leases, heartbeats.
"""

from __future__ import annotations

from datetime import timedelta

from twisted.internet.defer import Deferred

from teleport_tw.api.contract import SemaphoreRequest
from teleport_tw.backends.memory import MemoryBackend
from teleport_tw.base.errors import Kind
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import from_timestamp
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.nodes import Node
from teleport_tw.resources.sessions import Participant, Session
from teleport_tw.resources.tokens import Token
from teleport_tw.stores.authorities import Authorities
from teleport_tw.stores.presence import Presence
from teleport_tw.stores.semaphores import Semaphores
from teleport_tw.stores.sessions import Sessions
from teleport_tw.stores.setup import Setup, Setups
from teleport_tw.stores.tokens import Tokens
from teleport_tw.stores.users import KEPT_STEPS, LOCKOUT, MAX_ATTEMPTS, Credentials, TotpDevice
from tests.stores.test_resources import StoreCase


class TypedCase(StoreCase):
    """
    The backend in hand.
    """

    def setUp(self) -> None:
        super().setUp()
        self.backend: MemoryBackend = self.store.backend  # type: ignore[assignment]

    def everything(self) -> bytes:
        """
        All stored bytes, keys and values.
        """
        page = self.run_now(self.backend.range(()))
        return b"".join("/".join(item.key).encode() + item.value for item in page.items)


class CredentialsTests(TypedCase):
    """
    Passwords, devices and lockout.
    """

    def test_password(self) -> None:
        """
        The hash is kept, printed nowhere, and gone with the user.
        """
        users = Credentials(self.backend, self.clock)
        self.assertIsNone(self.run_now(users.password("a")))
        self.run_now(users.set_password("a", Secret("$argon2id$x")))
        found = self.run_now(users.password("a"))
        self.assertEqual(found, Secret("$argon2id$x"))
        self.assertNotIn("argon2", repr(found))
        self.run_now(users.forget("a"))
        self.assertNotIn(b"argon2", self.everything())

    def test_a_code_is_good_once(self) -> None:
        """
        A step used before, or older than those remembered, is refused.
        """
        users = Credentials(self.backend, self.clock)
        device = TotpDevice(id="d", name="phone", secret=Secret("BASE32"), added=from_timestamp(self.clock.seconds()))
        self.run_now(users.add_device("a", device))
        self.assertEqual(self.run_now(users.devices("a")), (device,))
        self.run_now(users.use_step("a", "d", 100))
        self.assertEqual(self.refused(users.use_step("a", "d", 100)), Kind.ACCESS_DENIED)
        for step in range(101, 101 + KEPT_STEPS):
            self.run_now(users.use_step("a", "d", step))
        self.assertEqual(self.refused(users.use_step("a", "d", 100)), Kind.ACCESS_DENIED)
        self.assertEqual(self.refused(users.use_step("a", "none", 1)), Kind.NOT_FOUND)

    def test_failures_lock_the_account(self) -> None:
        """
        Enough failures lock for a while; a good login forgets them; a clock set back does not unlock.
        """
        users = Credentials(self.backend, self.clock)
        for _ in range(MAX_ATTEMPTS - 1):
            self.assertIsNone(self.run_now(users.failed("a")))
        until = self.run_now(users.failed("a"))
        self.assertEqual(until, from_timestamp(self.clock.seconds()) + LOCKOUT)
        self.assertEqual(self.run_now(users.locked_until("a")), until)
        self.clock.rightNow -= 3600
        self.assertEqual(self.run_now(users.locked_until("a")), until)
        self.clock.rightNow += 3600
        self.clock.advance(LOCKOUT.total_seconds())
        self.assertIsNone(self.run_now(users.locked_until("a")))
        self.assertIsNone(self.run_now(users.failed("a")))
        self.run_now(users.succeeded("a"))
        self.assertNotIn(b"attempts", self.everything())


class AuthoritiesTests(TypedCase):
    """
    Private halves apart.
    """

    def authority(self, key: str = "PRIVATE") -> Resource:
        """
        With private halves of each sort.
        """
        keys = {
            "ssh": [{"public_key": "P", "private_key": key}],
            "tls": [{"cert": "C", "key": key}],
            "jwt": [{"public_key": "P", "private_key": key}],
        }
        spec = {"type": "user", "cluster_name": "c", "active_keys": keys, "additional_trusted_keys": keys}
        return Resource(kind="cert_authority", version="v2", sub_kind="user", metadata=Metadata(name="c"), spec=spec)

    def test_lists_and_watches_hold_no_key(self) -> None:
        """
        What the resource API can reach has no private half; the authorities' own store joins both.
        """
        store = Authorities(self.backend)
        watch = self.store.watch(["cert_authority"])
        stored = self.run_now(store.create(self.authority()))
        shown = [
            self.run_now(self.store.get("cert_authority", "c", sub_kind="user")),
            *self.run_now(self.store.list("cert_authority")).items,
            *self.run_now(store.list()),
            self.run_now(watch.__anext__()).resource,
        ]
        for each in shown:
            self.assertNotIn("PRIVATE", repr(each))
        self.assertEqual(self.run_now(store.get("user", "c", with_secrets=True)), stored)
        self.assertEqual(self.run_now(store.list(with_secrets=True)), (stored,))

    def test_changes_keep_both_halves_together(self) -> None:
        """
        A lost update is refused whole, a deletion leaves no key behind.
        """
        store = Authorities(self.backend)
        first = self.run_now(store.create(self.authority()))
        self.assertEqual(self.refused(store.create(self.authority("OTHER"))), Kind.ALREADY_EXISTS)
        second = self.run_now(store.update(self.authority("SECOND").with_revision(first.revision)))
        self.assertEqual(
            self.refused(store.update(self.authority("THIRD").with_revision(first.revision))), Kind.COMPARE_FAILED
        )
        self.assertEqual(self.run_now(store.get("user", "c", with_secrets=True)), second)
        self.run_now(store.delete("user", "c"))
        self.assertEqual(self.everything(), b"")


class TokensTests(TypedCase):
    """
    Join tokens and setup links.
    """

    def test_uses_are_counted(self) -> None:
        """
        A token works as often as it says, before its expiry, and refusals do not say why.
        """
        tokens = Tokens(self.backend, self.clock)
        expires = from_timestamp(self.clock.seconds() + 60)
        token = Token(name="0123456789", roles=("Node",), max_uses=2, expires=expires)
        self.run_now(self.store.create(token.to_resource()))
        secret = Secret("0123456789")
        for _ in range(2):
            self.assertEqual(self.run_now(tokens.consume(secret)).roles, ("Node",))
        used_up = self.failureResultOf(Deferred.fromCoroutine(tokens.consume(secret))).value
        unknown = self.failureResultOf(Deferred.fromCoroutine(tokens.consume(Secret("unknown-token")))).value
        self.assertEqual((used_up.kind, str(used_up)), (unknown.kind, str(unknown)))
        self.assertEqual(used_up.kind, Kind.ACCESS_DENIED)
        self.clock.advance(60)
        self.assertEqual(self.refused(tokens.get(secret)), Kind.ACCESS_DENIED)

    def test_setup_links(self) -> None:
        """
        A link works once, the stored bytes do not hold its token, and a newer link makes older ones worthless.
        """
        setups = Setups(self.backend, self.clock)
        expires = from_timestamp(self.clock.seconds() + 60)
        setup = Setup(username="a", purpose="invite", expires=expires, otp_secret=Secret("X"))
        for token in ("secret-1", "secret-2"):
            self.run_now(setups.create(Secret(token), setup))
        self.assertNotIn(b"secret-", self.everything())
        self.assertEqual(self.run_now(setups.consume(Secret("secret-1"))), setup)
        self.assertEqual(self.refused(setups.consume(Secret("secret-1"))), Kind.NOT_FOUND)
        self.run_now(setups.forget("a"))
        self.assertEqual(self.refused(setups.get(Secret("secret-2"))), Kind.NOT_FOUND)


class LeaseTests(TypedCase):
    """
    Semaphores, heartbeats, sessions.
    """

    def test_semaphore(self) -> None:
        """
        No more leases than the limit; a lease that was not kept ends and makes room.
        """
        store = Semaphores(self.backend, self.clock)
        ask = SemaphoreRequest(kind="connection", name="a", limit=2, ttl=timedelta(seconds=10), holder="h")
        first, second = self.run_now(store.acquire(ask)), self.run_now(store.acquire(ask))
        self.assertEqual(self.refused(store.acquire(ask)), Kind.LIMIT_EXCEEDED)
        self.clock.advance(9)
        self.run_now(store.keep(ask, first))
        self.clock.advance(1)
        self.assertEqual(self.refused(store.keep(ask, second)), Kind.NOT_FOUND)
        third = self.run_now(store.acquire(ask))
        for lease in (first, third, third):
            self.run_now(store.release(ask, lease))
        self.assertEqual(self.run_now(self.store.list("semaphore")).items, ())

    def test_heartbeats(self) -> None:
        """
        An unchanged heartbeat writes nothing while most of its time is left, and a silent node leaves the list.
        """
        presence, ttl = Presence(self.backend, self.clock), timedelta(seconds=100)
        node = Node(name="n", hostname="web", addr="10.0.0.1:22").to_resource()
        self.run_now(presence.heartbeat(node, ttl))
        first = self.run_now(self.store.get("node", "n"))
        self.clock.advance(20)
        self.run_now(presence.heartbeat(node, ttl))
        self.assertEqual(self.run_now(self.store.get("node", "n")), first)
        self.clock.advance(40)
        self.run_now(presence.heartbeat(node, ttl))
        self.clock.advance(99)
        self.assertEqual(Node.parse(self.run_now(self.store.get("node", "n"))).hostname, "web")
        self.clock.advance(1)
        self.assertEqual(self.refused(self.store.get("node", "n")), Kind.NOT_FOUND)
        self.run_now(presence.goodbye("node", "n"))

    def test_sessions(self) -> None:
        """
        A tracker changes, lives by its heartbeats, and ends.
        """
        store = Sessions(self.backend, self.clock)
        self.run_now(store.create(Session(name="s", login="root")))
        joined = self.run_now(
            store.change("s", lambda s: Session(name="s", participants=(Participant(id="p", user="alice"),)))
        )
        self.assertEqual([each.user for each in joined.participants], ["alice"])
        self.clock.advance(299)
        self.run_now(store.keep("s"))
        self.clock.advance(299)
        self.assertEqual(self.run_now(store.list()), self.run_now(store.list()))
        self.assertEqual(len(self.run_now(store.list())), 1)
        self.run_now(store.end("s"))
        self.assertEqual(self.run_now(store.list()), ())
