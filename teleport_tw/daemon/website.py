"""
The proxy's web site, with what its parts need.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from teleport_tw.dial.view import View
from teleport_tw.web.api.active import Active
from teleport_tw.web.api.cluster import Cluster
from teleport_tw.web.api.events import Events
from teleport_tw.web.api.lists import Lists
from teleport_tw.web.api.locks import Locks
from teleport_tw.web.api.roles import Roles
from teleport_tw.web.api.tokens import Tokens
from teleport_tw.web.api.users import Users
from teleport_tw.web.catalogue import Catalogue
from teleport_tw.web.facts import PublicFacts
from teleport_tw.web.people import People
from teleport_tw.web.site import Pages, WebSite

if TYPE_CHECKING:
    from teleport_tw.daemon.host import Host


def website(host: Host, facts: PublicFacts, groups: Sequence[Pages] = ()) -> WebSite:
    """
    @param host: of the proxy, with its copy of the cluster.
    @param groups: routes of who needs more than that.
    @return: with all of its routes.
    """
    catalogue = Catalogue()
    catalogue.follow(host.copy)
    cluster = host.identity.cluster
    people = People(View(host.copy, cluster), host.reactor)
    clock = host.reactor
    own: tuple[Pages, ...] = (
        Cluster(facts, people, catalogue),
        Lists(catalogue, people),
        Active(host.api, people),
        Events(clock),
        Users(facts),
        Roles(),
        Tokens(facts=facts, clock=clock, catalogue=catalogue),
        Locks(clock),
    )
    site = WebSite(host.api, facts, clock, host.users, groups=(*own, *groups), cluster=cluster)
    host.assets = site.assets
    return site
