"""
Automatic users of MongoDB, in a server that is a dictionary.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import bson
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.agents.db.grants import Grants
from teleport_tw.agents.db.mongodb.users import MARK, MongoDBUsers
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.resources.databases import AdminUser, Database
from teleport_tw.resources.roles import DatabasePermission

DATABASE = Database(name="m", protocol="mongodb", uri="h:1", admin_user=AdminUser(name="admin"))


@define(eq=False)
class Server:
    """
    Users by name.

    @ivar pedantic: asks for mechanisms.
    @ivar broken: cannot do this command.
    @ivar connected: who is, as C{CN=name}.
    """

    users: dict[str, dict[str, Any]] = field(factory=dict)
    pedantic: bool = False
    broken: str = ""
    connected: list[str] = field(factory=list)
    closed: int = 0

    async def ask(self, command: Mapping[str, Any]) -> bytes:
        """As Talk."""
        return bson.encode(self.answer(dict(command)))

    def answer(self, command: dict[str, Any]) -> dict[str, Any]:
        """As a server."""
        verb = next(iter(command))
        name = command.pop(verb)
        if verb == self.broken:
            return {"ok": 0, "errmsg": "disk full", "code": 1}
        if verb == "aggregate":
            who = command["pipeline"][1]["$match"]["effectiveUsers"]["$elemMatch"]
            assert who["db"] == "$external"
            found = [{"effectiveUsers": [who]}] if who["user"] in self.connected else []
            return {"ok": 1, "cursor": {"firstBatch": found, "id": 0, "ns": "admin.$cmd.aggregate"}}
        if verb == "usersInfo":
            found = self.users.get(name["user"])
            return {"ok": 1, "users": [found] if found is not None else []}
        if verb == "createUser" and self.pedantic and "mechanisms" not in command:
            return {"ok": 0, "errmsg": "which mechanisms?", "code": 2}
        if verb == "dropUser":
            if self.users.pop(name, None) is None:
                return {"ok": 0, "errmsg": "no such user", "code": 11}
        else:
            self.users[name] = {**self.users.get(name, {}), **command}
        return {"ok": 1}

    def close(self) -> None:
        """As Talk."""
        self.closed += 1


class Users(MongoDBUsers):
    """
    Talks to a L{Server}.
    """

    def __init__(self, server: Server) -> None:
        self.server = server

    async def _talk(self, database: Database) -> Any:
        return self.server


class UsersTests(SynchronousTestCase):
    """
    Made, woken, dropped, kept, left alone.
    """

    def setUp(self) -> None:
        self.server = Server()
        self.users = Users(self.server)

    def done(self, work: Any) -> Any:
        """
        @return: what it gave, at once.
        """
        return self.successResultOf(Deferred.fromCoroutine(work))

    def activate(self, *roles: str, **more: Any) -> None:
        """
        Alice.
        """
        self.done(self.users.activate(DATABASE, "shop", Grants(user="alice", drop=True, roles=roles, **more)))

    def deactivate(self, *, drop: bool) -> bool:
        """
        Alice.
        """
        return bool(self.done(self.users.deactivate(DATABASE, "shop", "alice", drop)))

    def refused(self, *roles: str, **more: Any) -> TeleportError:
        """
        @return: why alice was not made.
        """
        grants = Grants(user="alice", drop=True, roles=roles, **more)
        work = Deferred.fromCoroutine(self.users.activate(DATABASE, "shop", grants))
        error = self.failureResultOf(work, TeleportError).value
        assert isinstance(error, TeleportError)
        return error

    def test_a_user_comes_and_goes(self) -> None:
        """Roles name their databases; what is dropped is gone, and may be gone already."""
        self.activate("readWrite@shop", "clusterMonitor")
        expected = [{"role": "readWrite", "db": "shop"}, {"role": "clusterMonitor", "db": "admin"}]
        self.assertEqual(self.server.users["CN=alice"]["roles"], expected)
        self.assertTrue(self.deactivate(drop=True))
        self.assertEqual(self.server.users, {})
        self.assertTrue(self.deactivate(drop=True))
        self.assertEqual(self.server.closed, 3)

    def test_a_user_is_kept(self) -> None:
        """Without roles, from nowhere; and woken the next time."""
        self.activate("read@shop")
        self.assertTrue(self.deactivate(drop=False))
        kept = self.server.users["CN=alice"]
        self.assertEqual(kept["roles"], [])
        self.assertEqual(kept["authenticationRestrictions"], [{"clientSource": ["0.0.0.0/32"]}])
        self.activate("read@shop")
        woken = self.server.users["CN=alice"]
        self.assertEqual((woken["authenticationRestrictions"], woken["customData"]), ([], MARK))

    def test_others_users_are_left_alone(self) -> None:
        """They are neither changed nor dropped."""
        self.server.users["CN=alice"] = theirs = {"roles": ["root"]}
        self.assertIs(self.refused("read@shop").kind, Kind.ALREADY_EXISTS)
        self.assertTrue(self.deactivate(drop=True))
        self.assertEqual(self.server.users["CN=alice"], theirs)

    def test_the_last_agent_takes_a_user_away(self) -> None:
        """
        Another agent's session goes on with what it has; whoever comes adds to it, and who ends last drops it.
        """
        self.activate("read@shop")
        self.server.connected.append("CN=alice")
        self.activate("readWrite@other")
        roles = [{"role": "readWrite", "db": "other"}, {"role": "read", "db": "shop"}]
        self.assertEqual(self.server.users["CN=alice"]["roles"], roles)
        self.assertFalse(self.deactivate(drop=True))
        self.assertFalse(self.deactivate(drop=False))
        self.assertEqual(self.server.users["CN=alice"]["roles"], roles)
        self.server.connected.clear()
        self.activate("read@shop")
        self.assertEqual(self.server.users["CN=alice"]["roles"], roles[1:])
        self.assertTrue(self.deactivate(drop=True))
        self.assertEqual(self.server.users, {})

    def test_a_server_that_does_not_say_who_is_connected(self) -> None:
        """
        Is taken to have nobody else: a user must not stay for that.
        """
        self.activate("read@shop")
        self.server.connected.append("CN=alice")
        self.server.broken = "aggregate"
        self.assertTrue(self.deactivate(drop=True))

    def test_servers_that_want_mechanisms(self) -> None:
        """Get them."""
        self.server.pedantic = True
        self.activate("read@shop")
        self.assertEqual(self.server.users["CN=alice"]["mechanisms"], ["MONGODB-X509"])

    def test_what_goes_wrong(self) -> None:
        """Is told; rights on objects are not for MongoDB."""
        for verb in ("usersInfo", "createUser"):
            self.server.broken = verb
            self.assertIn("disk full", self.refused("read@shop").message)
        permission = DatabasePermission(match={}, permissions=("SELECT",))
        self.assertIs(self.refused(permissions=(permission,)).kind, Kind.BAD_PARAMETER)
