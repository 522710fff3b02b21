"""
Figures of auth for Prometheus: sign-ins, joins, certificates, and calls.
"""

from __future__ import annotations

from attrs import define, field
from prometheus_client import CollectorRegistry, Counter, Histogram

from teleport_tw.backends.measure import BackendFigures
from teleport_tw.events.kinds import CertCreate, Event, InstanceJoin, UserLogin

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
"""Seconds: from a read in memory to a password hash behind a queue."""


@define(eq=False)
class Metrics:
    """
    @ivar registry: where the figures are read from.
    @ivar backend: of the state store.
    """

    registry: CollectorRegistry = field(factory=CollectorRegistry)
    _logins: Counter = field(init=False)
    _certificates: Counter = field(init=False)
    _joins: Counter = field(init=False)
    _calls: Counter = field(init=False)
    _seconds: Histogram = field(init=False)
    backend: BackendFigures = field(init=False)

    def __attrs_post_init__(self) -> None:
        registry = self.registry
        self.backend = BackendFigures(registry)
        self._logins = Counter("teleport_user_login", "Sign-ins", ("result",), registry=registry)
        self._certificates = Counter(
            "teleport_certificates_issued", "Certificates for users", ("type",), registry=registry
        )
        self._joins = Counter("teleport_joins", "Hosts that asked to join", ("role", "result"), registry=registry)
        self._calls = Counter(
            "teleport_grpc_calls", "Calls by method and outcome", ("method", "code"), registry=registry
        )
        self._seconds = Histogram(
            "teleport_grpc_call_seconds", "How long calls took", ("method",), registry=registry, buckets=BUCKETS
        )

    def heard(self, event: Event) -> None:
        """
        Count what auth tells its own audit log.
        """
        match event:
            case UserLogin():
                self._logins.labels("ok" if event.success else "failed").inc()
            case CertCreate():
                self._certificates.labels(event.cert_type).inc()
            case InstanceJoin():
                self._joins.labels(event.role, "ok" if event.success else "failed").inc()

    def called(self, method: str, code: str, seconds: float) -> None:
        """
        @param method: C{ResourceService.Get} and the like.
        @param code: gRPC's word for the outcome.
        @param seconds: negative for streams, which last as long as somebody listens.
        """
        self._calls.labels(method, code).inc()
        if seconds >= 0:
            self._seconds.labels(method).observe(seconds)
