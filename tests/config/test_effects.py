"""
Keys without effect, and what a changed file comes to.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.config.effects import changed, merged, split, warnings
from teleport_tw.config.load import load_text
from teleport_tw.config.sample import samples

LATER = """\
version: v3
teleport:
  cache: {enabled: no}
  log: {format: {extra_fields: [caller]}}
  storage: {audit_events_uri: ['file:///x'], audit_sessions_uri: 's3://x'}
auth_service: {tunnel_strategy: {type: proxy_peering}, load_all_cas: yes}
proxy_service: {workers: 4, ui: {scrollback_lines: 5}, kube_listen_addr: 0.0.0.0:3026}
ssh_service: {workers: 2, pam: {enabled: yes}, enhanced_recording: {enabled: yes}}
"""


class EffectsTests(SynchronousTestCase):
    """
    From text to sentences.
    """

    def test_what_has_no_effect_is_said(self) -> None:
        """Each with its key, and nothing that does have one."""
        said = warnings(load_text(LATER))
        for key in (
            "teleport.cache.enabled",
            "teleport.log.format.extra_fields",
            "teleport.storage.audit_events_uri",
            "teleport.storage.audit_sessions_uri",
            "auth_service.tunnel_strategy.type",
            "auth_service.load_all_cas",
            "proxy_service.workers",
            "proxy_service.ui.scrollback_lines",
            "proxy_service.kube_listen_addr",
            "ssh_service.workers",
            "ssh_service.pam.enabled",
            "ssh_service.enhanced_recording.enabled",
        ):
            self.assertEqual(len([line for line in said if line.startswith(key)]), 1, key)
        self.assertEqual(len(said), 12)

    def test_samples_have_effect(self) -> None:
        """What we hand out means something to the last key."""
        for name, text in samples().items():
            self.assertEqual(warnings(load_text(text)), (), name)

    def test_changes(self) -> None:
        """Those that come into effect at once, and those that wait; secrets are compared and not told."""
        before = load_text("version: v3\nteleport: {nodename: a}\nauth_service: {tokens: ['node:old-geheim']}")
        after = load_text(
            "version: v3\nteleport: {nodename: b, log: {severity: DEBUG}, connection_limits: {max_connections: 5}}\n"
            "auth_service: {tokens: ['node:geheim'], client_idle_timeout: 5m, listen_addr: '0.0.0.0:1',\n"
            "  authentication: {locking_mode: strict}}\n"
            "proxy_service: {https_keypairs: [{key_file: a, cert_file: b}]}\nssh_service: {labels: {env: prod}}"
        )
        now, later = split(changed(before, after))
        self.assertEqual(
            sorted(now),
            [
                "auth_service.authentication.locking_mode",
                "auth_service.client_idle_timeout",
                "auth_service.tokens",
                "proxy_service.https_keypairs",
                "ssh_service.labels",
                "teleport.log.severity",
            ],
        )
        waiting = ["auth_service.listen_addr", "teleport.connection_limits.max_connections", "teleport.nodename"]
        self.assertEqual(sorted(later), waiting)
        held = merged(before, after)
        self.assertEqual(sorted(changed(held, after)), waiting)
        self.assertEqual(held.auth.written, after.auth.written)
