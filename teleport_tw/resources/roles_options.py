"""
C{spec.options} of a role: how sessions behave that the role allows.

An option that the author left out is C{None} (or C{UNSET} of its enumeration), so that several roles can be merged
(L{teleport_tw.access.options}) by what was really said.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import TypeVar

from attrs import frozen

from teleport_tw.base.keypaths import Reader
from teleport_tw.base.timing import Duration

E = TypeVar("E", bound=Enum)


class SessionMFA(IntEnum):
    """
    What a session asks of its user's second factor; a greater value is stricter.
    """

    NO = 0
    YES = 1
    HARDWARE_KEY = 2
    HARDWARE_KEY_TOUCH = 3
    HARDWARE_KEY_PIN = 4
    HARDWARE_KEY_TOUCH_AND_PIN = 5


class HostUserMode(Enum):
    """
    What becomes of Unix users made for a session.
    """

    OFF = "off"
    KEEP = "keep"
    INSECURE_DROP = "insecure-drop"


class DatabaseUserMode(Enum):
    """
    What becomes of database users made for a session.
    """

    OFF = "off"
    KEEP = "keep"
    BEST_EFFORT_DROP = "best_effort_drop"


class Strictness(Enum):
    """
    What happens when something needed cannot be had: go on, or refuse.
    """

    BEST_EFFORT = "best_effort"
    STRICT = "strict"


class DeviceTrust(Enum):
    """
    Whether only known devices may connect, laxest first.
    """

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED_FOR_HUMANS = "required-for-humans"
    REQUIRED = "required"


class RequestAccess(Enum):
    """
    Whether a login asks for an access request, laxest first.
    """

    OPTIONAL = "optional"
    REASON = "reason"
    ALWAYS = "always"


class CertificateFormat(Enum):
    """
    C{oldssh} leaves roles and traits out of SSH certificates.
    """

    STANDARD = "standard"
    OLDSSH = "oldssh"


@frozen
class CertificateExtension:
    """
    An extension added to the user's SSH certificates.

    @ivar value: may be a template over traits.
    """

    name: str
    value: str = ""


@frozen(kw_only=True)
class Options:
    """
    One role's options; C{None} means not said.
    """

    max_session_ttl: Duration | None = None
    mfa_verification_interval: Duration | None = None
    client_idle_timeout: Duration | None = None
    disconnect_expired_cert: bool | None = None
    forward_agent: bool | None = None
    port_forwarding: bool | None = None
    local_forwarding: bool | None = None
    remote_forwarding: bool | None = None
    permit_x11_forwarding: bool | None = None
    ssh_file_copy: bool | None = None
    max_sessions: int = 0
    max_connections: int = 0
    max_kubernetes_connections: int = 0
    enhanced_recording: tuple[str, ...] | None = None
    record_default: Strictness | None = None
    record_ssh: Strictness | None = None
    record_desktop: bool | None = None
    desktop_clipboard: bool | None = None
    desktop_directory_sharing: bool | None = None
    create_desktop_user: bool | None = None
    create_host_user_mode: HostUserMode | None = None
    create_host_user_default_shell: str = ""
    create_db_user_mode: DatabaseUserMode | None = None
    cert_format: CertificateFormat | None = None
    cert_extensions: tuple[CertificateExtension, ...] = ()
    request_access: RequestAccess | None = None
    request_prompt: str = ""
    require_session_mfa: SessionMFA = SessionMFA.NO
    device_trust_mode: DeviceTrust | None = None
    lock: Strictness | None = None
    pin_source_ip: bool | None = None
    saml_idp: bool | None = None


ENHANCED_EVENTS = ("command", "disk", "network")


def _words(enumeration: type[E]) -> dict[object, E | None]:
    return {"": None} | {member.value: member for member in enumeration}


_MFA: Mapping[object, SessionMFA] = {
    **{member.name.lower(): member for member in SessionMFA},
    **{int(member): member for member in SessionMFA},
    "true": SessionMFA.YES,
    "false": SessionMFA.NO,
    "off": SessionMFA.NO,
    True: SessionMFA.YES,
    False: SessionMFA.NO,
}
"""Words, the numbers of the programming interface, and YAML's booleans; see L{_mfa} for C{1} against C{True}."""

