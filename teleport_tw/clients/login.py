"""
Signing in, the client's side: what the proxy asks for, keys made here, certificates brought home.

Blocking; no reactor is needed. Private keys never leave this process but into the profile, an identity file or the
ssh-agent.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from attrs import evolve, frozen

from teleport_tw.api import joining, signin
from teleport_tw.api.contract import Certificates, Challenge, LoginRequest, MfaAnswer, PublicKeys
from teleport_tw.base.addresses import split_address
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER, Duration, parse_duration
from teleport_tw.clients.profile import Credentials, Profile
from teleport_tw.dial.web import WebClient, no_trust, pinned, system_trust
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.pki.identityfile import IdentityFile
from teleport_tw.pki.keys import PrivateKey, spki_pem
from teleport_tw.pki.trust import bundle, host_patterns, known_hosts
from teleport_tw.protocols.ssh import certificate
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.protocols.ssh.wire import put_mpint, put_string

PORTS = (3080, 443)
"""Tried in this order where the user names no port."""

PASSWORDLESS = "passwordless"
"""The connector that asks for a passkey and no password."""


BROWSER = "browser"
"""The connector that asks at the proxy's page."""


@frozen(kw_only=True)
class Believe:
    """
    Whom to take for the proxy.

    @ivar pins: of the cluster's authority.
    @ivar authorities: PEM, learned at an earlier login; believed beside the machine's own.
    @ivar insecure: anybody; for tests.
    """

    pins: Sequence[str] = ()
    authorities: bytes = b""
    insecure: bool = False

    def client(self, host: str, port: int) -> WebClient:
        """
        @raise TeleportError: ACCESS_DENIED, the pins do not fit.
        """
        if self.insecure:
            return WebClient(host, port, no_trust())
        if self.pins:
            return pinned(host, port, self.pins)
        context = system_trust()
        if self.authorities:
            context.load_verify_locations(cadata=self.authorities.decode("ascii"))
        return WebClient(host, port, context)


@frozen
class Facts:
    """
    The proxy that was found, and what it says about signing in.
    """

    web: WebClient
    said: dict[str, Any]

    @property
    def cluster(self) -> str:
        """
        Its name.
        """
        return str(self.said.get("cluster_name") or "")

    @property
    def ssh_address(self) -> str:
        """
        C{host:port} of the SSH port; empty when the proxy has none.
        """
        ssh = self.said.get("proxy", {}).get("ssh", {})
        public = str(ssh.get("ssh_public_addr") or "")
        if public:
            return public
        host, _, port = str(ssh.get("listen_addr") or "").rpartition(":")
        if not port.isdecimal():
            return ""
        bound = host.strip("[]")
        name = self.web.host if bound in ("", "0.0.0.0", "::") else bound  # noqa: S104  # read, not bound
        return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"

    def database_address(self, word: str) -> str:
        """
        @param word: C{postgres}, C{mysql}, C{mongo}, C{redis}.
        @return: C{host:port} of the proxy's own port for these databases; empty when it has none.
        """
        said = self.said.get("proxy", {}).get("db", {})
        listen = str(said.get(f"{word}_listen_addr") or "")
        public = str(said.get(f"{word}_public_addr") or "")
        if not listen:
            return ""
        host, _, port = listen.rpartition(":")
        if public:
            return public if ":" in public.rpartition("]")[2] else f"{public}:{port}"
        bound = host.strip("[]")
        name = self.web.host if bound in ("", "0.0.0.0", "::") else bound  # noqa: S104  # read, not bound
        return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"

    @property
    def wants_otp(self) -> bool:
        """
        Whether a one-time code belongs to a login.
        """
        return self.said.get("auth", {}).get("second_factor", "otp") not in ("off", "")

    @property
    def wants_key(self) -> bool:
        """
        Whether a security key may belong to a login.
        """
        return "webauthn" in (self.said.get("auth", {}).get("second_factors") or ())

    @property
    def passwordless(self) -> bool:
        """
        Whether the cluster signs in by passkey where nobody says otherwise.
        """
        return bool(self.said.get("auth", {}).get("connector_name") == PASSWORDLESS)

    @property
    def origin(self) -> str:
        """
        Of the proxy's pages, which security keys sign.
        """
        return f"https://{self.web.address}".removesuffix(":443")

    def motd(self) -> str:
        """
        @return: the text to be read before signing in; empty when there is none.
        """
        if not self.said.get("auth", {}).get("has_motd"):
            return ""
        return str(self.web.get("/webapi/motd").get("Text") or "")


