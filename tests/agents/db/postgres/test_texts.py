"""
Statements and parameters for people; passwords for nobody.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.postgres.texts import encoding_of, masked, parameters, statement


class MaskTests(SynchronousTestCase):
    """
    Passwords in statements.
    """

    def test_literals_behind_the_word_are_hidden(self) -> None:
        """
        In every way to write one.
        """
        for text in [
            "alter user a password 'hunter2'",
            "ALTER ROLE a WITH LOGIN ENCRYPTED PASSWORD   'hunter2' VALID UNTIL 'x'",
            "create user a password E'hun\\'ter2hunter2'",
            "create user a password 'it''s hunter2'",
            "create user a password $$hunter2$$",
            "create user a password $tag$ '$$' hunter2$tag$",
            "create user a password U&'hunter2'",
            "create user a password /* ' */ 'hunter2'",
            "create user a password -- '\n 'hunter2'",
            "create user a password 'hunter2",
            "create user a password $$hunter2",
            "do $x$ begin execute 'alter user a password ''hunter2'''; end $x$",
            "create user mapping for a server s options (user 'b', password 'hunter2')",
            "create subscription s connection 'host=h user=u password=hunter2' publication p",
            "select * from dblink('postgres://u:hunter2@h/db', 'select 1')",
            "alter user a password 'a'; alter user b password 'hunter2'",
        ]:
            self.assertNotIn("hunter2", masked(text), text)
        self.assertEqual(
            masked("alter user a password 'x' valid until 'y'"), "alter user a password '***' valid until 'y'"
        )

    def test_other_statements_stay(self) -> None:
        """
        Also those that speak of passwords.
        """
        for text in [
            "select 'password', a from b",
            "alter user a password null",
            "select password from users where name = 'alice'",
            "select 'http://example.com/a:b'",
        ]:
            self.assertEqual(masked(text), text)

    def test_nothing_hides_behind_the_word(self) -> None:
        """
        What the server would run is seen, however it is dressed up.
        """
        for text in [
            "select 'password'; drop table t",
            "select 'password', ' ; drop table t; '",
            "-- password '\ndrop table t; --'",
            "/* /* */ password ' */ drop table t; -- '",
            "select \"password ' \" ; drop table t; --'",
            "select $$password '$$; drop table t; --'",
            "select e'\\' password '; drop table t; --'",
            "select 'x\\' password '; drop table t; --'",
            "do 'begin -- password ''\n drop table t; --''\n end'",
            "do $$ begin /* password ' */ drop table t; -- ' \n end $$",
            "select password; drop table t; select 'x'",
            "select xpassword 'y'; drop table t",
        ]:
            self.assertIn("drop table t", masked(text), text)

    @given(st.text(alphabet="pasword 'E$\\-*/\n=;x", max_size=60))
    def test_no_text_is_too_strange(self, text: str) -> None:
        """
        Whatever it is, it comes back in time.
        """
        masked(f"alter user a password {text}")


class TextTests(SynchronousTestCase):
    """
    Encodings.
    """

    def test_encodings_have_pythons_names(self) -> None:
        """
        What neither knows is read as UTF-8.
        """
        for name, wanted in [
            (b"UTF8", "utf-8"),
            (b"utf-8", "utf-8"),
            (b"LATIN1", "iso8859-1"),
            (b"WIN1252", "cp1252"),
            (b"SQL_ASCII", "utf-8"),
            (b"", "utf-8"),
            (b"KLINGON", "utf-8"),
        ]:
            self.assertEqual(encoding_of(name), wanted)
        self.assertEqual(statement("straße".encode("latin1"), "latin1", 9), ("straße", None))
        self.assertEqual(statement(b"a\xff", "utf-8", 9), ("a\\xff", None))
        self.assertEqual(statement(b"PassWord 'x'", "utf-8", 20), ("PassWord '***'", None))
        self.assertEqual(statement(b"PassWord 'hunter2', 'hunter2'", "utf-8", 13), ("PassWord '***'", 29))


class ParameterTests(SynchronousTestCase):
    """
    As text.
    """

    def test_text_and_null(self) -> None:
        """
        Whatever the formats' number.
        """
        self.assertEqual(parameters((b"a", None), (), (), "utf-8"), ("a", None))
        self.assertEqual(parameters((b"a", b"b"), (0,), (), "utf-8"), ("a", "b"))
        self.assertEqual(parameters((b"a", b"\1", b"x"), (0, 1), (), "utf-8"), ("a", "AQ==", "eA=="))

    def test_binary_by_type(self) -> None:
        """
        What is not as its type says is shown in base64.
        """
        for kind, data, shown in [
            (16, b"\1", "t"),
            (16, b"\2", "Ag=="),
            (20, (-5).to_bytes(8, "big", signed=True), "-5"),
            (21, b"\0\7", "7"),
            (23, b"\0\0\0\7", "7"),
            (23, b"\0", "AA=="),
            (700, b"\x3f\xc0\0\0", "1.5"),
            (25, "ä".encode(), "ä"),
            (25, b"\xff", "/w=="),
            (1082, b"\0\0\0\1", "2000-01-02"),
            (1114, (1_500_000).to_bytes(8, "big"), "2000-01-01 00:00:01.500000"),
            (1114, (2**62).to_bytes(8, "big"), "QAAAAAAAAAA="),
            (1700, b"\0\2\0\1\0\0\0\2\0\1\x09\x29", "12345.00"),
            (1700, b"\0\1\xff\xff\x40\0\0\2\x09\xc4", "-0.25"),
            (1700, b"\0\0\0\0\xc0\0\0\0", "NaN"),
            (2950, bytes(16), "00000000-0000-0000-0000-000000000000"),
            (3802, b"\1{}", "{}"),
            (3802, b"\2{}", "Ant9"),
            (99999, b"ab", "YWI="),
        ]:
            self.assertEqual(parameters((data,), (1,), (kind,), "utf-8"), (shown,), kind)

    @given(st.integers(0, 4000), st.binary(max_size=20))
    def test_no_value_is_too_strange(self, kind: int, data: bytes) -> None:
        """
        Something is shown.
        """
        (shown,) = parameters((data,), (1,), (kind,), "utf-8")
        self.assertIsInstance(shown, str)
