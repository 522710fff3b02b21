"""
Figures of the services of a process for Prometheus, read when somebody scrapes them: nothing is counted on hot paths.

What auth counts is in L{teleport_tw.auth.metrics}.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from attrs import define, field
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from twisted.application.service import Service
from twisted.internet.interfaces import IDelayedCall, IReactorTime

import teleport_tw
from teleport_tw.base.timing import utc_now
from teleport_tw.daemon.health import Health, Readiness
from teleport_tw.daemon.host import Host
from teleport_tw.daemon.node import NodeService
from teleport_tw.proxy.service import ProxyService
from teleport_tw.recordings.recorder import DONE_SUFFIX, OPEN_SUFFIX

STATES = {Readiness.OK: 0, Readiness.DEGRADED: 2, Readiness.STARTING: 3}
"""As the reference numbers them; what is leaving counts as degraded."""

LAG_SECONDS = 1.0
LAG_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


@define(eq=False)
class Figures(Collector):
    """
    @ivar hosts: the services of this process but auth; it may grow.
    @ivar uploads: the folder in whose folders recordings wait to be sent.
    """

    health: Health
    hosts: list[Host]
    uploads: Path

    def collect(self) -> Iterator[Metric]:
        """
        Called for each scrape.
        """
        build = GaugeMetricFamily("teleport_build_info", "What runs; always 1", labels=("version", "python"))
        build.add_metric((teleport_tw.__version__, platform.python_version()), 1)
        yield build
        state = GaugeMetricFamily(
            "teleport_process_state", "0 ok, 2 degraded or leaving, 3 starting", labels=("component",)
        )
        for component, readiness in self.health.parts().items():
            state.add_metric((component,), STATES.get(readiness, 2))
        yield state
        yield from self._of_hosts()
        yield from self._of_proxies([host.serving for host in self.hosts if isinstance(host.serving, ProxyService)])
        sessions = GaugeMetricFamily("teleport_agent_ssh_connections", "Users connected to the SSH agent")
        agents = [host.serving.agent for host in self.hosts if isinstance(host.serving, NodeService)]
        sessions.add_metric((), sum(len(agent.realm.lifetimes) for agent in agents))
        yield sessions
        yield from self._of_recordings()

    def _of_hosts(self) -> Iterator[Metric]:
        expiry = GaugeMetricFamily(
            "teleport_certificate_remaining_seconds", "Until this host's certificates end", labels=("role",)
        )
        age = GaugeMetricFamily(
            "teleport_cache_age_seconds", "Since the copy of auth's state was last known to be fresh", labels=("role",)
        )
        waiting = GaugeMetricFamily(
            "teleport_audit_spool_bytes", "Events that auth has not acknowledged", labels=("role",)
        )
        stalled = GaugeMetricFamily(
            "teleport_audit_spool_stalled_seconds", "How long events wait and none is acknowledged", labels=("role",)
        )
        lost = CounterMetricFamily("teleport_audit_events_lost", "Events that could not be kept", labels=("role",))
        for host in self.hosts:
            role = (host.identity.role.value.lower(),)
            expiry.add_metric(role, (host.identity.validity[1] - utc_now()).total_seconds())
            age.add_metric(role, host.copy.age().total_seconds())
            waiting.add_metric(role, host.emitter.spool.pending_bytes)
            stalled.add_metric(role, host.emitter.spool.stalled_seconds)
            lost.add_metric(role, host.emitter.lost)
        return iter((expiry, age, waiting, stalled, lost))

    def _of_proxies(self, proxies: Iterable[ProxyService]) -> Iterator[Metric]:
        links = GaugeMetricFamily("teleport_reverse_tunnels_connected", "Links of agents to this proxy")
        streams = GaugeMetricFamily("teleport_reverse_tunnel_streams", "Streams open on them")
        visits = GaugeMetricFamily("teleport_proxy_ssh_sessions", "Connections whose SSH ends at the proxy")
        refused = CounterMetricFamily(
            "teleport_proxy_connections_refused", "Connections turned away before they began", labels=("reason",)
        )
        for proxy in proxies:
            links.add_metric((), len(proxy.registry))
            streams.add_metric((), proxy.registry.streams())
            visits.add_metric((), len(proxy.forwarder.visits) if proxy.forwarder is not None else 0)
            for reason in ("protocol", "limit", "unserved", "certificate"):
                refused.add_metric((reason,), proxy.refused[reason])
        return iter((links, streams, visits, refused))

    def _of_recordings(self) -> Iterator[Metric]:
        count = GaugeMetricFamily("teleport_recordings_waiting", "Recordings on this host that auth does not have yet")
        oldest = GaugeMetricFamily(
            "teleport_recordings_waiting_seconds", "Since the oldest of them that is whole ended"
        )
        found = [path for path in self.uploads.glob("*/*") if path.suffix in (OPEN_SUFFIX, DONE_SUFFIX)]
        ended = [written for path in found if path.suffix == DONE_SUFFIX and (written := _written(path))]
        count.add_metric((), len(found))
        oldest.add_metric((), max(0.0, time.time() - min(ended)) if ended else 0.0)
        return iter((count, oldest))


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # it was sent just now
        return 0.0


@define(eq=False)
class LoopLag(Service):
    """
    How late the event loop gets to what is due: C{teleport_event_loop_lag_seconds}.
    """

    clock: IReactorTime
    registry: CollectorRegistry
    now: Any = time.monotonic
    _seconds: Histogram = field(init=False)
    _call: IDelayedCall | None = field(default=None, init=False)
    _due: float = field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._seconds = Histogram(
            "teleport_event_loop_lag_seconds",
            "How late timers fire, asked once a second",
            registry=self.registry,
            buckets=LAG_BUCKETS,
        )

    def startService(self) -> None:
        """
        Ask once a second.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._plan()

    def stopService(self) -> None:
        """
        Ask no more.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        if self._call is not None and self._call.active():
            self._call.cancel()

    def _plan(self) -> None:
        self._due = self.now() + LAG_SECONDS
        self._call = self.clock.callLater(LAG_SECONDS, self._fired)

    def _fired(self) -> None:
        self._seconds.observe(max(0.0, self.now() - self._due))
        self._plan()
