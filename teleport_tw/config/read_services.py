"""
Reads the sections of the services.
"""

from __future__ import annotations

from pathlib import Path

from teleport_tw.base.keypaths import Reader
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import NEVER
from teleport_tw.config.read_teleport import address, addresses
from teleport_tw.config.sections import (
    ALL_ADDRESSES,
    X11,
    Authentication,
    AuthService,
    CommandLabel,
    EnhancedRecording,
    KeyPair,
    Pam,
    ProxyProtocol,
    ProxyService,
    Recording,
    SSHService,
    StaticToken,
)

_PROXY_PROTOCOL: dict[object, ProxyProtocol] = {
    **{each.value: each for each in ProxyProtocol},
    True: ProxyProtocol.ON,
    False: ProxyProtocol.OFF,
}
_RECORDING: dict[object, Recording] = {**{each.value: each for each in Recording}, False: Recording.OFF}
SECOND_FACTORS = ("otp", "webauthn", "sso")
OLDER_FACTORS: dict[object, tuple[str, ...]] = {
    "on": ("otp", "webauthn"),
    True: ("otp", "webauthn"),
    "otp": ("otp",),
    "webauthn": ("webauthn",),
    "u2f": ("webauthn",),
    "off": (),
    False: (),
}
SESSION_MFA: dict[object, str] = {
    **{
        word: word
        for word in (
            "no",
            "yes",
            "hardware_key",
            "hardware_key_touch",
            "hardware_key_pin",
            "hardware_key_touch_and_pin",
        )
    },
    "true": "yes",
    "false": "no",
    True: "yes",
    False: "no",
}
DEVICE_TRUST: dict[object, str] = {
    **{word: word for word in ("off", "optional", "required", "required-for-humans")},
    False: "off",
}
TOKEN_ROLES = "node ssh proxy auth app db kube windowsdesktop discovery bot trusted_cluster mdm okta relay".split()  # noqa: SIM905


def _words(*words: str) -> dict[str, str]:
    return {word: word for word in words}


def auth_service(reader: Reader, version: str) -> AuthService:
    """
    @param reader: on C{auth_service}.
    """
    default = AuthService()
    strategy = reader.section("tunnel_strategy")
    listeners = "separate" if version == "v1" else default.proxy_listener_mode
    section = AuthService(
        enabled=reader.yes("enabled", True),
        cluster_name=reader.text("cluster_name"),
        listen_addr=address(reader, "listen_addr", default.listen_addr, port=3025),
        public_addr=addresses(reader, "public_addr"),
        proxy_protocol=reader.choice("proxy_protocol", _PROXY_PROTOCOL, default.proxy_protocol),
        tokens=_tokens(reader),
        session_recording=reader.choice("session_recording", _RECORDING, default.session_recording),
        proxy_checks_host_keys=reader.yes("proxy_checks_host_keys", True),
        client_idle_timeout=reader.duration("client_idle_timeout", NEVER),
        client_idle_timeout_message=reader.text("client_idle_timeout_message"),
        web_idle_timeout=reader.duration("web_idle_timeout", default.web_idle_timeout),
        disconnect_expired_cert=reader.yes("disconnect_expired_cert"),
        keep_alive_interval=reader.duration("keep_alive_interval", default.keep_alive_interval),
        keep_alive_count_max=reader.number("keep_alive_count_max", default.keep_alive_count_max),
        ssh_dial_timeout=reader.duration("ssh_dial_timeout", default.ssh_dial_timeout),
        session_control_timeout=reader.duration("session_control_timeout", default.session_control_timeout),
        routing_strategy=reader.choice(
            "routing_strategy", _words("unambiguous_match", "most_recent"), default.routing_strategy
        ),
        proxy_listener_mode=reader.choice("proxy_listener_mode", _words("multiplex", "separate"), listeners),
        tunnel_strategy=strategy.choice("type", _words("agent_mesh", "proxy_peering"), default.tunnel_strategy),
        agent_connection_count=strategy.number("agent_connection_count", 1, least=1),
        message_of_the_day=reader.text("message_of_the_day"),
        load_all_cas=reader.yes("load_all_cas"),
        case_insensitive_routing=reader.yes("case_insensitive_routing"),
        authentication=reader.inside("authentication", _authentication),
        written=frozenset(map(str, reader.source))
        | {f"authentication.{key}" for key in reader.section("authentication").source},
    )
    strategy.finish()
    reader.ignore("license_file")
    for key in ("ca_key_params", "access_monitoring"):
        if reader.has(key):
            reader.wrong(key, "is not served by this version yet; leave it out")
    return section


