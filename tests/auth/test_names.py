"""
What a host with a good token tries: a certificate with somebody else's name in it.
"""

from __future__ import annotations

import uuid
from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_tw.api.contract import Certificates, JoinRequest
from teleport_tw.auth.joining.names import CertifiedNames, is_everybodys
from teleport_tw.base.secret import Secret
from teleport_tw.pki.identity import SystemRole
from teleport_tw.protocols.ssh import certificate as ssh_certificates
from teleport_tw.protocols.ssh import keys as ssh_keys
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.cluster import Cluster, Keys

PROXY = "teleport.example.com"
HOUR = timedelta(hours=1)


def said(certificates: Certificates) -> set[str]:
    """All names in both certificates of a host."""
    leaf = x509.load_pem_x509_certificate(certificates.tls)
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    blob = ssh_keys.parse_line(certificates.ssh.decode()).blob
    found = {*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))}
    return found | {*ssh_certificates.parse(blob).principals}


class Names(TestCase):
    """
    With a cluster of its own.
    """

    timeout = 60

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.cluster = await Cluster.start(self.addCleanup, listen=False)
        spec = {"roles": ["Node", "App", "Proxy"]}
        await self.cluster.local().create(Resource("token", "v2", Metadata("a-good-token"), spec))

    async def join(self, name: str, *addresses: str, role: str = "Node", host: str = "") -> Certificates:
        host = host or str(uuid.uuid4())
        request = JoinRequest(
            token=Secret("a-good-token"),
            role=SystemRole(role),
            host_id=host,
            node_name=name,
            keys=Keys().public,
            addresses=addresses,
            remote_address="192.0.2.1",
        )
        return await self.cluster.local(SystemRole.PROXY).join(request)

    async def renew(self, joined: Certificates, *addresses: str) -> set[str]:
        core = self.cluster.auth.core
        assert core is not None
        leaf = x509.load_pem_x509_certificate(joined.tls)
        identity = core.signing.identify(leaf.public_bytes(Encoding.DER), core.now())
        return said(await self.cluster.auth.api_for(identity).renew_host(Keys().public, addresses))

    async def announce(self, joined: Certificates, name: str) -> None:
        node = Resource("node", "v2", Metadata(joined.host_id), {"hostname": name}, "teleport")
        await self.cluster.local().heartbeat(node, HOUR)

    async def test_a_proxy_s_names(self) -> None:
        """No node has them: as its name, as an address, as the twin of its label, in other case, nor by renewing."""
        await self.join("edge", PROXY, "203.0.113.5", "127.0.0.1", role="Proxy")
        attempts = ((PROXY,), ("n1", PROXY), ("n1", "Teleport.Example.Com."), ("teleport",), ("n1", "203.0.113.5"))
        for attempt in attempts:
            joined = await self.join(*attempt)
            self.assertFalse({PROXY, "teleport", "203.0.113.5"} & said(joined), attempt)
            self.assertIn(joined.host_id, said(joined))
            self.assertFalse({PROXY, "edge", "edge.example.com"} & await self.renew(joined, PROXY, "edge"))
        self.assertLessEqual({"n2", "n2.example.com", "localhost", "127.0.0.1"}, said(await self.join("n2")))

    async def test_proxies_share_a_name(self) -> None:
        """Behind one balancer several proxies have one name; a node on the host of one of them has it too."""
        first = await self.join("p1", PROXY, role="Proxy")
        second = await self.join("p2", PROXY, role="Proxy")
        self.assertIn(PROXY, said(second))
        self.assertIn(PROXY, await self.renew(first, PROXY))
        self.assertIn(PROXY, said(await self.join("p1", PROXY, host=first.host_id)))

    async def test_a_proxy_takes_a_node_s_name(self) -> None:
        """And the node has it no more from its next certificate on."""
        node = await self.join("n1", PROXY)
        self.assertIn(PROXY, said(node))
        self.assertIn(PROXY, said(await self.join("p1", PROXY, role="Proxy")))
        self.assertNotIn(PROXY, await self.renew(node, PROXY))

    async def test_the_cluster_s_name(self) -> None:
        """It is for hosts that are proxy or auth, and for nodes on their hosts."""
        self.assertNotIn("example.com", said(await self.join("n1", "example.com")))
        own = self.cluster.auth.local_identity(SystemRole.NODE).host_id
        request = JoinRequest(
            token=Secret("a-good-token"), role=SystemRole.NODE, host_id=own, node_name="example.com", keys=Keys().public
        )
        self.assertIn("example.com", said(await self.cluster.local(SystemRole.NODE).join(request)))
        proxy = await self.join("p1", "example.com", role="Proxy")
        self.assertIn("example.com", said(proxy))
        self.assertIn("example.com", said(await self.join("p1", "example.com", host=proxy.host_id)))

    async def test_another_node_s_name(self) -> None:
        """The first that has it keeps it while it is registered; who comes later goes by its id."""
        first = await self.join("web")
        await self.announce(first, "web")
        second = await self.join("db", "web.example.com")
        self.assertFalse({"web", "web.example.com"} & said(second))
        third = await self.join("web")
        self.assertFalse({"web", "web.example.com"} & said(third))
        self.assertIn("web", await self.renew(first, "web"))

    async def test_a_host_that_was_replaced(self) -> None:
        """Its successor has its name, once it is registered no more and had the time to be."""
        core = self.cluster.auth.core
        assert core is not None
        names = CertifiedNames(core.backend, core.resources, core.cluster)
        now, node = core.now(), (SystemRole.NODE,)
        self.assertEqual(await names.owned("first", node, ("web",), now), ("web",))
        self.assertEqual(await names.owned("second", node, ("web",), now + timedelta(minutes=9)), ())
        self.assertEqual(await names.owned("second", node, ("web",), now + timedelta(minutes=11)), ("web",))
        self.assertEqual(await names.owned("first", node, ("web",), now + timedelta(minutes=12)), ())

    async def test_a_proxy_that_is_gone(self) -> None:
        """Its name is free when its last certificate has ended, and not before, whether it runs or not."""
        core = self.cluster.auth.core
        assert core is not None
        names = CertifiedNames(core.backend, core.resources, core.cluster)
        now, node = core.now(), (SystemRole.NODE,)
        await names.owned("p1", (SystemRole.PROXY,), (PROXY,), now)
        self.assertEqual(await names.owned("n1", node, (PROXY,), now + timedelta(days=29)), ())
        self.assertEqual(await names.owned("n1", node, (PROXY,), now + timedelta(days=31)), (PROXY,))

    def test_nobody_s(self) -> None:
        """What every host calls itself."""
        self.assertTrue(all(map(is_everybodys, ("localhost", "127.0.0.1", "127.9.9.9", "::1", "0.0.0.0"))))
        self.assertFalse(any(map(is_everybodys, ("web", "192.0.2.1", "localhost.evil.com"))))