def find(address: str, believe: Believe) -> Facts:
    """
    @param address: C{host}, C{host:port} or C{host:port,sshport}.
    @raise TeleportError: CONNECTION_PROBLEM, no proxy answers there.
    """
    for port in _ports(address):
        host, number = split_address(address.partition(",")[0], port)
        try:
            client = believe.client(host, number)
            return Facts(client, client.ping())
        except TeleportError as error:
            problem = error
            if error.kind is not Kind.CONNECTION_PROBLEM:
                raise
    raise problem


def _ports(address: str) -> Iterator[int]:
    plain = address.partition(",")[0]
    with_port = plain.rpartition("]")[2].count(":") == 1
    yield from PORTS[:1] if with_port else PORTS


def read_ttl(text: str) -> Duration:
    """
    @param text: minutes, or a duration such as C{8h}; empty for the longest allowed.
    """
    if not text:
        return NEVER
    ttl = Duration(minutes=int(text)) if text.isdecimal() else parse_duration(text)
    if ttl <= NEVER:
        raise bad_parameter("--ttl must be more than zero")
    return ttl


class Asker:
    """
    Asks the person at the terminal; a script writes a line for each question, password first.
    """

    def __init__(self, source: TextIO | None = None, sink: TextIO | None = None) -> None:
        self._source = sys.stdin if source is None else source
        self._sink = sys.stderr if sink is None else sink

    @property
    def interactive(self) -> bool:
        """
        Whether somebody sits there.
        """
        return self._source.isatty()

    def secret(self, question: str) -> Secret[str]:
        """
        @return: the answer, which was not shown while typed.
        @raise TeleportError: BAD_PARAMETER, there is no answer.
        """
        if self.interactive:
            return Secret(getpass.getpass(question, self._sink))
        line = self._source.readline()
        if not line:
            raise bad_parameter(f"nobody answers '{question.strip()}': write a line for it to standard input")
        return Secret(line.rstrip("\r\n"))

    def line(self, question: str) -> str:
        """
        @return: the answer, which was shown while typed, without spaces around it.
        @raise TeleportError: BAD_PARAMETER, there is no answer.
        """
        self._sink.write(question)
        self._sink.flush()
        line = self._source.readline()
        if not line:
            raise bad_parameter(f"nobody answers '{question.strip()}': write a line for it to standard input")
        return line.strip()

    def acknowledge(self, text: str) -> None:
        """
        Show a text; at a terminal wait for the Return key.
        """
        self._sink.write(text.rstrip("\n") + "\n")
        if self.interactive:
            self._sink.write("Press [ENTER] to continue.\n")
            self._sink.flush()
            self._source.readline()


@frozen(kw_only=True)
class Issued:
    """
    What a login brought.

    @ivar ssh_key: Ed25519 for a profile; the same as C{tls_key} for an identity file, which holds one.
    """

    ssh_key: PrivateKey
    tls_key: PrivateKey
    certificates: Certificates

    @property
    def host_authority(self) -> Authority:
        """
        Who signs for servers of the cluster.
        """
        for resource in self.certificates.authorities:
            authority = Authority.parse(resource)
            if authority.type is AuthorityType.HOST:
                return authority
        raise TeleportError(Kind.CONNECTION_PROBLEM, "the proxy did not tell whom to trust")

    def known_hosts(self, proxy_hosts: Sequence[str] = ()) -> str:
        """
        @param proxy_hosts: names the proxy is reached by.
        @return: C{@cert-authority} lines for the cluster and its proxy, whatever port the proxy listens on.
        """
        return known_hosts(self.host_authority, host_patterns(self.certificates.cluster, proxy_hosts))

    def credentials(self, proxy_hosts: Sequence[str], *, keep_ssh_key: bool = True) -> Credentials:
        """
        @return: what a profile keeps.
        """
        return Credentials(
            ssh_key=self.ssh_key.openssh_pem() if keep_ssh_key else Secret(b""),
            ssh_public=ssh_keys.format_line(self.ssh_key.ssh_public).encode(),
            ssh_certificate=self.certificates.ssh,
            tls_key=self.tls_key.pem(),
            tls_certificate=self.certificates.tls,
            tls_authorities=bundle([self.host_authority]),
            known_hosts=self.known_hosts(proxy_hosts).encode(),
        )

    def identity_file(self, proxy_hosts: Sequence[str]) -> IdentityFile:
        """
        @return: the same in one file.
        """
        return IdentityFile(
            key=self.tls_key.pem(),
            ssh_certificate=self.certificates.ssh.decode().strip(),
            tls_certificate=self.certificates.tls.decode(),
            tls_authorities=(bundle([self.host_authority]).decode(),),
            ssh_authorities=tuple(self.known_hosts(proxy_hosts).splitlines()),
        )

    @property
    def username(self) -> str:
        """
        Whose they are, as the certificate says.
        """
        return certificate.parse(self.ssh_blob).key_id

    @property
    def ssh_blob(self) -> bytes:
        """
        The SSH certificate.
        """
        return ssh_keys.parse_line(self.certificates.ssh.decode()).blob


