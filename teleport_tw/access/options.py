"""
One answer from the options of several roles, each option by its own rule.

@see: reference, sections 3.2 and 3.9
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from enum import Enum
from typing import TypeVar

from attrs import frozen

from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.resources.roles import IMPLICIT_ROLE, Role
from teleport_tw.resources.roles_options import (
    CertificateExtension,
    CertificateFormat,
    DatabaseUserMode,
    DeviceTrust,
    RequestAccess,
    SessionMFA,
    Strictness,
)

LONGEST_TTL = timedelta(hours=30)
"""The longest certificate, and what a role gives that says nothing."""

E = TypeVar("E", bound=Enum)


@frozen(kw_only=True)
class MergedOptions:
    """
    What all roles together say; zero means no limit, C{never}.

    @ivar mfa_verification_interval: how often a long-running local proxy asks again.
    @ivar require_session_mfa: of every role; L{teleport_tw.access.checker.Checker} asks only those that match.
    @ivar host_user_shell: for Unix users made for a session; empty for the system's own.
    """

    max_session_ttl: Duration
    mfa_verification_interval: Duration
    client_idle_timeout: Duration
    disconnect_expired_cert: bool
    forward_agent: bool
    local_forwarding: bool
    remote_forwarding: bool
    permit_x11_forwarding: bool
    ssh_file_copy: bool
    max_sessions: int
    max_connections: int
    max_kubernetes_connections: int
    enhanced_recording: frozenset[str]
    record_ssh: Strictness
    record_default: Strictness
    record_desktop: bool
    desktop_clipboard: bool
    desktop_directory_sharing: bool
    create_desktop_user: bool
    host_user_shell: str
    create_db_user_mode: DatabaseUserMode
    cert_format: CertificateFormat
    cert_extensions: tuple[CertificateExtension, ...]
    request_access: RequestAccess
    request_prompt: str
    require_session_mfa: SessionMFA
    device_trust_mode: DeviceTrust
    lock: Strictness
    pin_source_ip: bool
    saml_idp: bool

    def session_ttl(self, wanted: Duration = NEVER) -> Duration:
        """
        @param wanted: zero means the longest.
        """
        return min(wanted, self.max_session_ttl) if wanted > NEVER else self.max_session_ttl

    @property
    def port_forwarding(self) -> bool:
        """
        Whether any direction may be forwarded; what the certificate's C{permit-port-forwarding} says.
        """
        return self.local_forwarding or self.remote_forwarding

    def idle_timeout(self, cluster: Duration) -> Duration:
        """
        @param cluster: the cluster's own; zero for never.
        @return: the shorter of both, zero for never.
        """
        return _shortest((self.client_idle_timeout, cluster), NEVER)


def merge(roles: Sequence[Role]) -> MergedOptions:
    """
    @param roles: all of the user's; an order is not needed.
    """
    said = [role.options for role in sorted(roles, key=lambda role: role.name)]
    ttl = min(_shortest((each.max_session_ttl for each in said), LONGEST_TTL), LONGEST_TTL)
    return MergedOptions(
        max_session_ttl=ttl,
        mfa_verification_interval=_shortest((each.mfa_verification_interval for each in said), ttl),
        client_idle_timeout=_shortest((each.client_idle_timeout for each in said), NEVER),
        disconnect_expired_cert=_any(each.disconnect_expired_cert for each in said),
        forward_agent=_any(each.forward_agent for each in said),
        local_forwarding=_forwarding(roles, "local_forwarding"),
        remote_forwarding=_forwarding(roles, "remote_forwarding"),
        permit_x11_forwarding=_any(each.permit_x11_forwarding for each in said),
        ssh_file_copy=_all((each.ssh_file_copy for each in said), default=True),
        max_sessions=_lowest(each.max_sessions for each in said),
        max_connections=_lowest(each.max_connections for each in said),
        max_kubernetes_connections=_lowest(each.max_kubernetes_connections for each in said),
        enhanced_recording=_enhanced(each.enhanced_recording for each in said),
        record_ssh=_strictest((each.record_ssh or each.record_default for each in said), Strictness.BEST_EFFORT),
        record_default=_strictest((each.record_default for each in said), Strictness.BEST_EFFORT),
        record_desktop=_any((each.record_desktop is not False for each in said), default=True),
        desktop_clipboard=_all((each.desktop_clipboard for each in said), default=True),
        desktop_directory_sharing=_all((each.desktop_directory_sharing for each in said), default=False),
        create_desktop_user=_all((each.create_desktop_user for each in said), default=False),
        host_user_shell=next((shell for each in said if (shell := each.create_host_user_default_shell)), ""),
        create_db_user_mode=_strictest((each.create_db_user_mode for each in said), DatabaseUserMode.OFF),
        cert_format=_cert_format(role.options.cert_format for role in roles if role.name != IMPLICIT_ROLE),
        cert_extensions=tuple(dict.fromkeys(extension for each in said for extension in each.cert_extensions)),
        request_access=_strictest((each.request_access for each in said), RequestAccess.OPTIONAL),
        request_prompt="\n".join(dict.fromkeys(each.request_prompt for each in said if each.request_prompt)),
        require_session_mfa=strongest_mfa(each.require_session_mfa for each in said),
        device_trust_mode=_strictest((each.device_trust_mode for each in said), DeviceTrust.OFF),
        lock=_strictest((each.lock for each in said), Strictness.BEST_EFFORT),
        pin_source_ip=_any(each.pin_source_ip for each in said),
        saml_idp=_all((each.saml_idp for each in said), default=True),
    )


def strongest_mfa(asked: Iterable[SessionMFA]) -> SessionMFA:
    """
    The strongest of several; touch and pin asked by different roles are both asked.
    """
    found = set(asked) | {SessionMFA.NO}
    if {SessionMFA.HARDWARE_KEY_TOUCH, SessionMFA.HARDWARE_KEY_PIN} <= found:
        return SessionMFA.HARDWARE_KEY_TOUCH_AND_PIN
    return max(found)


def strictest_devices(asked: Iterable[DeviceTrust | None]) -> DeviceTrust:
    """
    The strictest of several.
    """
    return _strictest(asked, DeviceTrust.OFF)


def _shortest(durations: Iterable[Duration | None], default: Duration) -> Duration:
    return min((each for each in durations if each), default=default)


def _lowest(numbers: Iterable[int]) -> int:
    return min((each for each in numbers if each), default=0)


def _any(flags: Iterable[bool | None], *, default: bool = False) -> bool:
    found = [each for each in flags if each is not None]
    return any(found) if found else default


def _all(flags: Iterable[bool | None], *, default: bool) -> bool:
    found = [each for each in flags if each is not None]
    return all(found) if found else default


def _strictest(values: Iterable[E | None], default: E) -> E:
    order = list(type(default))
    return max((each for each in values if each is not None), key=order.index, default=default)


def _enhanced(values: Iterable[tuple[str, ...] | None]) -> frozenset[str]:
    found = [each for each in values if each is not None]
    return frozenset(name for each in found for name in each) if found else frozenset({"command", "network"})


def _cert_format(values: Iterable[CertificateFormat | None]) -> CertificateFormat:
    found = set(values)
    return CertificateFormat.OLDSSH if found == {CertificateFormat.OLDSSH} else CertificateFormat.STANDARD


def _forwarding(roles: Sequence[Role], direction: str) -> bool:
    """
    A direction that any role switches off is off; else any role that says nothing at all, or yes, opens it. The
    implicit role, which everybody has, says no.
    """
    said: list[bool] = []
    for role in roles:
        own: bool | None = getattr(role.options, direction)
        if own is False:
            return False
        said.append(own is True or role.options.port_forwarding is not False)
    return any(said) if said else True
