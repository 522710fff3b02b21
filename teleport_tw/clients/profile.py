"""
What a sign-in leaves on disk: C{~/.tsh}, in the layout other tools of the field expect.

::

    current-profile                           name of the profile in use
    <proxy>.yaml                              addresses, user, cluster
    known_hosts                               @cert-authority lines of host authorities
    keys/<proxy>/<user>, <user>.pub           SSH key pair
    keys/<proxy>/<user>.key, <user>.crt       TLS key and client certificate
    keys/<proxy>/<user>-ssh/<cluster>-cert.pub
    keys/<proxy>/<user>-db/<cluster>/         keys and certificates for databases
    keys/<proxy>/cas/<cluster>.pem            authorities that sign TLS certificates of services

A profile is named after the proxy's host. Nothing here needs the network or Twisted.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from attrs import asdict, evolve, fields, frozen

from teleport_tw.base.addresses import host_of
from teleport_tw.base.errors import bad_parameter, not_found
from teleport_tw.base.secret import Secret


@frozen(kw_only=True)
class Profile:
    """
    One proxy, as one user.

    @ivar web_proxy_addr: C{host:port} of the proxy's one port.
    @ivar ssh_proxy_addr: C{host:port} of its SSH port; empty when there is none.
    @ivar postgres_proxy_addr: C{host:port} of its own port for PostgreSQL, and so on for others; mostly empty.
    @ivar cluster: the cluster commands go to.
    """

    web_proxy_addr: str
    user: str
    cluster: str
    ssh_proxy_addr: str = ""
    postgres_proxy_addr: str = ""
    mysql_proxy_addr: str = ""
    mongo_proxy_addr: str = ""
    redis_proxy_addr: str = ""
    auth_connector: str = "local"
    tls_routing_enabled: bool = True
    load_all_cas: bool = False
    mfa_mode: str = "auto"
    private_key_policy: str = "none"

    @property
    def name(self) -> str:
        """
        The proxy's host name.
        """
        return host_of(self.web_proxy_addr)


@frozen(kw_only=True)
class Credentials:
    """
    What was issued at sign-in.

    @ivar ssh_key: OpenSSH private key file contents; empty when an ssh-agent alone keeps it.
    @ivar ssh_public: authorized_keys line.
    @ivar ssh_certificate: certificate line.
    @ivar tls_key: PEM.
    @ivar tls_certificate: PEM.
    @ivar tls_authorities: PEM, those that sign the services' certificates.
    @ivar known_hosts: C{@cert-authority} lines of this cluster.
    """

    ssh_key: Secret[bytes]
    ssh_public: bytes
    ssh_certificate: bytes
    tls_key: Secret[bytes]
    tls_certificate: bytes
    tls_authorities: bytes
    known_hosts: bytes


@frozen
class KeyPaths:
    """
    Where the credentials of one profile are.
    """

    folder: Path
    user: str
    cluster: str

    @property
    def ssh_key(self) -> Path:
        """
        The private key.
        """
        return self.folder / self.user

    @property
    def ssh_public(self) -> Path:
        """
        The public key.
        """
        return self.folder / f"{self.user}.pub"

    @property
    def ssh_certificate(self) -> Path:
        """
        The user certificate for the cluster.
        """
        return self.folder / f"{self.user}-ssh" / f"{self.cluster}-cert.pub"

    @property
    def tls_key(self) -> Path:
        """
        The private key.
        """
        return self.folder / f"{self.user}.key"

    @property
    def tls_certificate(self) -> Path:
        """
        The client certificate.
        """
        return self.folder / f"{self.user}.crt"

    @property
    def databases(self) -> Path:
        """
        The folder of keys and certificates for databases; see L{teleport_tw.clients.databases}.
        """
        return self.folder / f"{self.user}-db" / self.cluster

    @property
    def tls_authorities(self) -> Path:
        """
        Who signs the services' certificates.
        """
        return self.folder / "cas" / f"{self.cluster}.pem"


@frozen
class ProfileFolder:
    """
    All profiles of a person.
    """

    root: Path

    def names(self) -> list[str]:
        """
        @return: the proxies there are profiles for.
        """
        return sorted(path.name.removesuffix(".yaml") for path in self.root.glob("*.yaml"))

    def current(self) -> str:
        """
        @return: the profile in use; empty when there is none.
        """
        try:
            return (self.root / "current-profile").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            return ""

    def read(self, name: str = "") -> Profile:
        """
        @param name: a proxy's host name, or its address; empty for the profile in use.
        @raise TeleportError: NOT_FOUND, not signed in; BAD_PARAMETER, the file is broken.
        """
        wanted = host_of(name) if name else self.current()
        if not wanted:
            raise not_found("Not logged in. Run: tsh login --proxy=HOST:PORT --user=NAME")
        path = self.root / f"{_plain(wanted)}.yaml"
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise not_found(f"Not logged in to {wanted}. Run: tsh login --proxy={name or wanted}") from None
        value = _yaml(text, path)
        types = {attribute.name: bool if isinstance(attribute.default, bool) else str for attribute in fields(Profile)}
        found = {key: value[key] for key in types if key in value}
        if not {"web_proxy_addr", "user", "cluster"} <= set(found) or any(
            not isinstance(each, types[key]) for key, each in found.items()
        ):
            raise bad_parameter(f"{path} is not a profile; log in again")
        return Profile(**found)

    def paths(self, profile: Profile) -> KeyPaths:
        """
        @return: where this profile's credentials are or will be.
        """
        return KeyPaths(self.root / "keys" / _plain(profile.name), _plain(profile.user), _plain(profile.cluster))

    @property
    def known_hosts(self) -> Path:
        """
        Of all profiles.
        """
        return self.root / "known_hosts"

    def write(self, profile: Profile, *, make_current: bool = True) -> None:
        """
        Store the profile, readable by its owner only.
        """
        import yaml

        write_private(self.root / f"{_plain(profile.name)}.yaml", yaml.safe_dump(asdict(profile)).encode())
        if make_current:
            write_private(self.root / "current-profile", profile.name.encode() + b"\n")

    def store(self, profile: Profile, credentials: Credentials) -> KeyPaths:
        """
        Write the credentials; what is there of the same names is replaced file by file.
        """
        paths = self.paths(profile)
        if credentials.ssh_key.reveal():
            write_private(paths.ssh_key, credentials.ssh_key.reveal())
        else:
            _shred(paths.ssh_key)
        write_private(paths.ssh_public, credentials.ssh_public.rstrip() + b"\n")
        write_private(paths.ssh_certificate, credentials.ssh_certificate.rstrip() + b"\n")
        write_private(paths.tls_key, credentials.tls_key.reveal())
        write_private(paths.tls_certificate, credentials.tls_certificate)
        write_private(paths.tls_authorities, credentials.tls_authorities)
        self._merge_known_hosts(profile, credentials.known_hosts)
        self.write(profile)
        return paths

    def _merge_known_hosts(self, profile: Profile, lines: bytes) -> None:
        # A cluster's lines name it in their host patterns; those of other clusters stay.
        mine = f"*.{profile.cluster}".encode()
        try:
            there = self.known_hosts.read_bytes().splitlines()
        except FileNotFoundError:
            there = []
        kept = [line for line in there if line.strip() and not _names(line, mine)]
        write_private(self.known_hosts, b"".join(line + b"\n" for line in [*kept, *lines.splitlines()] if line.strip()))

    def authorities(self, name: str) -> bytes:
        """
        @param name: a proxy's host name.
        @return: PEM: whom a login at this proxy told us to believe, remembered beyond the logout; empty for nobody.
        """
        folder = self.root / "keys" / _plain(name) / "cas"
        return b"".join(path.read_bytes() for path in sorted(_listed(folder)) if path.suffix == ".pem")

    def forget(self, profile: Profile, *, trust: bool = False) -> None:
        """
        Remove keys, certificates and the profile; other profiles stay.

        @param trust: forget the cluster's authorities too. They are no secret, and without them the next login at a
            proxy with a certificate of its own would want a CA pin again.
        """
        paths = self.paths(profile)
        for path in (paths.ssh_key, paths.ssh_public, paths.tls_key, paths.tls_certificate):
            _shred(path)
        _remove_tree(paths.folder / f"{paths.user}-ssh")
        _remove_tree(paths.folder / f"{paths.user}-db")
        if all(path.suffix != ".crt" for path in _listed(paths.folder)):
            for path in _listed(paths.folder):
                if path.name == "cas" and not trust:
                    continue
                if path.is_dir():
                    _remove_tree(path)
                else:
                    _shred(path)
            if not _listed(paths.folder):
                _remove_tree(paths.folder)
        (self.root / f"{_plain(profile.name)}.yaml").unlink(missing_ok=True)
        if self.current() == profile.name:
            (self.root / "current-profile").unlink(missing_ok=True)

    def choose(self, profile: Profile, cluster: str) -> Profile:
        """
        @return: the same profile at another cluster, stored.
        """
        changed = evolve(profile, cluster=cluster)
        self.write(changed)
        return changed


def write_private(path: Path, data: bytes) -> None:
    """
    Replace a file at once, mode 0600, its folder made with 0700.
    """
    _private_folder(path.parent)
    with _temporary(path) as temporary:
        temporary.write_bytes(data)
        temporary.replace(path)


def _private_folder(folder: Path) -> None:
    # Path.mkdir gives its mode to the last folder only.
    if not folder.is_dir():
        _private_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    os.close(handle)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _plain(name: str) -> str:
    if not name or "/" in name or "\0" in name or name in (".", ".."):
        raise bad_parameter(f"{name!r} cannot be part of a file's name")
    return name


def _names(line: bytes, pattern: bytes) -> bool:
    words = line.split()
    return len(words) > 1 and words[0] == b"@cert-authority" and pattern in words[1].split(b",")


_PLAIN = re.compile(
    r"([a-z_]+): (?:(true|false)|''|((?:[A-Za-z][A-Za-z0-9._@/-]*|(?:[0-9]{1,3}\.){3}[0-9]{1,3})(?::[0-9]+)?))"
)
_NOT_TEXT = frozenset(["y", "n", "yes", "no", "on", "off", "true", "false", "null"])


def plain_yaml(text: str) -> Mapping[str, Any] | None:
    """
    @return: what YAML makes of plain words and flags, a line each; None where there is more to it than that. Loading a
        whole YAML parser takes longer than all else of C{tsh status}.
    """
    found: dict[str, Any] = {}
    for line in text.splitlines():
        match = _PLAIN.fullmatch(line)
        if match is None or (match[3] or "").lower() in _NOT_TEXT:
            return None
        found[match[1]] = match[2] == "true" if match[2] else match[3] or ""
    return found


def _yaml(text: str, path: Path) -> Mapping[str, Any]:
    simple = plain_yaml(text)
    if simple is not None:
        return simple
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise bad_parameter(f"{path} is not YAML; log in again") from error
    return value if isinstance(value, dict) else {}


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _shred(path: Path) -> None:
    if path.is_file() and not path.is_symlink():
        with path.open("r+b") as file:
            file.write(b"\0" * path.stat().st_size)
    path.unlink(missing_ok=True)


def _remove_tree(folder: Path) -> None:
    if folder.is_symlink():
        folder.unlink()
        return
    for path in _listed(folder):
        if path.is_dir():
            _remove_tree(path)
        else:
            _shred(path)
    if folder.is_dir():
        folder.rmdir()
