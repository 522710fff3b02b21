"""
Database users made for a session and gone after it.

How a user is made is the protocol's (L{Provisioner}); when, and that none is left behind, is here. Each user that is
made is noted on disk first, so that an agent that was killed takes it away when it comes back. Sessions of the same
user share it and must agree on what it may do; the last one to end takes it away.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from attrs import asdict, define, field, frozen
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from teleport_tw.agents.db.grants import Grants
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.tasks import Threads
from teleport_tw.base.timing import Backoff, Duration
from teleport_tw.events.kinds import DatabasePermissionsUpdate, DatabaseUserCreate, DatabaseUserDeactivate
from teleport_tw.resources.databases import Database

if TYPE_CHECKING:
    from teleport_tw.agents.db.admit import Permit
    from teleport_tw.agents.db.flow import Session

WORK_SECONDS = 20.0
"""How long making or taking away a user may take."""
RETRIES = 4
RETRY = Backoff(first=Duration(seconds=1), cap=Duration(seconds=30))


@frozen(kw_only=True)
class Provisioning:
    """
    What was done for a user.

    @ivar objects: per permission granted, how many objects of which kind; for C{db.session.permissions.update}.
    """

    objects: tuple[Mapping[str, Any], ...] = ()


class Provisioner(Protocol):
    """
    Makes users in one kind of database, as its C{admin_user}.
    """

    async def activate(self, database: Database, name: str, grants: Grants) -> Provisioning:
        """
        Make the user, or wake one that we made, and give it what it may have.

        @param name: of the logical database of the session.
        @raise TeleportError: ALREADY_EXISTS, there is such a user that is not ours; CONNECTION_PROBLEM; others.
        """
        ...

    async def deactivate(self, database: Database, name: str, user: str, drop: bool) -> bool:
        """
        Take away what it was given; drop the user, or lock it where it owns something or is to be kept.

        @return: false if nothing was done, since the database has other sessions of the user.
        @raise TeleportError: it could not be done.
        """
        ...


@frozen(kw_only=True)
class _Note:
    """
    On disk, for each user that stands.
    """

    database: str
    name: str
    user: str
    drop: bool


@define(eq=False)
class Provisioned:
    """
    A user that sessions here share.

    @ivar names: the logical databases that it was made for; what it got in each is taken off it there.
    """

    database: Database
    grants: Grants
    names: list[str] = field(factory=list)
    sessions: int = 0


@define(eq=False)
class Users:
    """
    Those of one agent.

    @ivar directory: where is noted who stands; made when needed.
    @ivar provisioners: by protocol.
    """

    clock: IReactorTime
    threads: Threads
    directory: Path
    provisioners: Mapping[str, Provisioner]
    _standing: dict[tuple[str, str], Provisioned] = field(factory=dict, init=False)
    _locks: dict[tuple[str, str], DeferredLock] = field(factory=dict, init=False)
    _log: ClassVar[Logger] = Logger()

    async def activate(self, session: Session, permit: Permit) -> Provisioned:
        """
        @raise TeleportError: the user cannot be had; the audit log knows.
        """
        grants, database = permit.grants, permit.database
        assert grants is not None  # asked for nobody else
        key = (database.name, grants.user)
        lock = self._locks.setdefault(key, DeferredLock())
        await lock.acquire()
        try:
            standing = self._standing.get(key)
            if standing is not None and standing.sessions and standing.grants != grants:
                raise TeleportError(
                    Kind.ACCESS_DENIED,
                    f"database user {grants.user!r} is in use with other roles; end its other sessions first",
                )
            if standing is None or not standing.sessions:
                standing = Provisioned(database, grants)
            if permit.name not in standing.names:
                made = await self._activate(standing, permit.name)
                self._tell(session, grants, made)
                standing.names.append(permit.name)
                self._standing[key] = standing
            standing.sessions += 1
            return standing
        except TeleportError as error:
            session.telling.emit(
                DatabaseUserCreate(
                    **session.telling.facts,
                    username=grants.user,
                    roles=grants.roles,
                    success=False,
                    error=error.details or error.message,
                    message=error.message,
                )
            )
            raise
        finally:
            lock.release()

    async def deactivate(self, session: Session, standing: Provisioned) -> None:
        """
        One of its sessions has ended. What fails is tried again, and then by L{clean_up}; so is a user whom somebody
        else's session still needs.
        """
        grants = standing.grants
        key = (standing.database.name, grants.user)
        lock = self._locks.setdefault(key, DeferredLock())
        await lock.acquire()
        try:
            standing.sessions -= 1
            if standing.sessions or self._standing.get(key) is not standing:
                return
            del self._standing[key]
            problems = [await self._patiently(standing.database, self._note(standing, name)) for name in standing.names]
            error = "; ".join(filter(None, problems))
        finally:
            lock.release()
            if not lock.locked and key not in self._standing:
                self._locks.pop(key, None)
        session.telling.emit(
            DatabaseUserDeactivate(
                **session.telling.facts, username=grants.user, delete=grants.drop, success=not error, error=error
            )
        )

    async def clean_up(self, databases: Mapping[str, Database]) -> None:
        """
        Take away whom an earlier run of the agent, or a database that was away, left behind; to be called now and then.

        @param databases: that are served, by name; users of others stay noted.
        """
        for note in await self.threads.run(self._read):
            database, key = databases.get(note.database), (note.database, note.user)
            if database is None:
                continue
            lock = self._locks.setdefault(key, DeferredLock())
            await lock.acquire()
            try:
                error = await self._patiently(database, note)
            finally:
                lock.release()
            if error:
                self._log.error(
                    "database user {user} of {database} is left behind: {error}",
                    user=note.user,
                    database=note.database,
                    error=error,
                )

    # --- inside --------------------------------------------------------------------------------------------------

    def _provisioner(self, database: Database) -> Provisioner:
        found = self.provisioners.get(database.protocol)
        if found is None:
            raise TeleportError(Kind.NOT_IMPLEMENTED, f"users of {database.protocol} cannot be made automatically")
        return found

    async def _activate(self, standing: Provisioned, name: str) -> Provisioning:
        provisioner = self._provisioner(standing.database)
        note = self._note(standing, name)
        await self.threads.run(self._write, note)
        work = provisioner.activate(standing.database, name, standing.grants)
        try:
            return await Deferred.fromCoroutine(work).addTimeout(WORK_SECONDS, self.clock)
        except TeleportError as error:
            if error.kind is Kind.ALREADY_EXISTS:
                await self.threads.run(self._erase, note)
            raise
        except Exception as error:
            raise TeleportError(
                Kind.CONNECTION_PROBLEM,
                f"the database user {standing.grants.user!r} cannot be made now",
                details=repr(error),
            ) from error

    async def _patiently(self, database: Database, note: _Note) -> str:
        """
        @return: why it could not be done; empty if it was, or if others still use the user.
        """
        provisioner, waits, problem = self._provisioner(database), RETRY.waits(), ""
        for attempt in range(RETRIES):
            if attempt:
                await deferLater(self.clock, next(waits), lambda: None)
            if (note.database, note.user) in self._standing:
                return ""
            work = provisioner.deactivate(database, note.name, note.user, note.drop)
            try:
                gone = await Deferred.fromCoroutine(work).addTimeout(WORK_SECONDS, self.clock)
            except TeleportError as error:
                problem = error.details or error.message
            except Exception as error:
                problem = repr(error)
            else:
                problem = ""
                if gone:
                    await self.threads.run(self._erase, note)
                    return ""
        return problem

    def _tell(self, session: Session, grants: Grants, made: Provisioning) -> None:
        session.telling.emit(DatabaseUserCreate(**session.telling.facts, username=grants.user, roles=grants.roles))
        if grants.permissions:
            affected: dict[str, int] = {}
            for each in made.objects:
                for kind, count in each.get("counts", {}).items():
                    affected[kind] = affected.get(kind, 0) + count
            session.telling.emit(
                DatabasePermissionsUpdate(**session.telling.facts, summary=made.objects, affected=affected)
            )

    def _note(self, standing: Provisioned, name: str) -> _Note:
        return _Note(
            database=standing.database.name,
            name=name,
            user=standing.grants.user,
            drop=standing.grants.drop,
        )

    def _path(self, note: _Note) -> Path:
        digest = hashlib.sha256(f"{note.database}\0{note.user}\0{note.name}".encode()).hexdigest()[:32]
        return self.directory / f"{digest}.json"

    def _write(self, note: _Note) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self._path(note)
        draft = path.with_suffix(".new")
        with open(os.open(draft, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(asdict(note), file)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)

    def _erase(self, note: _Note) -> None:
        self._path(note).unlink(missing_ok=True)

    def _read(self) -> list[_Note]:
        found = []
        for path in sorted(self.directory.glob("*.json")):
            try:
                found.append(_Note(**json.loads(path.read_text(encoding="utf-8"))))
            except (OSError, ValueError, TypeError) as error:
                self._log.error("{path} cannot be read: {error}", path=str(path), error=str(error))
        return found