def _tokens(reader: Reader) -> tuple[StaticToken, ...]:
    found = []
    for index, text in enumerate(reader.texts("tokens")):
        roles, colon, secret = text.partition(":")
        words = tuple(word.strip().lower() for word in roles.split(","))
        if not colon or not secret or not all(word in TOKEN_ROLES for word in words):
            reader.wrong(f"tokens[{index}]", "must be role[,role]:secret, with roles like node and proxy")
        else:
            found.append(StaticToken(roles=words, token=Secret(secret)))
    return tuple(found)


def _certificates(reader: Reader, key: str) -> tuple[str, ...]:
    """
    PEM as it stands there, or a file of it.
    """
    found = []
    for index, text in enumerate(reader.texts(key)):
        if "-----BEGIN" not in text:
            try:
                text = Path(text).read_text("ascii")
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is not text"
                reader.wrong(f"{key}[{index}]", f"cannot be read: {reason}")
                continue
        if "-----BEGIN CERTIFICATE-----" not in text:
            reader.wrong(f"{key}[{index}]", "must be certificates in PEM, or a file of them")
        found.append(text)
    return tuple(found)


def _authentication(reader: Reader) -> Authentication:
    default = Authentication()
    webauthn, device, u2f = reader.section("webauthn"), reader.section("device_trust"), reader.section("u2f")
    factors = reader.texts("second_factors")
    for index, factor in enumerate(factors):
        if factor not in SECOND_FACTORS:
            reader.wrong(f"second_factors[{index}]", f"must be one of {', '.join(SECOND_FACTORS)}")
    older: tuple[str, ...] | None = reader.choice("second_factor", OLDER_FACTORS, None)
    if factors and older is not None:
        reader.wrong("second_factor", "is the older form of second_factors; keep one of them")
    u2f.ignore("app_id", "facets", "device_attestation_cas")
    section = Authentication(
        type=reader.choice("type", _words("local", "github", "oidc", "saml"), default.type),
        local_auth=reader.yes("local_auth", True),
        second_factors=factors or (default.second_factors if older is None else older),
        require_session_mfa=reader.choice("require_session_mfa", SESSION_MFA, default.require_session_mfa),
        mfa_grace=reader.duration("mfa_grace", default.mfa_grace),
        passwordless=reader.flag("passwordless", None),
        headless=reader.flag("headless", None),
        connector_name=reader.text("connector_name", default.connector_name),
        webauthn_rp_id=webauthn.text("rp_id"),
        attestation_allowed_cas=_certificates(webauthn, "attestation_allowed_cas"),
        attestation_denied_cas=_certificates(webauthn, "attestation_denied_cas"),
        locking_mode=reader.choice("locking_mode", _words("best_effort", "strict"), default.locking_mode),
        device_trust_mode=device.choice("mode", DEVICE_TRUST, default.device_trust_mode),
        device_trust_auto_enroll=device.yes("auto_enroll"),
        default_session_ttl=reader.duration("default_session_ttl", default.default_session_ttl),
        signature_algorithm_suite=reader.choice(
            "signature_algorithm_suite",
            _words("balanced-v1", "legacy", "fips-v1", "hsm-v1"),
            default.signature_algorithm_suite,
        ),
    )
    if section.second_factors == ("sso",):
        reader.wrong("second_factors", "must have otp or webauthn: single sign-on is not served yet")
    if section.connector_name in ("passwordless", "headless") and "webauthn" not in section.second_factors:
        reader.wrong("connector_name", f"{section.connector_name} needs webauthn among second_factors")
    for inner in (webauthn, device, u2f):
        inner.finish()
    return section


