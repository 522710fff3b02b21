"""
What is kept beside the resources: secrets, uses, leases, heartbeats.
"""

from __future__ import annotations

from datetime import timedelta

from attrs import evolve

from teleport_tw.api.contract import SemaphoreRequest
from teleport_tw.backends.memory import MemoryBackend
from teleport_tw.base.errors import Kind
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import from_timestamp
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.nodes import Node
from teleport_tw.resources.sessions import Participant, Session
from teleport_tw.stores.authorities import Authorities
from teleport_tw.stores.credentials import LOCKED_FOR, MOST_FAILURES, Credentials, Setup, hash_token
from teleport_tw.stores.devices import Devices, OtpDevice
from teleport_tw.stores.presence import Presence
from teleport_tw.stores.semaphores import Semaphores
from teleport_tw.stores.sessions import Sessions
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
    Passwords, devices, lockout, links and uses of tokens.
    """

    def setUp(self) -> None:
        super().setUp()
        self.users = Credentials(self.backend)

    def link(self, token: str, username: str = "a") -> Setup:
        """
        A new link.
        """
        expires = from_timestamp(self.clock.seconds() + 60)
        setup = Setup(username=username, purpose="invite", expires=expires, otp_secret=Secret("X"))
        self.run_now(self.users.create_setup(Secret(token), setup))
        return setup

    def spend(self, token: str, device: OtpDevice | None = None) -> bool:
        """
        Set a password by a link.
        """
        also = self.devices.adding("a", device) if device is not None else []
        return self.run_now(self.users.set_up("a", "$argon2id$x", also, hash_token(Secret(token))))

    @property
    def devices(self) -> Devices:
        """
        The same store's second factors.
        """
        return Devices(self.backend)

    def test_a_code_is_good_once(self) -> None:
        """
        Of two logins with the same code one is refused.
        """
        self.link("one")
        device = OtpDevice(id="d", name="phone", secret=Secret("BASE32"), last_step=5)
        self.assertTrue(self.spend("one", device))
        (found,) = self.run_now(self.devices.all("a"))
        assert isinstance(found, OtpDevice)
        self.assertEqual(found, device)
        used = evolve(found, last_step=6)
        self.assertTrue(self.run_now(self.devices.used("a", found, used)))
        self.assertFalse(self.run_now(self.devices.used("a", found, used)))
        self.assertNotIn("BASE32", repr(found))

    def test_failures_lock_the_account(self) -> None:
        """
        Enough failures lock for a while; failures that come then neither end nor prolong it.
        """
        now = from_timestamp(self.clock.seconds())
        for _ in range(MOST_FAILURES - 1):
            self.assertFalse(self.run_now(self.users.failed("a", now)).locked(now))
        until = self.run_now(self.users.failed("a", now)).locked_until
        self.assertEqual(until, now + LOCKED_FOR)
        self.assertEqual(self.run_now(self.users.failed("a", now + LOCKED_FOR / 2)).locked_until, until)
        self.assertEqual(self.run_now(self.users.attempts("a")).locked_until, until)
        later = now + LOCKED_FOR
        self.assertFalse(self.run_now(self.users.attempts("a")).locked(later))
        self.assertEqual(len(self.run_now(self.users.failed("a", later)).failures), 1)
        self.run_now(self.users.clear_attempts("a"))
        self.assertEqual(self.run_now(self.users.attempts("a")).failures, ())

    def test_a_clock_set_back_forgives_nothing(self) -> None:
        """
        Failures from the future still count.
        """
        now = from_timestamp(self.clock.seconds())
        for _ in range(MOST_FAILURES - 1):
            self.run_now(self.users.failed("a", now + timedelta(hours=1)))
        self.assertTrue(self.run_now(self.users.failed("a", now)).locked(now))

    def test_names_that_cannot_be_keys(self) -> None:
        """
        They are nobody's, and counting them does no harm.
        """
        now = from_timestamp(self.clock.seconds())
        for name in ("a\0b", "..", "x" * 600, "\ud800"):
            self.assertEqual(self.run_now(self.users.failed(name, now)).failures, ())
            self.assertEqual(self.run_now(self.users.password(name)), "")
            self.assertEqual(self.run_now(self.devices.all(name)), ())

    def test_a_link_is_good_once(self) -> None:
        """
        Also for two at the same time; its token is not in the stored bytes.
        """
        setup = self.link("secret-1")
        self.assertNotIn(b"secret-", self.everything())
        self.assertEqual(self.run_now(self.users.setup(Secret("secret-1"))), setup)
        self.assertTrue(self.spend("secret-1"))
        self.assertFalse(self.spend("secret-1"))
        self.assertEqual(self.refused(self.users.setup(Secret("secret-1"))), Kind.NOT_FOUND)

    def test_older_links_are_worthless(self) -> None:
        """
        Whoever found an old invite cannot use it once a newer link was made; links of others stay.
        """
        self.link("old")
        self.link("hers", "b")
        self.link("new")
        self.assertEqual(self.refused(self.users.setup(Secret("old"))), Kind.NOT_FOUND)
        self.run_now(self.users.setup(Secret("new")))
        self.run_now(self.users.setup(Secret("hers")))

    def test_nothing_is_left_of_a_user(self) -> None:
        """
        A link made for a user who was deleted does not open the account of the next one of that name.
        """
        self.link("one")
        self.spend("one", OtpDevice(id="d", name="phone", secret=Secret("BASE32")))
        self.run_now(self.users.failed("a", from_timestamp(self.clock.seconds())))
        self.link("two")
        self.run_now(self.users.forget("a"))
        self.assertEqual(self.everything(), b"")

    def test_uses_of_a_token(self) -> None:
        """
        A token works as often as it says, and anew once it is forgotten; its name is not in the stored bytes.
        """
        expires = from_timestamp(self.clock.seconds() + 60)
        uses = [self.run_now(self.users.use_token("0123456789", 2, expires)) for _ in range(3)]
        self.assertEqual(uses, [True, True, False])
        self.assertNotIn(b"0123456789", self.everything())
        self.run_now(self.users.forget_token("0123456789"))
        self.assertEqual(self.everything(), b"")
        self.assertTrue(self.run_now(self.users.use_token("0123456789", 0, expires)))


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
