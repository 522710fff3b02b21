"""
From a configuration to running services: plain calls in order.

Becoming a member takes time (auth must answer, a proxy must be reached), so C{twistd} starts a L{Starter}, which
then brings up one service after the other: auth, proxy, the agents. Signals: TERM stops, QUIT stops after sessions have
ended, HUP reads log level and certificates anew.
"""

from __future__ import annotations

import atexit
import os
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, ClassVar

from attrs import define, evolve, field
from prometheus_client import REGISTRY
from twisted.application.service import MultiService
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, Logger

from teleport_tw.api.contract import Api
from teleport_tw.auth.metrics import Metrics
from teleport_tw.auth.service import AuthService, make_auth_service
from teleport_tw.base.addresses import split_address
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.garbage import settle
from teleport_tw.base.logs import Logs
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Tasks, Threads
from teleport_tw.base.timing import Backoff, Duration
from teleport_tw.config.effects import changed, merged, split, warnings
from teleport_tw.config.sections import AuthService as AuthSection
from teleport_tw.config.sections import Configuration, StaticToken
from teleport_tw.daemon.health import Health, Readiness
from teleport_tw.daemon.host import Host, hosted
from teleport_tw.daemon.metrics import Figures, LoopLag
from teleport_tw.daemon.options import log_of
from teleport_tw.daemon.pidfile import PidFile
from teleport_tw.daemon.users import InProcessUsers
from teleport_tw.pki.identity import SystemRole

START_AGAIN = Backoff(first=Duration(seconds=1), cap=Duration(seconds=30))

STREAMS = ("stderr", "stdout")

DRAIN_LIMIT = Duration(hours=30)
"""How long a graceful stop waits for sessions, as the reference has it."""


def build(
    configuration: Configuration,
    *,
    insecure: bool = False,
    reread: Callable[[], Configuration] | None = None,
    log: Logs | None = None,
) -> MultiService:
    """
    @param insecure: believe any proxy when joining.
    @param reread: reads the configuration again, at HUP.
    @param log: what the process logs by, whose level and file HUP renews.
    @return: for C{twistd}; everything begins when it is started.
    """
    from twisted.internet import reactor

    services = Root(log)
    if configuration.teleport.pid_file:
        PidFile(configuration.teleport.pid_file).setServiceParent(services)  # type: ignore[no-untyped-call]
    starter = Starter(configuration, reactor, insecure=insecure, reread=reread, log=log)
    starter.setServiceParent(services)  # type: ignore[no-untyped-call]
    return services