_HOST_USERS: Mapping[object, HostUserMode | None] = {
    **_words(HostUserMode),
    "drop": HostUserMode.INSECURE_DROP,
    False: HostUserMode.OFF,
    1: HostUserMode.OFF,
    2: HostUserMode.INSECURE_DROP,
    3: HostUserMode.KEEP,
    4: HostUserMode.INSECURE_DROP,
}
_DATABASE_USERS: Mapping[object, DatabaseUserMode | None] = {
    **_words(DatabaseUserMode),
    False: DatabaseUserMode.OFF,
    1: DatabaseUserMode.OFF,
    2: DatabaseUserMode.KEEP,
    3: DatabaseUserMode.BEST_EFFORT_DROP,
}
_DEVICES: Mapping[object, DeviceTrust | None] = {**_words(DeviceTrust), False: DeviceTrust.OFF}


def read_options(reader: Reader) -> Options:
    """
    @param reader: on C{spec.options}.
    """
    forwarding = reader.section("ssh_port_forwarding")
    local, remote = forwarding.section("local"), forwarding.section("remote")
    record = reader.section("record_session")
    saml = reader.section("idp").section("saml")
    host_users = reader.choice("create_host_user_mode", _HOST_USERS, None)
    if host_users is None and (old := reader.flag("create_host_user", None)) is not None:
        host_users = HostUserMode.INSECURE_DROP if old else HostUserMode.OFF
    database_users = reader.choice("create_db_user_mode", _DATABASE_USERS, None)
    if database_users is None and (old := reader.flag("create_db_user", None)) is not None:
        database_users = DatabaseUserMode.KEEP if old else DatabaseUserMode.OFF
    reader.ignore("create_host_user", "create_db_user")
    enhanced = reader.texts("enhanced_recording") if reader.has("enhanced_recording") else None
    for index, name in enumerate(enhanced or ()):
        if name not in ENHANCED_EVENTS:
            reader.wrong(f"enhanced_recording[{index}]", f"must be one of {', '.join(ENHANCED_EVENTS)}")
    options = Options(
        max_session_ttl=reader.duration("max_session_ttl", None),
        mfa_verification_interval=reader.duration("mfa_verification_interval", None),
        client_idle_timeout=reader.duration("client_idle_timeout", None),
        disconnect_expired_cert=reader.flag("disconnect_expired_cert", None),
        forward_agent=reader.flag("forward_agent", None),
        port_forwarding=reader.flag("port_forwarding", None),
        local_forwarding=local.flag("enabled", None),
        remote_forwarding=remote.flag("enabled", None),
        permit_x11_forwarding=reader.flag("permit_x11_forwarding", None),
        ssh_file_copy=reader.flag("ssh_file_copy", None),
        max_sessions=reader.number("max_sessions"),
        max_connections=reader.number("max_connections"),
        max_kubernetes_connections=reader.number("max_kubernetes_connections"),
        enhanced_recording=enhanced,
        record_default=record.choice("default", _words(Strictness), None),
        record_ssh=record.choice("ssh", _words(Strictness), None),
        record_desktop=record.flag("desktop", None),
        desktop_clipboard=reader.flag("desktop_clipboard", None),
        desktop_directory_sharing=reader.flag("desktop_directory_sharing", None),
        create_desktop_user=reader.flag("create_desktop_user", None),
        create_host_user_mode=host_users,
        create_host_user_default_shell=reader.text("create_host_user_default_shell"),
        create_db_user_mode=database_users,
        cert_format=reader.choice("cert_format", _words(CertificateFormat), None),
        cert_extensions=reader.each("cert_extensions", _extension),
        request_access=reader.choice("request_access", _words(RequestAccess), None),
        request_prompt=reader.text("request_prompt"),
        require_session_mfa=_mfa(reader),
        device_trust_mode=reader.choice("device_trust_mode", _DEVICES, None),
        lock=reader.choice("lock", _words(Strictness), None),
        pin_source_ip=reader.flag("pin_source_ip", None),
        saml_idp=saml.flag("enabled", None),
    )
    for inner in (local, remote, forwarding, record, saml):
        inner.finish()
    return options


def _mfa(reader: Reader) -> SessionMFA:
    value = reader.raw("require_session_mfa")
    if isinstance(value, bool):
        return SessionMFA(value)
    return reader.choice("require_session_mfa", _MFA, SessionMFA.NO)


def _extension(reader: Reader) -> CertificateExtension:
    for key, only in (("type", "ssh"), ("mode", "extension")):
        reader.choice(key, {only: only, 0: only, 1: only}, only)
    extension = CertificateExtension(reader.text("name"), reader.text("value"))
    if not extension.name:
        reader.wrong("name", "is missing")
    return extension
