"""
How a host becomes a member of the cluster and stays one.

On its first start it makes a UUID, joins with a token, and keeps what it got under C{<data_dir>/identity}. From then
on it needs no token: two thirds into a certificate's life it asks for the next, and tells whoever uses it.
"""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path

from attrs import define, field, frozen
from cryptography import x509
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.api.contract import Ceremonies, Certificates, JoinRequest, PublicKeys
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Tasks
from teleport_tw.base.timing import Backoff, Duration, format_duration, from_timestamp
from teleport_tw.pki.authority import Authority, AuthorityType
from teleport_tw.pki.identity import SystemRole
from teleport_tw.pki.keys import NativePrivate, PrivateKey, spki_pem
from teleport_tw.pki.trust import bundle
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.resources.metadata import Resource

RENEW_AT = 2 / 3
"""How far into a certificate's life the next is asked for."""

RETRY = Backoff(first=Duration(seconds=5), cap=Duration(minutes=5))


@frozen(kw_only=True)
class HostIdentity:
    """
    What a host shows: keys and certificates of one role.

    @ivar folder: where they lie as files, for C{ssl}.
    @ivar ssh_certificate: one line.
    @ivar tls_certificate: PEM.
    """

    role: SystemRole
    host_id: str
    cluster: str
    folder: Path
    ssh_key: PrivateKey
    ssh_certificate: bytes
    tls_key: PrivateKey
    tls_certificate: bytes
    authorities: tuple[Authority, ...]

    @property
    def certificate_file(self) -> Path:
        """
        The TLS certificate, PEM.
        """
        return self.folder / f"{self.role.value}.crt"

    @property
    def key_file(self) -> Path:
        """
        The TLS key, PEM.
        """
        return self.folder / f"{self.role.value}.key"

    @property
    def roots(self) -> bytes:
        """
        PEM of the host authority: who signs the services' certificates.
        """
        return bundle(authority for authority in self.authorities if authority.type is AuthorityType.HOST)

    def ssh_pair(self) -> tuple[NativePrivate, bytes]:
        """
        @return: the SSH key as C{cryptography} has it, and its host certificate's blob.
        """
        return self.ssh_key.native, ssh_keys.parse_line(self.ssh_certificate.decode()).blob

    @property
    def validity(self) -> tuple[datetime, datetime]:
        """
        Start and end of the TLS certificate, aware UTC.
        """
        certificate = x509.load_pem_x509_certificate(self.tls_certificate)
        return certificate.not_valid_before_utc, certificate.not_valid_after_utc


