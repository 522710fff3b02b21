"""
The SSH agent of this host and what it needs around it: its tunnel to the proxy, its heartbeats, its uploads.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from attrs import define, evolve

import teleport_tw
from teleport_tw.agents.labels import CommandLabels
from teleport_tw.agents.service import Announcer
from teleport_tw.agents.ssh.service import SSHAgentService
from teleport_tw.base.tasks import Threads
from teleport_tw.config.sections import Configuration, SSHService
from teleport_tw.daemon.linked import LinkedService, Uploads, proxy_address
from teleport_tw.recordings.capture import Recordings
from teleport_tw.recordings.upload import Uploader

if TYPE_CHECKING:
    from teleport_tw.daemon.host import Host


@define(eq=False)
class NodeService(LinkedService):
    """
    All of it, started and stopped together.
    """

    announcer: Announcer

    def reload(self, section: SSHService) -> None:
        """
        The labels as the file has them now; the cluster hears of them at once, and the next user is judged by them.
        """
        if section.labels != self.announcer.section.labels:
            self.announcer.section = evolve(self.announcer.section, labels=section.labels)
            self.announcer.announce_soon()


def node(host: Host, configuration: Configuration, threads: Threads) -> NodeService:
    """
    @return: not started.
    """
    reactor, section, teleport = host.reactor, configuration.ssh, configuration.teleport
    proxy = proxy_address(configuration)
    name = teleport.nodename or host.node_name
    directory = Path(teleport.data_dir) / "log" / "upload" / "streaming" / "default"
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    uploader = Uploader(directory, host.api.put_recording, host.api.complete_recording, host.emitter, threads, reactor)
    labels = CommandLabels(section.commands, reactor)
    listen = section.force_listen or not proxy
    agent = SSHAgentService(
        reactor=reactor,
        threads=threads,
        identity=host.identity,
        node_name=name,
        version=teleport_tw.__version__,
        section=section,
        copy=host.copy,
        leases=host.api,
        taps=host.api,
        sink=host.emitter,
        recordings=Recordings(directory, host.api, reactor, threads, uploader.wake),
        labels=lambda: {**announcer.section.labels, **labels.values()},
        algorithms=host.algorithms,
        proxy_address=proxy,
        listen=listen,
    )
    announcer = Announcer(
        api=host.api,
        clock=reactor,
        host_id=host.identity.host_id,
        hostname=name,
        section=section,
        labels=labels,
        use_tunnel=not listen,
        advertise_ip=teleport.advertise_ip,
    )
    service = NodeService(host, agent, announcer)
    for part in (Uploads(uploader), labels, agent, announcer):
        part.setServiceParent(service)  # type: ignore[no-untyped-call]
    if proxy:
        service.link(proxy, agent.acceptor)
    return service
