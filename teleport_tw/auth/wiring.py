"""
Auth's parts, put together in order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from teleport_tw.auth.account import Accounts
from teleport_tw.auth.attendance import AttendanceDesk
from teleport_tw.auth.bound import Parts
from teleport_tw.auth.browser import BrowserDesk
from teleport_tw.auth.changes import Changes
from teleport_tw.auth.core import AuditTrail, Core
from teleport_tw.auth.delivery import Ownership
from teleport_tw.auth.enrolment import Enrolment
from teleport_tw.auth.factors import SecondFactors
from teleport_tw.auth.guard import Guard
from teleport_tw.auth.headless import HeadlessDesk
from teleport_tw.auth.inband import TapDesk
from teleport_tw.auth.joining.token import TokenJoining
from teleport_tw.auth.login import Login
from teleport_tw.auth.password import Passwords
from teleport_tw.auth.presence import PresenceRegister
from teleport_tw.auth.setup import Setups
from teleport_tw.auth.taps import Taps
from teleport_tw.auth.users import UserCertificates
from teleport_tw.auth.websessions import WebSessionDesk
from teleport_tw.backends.interface import Backend
from teleport_tw.events.sink import EventSink
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.servers import PROXY
from teleport_tw.stores.challenges import Challenges
from teleport_tw.stores.credentials import Credentials
from teleport_tw.stores.devices import Devices
from teleport_tw.stores.headless import HeadlessStore
from teleport_tw.stores.presence import Presence
from teleport_tw.stores.resources import ResourceStore
from teleport_tw.stores.semaphores import Semaphores
from teleport_tw.stores.websessions import WebSessionStore


def make_core(
    cluster: str,
    backend: Backend,
    resources: ResourceStore,
    passwords: Passwords,
    events: EventSink,
    trail: AuditTrail,
    **others: Any,
) -> Core:
    """
    @param others: the core's other members, as it has them.
    """
    credentials, web_sessions = Credentials(backend), WebSessionStore(backend)
    guard = Guard(resources, credentials)
    factors = SecondFactors(cluster, Devices(backend), Challenges(backend), events, alive_proxies(resources))
    enrolment = Enrolment(cluster, factors)
    return Core(
        cluster=cluster,
        backend=backend,
        resources=resources,
        credentials=credentials,
        passwords=passwords,
        events=events,
        trail=trail,
        guard=guard,
        factors=factors,
        enrolment=enrolment,
        login=Login(guard, credentials, passwords, factors, events),
        setups=Setups(cluster, resources, credentials, passwords, events, enrolment, web_sessions),
        web_sessions=web_sessions,
        headless=HeadlessStore(backend),
        **others,
    )


def make_parts(core: Core) -> Parts:
    """
    @return: what the callers' APIs share.
    """
    accounts = Accounts(core)
    taps = Taps(core, accounts)
    users = UserCertificates(core, taps)
    presence = PresenceRegister(Presence(core.backend, core.clock), Semaphores(core.backend, core.clock))
    return Parts(
        core=core,
        presence=presence,
        changes=Changes(core),
        users=users,
        joining=TokenJoining(core),
        ownership=Ownership(core.backend),
        accounts=accounts,
        taps=taps,
        web=WebSessionDesk(core, users),
        headless=HeadlessDesk(core, users, accounts),
        browser=BrowserDesk(core, users, accounts),
        in_band=TapDesk(core, taps, accounts),
        attendance=AttendanceDesk(core, accounts, presence),
    )


def alive_proxies(resources: ResourceStore) -> Callable[[], Awaitable[Sequence[Resource]]]:
    """
    @return: tells the proxies that are alive, as they announce themselves.
    """

    async def alive() -> Sequence[Resource]:
        return (await resources.list(PROXY)).items

    return alive
