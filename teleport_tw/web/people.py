"""
What the users of the page may do, as the proxy's copy of the roles says: for what a page offers and lists. Whoever does
something in earnest is asked again, by auth or by the agent.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from teleport_tw.access.checker import Checker
from teleport_tw.access.locks import Subject, refusal
from teleport_tw.api.contract import Watched
from teleport_tw.base.errors import TeleportError, access_denied
from teleport_tw.base.timing import from_timestamp
from teleport_tw.dial.view import View
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.identity import Identity
from teleport_tw.pki.x509 import Wanted, verify
from teleport_tw.resources.roles_options import Strictness
from teleport_tw.web.sessions import Session

MAX_KEPT = 2000


class Rights(Protocol):
    """
    The part of L{People} that pages ask.
    """

    def checker(self, session: Session) -> Checker:
        """
        @return: of the session's roles as they are now; the same one until a role changes.
        @raise TeleportError: ACCESS_DENIED, locked, expired or without roles.
        """
        ...


@define(eq=False)
class People:
    """
    @ivar view: the proxy's copy of the cluster.
    """

    view: View
    clock: IReactorTime
    _identities: dict[bytes, Identity] = field(factory=dict, init=False)
    _checkers: dict[object, Checker] = field(factory=dict, init=False)
    _leave: Callable[[], None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._leave = self.view.copy.subscribe(self._changed)

    def identity(self, session: Session) -> Identity:
        """
        @raise TeleportError: ACCESS_DENIED, the certificate is not good any more, or a lock is in force.
        """
        now, pem = from_timestamp(self.clock.seconds()), session.certificates.tls
        identity = self._identities.get(pem)
        if identity is None:
            der = ssl.PEM_cert_to_DER_cert(pem.decode("ascii"))
            identity = verify([der], self.view.authorities(AuthorityType.USER), now, wanted=Wanted.USER)
            if len(self._identities) >= MAX_KEPT:
                self._identities.clear()
            self._identities[pem] = identity
        if identity.expires is not None and identity.expires <= now:
            raise access_denied("the session has ended; sign in again", details="the certificate has expired")
        subject = Subject(
            user=identity.username,
            roles=identity.roles,  # type: ignore[arg-type]  # the converter takes any iterable
            mfa_device=identity.mfa_device,
            access_requests=identity.active_requests,  # type: ignore[arg-type]  # as above
        )
        why = self._why_locked(subject, now)
        if why:
            raise access_denied(why, details=why)
        return identity

    def _why_locked(self, subject: Subject, now: datetime) -> str:
        view = self.view
        try:
            locks, strict = view.locks(), view.preference().locking_mode == Strictness.STRICT.value
        except TeleportError as error:
            return f"a lock or a setting cannot be read, so nobody is let in: {error.message}"
        mode = Strictness.STRICT if strict else Strictness.BEST_EFFORT
        return refusal(locks, subject, now, mode=mode, fresh_at=view.locks_fresh_at(now))

    def checker(self, session: Session) -> Checker:
        """See L{Rights}."""
        identity = self.identity(session)
        traits = tuple(sorted((name, tuple(values)) for name, values in identity.traits.items()))
        key = (identity.username, identity.roles, traits)
        checker = self._checkers.get(key)
        if checker is None:
            roles = self.view.roles(identity.roles)
            checker = Checker.for_identity(roles, username=identity.username, traits=identity.traits)
            if len(self._checkers) >= MAX_KEPT:
                self._checkers.clear()
            self._checkers[key] = checker
        return checker

    def _changed(self, news: Watched) -> None:
        kind = news.resource.kind if news.resource is not None else ""
        if kind in ("", "role"):
            self._checkers.clear()
        if kind in ("", "cert_authority"):
            self._identities.clear()
