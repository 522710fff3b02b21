"""
Passwords in statements.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.protocols.mysql.masking import MASK, mask

SECRETS = [
    "create user 'a'@'%' identified by 'S3CRET'",
    'ALTER USER a IDENTIFIED/**/WITH x BY/*c*/ "S3CRET" REPLACE "S3CRET2", b@x identified by \'S3CRET3\'',
    "alter user a identified by -- 'comment\n 'S3CRET'",
    "alter user a identified by # 'comment\n 'S3CRET'",
    "alter user a identified by 'S3''CRET\\' S3CRET'",
    "alter user a identified by 'abc' 'S3CRET'",
    "alter user a identified by n'S3CRET'",
    "alter user a identified by _utf8mb4 'S3CRET'",
    "alter user a identified with caching_sha2_password as 0x533343524554",
    "alter user a identified with p as x'533343524554'",
    "create user a identified via ed25519 using password('S3CRET') or unix_socket",
    "create user a identified via ed25519 as 'S3CRET' or p using 'S3CRET'",
    "/*!50000 alter user x identified by 'S3CRET' */",
    "/*M!100100 alter user x identified by 'S3CRET' */",
    "set password = 'S3CRET'",
    "SET PASSWORD FOR 'u'@'h' = PASSWORD('S3CRET')",
    "set password for u = OLD_PASSWORD ( 'S3CRET' )",
    "change master to master_host='h', master_password='S3CRET', master_port=1",
    "change replication source to source_password = 'S3CRET'",
    "start slave user='u' password='S3CRET'",
    "create server s foreign data wrapper mysql options (host 'h', password 'S3CRET', user 'y')",
    "create table f (a int) engine=federated connection='mysql://u:S3CRET@h/d/t'",
    "execute immediate 'alter user a identified by \\'S3CRET\\''",
    "prepare p from 'set password = \"S3CRET\"'",
    "grant all on x.* to 'u'@'%' identified by 'S3CRET' with grant option",
    "select 1; alter user a identified by 'S3CRET'; select 2",
    "alter user a identified by 'S3CRET",
    "alter user a identified by 'S3CRET\\",
    "alter user a identified by 'x' nonsense 'S3CRET'",
    "alter user `identified` identified by 'S3CRET'",
    "update users set password = 'S3CRET' where name = 'b'",
]


class MaskingTests(SynchronousTestCase):
    """
    What goes and what stays.
    """

    def test_secrets(self) -> None:
        """
        None is left, whatever is around it.
        """
        for text in SECRETS:
            masked, secret = mask(text)
            self.assertNotIn("S3CRET", masked)
            self.assertNotIn("533343524554", masked)
            self.assertTrue(secret, text)
            self.assertIn(MASK, masked)

    def test_the_rest_stays(self) -> None:
        """
        So that the log says what was done to whom.
        """
        for text, kept in [
            ("select 'a' from t where b = 'c'", "select 'a' from t where b = 'c'"),
            ("SET PASSWORD FOR 'u'@'h' = 'p'", "SET PASSWORD FOR 'u'@'h' = '***'"),
            ("create user 'a'@'%' identified by 'p', b identified by 'q'",
             "create user 'a'@'%' identified by '***', b identified by '***'"),
            ("select password, 'x' from t; select 'y'", "select password, 'x' from t; select 'y'"),
            ("alter user a identified by 'p'; select 'y'", "alter user a identified by '***'; select 'y'"),
            ("select `password` from t where a = 'b'", "select `password` from t where a = 'b'"),
            ("select password, 0x41 from t", "select password, 0x41 from t"),
        ]:  # fmt: skip
            self.assertEqual(mask(text)[0], kept)

    def test_statements_within_statements(self) -> None:
        """
        A word in them does not hide what they do; their own secrets go, and what lies too deep goes whole.
        """
        hidden = "prepare s from 'drop table x /* password */'"
        self.assertEqual(mask(hidden), (hidden, False))
        both = "prepare s from 'drop table x; set password = \\'S3CRET\\'; drop table y'"
        self.assertEqual(mask(both)[0], "prepare s from 'drop table x; set password = ''***''; drop table y'")
        nested = "set password = 'S3CRET'"
        for _ in range(5):
            nested = "execute immediate '" + nested.replace("\\", "\\\\").replace("'", "''") + "'"
        masked, secret = mask(nested)
        self.assertNotIn("S3CRET", masked)
        self.assertTrue(secret)

    def test_backslashes_that_escape_nothing(self) -> None:
        """
        With NO_BACKSLASH_ESCAPES a literal ends where another session's goes on: the secret is another one.
        """
        text = "alter user a identified by 'x\\'; alter user b identified by 'S3CRET'"
        self.assertEqual(mask(text, False)[0], "alter user a identified by '***'; alter user b identified by '***'")
        text = "select '\\', password from t where a = 'kept'"
        self.assertEqual(mask(text, False)[0], text)
        nested = "prepare s from 'set password = {}'"
        self.assertEqual(mask(nested.format("''S3CRET\\''"), False)[0], nested.format("''***''"))
        self.assertNotIn("S3CRET", mask("set password = 'S3CRET\\", False)[0])

    def test_a_mode_that_changes_on_the_way(self) -> None:
        """
        What is behind it cannot be read, and goes where a backslash and a secret may be in it.
        """
        change = "set @@session.sql_mode = 'NO_BACKSLASH_ESCAPES'"
        masked, secret = mask(f"{change}; set password = 'x\\'; alter user b identified by 'S3CRET'")
        self.assertEqual((masked, secret), (f"{change}; {MASK}", True))
        for rest in ("select 'a\\'", "set password = '***'"):
            self.assertEqual(mask(f"{change}; {rest}")[0], f"{change}; {rest}")

    def test_parameters_of_secrets(self) -> None:
        """
        A statement about passwords that takes parameters may take them there.
        """
        self.assertEqual(mask("set password = ?"), ("set password = ?", True))
        self.assertEqual(mask("select password from t"), ("select password from t", False))

    @given(st.text("'\"`\\/*-# \n;,=()@?xX_nNidentifiedbyPASSWORD01", max_size=200))
    def test_anything_goes(self, text: str) -> None:
        """
        Nothing is lost but literals, and nothing takes long.
        """
        for words in ("", "identified by ", "password = "):
            for escapes in (True, False):
                masked, _ = mask(words + text, escapes)
                self.assertTrue(masked.startswith(words))
