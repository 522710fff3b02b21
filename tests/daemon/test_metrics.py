"""
What a scrape says of services that are there, and of none.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from attrs import define, field
from prometheus_client import CollectorRegistry
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.audit.spool import Spool
from teleport_tw.base.timing import utc_now
from teleport_tw.daemon.health import Health, Readiness
from teleport_tw.daemon.metrics import Figures, LoopLag
from teleport_tw.pki.identity import SystemRole


@define
class Known:
    """
    A host's identity, copy and emitter in one, as far as figures go.
    """

    spool: Spool
    role: SystemRole = SystemRole.NODE
    lost: int = 3
    validity: Any = field(factory=lambda: (utc_now(), utc_now() + timedelta(days=1)))

    def age(self) -> timedelta:
        return timedelta(seconds=7)


@define
class Hosted:
    """
    A host without a service.
    """

    known: Known
    serving: Any = None

    @property
    def identity(self) -> Known:
        return self.known

    copy = emitter = identity


class FiguresTests(SynchronousTestCase):
    """
    Read by a registry.
    """

    def setUp(self) -> None:
        self.registry, self.health = CollectorRegistry(), Health()
        self.uploads = Path(self.mktemp())
        self.hosts: list[Any] = []
        self.registry.register(Figures(self.health, self.hosts, self.uploads))

    def value(self, name: str, **labels: str) -> float:
        found = self.registry.get_sample_value(name, labels)
        assert found is not None, name
        return found

    def test_states(self) -> None:
        """As the reference numbers them."""
        self.health.part("auth")(Readiness.OK)
        self.health.part("proxy")
        self.assertEqual(self.value("teleport_process_state", component="auth"), 0)
        self.assertEqual(self.value("teleport_process_state", component="proxy"), 3)
        self.health.leave()
        self.assertEqual(self.value("teleport_process_state", component="auth"), 2)

    def test_degraded(self) -> None:
        """A part that does not have all it needs goes on serving, and says so; one that starts is not asked."""
        whole = [True]
        say = self.health.part("proxy")
        self.health.probe("proxy", lambda: whole[0])
        whole[0] = False
        self.assertEqual((self.health.ready, self.health.states()), (False, {"proxy": "starting"}))
        say(Readiness.OK)
        self.assertEqual((self.health.ready, self.health.states()), (True, {"proxy": "degraded"}))
        self.assertEqual(self.value("teleport_process_state", component="proxy"), 2)
        whole[0] = True
        self.assertEqual((self.health.ready, self.health.states()), (True, {"proxy": "ok"}))

    def test_hosts(self) -> None:
        """What waits in the spool, and how long the certificates last."""
        spool = Spool(Path(self.mktemp()))
        spool.open()
        self.addCleanup(spool.close)
        self.hosts.append(Hosted(Known(spool)))
        self.assertEqual(self.value("teleport_audit_spool_bytes", role="node"), 0)
        self.assertEqual(self.value("teleport_audit_spool_stalled_seconds", role="node"), 0)
        spool.append([b"{}\n"])
        self.assertEqual(self.value("teleport_audit_spool_bytes", role="node"), 3)
        self.assertGreater(self.value("teleport_audit_spool_stalled_seconds", role="node"), 0)
        spool.acknowledge(spool.take(10, 100).after)
        self.assertEqual(self.value("teleport_audit_spool_stalled_seconds", role="node"), 0)
        self.assertEqual(self.value("teleport_audit_events_lost_total", role="node"), 3)
        self.assertEqual(self.value("teleport_cache_age_seconds", role="node"), 7)
        self.assertGreater(self.value("teleport_certificate_remaining_seconds", role="node"), 86_000)

    def test_recordings(self) -> None:
        """Those that are being written count; only those that are whole grow old."""
        self.assertEqual(self.value("teleport_recordings_waiting"), 0)
        folder = self.uploads / "default"
        folder.mkdir(parents=True)
        (folder / "a.part").write_bytes(b"")
        (folder / "b.rec").write_bytes(b"")
        self.assertEqual(self.value("teleport_recordings_waiting"), 2)
        self.assertGreaterEqual(self.value("teleport_recordings_waiting_seconds"), 0)

    def test_loop_lag(self) -> None:
        """A timer that fires half a second late is seen."""
        clock, now = Clock(), [0.0]
        lag = LoopLag(clock, self.registry, now=lambda: now[0])
        lag.startService()
        now[0] = 1.5
        clock.advance(1)
        self.assertEqual(self.value("teleport_event_loop_lag_seconds_sum"), 0.5)
        lag.stopService()
        self.assertEqual(clock.getDelayedCalls(), [])
