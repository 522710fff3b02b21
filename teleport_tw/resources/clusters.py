"""
Settings of the whole cluster, of each of which there is one.

The names are fixed; what a spec leaves out has the default shown here.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from attrs import frozen

from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.resources.fields import Fields
from teleport_tw.resources.metadata import Json, Metadata, Resource

VERSION = "v2"

AUTH_PREFERENCE = "cluster_auth_preference"
NETWORKING = "cluster_networking_config"
RECORDING = "session_recording_config"
NAME = "cluster_name"

SINGLETONS = {
    AUTH_PREFERENCE: "cluster-auth-preference",
    NETWORKING: "cluster-networking-config",
    RECORDING: "session-recording-config",
    NAME: "cluster-name",
}
"""Kind to the one name."""

ORIGIN_LABEL = "teleport.dev/origin"
"""Of a singleton: C{defaults}, C{config-file} (set again at every start) or C{dynamic}."""

SECOND_FACTORS = ("otp", "webauthn", "sso")

_SECOND_FACTOR = {
    "off": (),
    "optional": ("otp", "webauthn"),
    "on": ("otp", "webauthn"),
    "otp": ("otp",),
    "webauthn": ("webauthn",),
    "u2f": ("webauthn",),
}
"""The older C{second_factor} in the words of C{second_factors}."""

RECORDING_MODES = ("node", "node-sync", "proxy", "proxy-sync", "off")


def _singleton(resource: Resource, kind: str) -> Fields:
    spec = Fields.of(resource, kind)
    if resource.name and resource.name != SINGLETONS[kind]:
        spec.wrong.append(f"metadata.name must be {SINGLETONS[kind]}")
    return spec


def default(kind: str) -> Resource:
    """
    @param kind: of L{SINGLETONS}.
    @return: the resource as a new cluster has it.
    """
    return Resource(
        kind=kind, version=VERSION, metadata=Metadata(name=SINGLETONS[kind], labels={ORIGIN_LABEL: "defaults"})
    )


@frozen(kw_only=True)
class AuthPreference:
    """
    How users prove who they are.

    @ivar type: C{local}, C{github}, C{oidc} or C{saml}: what a login without a named connector uses.
    @ivar second_factors: any one of them is asked for; empty means none is.
    @ivar require_session_mfa: as written: C{False}, C{True} or a hardware key policy.
    @ivar mfa_grace: how long one answer covers further sessions of the same sign-in; zero for each its own.
    @ivar locking_mode: C{best_effort} or C{strict}: what an agent does when its locks are stale.
    @ivar default_session_ttl: of a login that asks for no other.
    @ivar attestation_allowed: PEM of authorities that a new security key must be certified by; none for any.
    @ivar attestation_denied: PEM of authorities that it must not be certified by.
    """

    type: str = "local"
    second_factors: tuple[str, ...] = ("otp",)
    second_factor_optional: bool = False
    connector_name: str = ""
    require_session_mfa: bool | str = False
    mfa_grace: Duration = timedelta(minutes=5)
    disconnect_expired_cert: bool = False
    allow_local_auth: bool = True
    allow_passwordless: bool = True
    allow_headless: bool = True
    message_of_the_day: str = ""
    locking_mode: str = "best_effort"
    default_session_ttl: Duration = timedelta(hours=12)
    webauthn_rp_id: str = ""
    attestation_allowed: tuple[str, ...] = ()
    attestation_denied: tuple[str, ...] = ()
    signature_algorithm_suite: str = ""
    revision: str = ""

    @property
    def demands_session_mfa(self) -> bool:
        """
        Whether every session needs a second factor, whatever roles say.
        """
        return bool(self.require_session_mfa)

    @classmethod
    def parse(cls, resource: Resource) -> AuthPreference:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = _singleton(resource, AUTH_PREFERENCE)
        spec.only(
            "type", "second_factors", "second_factor", "connector_name", "webauthn", "u2f", "require_session_mfa",
            "mfa_grace", "disconnect_expired_cert", "allow_local_auth", "allow_passwordless", "allow_headless",
            "message_of_the_day", "locking_mode", "default_session_ttl", "device_trust", "idp", "hardware_key",
            "signature_algorithm_suite", "stable_unix_user_config", "okta",
        )  # fmt: skip
        older = spec.text("second_factor", among=_SECOND_FACTOR)
        factors = spec.texts("second_factors")
        if set(factors) - {*SECOND_FACTORS}:
            spec.must_be("second_factors", f"a list of {', '.join(SECOND_FACTORS)}")
        if older and factors and set(_SECOND_FACTOR[older]) != set(factors):
            spec.wrong.append("spec.second_factor and spec.second_factors contradict each other; keep the latter")
        webauthn = spec.section("webauthn")
        webauthn.only("rp_id", "attestation_allowed_cas", "attestation_denied_cas")
        preference = cls(
            type=spec.text("type", "local", among=("local", "github", "oidc", "saml")),
            second_factors=factors or (_SECOND_FACTOR[older] if older else ("otp",)),
            second_factor_optional=older == "optional" and not factors,
            connector_name=spec.text("connector_name"),
            require_session_mfa=_session_mfa(spec),
            mfa_grace=spec.duration("mfa_grace", timedelta(minutes=5)),
            disconnect_expired_cert=spec.flag("disconnect_expired_cert"),
            allow_local_auth=spec.flag("allow_local_auth", True),
            allow_passwordless=spec.flag("allow_passwordless", True),
            allow_headless=spec.flag("allow_headless", True),
            message_of_the_day=spec.text("message_of_the_day"),
            locking_mode=spec.text("locking_mode", "best_effort", among=("best_effort", "strict")),
            default_session_ttl=spec.duration("default_session_ttl", timedelta(hours=12)) or timedelta(hours=12),
            webauthn_rp_id=webauthn.text("rp_id"),
            attestation_allowed=_certificates(webauthn, "attestation_allowed_cas"),
            attestation_denied=_certificates(webauthn, "attestation_denied_cas"),
            signature_algorithm_suite=spec.text("signature_algorithm_suite"),
            revision=resource.revision,
        )
        spec.done(resource)
        return preference


def _certificates(spec: Fields, key: str) -> tuple[str, ...]:
    texts = spec.texts(key)
    for index, text in enumerate(texts):
        if not _readable(text):
            spec.must_be(f"{key}[{index}]", "certificates in PEM")
    return texts


def _readable(pem: str) -> bool:
    from cryptography import x509

    try:
        return bool(x509.load_pem_x509_certificates(pem.encode()))
    except ValueError:
        return False


def _session_mfa(spec: Fields) -> bool | str:
    value: Any = spec.values.get("require_session_mfa")
    policies = ("hardware_key", "hardware_key_touch", "hardware_key_pin", "hardware_key_touch_and_pin")
    return value if isinstance(value, str) and value in policies else spec.flag("require_session_mfa")


@frozen(kw_only=True)
class Networking:
    """
    @ivar client_idle_timeout: zero for never.
    @ivar session_control_timeout: how long a session goes on whose semaphore cannot be renewed.
    @ivar routing_strategy: C{unambiguous_match} or C{most_recent}: which of several nodes with one host name.
    """

    client_idle_timeout: Duration = NEVER
    idle_timeout_message: str = ""
    web_idle_timeout: Duration = timedelta(minutes=10)
    keep_alive_interval: Duration = timedelta(minutes=5)
    keep_alive_count_max: int = 3
    session_control_timeout: Duration = timedelta(minutes=2)
    routing_strategy: str = "unambiguous_match"
    proxy_listener_mode: str = "separate"
    tunnel_strategy: Json | None = None
    proxy_ping_interval: Duration = timedelta(seconds=30)
    case_insensitive_routing: bool = False
    ssh_dial_timeout: Duration = timedelta(seconds=30)
    revision: str = ""

    @classmethod
    def parse(cls, resource: Resource) -> Networking:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = _singleton(resource, NETWORKING)
        spec.only(
            "client_idle_timeout", "idle_timeout_message", "web_idle_timeout", "keep_alive_interval",
            "keep_alive_count_max", "session_control_timeout", "routing_strategy", "proxy_listener_mode",
            "tunnel_strategy", "proxy_ping_interval", "case_insensitive_routing", "ssh_dial_timeout",
        )  # fmt: skip
        networking = cls(
            client_idle_timeout=spec.duration("client_idle_timeout"),
            idle_timeout_message=spec.text("idle_timeout_message"),
            web_idle_timeout=spec.duration("web_idle_timeout", timedelta(minutes=10)),
            keep_alive_interval=spec.duration("keep_alive_interval", timedelta(minutes=5), least=timedelta(seconds=1)),
            keep_alive_count_max=spec.number("keep_alive_count_max", 3, least=1),
            session_control_timeout=spec.duration("session_control_timeout", timedelta(minutes=2)),
            routing_strategy=_numbered(spec, "routing_strategy", ("unambiguous_match", "most_recent")),
            proxy_listener_mode=_numbered(spec, "proxy_listener_mode", ("separate", "multiplex")),
            tunnel_strategy=spec.section("tunnel_strategy").values or None,
            proxy_ping_interval=spec.duration("proxy_ping_interval", timedelta(seconds=30)),
            case_insensitive_routing=spec.flag("case_insensitive_routing"),
            ssh_dial_timeout=spec.duration("ssh_dial_timeout", timedelta(seconds=30), least=timedelta(seconds=1)),
            revision=resource.revision,
        )
        spec.done(resource)
        return networking


def _numbered(spec: Fields, key: str, names: tuple[str, ...]) -> str:
    """
    A setting the reference stores as a number and its configuration file spells as a word.
    """
    if isinstance(spec.values.get(key), str):
        return spec.text(key, names[0], among=names)
    return names[spec.number(key, most=len(names) - 1)]


@frozen(kw_only=True)
class Recording:
    """
    @ivar mode: of L{RECORDING_MODES}.
    @ivar proxy_checks_host_keys: whether a recording proxy refuses hosts without a certificate.
    """

    mode: str = "node"
    proxy_checks_host_keys: bool = True
    revision: str = ""

    @classmethod
    def parse(cls, resource: Resource) -> Recording:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = _singleton(resource, RECORDING)
        spec.only("mode", "proxy_checks_host_keys", "encryption")
        recording = cls(
            mode=spec.text("mode", "node", among=RECORDING_MODES),
            proxy_checks_host_keys=spec.flag("proxy_checks_host_keys", True),
            revision=resource.revision,
        )
        spec.done(resource)
        return recording


@frozen(kw_only=True)
class ClusterName:
    """
    @ivar cluster: what certificates call the cluster; never changes.
    @ivar id: a UUID made with the cluster.
    """

    cluster: str
    id: str = ""

    @classmethod
    def parse(cls, resource: Resource) -> ClusterName:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = _singleton(resource, NAME)
        spec.only("cluster_name", "cluster_id")
        name = cls(cluster=spec.text("cluster_name", needed=True), id=spec.text("cluster_id"))
        spec.done(resource)
        return name

    def to_resource(self) -> Resource:
        """
        @return: the noun as stored.
        """
        spec = {"cluster_name": self.cluster} | ({"cluster_id": self.id} if self.id else {})
        return Resource(kind=NAME, version=VERSION, metadata=Metadata(name=SINGLETONS[NAME]), spec=spec)