def proxy_service(reader: Reader, version: str) -> ProxyService:
    """
    @param reader: on C{proxy_service}.
    @param version: v1 opens each listener at its own port, later ones only what is written.
    """
    default = ProxyService()
    acme, ui, idp = reader.section("acme"), reader.section("ui"), reader.section("idp")

    def listener(name: str, port: int) -> str:
        opened = f"{ALL_ADDRESSES}:{port}" if version == "v1" else ""
        return address(reader, f"{name}listen_addr", opened, port=port)

    section = ProxyService(
        enabled=reader.yes("enabled", True),
        web_listen_addr=address(reader, "web_listen_addr", default.web_listen_addr, port=3080),
        listen_addr=listener("", 3023),
        tunnel_listen_addr=listener("tunnel_", 3024),
        peer_listen_addr=address(reader, "peer_listen_addr", default.peer_listen_addr, port=3021),
        kube_listen_addr=address(reader, "kube_listen_addr", port=3026),
        mysql_listen_addr=address(reader, "mysql_listen_addr", port=3036),
        postgres_listen_addr=address(reader, "postgres_listen_addr", port=5432),
        mongo_listen_addr=address(reader, "mongo_listen_addr", port=27017),
        redis_listen_addr=address(reader, "redis_listen_addr", port=6379),
        public_addr=addresses(reader, "public_addr"),
        ssh_public_addr=addresses(reader, "ssh_public_addr"),
        tunnel_public_addr=addresses(reader, "tunnel_public_addr"),
        kube_public_addr=addresses(reader, "kube_public_addr"),
        mysql_public_addr=addresses(reader, "mysql_public_addr"),
        postgres_public_addr=addresses(reader, "postgres_public_addr"),
        mongo_public_addr=addresses(reader, "mongo_public_addr"),
        redis_public_addr=addresses(reader, "redis_public_addr"),
        mysql_server_version=reader.text("mysql_server_version", default.mysql_server_version),
        https_keypairs=reader.each("https_keypairs", _key_pair),
        https_keypairs_reload_interval=reader.duration("https_keypairs_reload_interval", NEVER),
        acme_enabled=acme.yes("enabled"),
        acme_email=acme.text("email"),
        proxy_protocol=reader.choice("proxy_protocol", _PROXY_PROTOCOL, default.proxy_protocol),
        trust_x_forwarded_for=reader.yes("trust_x_forwarded_for"),
        scrollback_lines=ui.number("scrollback_lines", default.scrollback_lines),
        show_resources=ui.choice("show_resources", _words("requestable", "accessible_only"), default.show_resources),
        workers=reader.number("workers", 1, least=1, most=256),
    )
    if section.acme_enabled:
        reader.wrong("acme.enabled", "is not served by this version yet; give https_keypairs")
    idp.ignore("saml")
    for inner in (acme, ui, idp):
        inner.finish()
    return section


def _key_pair(reader: Reader) -> KeyPair:
    pair = KeyPair(reader.text("key_file"), reader.text("cert_file"))
    for key, value in (("key_file", pair.key_file), ("cert_file", pair.cert_file)):
        if not value:
            reader.wrong(key, "is missing")
    return pair


def ssh_service(reader: Reader) -> SSHService:
    """
    @param reader: on C{ssh_service}.
    """
    default = SSHService()
    return SSHService(
        enabled=reader.yes("enabled", True),
        listen_addr=address(reader, "listen_addr", default.listen_addr, port=3022),
        public_addr=addresses(reader, "public_addr"),
        labels=reader.pairs("labels"),
        commands=reader.each("commands", _command),
        permit_user_env=reader.yes("permit_user_env"),
        disable_create_host_user=reader.yes("disable_create_host_user"),
        force_listen=reader.yes("force_listen"),
        port_forwarding=reader.yes("port_forwarding", True),
        ssh_file_copy=reader.yes("ssh_file_copy", True),
        enhanced_recording=reader.inside("enhanced_recording", _enhanced),
        pam=reader.inside("pam", _pam),
        x11=reader.inside("x11", _x11),
        workers=reader.number("workers", 1, least=1, most=256),
    )


def _command(reader: Reader) -> CommandLabel:
    command = CommandLabel(
        name=reader.text("name"),
        command=reader.texts("command"),
        period=reader.duration("period", CommandLabel(name="", command=()).period),
    )
    if not command.name:
        reader.wrong("name", "is missing")
    if not command.command:
        reader.wrong("command", "is missing; write a list like [hostname, -s]")
    if command.period <= NEVER:
        reader.wrong("period", "must be longer than nothing")
    return command


def _enhanced(reader: Reader) -> EnhancedRecording:
    default = EnhancedRecording()
    enhanced = EnhancedRecording(
        enabled=reader.yes("enabled"),
        command_buffer_size=reader.number("command_buffer_size", default.command_buffer_size, least=1),
        disk_buffer_size=reader.number("disk_buffer_size", default.disk_buffer_size, least=1),
        network_buffer_size=reader.number("network_buffer_size", default.network_buffer_size, least=1),
        cgroup_path=reader.text("cgroup_path", default.cgroup_path),
        root_path=reader.text("root_path", default.root_path),
    )
    for key in ("command_buffer_size", "disk_buffer_size", "network_buffer_size"):
        size = getattr(enhanced, key)
        if size & (size - 1):
            reader.wrong(key, "must be a power of two")
    return enhanced


def _pam(reader: Reader) -> Pam:
    default = Pam()
    return Pam(
        enabled=reader.yes("enabled"),
        service_name=reader.text("service_name", default.service_name),
        use_pam_auth=reader.yes("use_pam_auth"),
        environment=reader.pairs("environment"),
    )


def _x11(reader: Reader) -> X11:
    offset = reader.number("display_offset", X11().display_offset)
    return X11(
        enabled=reader.yes("enabled"),
        display_offset=offset,
        max_display=reader.number("max_display", offset + 1000, least=offset),
    )
