"""
Whether the process is alive and ready: C{/healthz}, C{/readyz} and C{/metrics} over plain HTTP on C{diag_addr}.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum

from attrs import define, field
from klein import Klein
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from twisted.application.internet import StreamServerEndpointService
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.web.server import Request, Site


class Readiness(Enum):
    """
    The state of one part of the process; the value is what C{/readyz} says.
    """

    STARTING = "starting"
    OK = "ok"
    DEGRADED = "degraded"
    LEAVING = "leaving"


@define(eq=False)
class Health:
    """
    What each part last said of itself; the whole is as well as the worst part.
    """

    _parts: dict[str, Readiness] = field(factory=dict, init=False)
    _probes: dict[str, Callable[[], bool]] = field(factory=dict, init=False)
    _leaving: bool = field(default=False, init=False)

    def part(self, name: str) -> Callable[[Readiness], None]:
        """
        @return: by which the part tells its state; it is STARTING until then.
        """
        self._parts[name] = Readiness.STARTING

        def say(state: Readiness) -> None:
            self._parts[name] = state

        return say

    def probe(self, name: str, whole: Callable[[], bool]) -> None:
        """
        Ask a part that is OK each time whether it has all it needs; it is DEGRADED while it has not.
        """
        self._probes[name] = whole

    def leave(self) -> None:
        """
        Nothing new should be sent here: every part is leaving, whatever it says from now on.
        """
        self._leaving = True

    @property
    def ready(self) -> bool:
        """
        Whether every part serves: what is DEGRADED does, from what it knew last.
        """
        return all(state in (Readiness.OK, Readiness.DEGRADED) for state in self.parts().values())

    def states(self) -> dict[str, str]:
        """
        @return: part to state, for the answer.
        """
        return {name: state.value for name, state in self.parts().items()}

    def parts(self) -> dict[str, Readiness]:
        """
        @return: part to what counts.
        """
        return {name: self._state(name, said) for name, said in self._parts.items()}

    def _state(self, name: str, said: Readiness) -> Readiness:
        if self._leaving:
            return Readiness.LEAVING
        whole = self._probes.get(name)
        return Readiness.DEGRADED if said is Readiness.OK and whole is not None and not whole() else said


def site(health: Health, registry: CollectorRegistry = REGISTRY) -> Site:
    """
    @return: the three pages.
    """
    app = Klein()

    def answer(request: Request, status: int, value: object) -> bytes:
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", b"application/json")
        return json.dumps(value).encode()

    def healthz(request: Request) -> bytes:
        return answer(request, 200, {"status": "ok"})

    def readyz(request: Request) -> bytes:
        degraded = Readiness.DEGRADED in health.parts().values()
        status = ("degraded" if degraded else "ok") if health.ready else "not ready"
        return answer(request, 200 if health.ready else 503, {"status": status, "parts": health.states()})

    def metrics(request: Request) -> bytes:
        request.setHeader(b"Content-Type", CONTENT_TYPE_LATEST.encode())
        return generate_latest(registry)

    for path, page in (("/healthz", healthz), ("/readyz", readyz), ("/metrics", metrics)):
        app.route(path, methods=["GET", "HEAD"])(page)
    served = Site(app.resource(), timeout=30)
    served.log = lambda request: None  # type: ignore[method-assign]
    return served


def service(endpoint: IStreamServerEndpoint, health: Health) -> StreamServerEndpointService:
    """
    @return: serves the pages while it runs.
    """
    return StreamServerEndpointService(endpoint, site(health))
