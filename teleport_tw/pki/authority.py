"""
A certificate authority of the cluster: who signs now, who is trusted, and how one key set follows another.

Both key sets are trusted as long as they are there; the active one signs. Rotation moves keys between the two:

===================  ==================  =================
phase                active (signs)      additional
===================  ==================  =================
standby              current             none
init                 old                 new
update_clients       new                 old
update_servers       new                 old
rollback             old                 new
===================  ==================  =================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from secrets import randbits
from typing import Any, TypeVar

from attrs import evolve, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Duration
from teleport_tw.pki import der
from teleport_tw.pki.keys import (
    Algorithm,
    Keystore,
    NativePublic,
    Signer,
    load_public,
    spki,
    spki_pem,
    ssh_public,
)
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.resources.metadata import Json, Metadata, Resource

T = TypeVar("T")

LIFETIME: Duration = timedelta(days=3650)
"""Of an authority's own certificate."""


class AuthorityType(Enum):
    """
    What an authority signs; the value is the resource's sub_kind.
    """

    HOST = "host"
    USER = "user"
    DB = "db"
    DB_CLIENT = "db_client"
    OPENSSH = "openssh"
    JWT = "jwt"
    SAML_IDP = "saml_idp"
    OIDC_IDP = "oidc_idp"
    SPIFFE = "spiffe"


_ED25519, _P256, _RSA = Algorithm.ED25519, Algorithm.ECDSA_P256, Algorithm.RSA_2048
_KEYS: Mapping[AuthorityType, Mapping[str, Algorithm]] = {
    AuthorityType.HOST: {"ssh": _ED25519, "tls": _P256},
    AuthorityType.USER: {"ssh": _ED25519, "tls": _P256},
    AuthorityType.DB: {"tls": _RSA},
    AuthorityType.DB_CLIENT: {"tls": _RSA},
    AuthorityType.OPENSSH: {"ssh": _ED25519},
    AuthorityType.JWT: {"jwt": _P256},
    AuthorityType.SAML_IDP: {"tls": _RSA},
    AuthorityType.OIDC_IDP: {"jwt": _RSA},
    AuthorityType.SPIFFE: {"tls": _P256, "jwt": _P256},
}


class Phase(Enum):
    """
    Where an authority is in its rotation.
    """

    STANDBY = "standby"
    INIT = "init"
    UPDATE_CLIENTS = "update_clients"
    UPDATE_SERVERS = "update_servers"
    ROLLBACK = "rollback"


_NEXT: Mapping[Phase, frozenset[Phase]] = {
    Phase.STANDBY: frozenset({Phase.INIT}),
    Phase.INIT: frozenset({Phase.UPDATE_CLIENTS, Phase.ROLLBACK}),
    Phase.UPDATE_CLIENTS: frozenset({Phase.UPDATE_SERVERS, Phase.ROLLBACK}),
    Phase.UPDATE_SERVERS: frozenset({Phase.STANDBY, Phase.ROLLBACK}),
    Phase.ROLLBACK: frozenset({Phase.STANDBY}),
}
_SWAPS = frozenset(
    {
        (Phase.INIT, Phase.UPDATE_CLIENTS),
        (Phase.UPDATE_CLIENTS, Phase.ROLLBACK),
        (Phase.UPDATE_SERVERS, Phase.ROLLBACK),
    }
)


@frozen(kw_only=True)
class SshKey:
    """
    @ivar private: the keystore's reference; C{None} in a public view.
    """

    public: ssh_keys.PublicKey
    private: Secret[str] | None = None
    key_type: str = "RAW"

    def to_json(self) -> dict[str, str]:
        """@return: as the resource holds it."""
        return {"public_key": ssh_keys.format_line(self.public), **_private("private_key", self)}


@frozen(kw_only=True)
class TlsKey:
    """
    @ivar certificate: the authority's self-signed certificate, parsed.
    @ivar pem: the same as text.
    @ivar private: the keystore's reference; C{None} in a public view.
    """

    certificate: x509.Certificate
    pem: str
    private: Secret[str] | None = None
    key_type: str = "RAW"

    def to_json(self) -> dict[str, str]:
        """@return: as the resource holds it."""
        return {"cert": self.pem, **_private("key", self)}


@frozen(kw_only=True)
class JwtKey:
    """
    @ivar private: the keystore's reference; C{None} in a public view.
    """

    public: NativePublic
    private: Secret[str] | None = None
    key_type: str = "RAW"

    def to_json(self) -> dict[str, str]:
        """@return: as the resource holds it."""
        return {"public_key": spki_pem(self.public).decode("ascii"), **_private("private_key", self)}


def _private(name: str, key: SshKey | TlsKey | JwtKey) -> dict[str, str]:
    shown = {} if key.private is None else {name: key.private.reveal()}
    return {**shown, f"{name}_type" if name.startswith("private") else "key_type": key.key_type}


