"""
The order in which a node's parts stop.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.daemon.node import NodeService, Uploads


class Slow(Service):
    """
    An agent whose users take their time.
    """

    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()

    def stopService(self) -> Deferred[None]:
        return self.gone


class Uploader:
    """
    Notes when it is stopped.
    """

    stopped = False

    def start(self) -> None:
        pass

    def stop(self) -> None:
        self.stopped = True


class Order(SynchronousTestCase):
    """
    With doubles.
    """

    def test_uploads_outlive_the_agent(self) -> None:
        """What the last session leaves is still taken."""
        agent, uploader, nothing = Slow(), Uploader(), None
        host: Any = nothing
        taken: Any = uploader
        double: Any = agent
        service = NodeService(host, double, host)
        for part in (Uploads(taken), agent):
            part.setServiceParent(service)  # type: ignore[no-untyped-call]
        service.startService()  # type: ignore[no-untyped-call]
        stopped = service.stopService()
        self.assertFalse(uploader.stopped)
        self.assertNoResult(stopped)
        agent.gone.callback(None)
        self.successResultOf(stopped)
        self.assertTrue(uploader.stopped)