@frozen
class IdentityFolder:
    """
    A host's memory of who it is.

    @ivar data_dir: holds C{host_uuid} and C{identity/}.
    """

    data_dir: Path

    @property
    def folder(self) -> Path:
        """
        Where keys and certificates lie.
        """
        return self.data_dir / "identity"

    def host_id(self) -> str:
        """
        @return: this host's UUID, made on first use.
        @raise TeleportError: BAD_PARAMETER, the file holds something else.
        """
        path = self.data_dir / "host_uuid"
        try:
            text = path.read_text(encoding="ascii").strip()
        except FileNotFoundError:
            text = str(uuid.uuid4())
            _write(path, text.encode())
        try:
            return str(uuid.UUID(text))
        except ValueError as error:
            raise bad_parameter(f"{path} does not hold a UUID; remove it to join as a new host") from error

    def load(self, role: SystemRole) -> HostIdentity | None:
        """
        @return: what was stored; C{None} before the host has joined in this role.
        @raise TeleportError: BAD_PARAMETER, the files are damaged.
        """
        name = role.value
        try:
            facts = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
            return HostIdentity(
                role=role,
                host_id=facts["host_id"],
                cluster=facts["cluster"],
                folder=self.folder,
                ssh_key=PrivateKey.load(Secret((self.folder / f"{name}.ssh").read_bytes())),
                ssh_certificate=(self.folder / f"{name}.ssh-cert.pub").read_bytes().strip(),
                tls_key=PrivateKey.load(Secret((self.folder / f"{name}.key").read_bytes())),
                tls_certificate=(self.folder / f"{name}.crt").read_bytes(),
                authorities=tuple(Authority.parse(Resource.from_json(value)) for value in facts["authorities"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise bad_parameter(
                f"the host's identity in {self.folder} is damaged ({error}); remove {name}.* there and join again"
            ) from error

    def store(self, role: SystemRole, ssh_key: PrivateKey, tls_key: PrivateKey, issued: Certificates) -> HostIdentity:
        """
        Keep what was issued; the facts, written last, make it count.
        """
        name = role.value
        facts = {
            "host_id": issued.host_id,
            "cluster": issued.cluster,
            "authorities": [authority.to_json() for authority in issued.authorities],
        }
        _write(self.folder / f"{name}.ssh", ssh_key.openssh_pem().reveal())
        _write(self.folder / f"{name}.ssh-cert.pub", issued.ssh.strip() + b"\n")
        _write(self.folder / f"{name}.key", tls_key.pem().reveal())
        _write(self.folder / f"{name}.crt", issued.tls)
        _write(self.folder / f"{name}.json", json.dumps(facts).encode())
        return HostIdentity(
            role=role,
            host_id=issued.host_id,
            cluster=issued.cluster,
            folder=self.folder,
            ssh_key=ssh_key,
            ssh_certificate=issued.ssh.strip(),
            tls_key=tls_key,
            tls_certificate=issued.tls,
            authorities=tuple(map(Authority.parse, issued.authorities)),
        )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


Join = Callable[[JoinRequest], Awaitable[Certificates]]


async def join(
    folder: IdentityFolder,
    role: SystemRole,
    *,
    token: Secret[str],
    node_name: str,
    addresses: Sequence[str],
    ask: Join,
) -> HostIdentity:
    """
    Become a member.

    @param addresses: further names and IPs to be certified.
    @param ask: sends the request, through the proxy or to auth itself.
    @raise TeleportError: what auth said; CONNECTION_PROBLEM; BAD_PARAMETER, the cluster knows a host of this id, which
        a host that has lost its certificates must give up.
    """
    ssh_key, tls_key = PrivateKey.generate_ssh(), PrivateKey.generate_tls()
    request = JoinRequest(
        token=token,
        role=role,
        host_id=folder.host_id(),
        node_name=node_name,
        keys=public_keys(ssh_key, tls_key),
        addresses=tuple(addresses),
    )
    try:
        issued = await ask(request)
    except TeleportError as error:
        if error.kind is not Kind.ALREADY_EXISTS:
            raise
        raise bad_parameter(
            f"{error.message}; if this host has lost its certificates, remove {folder.data_dir / 'host_uuid'} and join "
            "again as a new host"
        ) from error
    return folder.store(role, ssh_key, tls_key, issued)


def public_keys(ssh_key: PrivateKey, tls_key: PrivateKey) -> PublicKeys:
    """
    @return: the public halves as they are sent.
    """
    return PublicKeys(ssh=ssh_keys.format_line(ssh_key.ssh_public).encode(), tls=spki_pem(tls_key.public))


@define(eq=False)
class Membership(Service):
    """
    Renews a host's certificates before they end.

    @ivar api: auth, as this host.
    @ivar addresses: names to be certified, at each renewal.
    """

    identity: HostIdentity
    folder: IdentityFolder
    api: Ceremonies
    clock: IReactorTime
    addresses: tuple[str, ...] = ()
    _listeners: list[Callable[[HostIdentity], None]] = field(factory=list, init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log = Logger()

    def subscribe(self, listener: Callable[[HostIdentity], None]) -> None:
        """
        @param listener: called with each new identity.
        """
        self._listeners.append(listener)

    def startService(self) -> None:
        """
        Wait for the time to renew.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._schedule(self._until_renewal())

    def stopService(self) -> None:
        """
        No further renewals.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        if self._call is not None:
            self._call.cancel()
            self._call = None
        self._tasks.cancel()

    def _until_renewal(self) -> float:
        start, end = self.identity.validity
        due = start + (end - start) * RENEW_AT
        return max(0.0, (due - from_timestamp(self.clock.seconds())).total_seconds())

    def _schedule(self, seconds: float) -> None:
        self._call = self.clock.callLater(seconds, self._due)

    def _due(self) -> None:
        self._call = None
        self._tasks.spawn("renewing the host's certificates", self._renew_until_done())

    async def _renew_until_done(self) -> None:
        for seconds in RETRY.waits():
            try:
                await self.renew()
                break
            except TeleportError as error:
                self._log.warn("the host's certificates could not be renewed: {error}", error=error.message)
            await deferLater(self.clock, seconds + 1, lambda: None)
        self._schedule(max(1.0, self._until_renewal()))

    async def renew(self) -> HostIdentity:
        """
        Renew now, with new keys.

        @raise TeleportError: as auth says; the certificates of now stay in use.
        """
        ssh_key, tls_key = PrivateKey.generate_ssh(), PrivateKey.generate_tls()
        issued = await self.api.renew_host(public_keys(ssh_key, tls_key), self.addresses)
        self.identity = self.folder.store(self.identity.role, ssh_key, tls_key, issued)
        _, end = self.identity.validity
        left = format_duration(end - from_timestamp(self.clock.seconds()))
        self._log.info("{role} certificates renewed for {left}", role=self.identity.role.value, left=left)
        for listener in self._listeners:
            listener(self.identity)
        return self.identity