@frozen(kw_only=True)
class KeySet:
    """
    The keys of one generation.
    """

    ssh: tuple[SshKey, ...] = ()
    tls: tuple[TlsKey, ...] = ()
    jwt: tuple[JwtKey, ...] = ()

    def to_json(self) -> dict[str, list[dict[str, str]]]:
        """@return: as the resource holds it."""
        listed: dict[str, tuple[SshKey | TlsKey | JwtKey, ...]] = {"ssh": self.ssh, "tls": self.tls, "jwt": self.jwt}
        return {name: [key.to_json() for key in keys] for name, keys in listed.items() if keys}

    def public(self) -> KeySet:
        """@return: the same without private halves."""
        return KeySet(
            ssh=tuple(evolve(key, private=None) for key in self.ssh),
            tls=tuple(evolve(key, private=None) for key in self.tls),
            jwt=tuple(evolve(key, private=None) for key in self.jwt),
        )


@frozen(kw_only=True)
class Authority:
    """
    A typed view of a C{cert_authority} resource.

    @ivar active: signs, and is trusted.
    @ivar additional: is trusted too; empty unless a rotation is under way.
    @ivar resource: what it was parsed from, for its revision and the members that are not read here.
    """

    type: AuthorityType
    cluster: str
    active: KeySet
    additional: KeySet = KeySet()
    phase: Phase = Phase.STANDBY
    resource: Resource = field(repr=False)

    @property
    def trusted_ssh(self) -> tuple[ssh_keys.PublicKey, ...]:
        """
        SSH keys whose certificates are believed, the signing one first.
        """
        return tuple(key.public for key in (*self.active.ssh, *self.additional.ssh))

    @property
    def trusted_tls(self) -> tuple[x509.Certificate, ...]:
        """
        Roots whose certificates are believed, the signing one first.
        """
        return tuple(key.certificate for key in (*self.active.tls, *self.additional.tls))

    @property
    def trusted_jwt(self) -> tuple[NativePublic, ...]:
        """
        Keys whose tokens are believed, the signing one first.
        """
        return tuple(key.public for key in (*self.active.jwt, *self.additional.jwt))

    @classmethod
    def parse(cls, resource: Resource) -> Authority:
        """
        @param resource: kind C{cert_authority}, with or without private halves.
        @raise TeleportError: BAD_PARAMETER, it is not one, or a key in it cannot be read.
        """
        spec = resource.spec
        if resource.kind != "cert_authority":
            raise bad_parameter(f"{resource.kind} is not a cert_authority")
        try:
            type_ = AuthorityType(spec.get("type", resource.sub_kind))
            phase = Phase((spec.get("rotation") or {}).get("phase") or "standby")
        except ValueError as error:
            raise bad_parameter(f"cert_authority {resource.name}: {error}") from error
        return cls(
            type=type_,
            cluster=spec.get("cluster_name", resource.name),
            active=_key_set(spec.get("active_keys") or {}, "active_keys"),
            additional=_key_set(spec.get("additional_trusted_keys") or {}, "additional_trusted_keys"),
            phase=phase,
            resource=resource,
        )

    def to_resource(self) -> Resource:
        """
        @return: the resource, with private halves if they are known here.
        """
        rotation: dict[str, Any] = dict(self.resource.spec.get("rotation") or {})
        rotation |= {"state": "standby" if self.phase is Phase.STANDBY else "in_progress", "phase": self.phase.value}
        spec: Json = {
            **self.resource.spec,
            "type": self.type.value,
            "cluster_name": self.cluster,
            "active_keys": self.active.to_json(),
            "additional_trusted_keys": self.additional.to_json(),
            "rotation": rotation,
        }
        return evolve(self.resource, spec=spec)

    def public(self) -> Authority:
        """
        @return: the same without private halves, for everybody but auth; its resource has none either.
        """
        bare = evolve(self, active=self.active.public(), additional=self.additional.public())
        return evolve(bare, resource=bare.to_resource())

    def rotated(self, phase: Phase, keystore: Keystore, now: datetime) -> Authority:
        """
        Take the next step of a rotation.

        @param now: start of the new certificates, when C{phase} is C{init}.
        @raise TeleportError: BAD_PARAMETER, this phase does not follow the one it is in.
        """
        if phase not in _NEXT[self.phase]:
            raise bad_parameter(f"rotation cannot go from {self.phase.value} to {phase.value}")
        active, additional = self.active, self.additional
        if (self.phase, phase) in _SWAPS:
            active, additional = additional, active
        if phase is Phase.INIT:
            additional = _generate(self.type, self.cluster, keystore, now)
        if phase is Phase.STANDBY:
            additional = KeySet()
        following = evolve(self, active=active, additional=additional, phase=phase)
        return evolve(following, resource=following.to_resource())


