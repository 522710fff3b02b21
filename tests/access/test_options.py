"""
Tests for L{teleport_tw.access.options}: every option, several roles.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access.options import merge
from teleport_tw.resources.roles import IMPLICIT_ROLE
from teleport_tw.resources.roles_options import (
    CertificateExtension,
    CertificateFormat,
    DatabaseUserMode,
    DeviceTrust,
    RequestAccess,
    SessionMFA,
    Strictness,
)
from tests.access.tables import checker_of, stored

HOUR = timedelta(hours=1)

MERGES: list[tuple[str, list[str], Any]] = [
    ("max_session_ttl", ["{}"], 30 * HOUR),
    ("max_session_ttl", ["max_session_ttl: 8h", "max_session_ttl: 2h", "{}"], 2 * HOUR),
    ("max_session_ttl", ["max_session_ttl: 100h"], 30 * HOUR),
    ("max_session_ttl", ["max_session_ttl: never"], 30 * HOUR),
    ("mfa_verification_interval", ["max_session_ttl: 8h"], 8 * HOUR),
    ("mfa_verification_interval", ["mfa_verification_interval: 2h", "mfa_verification_interval: 1h"], HOUR),
    ("client_idle_timeout", ["{}"], timedelta(0)),
    ("client_idle_timeout", ["client_idle_timeout: 2h", "client_idle_timeout: never", "client_idle_timeout: 1h"], HOUR),
    ("disconnect_expired_cert", ["{}"], False),
    ("disconnect_expired_cert", ["disconnect_expired_cert: yes", "disconnect_expired_cert: no"], True),
    ("forward_agent", ["{}"], False),
    ("forward_agent", ["forward_agent: true", "forward_agent: false"], True),
    ("permit_x11_forwarding", ["{}"], False),
    ("permit_x11_forwarding", ["permit_x11_forwarding: true", "{}"], True),
    ("port_forwarding", ["{}"], True),
    ("port_forwarding", ["port_forwarding: false"], False),
    ("port_forwarding", ["port_forwarding: false", "port_forwarding: true"], True),
    ("port_forwarding", ["port_forwarding: false", "{}"], True),
    ("local_forwarding", ["ssh_port_forwarding: {local: {enabled: false}}", "port_forwarding: true"], False),
    ("remote_forwarding", ["ssh_port_forwarding: {local: {enabled: false}}", "port_forwarding: true"], True),
    ("local_forwarding", ["{port_forwarding: false, ssh_port_forwarding: {local: {enabled: true}}}"], True),
    ("remote_forwarding", ["{port_forwarding: false, ssh_port_forwarding: {local: {enabled: true}}}"], False),
    (
        "remote_forwarding",
        ["ssh_port_forwarding: {remote: {enabled: true}}", "ssh_port_forwarding: {remote: {enabled: false}}"],
        False,
    ),
    ("ssh_file_copy", ["{}"], True),
    ("ssh_file_copy", ["ssh_file_copy: true", "ssh_file_copy: false"], False),
    ("ssh_file_copy", ["ssh_file_copy: true", "{}"], True),
    ("max_sessions", ["{}"], 0),
    ("max_sessions", ["max_sessions: 0", "max_sessions: 7", "max_sessions: 3"], 3),
    ("max_connections", ["max_connections: 9", "max_connections: 4"], 4),
    ("max_connections", ["{}"], 0),
    ("max_kubernetes_connections", ["max_kubernetes_connections: 2", "{}"], 2),
    ("enhanced_recording", ["{}"], frozenset({"command", "network"})),
    (
        "enhanced_recording",
        ["enhanced_recording: [command]", "enhanced_recording: [disk]"],
        frozenset({"command", "disk"}),
    ),
    ("enhanced_recording", ["enhanced_recording: []"], frozenset()),
    ("record_default", ["{}"], Strictness.BEST_EFFORT),
    (
        "record_default",
        ["record_session: {default: strict}", "record_session: {default: best_effort}"],
        Strictness.STRICT,
    ),
    ("record_ssh", ["record_session: {default: strict}"], Strictness.STRICT),
    ("record_ssh", ["record_session: {default: strict, ssh: best_effort}"], Strictness.BEST_EFFORT),
    ("record_ssh", ["record_session: {ssh: strict}", "record_session: {ssh: best_effort}"], Strictness.STRICT),
    ("record_desktop", ["{}"], True),
    ("record_desktop", ["record_session: {desktop: false}"], False),
    ("record_desktop", ["record_session: {desktop: false}", "record_session: {desktop: true}"], True),
    ("record_desktop", ["record_session: {desktop: false}", "{}"], True),
    ("desktop_clipboard", ["{}"], True),
    ("desktop_clipboard", ["desktop_clipboard: true", "desktop_clipboard: false"], False),
    ("desktop_directory_sharing", ["{}"], False),
    ("desktop_directory_sharing", ["desktop_directory_sharing: true", "desktop_directory_sharing: true"], True),
    ("desktop_directory_sharing", ["desktop_directory_sharing: true", "desktop_directory_sharing: false"], False),
    ("create_desktop_user", ["{}"], False),
    ("create_desktop_user", ["create_desktop_user: true", "create_desktop_user: false"], False),
    ("create_desktop_user", ["create_desktop_user: true"], True),
    ("host_user_shell", ["{}"], ""),
    (
        "host_user_shell",
        ["{}", "create_host_user_default_shell: /bin/b", "create_host_user_default_shell: /bin/c"],
        "/bin/b",
    ),
    ("create_db_user_mode", ["{}"], DatabaseUserMode.OFF),
    ("create_db_user_mode", ["create_db_user_mode: keep", "create_db_user_mode: off"], DatabaseUserMode.KEEP),
    (
        "create_db_user_mode",
        ["create_db_user_mode: keep", "create_db_user_mode: best_effort_drop"],
        DatabaseUserMode.BEST_EFFORT_DROP,
    ),
    ("create_db_user_mode", ["create_db_user: true"], DatabaseUserMode.KEEP),
    ("create_db_user_mode", ["create_db_user: false"], DatabaseUserMode.OFF),
    ("create_db_user_mode", ["create_db_user_mode: 3"], DatabaseUserMode.BEST_EFFORT_DROP),
    ("cert_format", ["{}"], CertificateFormat.STANDARD),
    ("cert_format", ["cert_format: oldssh"], CertificateFormat.OLDSSH),
    ("cert_format", ["cert_format: oldssh", "cert_format: standard"], CertificateFormat.STANDARD),
    ("cert_format", ["cert_format: oldssh", "{}"], CertificateFormat.STANDARD),
    ("cert_extensions", ["{}"], ()),
    (
        "cert_extensions",
        [
            "cert_extensions: [{type: ssh, mode: extension, name: a, value: x}]",
            "cert_extensions: [{name: a, value: x}, {name: b}]",
        ],
        (CertificateExtension("a", "x"), CertificateExtension("b", "")),
    ),
    ("request_access", ["{}"], RequestAccess.OPTIONAL),
    (
        "request_access",
        ["request_access: reason", "request_access: always", "request_access: optional"],
        RequestAccess.ALWAYS,
    ),
    ("request_prompt", ["{}"], ""),
    ("request_prompt", ["request_prompt: why", "request_prompt: who", "request_prompt: why"], "why\nwho"),
    ("require_session_mfa", ["{}"], SessionMFA.NO),
    ("require_session_mfa", ["require_session_mfa: yes", "require_session_mfa: no"], SessionMFA.YES),
    ("require_session_mfa", ["require_session_mfa: hardware_key"], SessionMFA.HARDWARE_KEY),
    (
        "require_session_mfa",
        ["require_session_mfa: 4", "require_session_mfa: 3"],
        SessionMFA.HARDWARE_KEY_TOUCH_AND_PIN,
    ),
    ("require_session_mfa", ["require_session_mfa: 1"], SessionMFA.YES),
    ("require_session_mfa", ["require_session_mfa: 0"], SessionMFA.NO),
    (
        "require_session_mfa",
        ["require_session_mfa: hardware_key_pin", "require_session_mfa: hardware_key"],
        SessionMFA.HARDWARE_KEY_PIN,
    ),
    ("device_trust_mode", ["{}"], DeviceTrust.OFF),
    (
        "device_trust_mode",
        ["device_trust_mode: off", "device_trust_mode: required-for-humans"],
        DeviceTrust.REQUIRED_FOR_HUMANS,
    ),
    (
        "device_trust_mode",
        ["device_trust_mode: required", "device_trust_mode: required-for-humans"],
        DeviceTrust.REQUIRED,
    ),
    ("lock", ["{}"], Strictness.BEST_EFFORT),
    ("lock", ["lock: strict", "lock: best_effort"], Strictness.STRICT),
    ("pin_source_ip", ["{}"], False),
    ("pin_source_ip", ["pin_source_ip: true", "pin_source_ip: false"], True),
    ("saml_idp", ["{}"], True),
    ("saml_idp", ["idp: {saml: {enabled: false}}", "idp: {saml: {enabled: true}}"], False),
]

OPTIONS = sorted({text for _, texts, _ in MERGES for text in texts})


def _role(text: str, index: int) -> str:
    return f"options: {text}" if text.startswith("{") else f"options: {{{text}}}"


class OptionTests(SynchronousTestCase):
    """
    Each option by its own rule.
    """

    def test_merges(self) -> None:
        """
        What several roles say together.
        """
        for option, texts, expected in MERGES:
            roles = [stored(_role(text, index), f"r{index}") for index, text in enumerate(texts)]
            self.assertEqual(getattr(merge(roles), option), expected, (option, texts))
            self.assertEqual(getattr(merge(roles[::-1]), option), expected, (option, texts, "reversed"))

    def test_no_roles(self) -> None:
        """
        Without a role the defaults hold.
        """
        self.assertTrue(merge([]).port_forwarding)
        self.assertEqual(merge([]).max_session_ttl, 30 * HOUR)

    def test_the_implicit_role_changes_no_format(self) -> None:
        """
        It says nothing, and that does not count as wanting the standard format.
        """
        old, implicit = stored("options: {cert_format: oldssh}", "old"), stored("{}", IMPLICIT_ROLE)
        self.assertIs(merge([old, implicit]).cert_format, CertificateFormat.OLDSSH)

    def test_lengths(self) -> None:
        """
        A certificate is as long as was asked, at most; idling ends by the shorter of role and cluster.
        """
        merged = checker_of("options: {max_session_ttl: 2h, client_idle_timeout: 1h}").options
        self.assertEqual(merged.session_ttl(), 2 * HOUR)
        self.assertEqual(merged.session_ttl(HOUR), HOUR)
        self.assertEqual(merged.session_ttl(9 * HOUR), 2 * HOUR)
        self.assertEqual(merged.idle_timeout(timedelta(0)), HOUR)
        self.assertEqual(merged.idle_timeout(HOUR / 2), HOUR / 2)
        self.assertEqual(checker_of("{}").options.idle_timeout(timedelta(0)), timedelta(0))
        who = checker_of("{}")
        self.assertIs(who.options, who.options)

    @given(st.lists(st.sampled_from(OPTIONS), max_size=5), st.sampled_from(OPTIONS))
    def test_properties(self, texts: list[str], extra: str) -> None:
        """
        The order of roles does not matter, and what restricts is never loosened by one role more.
        """
        roles = [stored(_role(text, index), f"r{index}") for index, text in enumerate(texts)]
        merged = merge(roles)
        self.assertEqual(merge(roles[::-1]), merged)
        more = merge([*roles, stored(_role(extra, 9), "r9")])
        self.assertLessEqual(more.max_session_ttl, merged.max_session_ttl)
        self.assertLessEqual(more.ssh_file_copy, merged.ssh_file_copy)
        self.assertLessEqual(more.desktop_clipboard, merged.desktop_clipboard)
        for restriction in ("disconnect_expired_cert", "pin_source_ip", "require_session_mfa"):
            self.assertGreaterEqual(getattr(more, restriction), getattr(merged, restriction))
        for limit in ("max_sessions", "max_connections", "max_kubernetes_connections"):
            before, after = getattr(merged, limit), getattr(more, limit)
            self.assertTrue(before == 0 or 0 < after <= before)
        if merged.lock is Strictness.STRICT:
            self.assertIs(more.lock, Strictness.STRICT)