class Answer(Protocol):
    """
    Answers a challenge; see L{teleport_tw.clients.factors.Answering.answer}.
    """

    def __call__(self, challenge: Challenge, why: str = "") -> MfaAnswer:
        """
        @raise TeleportError: ACCESS_DENIED, nothing here can answer it.
        """
        ...


def sign_in(
    facts: Facts,
    username: str,
    asker: Asker,
    answer: Answer,
    *,
    ttl: Duration = NEVER,
    cluster: str = "",
    one_key: bool = False,
    passwordless: bool = False,
) -> Issued:
    """
    Ask for password and second factor, and get certificates.

    @param username: not needed with a passkey, which knows its user.
    @param cluster: to be routed to; empty for the proxy's own.
    @param one_key: the same for SSH and TLS.
    @param passwordless: by a passkey alone.
    @raise TeleportError: ACCESS_DENIED, the proxy does not believe it; LIMIT_EXCEEDED, too many tries.
    """
    text = facts.motd()
    if text:
        asker.acknowledge(text)
    tls_key = PrivateKey.generate_tls()
    ssh_key = tls_key if one_key else PrivateKey.generate_ssh()
    keys = PublicKeys(ssh=ssh_keys.format_line(ssh_key.ssh_public).encode(), tls=spki_pem(tls_key.public))
    request = LoginRequest(username=username, keys=keys, ttl=ttl, route_to_cluster=cluster)
    if passwordless:
        request = evolve(request, username="", answer=answer(_challenge(facts, "")))
        said = facts.web.ask("POST", signin.FINISH, signin.finishing(request))
    else:
        request = evolve(request, password=asker.secret(f"Enter password for Teleport user {username}:\n"))
        if facts.wants_key:
            request = evolve(request, answer=answer(_challenge(facts, username)))
            said = facts.web.ask("POST", signin.FINISH, signin.finishing(request))
        else:
            otp = asker.secret("Enter your OTP token:\n").reveal() if facts.wants_otp else ""
            request = evolve(request, otp=Secret(otp.replace(" ", "")))
            said = facts.web.ask("POST", signin.PATH, signin.request_to_json(request))
    return Issued(ssh_key=ssh_key, tls_key=tls_key, certificates=joining.answer_from_json(*said))


def _challenge(facts: Facts, username: str) -> Challenge:
    return signin.challenge_from_json(*facts.web.ask("POST", signin.BEGIN, signin.beginning(username)))


def profile_of(facts: Facts, username: str, cluster: str) -> Profile:
    """
    @return: what to remember of this login, but for the keys.
    """
    return Profile(
        web_proxy_addr=facts.web.address,
        ssh_proxy_addr=facts.ssh_address,
        postgres_proxy_addr=facts.database_address("postgres"),
        mysql_proxy_addr=facts.database_address("mysql"),
        mongo_proxy_addr=facts.database_address("mongo"),
        redis_proxy_addr=facts.database_address("redis"),
        user=username,
        cluster=cluster or facts.cluster,
        tls_routing_enabled=bool(facts.said.get("proxy", {}).get("tls_routing_enabled", True)),
    )


def private_fields(key: PrivateKey) -> bytes:
    """
    @return: the private half as an ssh-agent wants it behind a certificate.
    @see: draft-ietf-sshm-ssh-agent, section 5.2; OpenSSH's C{PROTOCOL.certkeys}
    """
    public = key.ssh_public
    native = key.native
    if isinstance(public, ssh_keys.Ed25519Key):
        raw: bytes = native.private_bytes_raw()  # type: ignore[union-attr]  # Ed25519, as its public half says
        return put_string(public.point) + put_string(raw + public.point)
    if isinstance(public, ssh_keys.EcdsaKey):
        return put_mpint(native.private_numbers().private_value)  # type: ignore[union-attr]  # on a curve
    raise bad_parameter("only Ed25519 and ECDSA keys are lent to an ssh-agent")


def write_identity(identity: IdentityFile, target: Path, form: str, *, overwrite: bool) -> tuple[Path, ...]:
    """
    @param form: C{file} or C{openssh}.
    @return: the files written.
    @raise TeleportError: ALREADY_EXISTS; BAD_PARAMETER, the folder cannot be written.
    """
    files = (target,) if form == "file" else (target, target.with_name(target.name + "-cert.pub"))
    for path in files:
        if path.exists() and not overwrite:
            raise TeleportError(Kind.ALREADY_EXISTS, f"{path} exists; use --overwrite to replace it")
    try:
        if form == "file":
            identity.write(target)
        else:
            identity.write_openssh(target)
    except OSError as error:
        raise bad_parameter(f"{target} cannot be written: {error.strerror}") from error
    return files