def create(type_: AuthorityType, cluster: str, keystore: Keystore, now: datetime) -> Authority:
    """
    Make an authority with new keys.

    @param cluster: the cluster's name, in O and CN of its certificate.
    @param now: aware; the certificate begins a minute earlier and lasts L{LIFETIME}.
    """
    bare = Resource(
        kind="cert_authority",
        version="v2",
        sub_kind=type_.value,
        metadata=Metadata(name=cluster),
    )
    keys = _generate(type_, cluster, keystore, now)
    authority = Authority(type=type_, cluster=cluster, active=keys, resource=bare)
    return evolve(authority, resource=authority.to_resource())


def _generate(type_: AuthorityType, cluster: str, keystore: Keystore, now: datetime) -> KeySet:
    references = {name: keystore.generate(algorithm) for name, algorithm in _KEYS[type_].items()}
    signers = {name: keystore.signer(reference) for name, reference in references.items()}
    made = KeySet()
    if "ssh" in references:
        key = ssh_public(signers["ssh"].public)
        made = evolve(made, ssh=(SshKey(public=key, private=references["ssh"], key_type=keystore.key_type),))
    if "tls" in references:
        octets = self_signed(signers["tls"], cluster, now, LIFETIME)
        certificate = x509.load_der_x509_certificate(octets)
        tls = TlsKey(
            certificate=certificate, pem=_pem(certificate), private=references["tls"], key_type=keystore.key_type
        )
        made = evolve(made, tls=(tls,))
    if "jwt" in references:
        public = signers["jwt"].public
        made = evolve(made, jwt=(JwtKey(public=public, private=references["jwt"], key_type=keystore.key_type),))
    return made


def self_signed(signer: Signer, cluster: str, now: datetime, lifetime: Duration) -> bytes:
    """
    @return: an authority's own certificate, DER: CA, no authority below it, for signing certificates alone.
    """
    public = spki(signer.public)
    digest = x509.SubjectKeyIdentifier.from_public_key(signer.public).digest
    serial = randbits(126) | 1 << 126
    subject = der.name((("2.5.4.10", cluster), ("2.5.4.3", cluster), ("2.5.4.5", str(serial))))
    algorithm = der.signature_algorithm(signer.public)
    body = der.to_be_signed(
        serial=serial,
        algorithm=algorithm,
        issuer=subject,
        valid_after=now - timedelta(minutes=1),
        valid_before=now + lifetime,
        subject=subject,
        spki=public,
        extensions=b"".join(
            (
                der.extension("2.5.29.15", der.bit_string(b"\x06", 1), critical=True),
                der.extension("2.5.29.19", der.sequence(der.CRITICAL, der.integer(0)), critical=True),
                der.extension("2.5.29.14", der.octet_string(digest)),
            )
        ),
    )
    return der.sequence(body, algorithm, der.bit_string(signer.sign(body)))


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _key_set(value: Any, path: str) -> KeySet:
    if not isinstance(value, Mapping):
        raise bad_parameter(f"{path} must be a mapping")

    def read(name: str, build: Callable[[Mapping[str, Any]], T]) -> tuple[T, ...]:
        try:
            return tuple(build(entry) for entry in value.get(name) or ())
        except (KeyError, TypeError, AttributeError, ValueError, RemoteProtocolError, TeleportError) as error:
            raise TeleportError(
                Kind.BAD_PARAMETER, f"{path}.{name} holds a key that cannot be read", details=type(error).__name__
            ) from error

    return KeySet(ssh=read("ssh", _ssh_key), tls=read("tls", _tls_key), jwt=read("jwt", _jwt_key))


def _ssh_key(entry: Mapping[str, Any]) -> SshKey:
    line = ssh_keys.parse_line(entry["public_key"])
    return SshKey(
        public=ssh_keys.parse(line.blob),
        private=_reference(entry.get("private_key")),
        key_type=entry.get("private_key_type", "RAW"),
    )


def _tls_key(entry: Mapping[str, Any]) -> TlsKey:
    certificate = x509.load_pem_x509_certificate(entry["cert"].encode("ascii"))
    return TlsKey(
        certificate=certificate,
        pem=entry["cert"],
        private=_reference(entry.get("key")),
        key_type=entry.get("key_type", "RAW"),
    )


def _jwt_key(entry: Mapping[str, Any]) -> JwtKey:
    return JwtKey(
        public=load_public(entry["public_key"].encode("ascii")),
        private=_reference(entry.get("private_key")),
        key_type=entry.get("private_key_type", "RAW"),
    )


def _reference(value: str | None) -> Secret[str] | None:
    return Secret(value) if value else None