class Root(MultiService):
    """
    Tells C{twistd} what to log by, when it becomes the application's.
    """

    def __init__(self, log: Logs | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._log = log

    def setServiceParent(self, parent: Any) -> None:
        """
        Called by C{twistd} before logging begins.
        """
        if self._log is not None:
            parent.setComponent(ILogObserver, self._log)
        super().setServiceParent(parent)  # type: ignore[no-untyped-call]


def _exit_with_failure() -> None:
    """
    C{twistd} itself knows one exit code only; called when all else is done.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


@define(eq=False)
class Starter(MultiService):
    """
    Brings the services up in order, and keeps trying what needs others that are not there yet.
    """

    configuration: Configuration
    reactor: Any
    insecure: bool = False
    reread: Callable[[], Configuration] | None = None
    log: Logs | None = None
    health: Health = field(factory=Health, init=False)
    auth: AuthService | None = field(default=None, init=False)
    hosts: list[Host] = field(factory=list, init=False)
    _inner: Secret[str] = field(factory=lambda: Secret(secrets.token_hex(16)), init=False)
    _stopping: Any = field(default=None, init=False)
    _tasks: Tasks = field(factory=Tasks, init=False)
    _log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        MultiService.__init__(self)

    # --- life -----------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        """
        After C{fork}, so that grpcio may have its threads.
        """
        self._listen_to_signals()
        for warning in warnings(self.configuration):
            self._log.warn("{warning}", warning=warning)
        super().startService()  # type: ignore[no-untyped-call]
        self._tasks.spawn("starting the services", self._start())

    def stopService(self) -> Deferred[Any]:
        """
        In the opposite order of starting.
        """
        self._tasks.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for host in self.hosts:
            host.leave()  # a page whose server ends first would take it for lost
        for service in reversed(list(self)):
            await self.remove(service)
        stopped = super().stopService()  # type: ignore[no-untyped-call]
        if stopped is not None:
            await stopped

    async def remove(self, service: Any) -> None:
        """
        Stop one service; a failure is logged and holds up nobody.
        """
        try:
            stopping = service.disownServiceParent()
            if stopping is not None:
                await stopping
        except Exception:
            self._log.failure("{service} did not stop cleanly", service=type(service).__name__)

    def _listen_to_signals(self) -> None:
        for number, react in ((signal.SIGQUIT, self.drain), (signal.SIGHUP, self.reload)):
            signal.signal(number, lambda *_, react=react: self.reactor.callFromThread(react))
        if self.configuration.teleport.shutdown_delay:
            self.reactor.callWhenRunning(self._listen_to_term)  # the reactor's own is in place by then

    def _listen_to_term(self) -> None:
        signal.signal(signal.SIGTERM, lambda *_: self.reactor.callFromThread(self.stop_later))

    def stop_later(self) -> None:
        """
        TERM, with a C{shutdown_delay}: say that we are going, and go on serving until those who send us clients know.
        A second TERM ends the wait.
        """
        seconds = self.configuration.teleport.shutdown_delay.total_seconds()
        if self._stopping is not None or not seconds:
            self._stop_now()
            return
        self._log.info("stopping in {seconds} seconds, as shutdown_delay says", seconds=seconds)
        self.health.leave()
        self._stopping = self.reactor.callLater(seconds, self._stop_now)

    def _stop_now(self) -> None:
        if self.reactor.running:
            self.reactor.stop()

    def reload(self) -> None:
        """
        HUP: the configuration anew, what of it can change while services run, and the log file itself.
        """
        if self.log is not None:
            self.log.reopen()
        fresh = self.configuration
        if self.reread is not None:
            try:
                fresh = self.reread()
            except TeleportError as error:
                self._log.error("the configuration was not read again: {error}", error=str(error))
        self._tasks.spawn("reloading", self._reload(fresh))

    async def _reload(self, fresh: Configuration) -> None:
        now, later = split(changed(self.configuration, fresh))
        if self.log is not None and any(key.startswith("teleport.log.") for key in now):
            try:
                self.log.become(
                    log_of(fresh, self.log.path if self.configuration.teleport.log.output in STREAMS else None)
                )
            except TeleportError as error:
                self._log.error("the log goes where it went: {error}", error=error.message)
        if self.auth is not None and any(key.startswith("auth_service.") for key in now):
            await self.auth.reload(self._with_inner(fresh))
        for host in self.hosts:
            host.reload(fresh)
        self.configuration = merged(self.configuration, fresh)
        self._log.info("reloaded; changed: {keys}", keys=", ".join(now) or "nothing")
        if later:
            self._log.warn("these changes need a restart: {keys}", keys=", ".join(later))

    def _with_inner(self, configuration: Configuration) -> AuthSection:
        """
        @return: auth's section with the token by which the services of this process join.
        """
        token = StaticToken(roles=("proxy", "node", "db"), token=self._inner)
        return evolve(configuration.auth, tokens=(*configuration.auth.tokens, token))

    def drain(self) -> None:
        """
        QUIT: take nothing new, let sessions end, then stop.
        """
        self._log.info("draining: nothing new is taken, sessions may end")
        self.health.leave()
        self._tasks.spawn("draining", self._drain())

    async def _drain(self) -> None:
        for host in reversed(self.hosts):
            await host.drain(DRAIN_LIMIT)
        self.reactor.stop()

    # --- start ----------------------------------------------------------------------------------------------------

    async def _start(self) -> None:
        threads = Threads(self.reactor, self.reactor.getThreadPool())
        configuration = self.configuration
        wanted = [
            role
            for role, enabled in (
                (SystemRole.PROXY, configuration.proxy.enabled),
                (SystemRole.NODE, configuration.ssh.enabled),
                (SystemRole.DB, configuration.db.enabled),
            )
            if enabled
        ]
        say = {role: self.health.part(role.value.lower()) for role in wanted}
        say_auth = self.health.part("auth") if configuration.auth.enabled else None
        self._serve_health()
        if say_auth is not None:
            inner = self._inner
            self.auth = make_auth_service(
                configuration.teleport,
                self._with_inner(configuration),
                reactor=self.reactor,
                threads=threads,
                metrics=Metrics(REGISTRY),
            )
            self.auth.setServiceParent(self)  # type: ignore[no-untyped-call]
            try:
                await self.auth.ready()
            except Exception as error:
                self._give_up(error)
                return
            say_auth(Readiness.OK)
        else:
            inner = configuration.teleport.join.token
        for role in wanted:
            host = await self._persist(role, lambda role=role: self._host(role, threads, inner))  # type: ignore[misc]
            if host is None:
                return
            self.hosts.append(host)
            say[role](Readiness.OK)
            self.health.probe(role.value.lower(), lambda copy=host.copy: bool(copy.connected))  # type: ignore[misc]
        settle()
        self._log.info("all services are up")

    def _give_up(self, error: Exception) -> None:
        """
        What is wrong here does not mend itself.
        """
        self._log.critical("cannot start: {error}", error=str(error))
        atexit.register(_exit_with_failure)
        self.reactor.callWhenRunning(self.reactor.stop)

    async def _persist(self, role: SystemRole, make: Callable[[], Awaitable[Host]]) -> Host | None:
        for seconds in START_AGAIN.waits():
            try:
                return await make()
            except CancelledError:
                raise
            except TeleportError as error:
                if error.kind not in (Kind.CONNECTION_PROBLEM, Kind.LIMIT_EXCEEDED):
                    self._give_up(error)
                    return None
                self._log.warn("{role} cannot start yet: {error}", role=role.value, error=error.message)
            except Exception as error:
                self._log.failure("{role} cannot start", role=role.value)
                self._give_up(error)
                return None
            await deferLater(self.reactor, seconds + 0.5, lambda: None)
        return None

    async def _host(self, role: SystemRole, threads: Threads, token: Secret[str]) -> Host:
        local: Callable[[SystemRole], Api] | None = None
        users: InProcessUsers | None = None
        if self.auth is not None:
            auth = self.auth
            users = InProcessUsers(auth)
            local = lambda role: auth.api_for(auth.local_identity(role))  # noqa: E731
        host = await hosted(
            role,
            self.configuration,
            reactor=self.reactor,
            threads=threads,
            token=token,
            local=local,
            users=users,
            insecure=self.insecure,
        )
        host.setServiceParent(self)  # type: ignore[no-untyped-call]
        await host.up()
        return host

    def _serve_health(self) -> None:
        address = self.configuration.teleport.diag_addr
        if address:
            from teleport_tw.base.net.endpoints import TCPServer
            from teleport_tw.daemon.health import service

            host, port = split_address(address)
            uploads = Path(self.configuration.teleport.data_dir) / "log" / "upload" / "streaming"
            REGISTRY.register(Figures(self.health, self.hosts, uploads))
            LoopLag(self.reactor, REGISTRY).setServiceParent(self)  # type: ignore[no-untyped-call]
            pages = service(TCPServer(self.reactor, host, port), self.health)
            pages.setServiceParent(self)
