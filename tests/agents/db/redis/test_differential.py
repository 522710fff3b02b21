"""
Redis, asked directly and by way of us.
"""

from __future__ import annotations

import re

import pytest

from teleport_tw.agents.db.redis.session import RedisEngine
from teleport_tw.protocols.redis.wire import Decoder, command
from tests import differential
from tests.agents.db.rig import DatabaseTestCase
from tests.differential import Side, Step
from tests.peers.process import shared
from tests.peers.redis import Redis

pytestmark = [pytest.mark.servers, pytest.mark.skipif(bool(Redis.missing()), reason=Redis.missing())]

_NUMBERS = re.compile(
    rb"(id\r\n:|id=|laddr=|addr=|fd=|age=|idle=|[^_]id:|proxy_|tot-[a-z]+=|qbuf[a-z-]*=|rb[sp]=)[^ \r\n]*"
)


class RedisSide(Side):
    """
    One value, cut where our own decoder ends it, which other tests hold to the specification.
    """

    def cut(self, buffer: bytearray) -> bytes | None:
        """As Side."""
        for end in (at.end() for at in re.finditer(rb"\r\n", bytes(buffer))):
            decoder = Decoder(1 << 26)
            if decoder.feed(bytes(buffer[:end])):
                message = bytes(buffer[:end])
                del buffer[:end]
                return message
        return None

    def ends(self, message: bytes) -> bool:
        """As Side."""
        return True

    def masked(self, message: bytes) -> bytes:
        """As Side."""
        return _NUMBERS.sub(rb"\1", message)


def step(line: str, answers: int = 1) -> Step:
    """
    A command as one types it.
    """
    return Step(line, command(*line.split()), answers)


LINES = [
    "PING",
    "PING hello",
    "ECHO x",
    "SET a 1 EX 1000",
    "GET a",
    "GET nothing",
    "INCR a",
    "INCRBYFLOAT a 0.5",
    "SETRANGE s 5 world",
    "GETRANGE s 0 -1",
    "LPUSH l 1 2 3",
    "LRANGE l 0 -1",
    "LPOP l 2",
    "LPOS l 1 RANK 2",
    "HSET h f1 v1 f2 v2",
    "HGETALL h",
    "HRANDFIELD nothing",
    "SADD set a b c",
    "SMISMEMBER set a z",
    "ZADD z 1 a 2.5 b inf c",
    "ZRANGE z 0 -1 WITHSCORES",
    "ZSCORE z b",
    "GEOADD g 13.361389 38.115556 Palermo",
    "GEOPOS g Palermo nowhere",
    "XADD x 1-1 k v",
    "XRANGE x - +",
    "XREAD COUNT 2 STREAMS x 0",
    "XREAD BLOCK 10 STREAMS x $",
    "SET wrong 1",
    "LPUSH wrong 1",
    "NOSUCH command",
    "GET",
    "OBJECT ENCODING a",
    "TYPE z",
    "SCAN 0 MATCH s* COUNT 1000",
    "EXPIRE a 100",
    "PERSIST a",
    "BLPOP empty 0.05",
    "BLMOVE empty l LEFT RIGHT 0.05",
    "BZPOPMIN z 1",
    "WAIT 0 10",
    "MULTI",
    "SET in multi",
    "INCR wrong",
    "LPUSH wrong 2",
    "EXEC",
    "MULTI",
    "NOSUCH",
    "EXEC",
    "MULTI",
    "SET gone 1",
    "DISCARD",
    "WATCH a",
    "UNWATCH",
    "EVAL return{1,'two',{3},redis.status_reply('fine'),false} 0",
    "EVAL return(redis.error_reply('MINE')) 0",
    "EVAL return{double=1.5} 0",
    "SUBSCRIBE one",
    "PSUBSCRIBE t*",
    "SSUBSCRIBE shard",
    "PING",
    "UNSUBSCRIBE one",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "UNSUBSCRIBE",
    "PUBLISH one x",
    "SPUBLISH shard x",
    "CLIENT GETNAME",
    "CLIENT SETNAME me",
    "CLIENT NO-EVICT on",
    "CLIENT TRACKING off",
    "CLUSTER INFO",
    "CLUSTER SLOTS",
    "ASKING",
    "READONLY",
    "SELECT 3",
    "DBSIZE",
    "SELECT 99",
    "CONFIG GET maxmemory-policy",
    "COMMAND COUNT",
    "COMMAND INFO get nosuch",
    "DEBUG SLEEP 0",
    "MEMORY DOCTOR",
    "LOLWUT VERSION 5 1 1 1",
]
BLOCK = "x" * 3_000_000
BATTERY = [
    *map(step, LINES),
    step(f"SET big {BLOCK}"),
    step("GET big"),
    Step("a pipeline", b"".join(command("SET", f"k{n}", str(n)) + command("GET", f"k{n}") for n in range(300)), 600),
    Step("inline", b"PING\r\nECHO 'a  b'\r\n", 2),
    Step("subscribed in a pipeline", command("SUBSCRIBE", "a", "b") + command("UNSUBSCRIBE") + command("PING"), 5),
    Step("no answer", command("CLIENT", "REPLY", "SKIP") + command("SET", "skipped", "1") + command("GET", "skipped")),
    step("FLUSHALL"),
    step("QUIT"),
]
THREE = [
    "EVAL return{map={{'a',1}}} 0",
    "HGETALL h",
    "SMEMBERS set",
    "ZRANGE z 0 -1 WITHSCORES",
    "DEBUG PROTOCOL push",
    "CLIENT TRACKING on",
    "GET tracked",
    "SET tracked 1",
]


class DifferentialTests(DatabaseTestCase):
    """
    With a raw client.
    """

    async def _same(self, battery: list[Step]) -> None:
        peer = shared(Redis)
        peer.cli("flushall")
        self.role("access", allow={"db_users": ["alice"]})
        await self.serve(RedisEngine(), "redis", peer.port)
        port = await self.listen(user="alice")

        def work() -> list[str]:
            sides = (
                RedisSide(differential.encrypted(differential.plain(peer.port), "alice")),
                RedisSide(differential.plain(port)),
            )
            try:
                return differential.differences(*sides, battery)
            finally:
                for side in sides:
                    side.close()

        self.assertEqual(await self.in_thread(work), [])

    async def test_resp2(self) -> None:
        """Byte for byte."""
        await self._same([step("AUTH alice wonderland"), *BATTERY])

    async def test_resp3(self) -> None:
        """Maps, sets, doubles, nulls and pushes as they come."""
        hello = Step("HELLO", command("HELLO", "3", "AUTH", "alice", "wonderland", "SETNAME", "raw"))
        # the change of a key of one's own that is watched is told of before the answer or behind it
        await self._same(
            [hello, *BATTERY[:-2], *(step(line) for line in THREE[:-1]), step(THREE[-1], 2), *BATTERY[-2:]]
        )

    async def test_a_protocol_back_and_forth(self) -> None:
        """Within one connection."""
        lines = ("HGETALL h", "HELLO 2", "HGETALL h", "HELLO 9", "HELLO", "RESET")
        first = Step("HELLO", command("HELLO", "3", "AUTH", "alice", "wonderland"))
        await self._same([first, step("FLUSHALL"), step("HSET h a 1"), *map(step, lines)])
