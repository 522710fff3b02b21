"""
Sessions that go on right now, and how the user may join each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define

from teleport_tw.access.checker import Checker
from teleport_tw.access.sessions import join_modes, presence
from teleport_tw.api.contract import Api
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.resources.metadata import Json, Resource
from teleport_tw.resources.sessions import KIND, Session, State
from teleport_tw.web.answers import ANSWER, needed, when
from teleport_tw.web.api.admin import all_of
from teleport_tw.web.people import People
from teleport_tw.web.routes import Call, Limit, Reply, Route
from teleport_tw.web.shapes import FREE, Many, Table

MODES = ("peer", "observer", "moderator")


@define(eq=False)
class Active:
    """
    Which sessions a user sees, auth decides; how they may be joined is told from the roles of who began them.

    @ivar api: auth, as the proxy.
    """

    api: Api
    people: People

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        return (
            Route(
                method="GET",
                path="/sites/<site>/sessions",
                handler=self.list,
                about="Sessions that go on and the user may see.",
                passive=True,
                answer=Table(members={"sessions": Many(of=FREE, most=100_000)}, needs=("sessions",)),
            ),
            Route(
                method="POST",
                path="/sites/<site>/sessions/<session>/presence",
                handler=self.present,
                about="Who moderates it is there: with an answer of scope session_presence and kind session.",
                body=Table(members=ANSWER),
                answer=Table(),
                limit=Limit.COSTLY,
            ),
        )

    async def list(self, call: Call) -> Reply:
        """
        C{GET /webapi/sites/:site/sessions}.
        """
        checker, roles = self.people.checker(call.user), dict[str, tuple[str, ...]]()
        found = []
        for tracker in await all_of(call.api, KIND):
            session = _parsed(tracker)
            if session is None or session.state is State.TERMINATED:
                continue
            if session.host_user not in roles:
                roles[session.host_user] = await self._roles_of(session.host_user)
            found.append(self._row(session, checker, roles[session.host_user]))
        return {"sessions": found}

    async def present(self, call: Call) -> Reply:
        """
        C{POST /webapi/sites/:site/sessions/:session/presence}.
        """
        await call.api.prove_presence(call.path["session"], needed(call.body))
        return {}

    async def _roles_of(self, username: str) -> tuple[str, ...]:
        try:
            user = await self.api.get("user", username)
        except TeleportError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            return ()
        names: Any = user.spec.get("roles")
        return tuple(map(str, names)) if isinstance(names, list | tuple) else ()

    def _row(self, session: Session, checker: Checker, owner: Sequence[str]) -> Json:
        allowed = {mode.value for mode in join_modes(checker.roles, owner, session.session_kind)}
        if session.host_user == checker.username:
            allowed |= {"peer", "observer"}
        return {
            "id": session.name,
            "kind": session.session_kind,
            "login": session.login,
            "server_id": session.address,
            "hostname": session.hostname,
            "owner": session.host_user,
            "created": when(session.created),
            "participants": [{"user": each.user, "mode": each.mode} for each in session.participants],
            "state": session.state.value,
            "reason": session.reason,
            "invited": list(session.invited),
            "command": list(session.command),
            "moderated": self._moderated(owner, session.session_kind),
            "modes": [mode for mode in MODES if mode in allowed],
        }

    def _moderated(self, owner: Sequence[str], kind: str) -> bool:
        try:
            roles = self.people.view.roles(owner)
        except TeleportError:
            return False
        return not presence(roles, kind, ()).satisfied


def _parsed(tracker: Resource) -> Session | None:
    try:
        return Session.parse(tracker)
    except TeleportError:
        return None
