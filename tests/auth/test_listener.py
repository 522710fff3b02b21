"""
Auth's own port: joining without a certificate, gRPC with one, garbage with neither.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import uuid
from typing import Any

from twisted.internet.threads import deferToThread

from teleport_tw.api.contract import JoinRequest
from teleport_tw.api.joining import ALPN, PATH, answer_from_json, request_to_json
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.loop import as_deferred
from teleport_tw.base.secret import Secret
from teleport_tw.dial import web
from teleport_tw.pki.identity import SystemRole
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.cluster import Keys
from tests.auth.test_service import AuthCase


class Port(AuthCase):
    """
    From outside, over TCP.
    """

    def context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self.cluster.roots.decode())
        context.set_alpn_protocols([ALPN])
        return context

    async def ask(self, data: bytes, *, tls: bool = True) -> bytes:
        async def talk() -> bytes:
            options: dict[str, Any] = {}
            if tls:
                options = {"ssl": self.context(), "server_hostname": "teleport.cluster.local"}
            reader, writer = await asyncio.open_connection("127.0.0.1", self.cluster.auth.port, **options)
            writer.write(data)
            try:
                return await asyncio.wait_for(reader.read(), 20)
            except ConnectionError:
                return b""
            finally:
                writer.close()

        return await as_deferred(talk())

    async def post(self, body: bytes, path: str = PATH, method: str = "POST") -> tuple[int, bytes]:
        head = f"{method} {path} HTTP/1.1\r\nHost: auth\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        answer = await self.ask(head + body)
        top, _, rest = answer.partition(b"\r\n\r\n")
        return int(top.split()[1]), rest

    async def test_join(self) -> None:
        """A host with a token and no certificate gets one, and speaks gRPC with it on the same port."""
        await self.admin.create(Resource("token", "v2", Metadata("s3cr3t-token"), {"roles": ["Node"]}))
        keys, host = Keys(), str(uuid.uuid4())
        request = JoinRequest(
            token=Secret("s3cr3t-token"), role=SystemRole.NODE, host_id=host, node_name="db1", keys=keys.public
        )
        status, body = await self.post(request_to_json(request))
        got = answer_from_json(status, body)
        self.assertEqual((status, got.host_id), (200, host))
        self.assertEqual((await self.cluster.over_rpc(got, keys).ping()).cluster, "example.com")
        joins = await self.events("instance.join")
        self.assertEqual(joins[0]["addr.remote"], "127.0.0.1")

    async def test_join_with_a_pin(self) -> None:
        """A host that knows the pin alone believes this auth, joins, and believes no auth with another pin."""
        await self.admin.create(Resource("token", "v2", Metadata("s3cr3t-token"), {"roles": ["Node"]}))
        keys, host = Keys(), str(uuid.uuid4())
        request = JoinRequest(
            token=Secret("s3cr3t-token"), role=SystemRole.NODE, host_id=host, node_name="db1", keys=keys.public
        )
        pins = (await self.admin.ping()).ca_pins

        def join(pins: Any) -> Any:
            client = web.pinned("127.0.0.1", self.cluster.auth.port, pins, alpn=(ALPN,))
            return answer_from_json(*client.ask("POST", PATH, request_to_json(request)))

        with self.assertRaises(TeleportError) as caught:
            await deferToThread(join, ["sha256:" + "0" * 64])
        self.assertEqual(caught.exception.kind, Kind.ACCESS_DENIED)
        got = await deferToThread(join, pins)
        self.assertEqual(got.host_id, host)
        self.assertEqual((await self.cluster.over_rpc(got, keys).ping()).cluster, "example.com")

    async def test_facts(self) -> None:
        """Anybody learns the cluster's name and public keys, and nothing else."""
        status, body = await self.post(b"", "/webapi/find", "GET")
        self.assertEqual((status, json.loads(body)["cluster_name"]), (200, "example.com"))
        for path, wanted in (
            ("/webapi/sites/example.com/auth/export?type=tls-host", 200),
            ("/webapi/sites/example.com/auth/export", 200),
            ("/webapi/sites/example.com/auth/export?type=jwt-keys", 400),
            ("/webapi/sites/other.com/auth/export?type=tls-host", 404),
            ("/webapi/sites/", 404),
            ("/webapi/users", 404),
        ):
            status, body = await self.post(b"", path, "GET")
            self.assertEqual(status, wanted, path)
            self.assertNotIn(b"PRIVATE", body)

    async def test_refused(self) -> None:
        """A wrong token is a 403 in the web API's form."""
        request = JoinRequest(
            token=Secret("guess"), role=SystemRole.NODE, host_id=str(uuid.uuid4()), node_name="x", keys=Keys().public
        )
        status, body = await self.post(request_to_json(request))
        self.assertEqual(status, 403)
        self.assertIn("message", json.loads(body)["error"])

    async def test_not_a_join(self) -> None:
        """Anything else is refused in HTTP's own words."""
        self.assertEqual((await self.post(b"{}"))[0], 400)
        self.assertEqual((await self.post(b"{}", "/webapi/ping"))[0], 404)
        self.assertEqual((await self.post(b"", method="GET"))[0], 404)
        self.assertEqual((await self.post(b"x" * 70_000))[0], 400)
        self.assertIn(b"400", (await self.ask(b"\x00\x01garbage\r\n\r\n")).split(b"\r\n")[0])

    async def test_garbage(self) -> None:
        """What is no TLS is dropped, and the next caller is served."""
        for data in (b"SSH-2.0-x\r\n", b"GET / HTTP/1.1\r\n\r\n", os.urandom(500)):
            self.assertEqual(await self.ask(data, tls=False), b"")
        self.assertEqual((await self.post(b"{}"))[0], 400)

    async def test_certificate_of_a_stranger(self) -> None:
        """A certificate of another cluster opens nothing."""
        from teleport_tw.api.client import connect
        from teleport_tw.rpc.client import ClientTls
        from tests.rpc.pems import Root

        chain, key = Root("elsewhere").leaf("alice")
        api = connect(
            f"127.0.0.1:{self.cluster.auth.port}", ClientTls(chain=chain, key=key, roots=self.cluster.roots), timeout=5
        )
        self.cluster.channels.append(api)
        with self.assertRaises(TeleportError) as caught:
            await api.ping()
        self.assertEqual(caught.exception.kind, Kind.CONNECTION_PROBLEM)
