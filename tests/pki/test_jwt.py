"""
Tokens of the jwt authority.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import TeleportError
from teleport_tw.pki import jwt
from teleport_tw.pki.authority import AuthorityType, create
from tests.pki.cluster import CLUSTER, KEYSTORE, NOW, USER_CA

AUTHORITY = create(AuthorityType.JWT, CLUSTER, KEYSTORE, NOW)
END = int(NOW.timestamp()) + 60


class TokenTests(SynchronousTestCase):
    """
    Signing and verifying.
    """

    def refused(self, details: str, token: str, audience: str = "") -> None:
        """The token is denied for this reason."""
        error = self.assertRaises(TeleportError, jwt.verify, token, [AUTHORITY.public()], NOW, audience=audience)
        self.assertIn(details, error.details)

    def test_round_trip(self) -> None:
        """Claims come back, for the audience that was named."""
        for audience in ("app", ["other", "app"]):
            claims = {"sub": "alice", "aud": audience, "exp": END}
            token = jwt.sign(AUTHORITY, KEYSTORE, claims)
            self.assertEqual(jwt.verify(token, [AUTHORITY.public()], NOW, audience="app"), claims)
            self.refused("wrong audience", token, "third")

    def test_times(self) -> None:
        """Tokens without an end, past it, or of the future."""
        for details, claims in (
            ("expired", {}),
            ("expired", {"exp": END - 121}),
            ("expired", {"exp": "x"}),
            ("not yet valid", {"exp": END, "nbf": END + 1}),
            ("not yet valid", {"exp": END, "nbf": "x"}),
        ):
            self.refused(details, jwt.sign(AUTHORITY, KEYSTORE, claims))

    def test_forged(self) -> None:
        """Other algorithms, keys, claims and garbage."""
        head, claims, signature = jwt.sign(AUTHORITY, KEYSTORE, {"exp": END}).split(".")

        def encoded(value: object) -> str:
            return urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

        self.refused("wrong algorithm", f"{encoded({'alg': 'none'})}.{claims}.{signature}")
        self.refused("wrong algorithm", f"{encoded({'alg': 'ES256', 'crit': ['b64']})}.{claims}.{signature}")
        self.refused("tampered", f"{head}.{encoded({'exp': END + 1})}.{signature}")
        self.refused("malformed", f"{head}.{claims}.")
        self.refused("malformed", f"{encoded([])}.{claims}.{signature}")
        for token in ("", "a.b", "a.b.c", "é.b.c", "x" * 70000):
            self.refused("malformed", token)
        other = create(AuthorityType.JWT, CLUSTER, KEYSTORE, NOW)
        self.refused("wrong authority", jwt.sign(other, KEYSTORE, {"exp": END}))
        self.assertRaises(TeleportError, jwt.sign, USER_CA, KEYSTORE, {})

    def test_published(self) -> None:
        """The key set names the key that the token's header names."""
        (key,) = jwt.jwks(AUTHORITY)["keys"]
        header = json.loads(jwt._decode(jwt.sign(AUTHORITY, KEYSTORE, {}).split(".")[0]))
        self.assertEqual((key["kid"], key["alg"], key["crv"]), (header["kid"], "ES256", "P-256"))
