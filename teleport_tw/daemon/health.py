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
    _leaving: bool = field(default=False, init=False)

    def part(self, name: str) -> Callable[[Readiness], None]:
        """
        @return: by which the part tells its state; it is STARTING until then.
        """
        self._parts[name] = Readiness.STARTING

        def say(state: Readiness) -> None:
            self._parts[name] = state

        return say

    def leave(self) -> None:
        """
        Nothing new should be sent here: every part is leaving, whatever it says from now on.
        """
        self._leaving = True

    @property
    def ready(self) -> bool:
        """
        Whether every part is OK.
        """
        return not self._leaving and all(state is Readiness.OK for state in self._parts.values())

    def states(self) -> dict[str, str]:
        """
        @return: part to state, for the answer.
        """
        return {name: state.value for name, state in self.parts().items()}

    def parts(self) -> dict[str, Readiness]:
        """
        @return: part to what counts.
        """
        leaving = Readiness.LEAVING if self._leaving else None
        return {name: leaving or state for name, state in self._parts.items()}


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
        status = "ok" if health.ready else "not ready"
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
