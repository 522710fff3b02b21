"""
Tests for L{teleport_tw.clients.profile}.
"""

from __future__ import annotations

import stat
from pathlib import Path

import yaml
from attrs import asdict, evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.clients import home as homes
from teleport_tw.clients.profile import Credentials, Profile, ProfileFolder, plain_yaml, write_private

ALICE = Profile(web_proxy_addr="proxy.example.com:3080", user="alice", cluster="example.com")
CREDENTIALS = Credentials(
    ssh_key=Secret(b"ssh key"),
    ssh_public=b"ssh-ed25519 AAAA\n\n",
    ssh_certificate=b"cert line",
    tls_key=Secret(b"tls key"),
    tls_certificate=b"crt",
    tls_authorities=b"cas",
    known_hosts=b"@cert-authority proxy.example.com,*.example.com ssh-ed25519 NEW\n",
)


class ProfileTests(SynchronousTestCase):
    """
    C{~/.tsh}.
    """

    def setUp(self) -> None:
        self.top = Path(self.mktemp())
        self.folder = ProfileFolder(self.top / "deep" / ".tsh")

    def test_round_trip(self) -> None:
        """
        What was stored is read again, by name, by address, or as the current one.
        """
        other = evolve(ALICE, web_proxy_addr="[fd00::1]:443", user="bob", tls_routing_enabled=False)
        self.folder.store(ALICE, CREDENTIALS)
        self.folder.write(other, make_current=False)
        self.assertEqual(self.folder.names(), ["fd00::1", "proxy.example.com"])
        self.assertEqual(self.folder.current(), "proxy.example.com")
        for name in ("", "proxy.example.com", "proxy.example.com:3080"):
            self.assertEqual(self.folder.read(name), ALICE)
        self.assertEqual(self.folder.read("[fd00::1]:443"), other)
        self.assertEqual(self.folder.choose(ALICE, "leaf").cluster, "leaf")
        self.assertEqual(self.folder.read().cluster, "leaf")

    def test_layout(self) -> None:
        """
        Names as other tools expect them, for nobody's eyes but the owner's.
        """
        paths = self.folder.store(ALICE, CREDENTIALS)
        keys = self.folder.root / "keys" / "proxy.example.com"
        for path, content in (
            (keys / "alice", b"ssh key"),
            (keys / "alice.pub", b"ssh-ed25519 AAAA\n"),
            (keys / "alice-ssh" / "example.com-cert.pub", b"cert line\n"),
            (keys / "alice.key", b"tls key"),
            (keys / "alice.crt", b"crt"),
            (keys / "cas" / "example.com.pem", b"cas"),
        ):
            self.assertEqual(path.read_bytes(), content)
        self.assertEqual(paths.tls_key, keys / "alice.key")
        for path in (self.folder.root, *self.folder.root.rglob("*")):
            wanted = 0o700 if path.is_dir() else 0o600
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), wanted, path)
            self.assertFalse(path.name.startswith(".new-"))

    def test_a_key_that_is_kept_elsewhere(self) -> None:
        """
        An empty SSH key leaves none behind.
        """
        paths = self.folder.store(ALICE, CREDENTIALS)
        self.folder.store(ALICE, evolve(CREDENTIALS, ssh_key=Secret(b"")))
        self.assertFalse(paths.ssh_key.exists())

    def test_known_hosts(self) -> None:
        """
        A cluster's old lines go, others stay.
        """
        old = b"@cert-authority *.example.com old\n@cert-authority *.other.com keep\nplain.host keep\n\n"
        write_private(self.folder.known_hosts, old)
        self.folder.store(ALICE, CREDENTIALS)
        self.folder.store(ALICE, CREDENTIALS)
        self.assertEqual(
            self.folder.known_hosts.read_bytes().splitlines(),
            [b"@cert-authority *.other.com keep", b"plain.host keep", CREDENTIALS.known_hosts.strip()],
        )

    def test_not_signed_in(self) -> None:
        """
        The message says what to run.
        """
        for name in ("", "proxy.example.com:3080"):
            error = self.assertRaises(TeleportError, self.folder.read, name)
            self.assertIs(error.kind, Kind.NOT_FOUND)
            self.assertIn("tsh login --proxy=", error.message)

    def test_broken_files(self) -> None:
        """
        A profile that is none asks for a new login.
        """
        for text in ("{", "[]", "user: a", "{web_proxy_addr: 1, user: a, cluster: b}",
                     "{web_proxy_addr: p, user: a, cluster: b, tls_routing_enabled: maybe}"):  # fmt: skip
            write_private(self.folder.root / "p.yaml", text.encode())
            error = self.assertRaises(TeleportError, self.folder.read, "p")
            self.assertIs(error.kind, Kind.BAD_PARAMETER, text)
        write_private(self.folder.root / "p.yaml", b"{web_proxy_addr: p, user: a, cluster: b, unknown: 1}")
        self.assertEqual(self.folder.read("p"), Profile(web_proxy_addr="p", user="a", cluster="b"))

    @given(
        st.dictionaries(
            st.sampled_from(("user", "cluster", "web_proxy_addr", "tls_routing_enabled")),
            st.one_of(
                st.booleans(),
                st.text(max_size=20),
                st.text("aeflnorstuyNOY01:.-_@/ ", max_size=6),
                st.sampled_from(("localhost:3080", "10.0.0.1:3080", "no", "Null", "1:30", "0x10", "2026-01-01", "1e3")),
            ),
        )
    )
    def test_what_is_read_without_yaml_is_what_yaml_reads(self, value: dict[str, str | bool]) -> None:
        """
        The short way gives the same, or leaves it to the parser.
        """
        written = yaml.safe_dump(value)
        self.assertIn(plain_yaml(written), (None, value))
        unquoted = "".join(f"{key}: {each}\n" for key, each in value.items())
        found = plain_yaml(unquoted)
        if found is not None:
            self.assertEqual(found, yaml.safe_load(unquoted) or {})

    def test_a_profile_is_read_without_yaml(self) -> None:
        """
        An ordinary one needs no parser.
        """
        self.folder.write(ALICE)
        text = (self.folder.root / "proxy.example.com.yaml").read_text()
        self.assertEqual(plain_yaml(text), asdict(ALICE))

    def test_names_stay_in_the_folder(self) -> None:
        """
        A server cannot choose a cluster or user name that leads out.
        """
        for name in ("..", ".", "", "a/b", "../../etc/x", "a\0b"):
            for wrong in (evolve(ALICE, user=name), evolve(ALICE, cluster=name)):
                self.assertRaises(TeleportError, self.folder.paths, wrong)
        write_private(self.folder.root / "current-profile", b"../../outside\n")
        self.assertIs(self.assertRaises(TeleportError, self.folder.read).kind, Kind.BAD_PARAMETER)

    def test_forget(self) -> None:
        """
        One user's files go, another's of the same proxy stay until they go too.
        """
        bob = evolve(ALICE, user="bob")
        self.folder.store(bob, CREDENTIALS)
        paths = self.folder.store(ALICE, CREDENTIALS)
        self.folder.forget(ALICE)
        self.assertEqual(
            sorted(path.name for path in paths.folder.iterdir()),
            ["bob", "bob-ssh", "bob.crt", "bob.key", "bob.pub", "cas"],
        )
        self.assertEqual(self.folder.current(), "")
        self.folder.forget(bob)
        self.assertEqual([path.name for path in paths.folder.iterdir()], ["cas"])
        self.folder.forget(bob, trust=True)
        self.assertFalse(paths.folder.exists())

    def test_trust_outlives_a_logout(self) -> None:
        """
        Whom to believe about a proxy is known at the next login, until it is to be forgotten.
        """
        self.assertEqual(self.folder.authorities(ALICE.name), b"")
        self.folder.store(ALICE, CREDENTIALS)
        self.folder.forget(ALICE)
        self.assertEqual(self.folder.authorities(ALICE.name), CREDENTIALS.tls_authorities)
        self.assertEqual(self.folder.authorities("other.example.com"), b"")
        self.folder.forget(ALICE, trust=True)
        self.assertEqual(self.folder.authorities(ALICE.name), b"")

    def test_links_are_not_followed(self) -> None:
        """
        What a link in the folder leads to is neither overwritten nor removed.
        """
        paths = self.folder.store(ALICE, CREDENTIALS)
        outside = self.top / "outside"
        outside.mkdir()
        (outside / "precious").write_bytes(b"kept")
        paths.tls_key.unlink()
        paths.tls_key.symlink_to(outside.resolve() / "precious")
        (paths.folder / "cas" / "link").symlink_to(outside.resolve(), target_is_directory=True)
        self.folder.forget(ALICE, trust=True)
        self.assertFalse(paths.folder.exists())
        self.assertEqual((outside / "precious").read_bytes(), b"kept")

    def test_home(self) -> None:
        """
        C{TELEPORT_HOME} wins.
        """
        self.patch(homes.os, "environ", {"TELEPORT_HOME": "/x", "HOME": "/home/a"})
        self.assertEqual(homes.home(), Path("/x"))
        self.patch(homes.os, "environ", {"HOME": "/home/a"})
        self.assertEqual(homes.home().name, ".tsh")
