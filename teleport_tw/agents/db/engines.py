"""
The database protocols that are served, each by the word of C{spec.protocol}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from teleport_tw.agents.db.flow import Engine
from teleport_tw.agents.db.mongodb.session import MongoDBEngine
from teleport_tw.agents.db.mongodb.users import MongoDBUsers
from teleport_tw.agents.db.mysql.session import MySQLEngine
from teleport_tw.agents.db.mysql.users import MySQLUsers
from teleport_tw.agents.db.postgres.session import PostgresEngine
from teleport_tw.agents.db.postgres.users import PostgresUsers
from teleport_tw.agents.db.redis.session import RedisEngine
from teleport_tw.agents.db.target import Targets
from teleport_tw.agents.db.users import Provisioner


def engines() -> Mapping[str, Engine]:
    """
    @return: one for each protocol.
    """
    postgres = PostgresEngine()
    return {
        "postgres": postgres,
        "cockroachdb": postgres,
        "mysql": MySQLEngine(),
        "mongodb": MongoDBEngine(),
        "redis": RedisEngine(),
    }


PROVISIONERS: Mapping[str, Callable[[Targets], Provisioner]] = {
    "postgres": PostgresUsers,
    "mysql": MySQLUsers,
    "mongodb": MongoDBUsers,
}
"""Who makes automatic users, by protocol."""
