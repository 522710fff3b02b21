"""
The database agent of this host and what it needs around it: its tunnel to the proxy, its heartbeats, its uploads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define

from teleport_tw.agents.db.catalog import Catalog
from teleport_tw.agents.db.cloud import Tokens
from teleport_tw.agents.db.engines import PROVISIONERS, engines
from teleport_tw.agents.db.health import Dial, HealthChecks
from teleport_tw.agents.db.passwords import Files, Passwords
from teleport_tw.agents.db.policy import Keeping, Policy
from teleport_tw.agents.db.service import DatabaseAgentService
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.tasks import Threads
from teleport_tw.config.sections import Configuration
from teleport_tw.daemon.linked import LinkedService, Uploads, proxy_address
from teleport_tw.recordings.capture import Recordings
from teleport_tw.recordings.upload import Uploader

if TYPE_CHECKING:
    from teleport_tw.daemon.host import Host


@define(eq=False)
class DatabaseService(LinkedService):
    """
    All of it, started and stopped together.
    """

    catalog: Catalog


def database(host: Host, configuration: Configuration, threads: Threads) -> DatabaseService:
    """
    @return: not started.
    @raise TeleportError: BAD_PARAMETER, there is no proxy to serve through.
    """
    reactor, section, teleport = host.reactor, configuration.db, configuration.teleport
    proxy = proxy_address(configuration)
    if not proxy:
        raise bad_parameter("db_service serves through a proxy: set teleport.proxy_server")
    data_dir = Path(teleport.data_dir)
    directory = data_dir / "log" / "upload" / "streaming" / "db"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    uploader = Uploader(directory, host.api.put_recording, host.api.complete_recording, host.emitter, threads, reactor)
    files = (Files(Path(section.password_dir), threads),) if section.password_dir else ()
    agent = DatabaseAgentService(
        reactor=reactor,
        threads=threads,
        identity=host.identity,
        copy=host.copy,
        leases=host.api,
        sink=host.emitter,
        recordings=Recordings(directory, host.api, reactor, threads, uploader.wake),
        certifier=host.api,
        engines=engines(),
        provisioners=PROVISIONERS,
        directory=data_dir / "db-users",
        policy=Policy(parameters=Keeping(section.record_parameters.value)),
        passwords=Passwords((*files, Tokens(reactor, threads))),
    )
    catalog = Catalog(
        api=host.api,
        clock=reactor,
        host_id=host.identity.host_id,
        hostname=teleport.nodename or host.node_name,
        section=section,
        copy=host.copy,
        agent=agent,
        health=lambda name: checks.health(name),
    )
    checks = HealthChecks(
        reactor, Dial(reactor, agent.commons.view), lambda: catalog.served, lambda: catalog.announce_soon()
    )
    service = DatabaseService(host, agent, catalog)
    for part in (Uploads(uploader), agent, catalog, checks):
        part.setServiceParent(service)  # type: ignore[no-untyped-call]
    service.link(proxy, agent.acceptor)
    return service
