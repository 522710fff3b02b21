"""
Nouns say everything that is wrong with them, and YAML comes out as it went in.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.resources import clusters, text
from teleport_tw.resources.authorities import is_private
from teleport_tw.resources.instances import Instance
from teleport_tw.resources.kinds import KINDS, lookup, validate, without_secrets
from teleport_tw.resources.locks import Lock
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.nodes import Node
from teleport_tw.resources.semaphores import Lease, Semaphore
from teleport_tw.resources.sessions import Participant, Session
from teleport_tw.resources.tokens import Token
from teleport_tw.resources.users import Lockout, User

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def of(kind: str, name: str = "name-long-enough", sub_kind: str = "", **spec: Any) -> Resource:
    """
    A resource of a kind.
    """
    return Resource(kind=kind, version="v2", sub_kind=sub_kind, metadata=Metadata(name=name), spec=spec)


class NounTests(SynchronousTestCase):
    """
    Each noun.
    """

    def refusal(self, resource: Resource) -> str:
        """
        What is said of it.
        """
        return str(self.assertRaises(TeleportError, validate, resource))

    def test_what_we_make_reads_back(self) -> None:
        """
        A view turned into a resource is parsed as the same view, and its kind accepts it and shows a full row.
        """
        lockout = Lockout(locked=True, message="m", since=NOON, until=NOON)
        made: list[Any] = [
            User(
                name="a", roles=("x",), traits={"logins": ("root",)}, created_by="b", created_at=NOON, lockout=lockout
            ),
            User(name="b", connector="oidc/google", expires=NOON),
            Token(name="0123456789", roles=("Node", "Bot"), bot_name="b", max_uses=1, suggested_labels={"a": ("b",)}),
            Node(name="n", hostname="h", addr="h:22", use_tunnel=True, public_addrs=("p",), labels={"a": "b"}),
            Lock(name="l", target={"user": "a", "login": "root"}, message="m", expires=NOON, created_by="admin"),
            Session(name="s", participants=(Participant(id="1", user="a", last_active=NOON),), created=NOON),
            Semaphore(semaphore_kind="connection", name="a", leases=(Lease(id="1", holder="h", expires=NOON),)),
            Instance(name="i", services=("Node",), last_seen=NOON),
            clusters.ClusterName(cluster="example.com", id="u"),
        ]
        for view in made:
            resource = view.to_resource()
            self.assertEqual(type(view).parse(resource), view)
            validate(resource)
            self.assertEqual(len(lookup(resource.kind).row(resource)), len(lookup(resource.kind).columns))

    def test_all_mistakes_at_once(self) -> None:
        """
        Each wrong key is named by its path, in one answer.
        """
        said = self.refusal(of("user", "a b", rolse=[], roles=[1], traits={"x": {}}, status={"is_locked": "maybe"}))
        for path in ("metadata.name", "spec.rolse", "spec.roles", "spec.traits.x", "spec.status.is_locked"):
            self.assertIn(path, said)
        said = self.refusal(of("lock", target={"usr": "a"}, expires="soon"))
        for path in ("spec.target.usr", "spec.target must", "spec.expires"):
            self.assertIn(path, said)
        said = self.refusal(of("node", sub_kind="openssh"))
        self.assertIn("spec.addr is missing; ", said + "; ")
        self.assertIn("spec.hostname is missing", said)
        said = self.refusal(of("cluster_networking_config", "other", keep_alive_interval="1 hour", routing_strategy=7))
        for path in ("metadata.name", "spec.keep_alive_interval", "spec.routing_strategy"):
            self.assertIn(path, said)

    def test_a_refused_token_is_not_repeated(self) -> None:
        """
        The error about a token does not hold the token.
        """
        said = self.refusal(of("token", "very-secret-token", roles=["Nod"], max_uses=-1))
        self.assertIn("spec.roles", said)
        self.assertIn("spec.max_uses", said)
        self.assertNotIn("very-secret", said)

    def test_second_factors(self) -> None:
        """
        The older word is understood, contradictions are refused, and the default asks for a code.
        """
        parse = clusters.AuthPreference.parse
        kind, name = clusters.AUTH_PREFERENCE, "cluster-auth-preference"
        self.assertEqual(parse(clusters.default(kind)).second_factors, ("otp",))
        self.assertEqual(parse(of(kind, name, second_factor="off")).second_factors, ())
        self.assertTrue(parse(of(kind, name, second_factor="optional")).second_factor_optional)
        self.assertEqual(parse(of(kind, name, require_session_mfa="yes")).require_session_mfa, True)
        self.assertIn("contradict", self.refusal(of(kind, name, second_factor="off", second_factors=["otp"])))
        for single in clusters.SINGLETONS:
            if single != clusters.NAME:
                validate(clusters.default(single))

    def test_secrets_are_stripped(self) -> None:
        """
        What is shown to those who may not read secrets holds none; an unknown kind shows nothing.
        """
        keys = {"ssh": [{"public_key": "P", "private_key": "S"}], "tls": [{"cert": "C", "key": "S"}]}
        authority = of("cert_authority", "c", "user", type="user", active_keys=keys)
        self.assertTrue(is_private(authority))
        self.assertFalse(is_private(without_secrets(authority)))
        self.assertEqual(without_secrets(of("user", local_auth={"password_hash": "x"})).spec, {})
        self.assertNotIn("0123", without_secrets(of("token", "0123456789ab", roles=["Node"])).name)
        self.assertEqual(without_secrets(of("unheard-of", key="S")).spec, {})

    def test_words(self) -> None:
        """
        Kinds are found by name, plural and alias, and no word means two of them.
        """
        words = [word for kind in KINDS for word in (kind.name, *kind.aliases)]
        self.assertEqual(len(words), len(set(words)))
        for word, name in (("Users", "user"), ("cap", "cluster_auth_preference"), ("cas", "cert_authority")):
            self.assertEqual(lookup(word).name, name)
        self.assertRaises(TeleportError, lookup, "usr")

    @given(st.sampled_from(KINDS), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
    def test_garbage_is_refused_politely(self, kind: Any, value: Any) -> None:
        """
        Whatever stands in place of a field, the answer is a bad parameter or a noun.
        """
        for key in ("roles", "traits", "target", "leases", "participants", "type", "hostname", "mode", "allow"):
            resource = of(kind.name, kind.singleton or "name-long-enough", **{key: value})
            try:
                kind.validate(resource)
            except TeleportError:
                continue


class TextTests(SynchronousTestCase):
    """
    YAML in and out.
    """

    @given(
        st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
            st.recursive(
                st.none()
                | st.booleans()
                | st.integers()
                | st.floats(allow_nan=False, allow_infinity=False)
                | st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"))
                | st.sampled_from(
                    ["yes", "no", "on", "22:22", "2026-01-01", "0o17", "017", "1e3", "~", "=", "<<", ".5"]
                ),
                lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", min_size=1), inner),
                max_leaves=8,
            ),
        )
    )
    def test_round_trip(self, spec: Any) -> None:
        """
        What is written reads back as the same values of the same types.
        """
        resource = Resource(kind="x", version="v1", metadata=Metadata(name="n", labels={"a": "yes"}), spec=spec)
        (found,) = text.load(text.dump([resource]))
        self.assertEqual(repr(found), repr(resource))

    def test_kept_as_written(self) -> None:
        """
        Times, durations, yes and no are texts; true and numbers are not.
        """
        (found,) = text.load(
            "kind: x\nversion: v1\nmetadata: {name: n}\n"
            "spec: {a: yes, b: 8h0m0s, c: 2026-01-31T15:04:05Z, d: true, e: 3022, f: 22:22, g: ~}\n---\n"
        )
        self.assertEqual(
            found.spec,
            {"a": "yes", "b": "8h0m0s", "c": "2026-01-31T15:04:05Z", "d": True, "e": 3022, "f": "22:22", "g": None},
        )

    def test_mistakes_name_their_line(self) -> None:
        """
        Bad YAML, twice the same key, and bombs end in an error that says where.
        """
        bomb = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join([f'*{chr(97 + n)}'] * 10)}]\n" for n in range(8)
        )
        for written, said in (
            ("kind: x\nkind: y\n", "line 2"),
            ("kind: x\nmetadata: [", "line 2"),
            ("---\n---\nkind: [1]\n", "line 3"),
            ("{1: 2}", "line 1"),
            ("&a [*a]", "line 1"),
            (bomb, "values"),
            ("[" * 5000, "not YAML"),
            ("!!python/object/apply:os.system [id]", "not YAML"),
            ("a: \x00", "not YAML"),
        ):
            self.assertIn(said, str(self.assertRaises(TeleportError, text.load, written)))
