"""
What is hidden of statements, and what must not be.
"""

from __future__ import annotations

from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.policy import MAX_PARAMETERS
from teleport_tw.agents.db.postgres.texts import masked, parameters

SECRETS = [
    "alter user a password 'hunter2'",
    "alter user a password /* x */ /* /* ' */ */ -- '\n 'hunter2'",
    "alter user a password 'x'\n'hunter2'",
    "alter user a password $$hunter2$$",
    "alter user a password U&'hunter2' uescape '!'",
    "create user mapping for a server s options (\"password\" 'hunter2')",
    "create user mapping for a server s options (sslpassword 'hunter2', user 'b')",
    "do $x$ begin execute 'alter user a password ''hunter2'''; end $x$",
    "do $x$ begin execute $y$alter user a password 'hunter2'$y$; end $x$",
    "do $x$ begin alter user a password 'hunter2'",
    "select E'alter user a password \\'hunter2\\''",
    "create subscription s connection 'host=h password = hunter2 user=u' publication p",
    "create subscription s connection 'host=h password=a\\ hunter2' publication p",
    "create subscription s connection 'host=h password=''a hunter2''' publication p",
    "select dblink('postgres://u:hunter2@h/db', 'select 1')",
    "select 'see http://a/b:c,postgres://u:hunter2@h/db'",
]

SEEN = [
    "select 'password'; drop table DROPPED; select 'x'",
    "select 'a' as password; drop table DROPPED",
    "select $$ password $$; drop table DROPPED; select $$x$$",
    "select 'password /*'; drop table DROPPED; select '*/'",
    "select \"password\"; drop table DROPPED; select 'x'",
    "/*a://b:*/drop/**/table/**/DROPPED/*@*/",
    "select 1 as password -- \n; drop table DROPPED; select 'x'",
    "select 'it''s a password ', 'DROPPED'",
    "select password $1; drop table DROPPED",
]

SLOW = [
    "password" + "/**/" * 3000 + "x",
    "password" + "/*" * 5000,
    "password /*" * 2000,
    "password" + " " * 20000 + "x",
    "password = " + " " * 20000 + "'",
    "'password = " + " " * 20000 + "''",
    "a://" * 8000,
    "'" + "a://" * 8000,
    "'" + "a://b:" * 5000 + "@'",
    "$a" * 15000 + " password",
    "$a$ password $a$" * 2000,
    "password" + "".join(f"$a{index}$" for index in range(4000)),
    "e'" * 10000 + "password",
    "'password" + "\\" * 20001,
    "password" * 4000,
    "'" * 20001 + "password",
]


class MaskingTests(SynchronousTestCase):
    """
    Both ways to be wrong: to keep a password, and to hide what was done.
    """

    def test_passwords_are_hidden(self) -> None:
        """In every place where one is written."""
        for text in SECRETS:
            self.assertNotIn("hunter2", masked(text), text)

    def test_statements_are_not(self) -> None:
        """Whoever writes the word where it is none hides nothing of what follows from the audit log."""
        for text in SEEN:
            self.assertIn("DROPPED", masked(text), text)

    def test_each_character_is_read_once(self) -> None:
        """
        Texts on which a pattern that tries every way to read them would not come to an end in years: they are done.
        """
        for text in SLOW:
            masked(text)
            masked(f"'{text}'")
            masked(f"'{text.replace(chr(39), chr(39) * 2)}'")

    def test_numbers_are_no_pages_of_zeros(self) -> None:
        """Eight bytes may mean a hundred thousand digits, and a message have many of them."""
        large = b"\0\1\x7f\xff\0\0\0\0\0\1"
        fine = b"\0\1\0\0\0\0\x7f\xff\0\1"
        for data in (large, fine):
            (shown,) = parameters((data,), (1,), (1700,), "utf-8")
            self.assertEqual(shown, b64encode(data).decode())

    def test_what_nobody_keeps_is_not_read(self) -> None:
        """Of many parameters the first are told, and how many there are."""
        values = (b"7",) * (MAX_PARAMETERS + 2)
        shown = parameters(values, (0,), (), "utf-8")
        self.assertEqual(shown, ("7",) * MAX_PARAMETERS + (None, None))
