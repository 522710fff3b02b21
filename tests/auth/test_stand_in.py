"""
What a proxy may be certified as, and what a host without an agent may say of itself.
"""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import TestCase

from teleport_tw.api.contract import HostIssueRequest, PublicKeys
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import Duration
from teleport_tw.pki.identity import Identity, SystemRole
from teleport_tw.protocols.ssh import certificate, keys
from teleport_tw.resources.clusters import ORIGIN_LABEL
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.nodes import SELF_REGISTERED
from tests.auth.cluster import Cluster, Keys

ID = "11111111-2222-4333-8444-555555555555"
OTHER = "99999999-2222-4333-8444-555555555555"
PROXY = "77777777-2222-4333-8444-555555555555"


def node(name: str = ID, hostname: str = "db1", address: str = "10.0.0.5:22", sub_kind: str = "openssh") -> Resource:
    """
    An entry.
    """
    return Resource("node", "v2", Metadata(name), {"hostname": hostname, "addr": address}, sub_kind)


class StandInTests(TestCase):
    """
    A proxy that is a proxy and nothing else.
    """

    async def start(self) -> None:
        self.cluster = await Cluster.start(self.addCleanup, listen=False)
        self.proxy = self.host(SystemRole.PROXY, PROXY)
        await self.cluster.local().create(node())

    def host(self, role: SystemRole, host_id: str, *names: str) -> Any:
        """
        The API as a host of one role has it.
        """
        identity = Identity(
            username=f"{host_id}.example.com", cluster="example.com", system_roles=(role,), principals=names
        )
        return self.cluster.auth.api_for(identity)

    async def ask(self, *names: str, **more: Any) -> certificate.Certificate:
        """
        A host certificate for these names.
        """
        request = HostIssueRequest(principals=names, keys=PublicKeys(ssh=Keys().public.ssh))
        issued = await self.proxy.issue_host(evolve(request, **more))
        return certificate.parse(keys.parse_line(issued.ssh.decode().strip()).blob)

    async def refused(self, *names: str, **more: Any) -> TeleportError:
        """
        The same, in vain.
        """
        with self.assertRaises(TeleportError) as caught:
            await self.ask(*names, **more)
        return caught.exception

    async def test_all_names_of_a_registered_server(self) -> None:
        """
        For a day at most; it makes nobody a member of the cluster.
        """
        await self.start()
        names = (ID, f"{ID}.example.com", "db1", "db1.example.com", "10.0.0.5")
        issued = await self.ask(*names, ttl=Duration(days=90))
        self.assertEqual(issued.principals, names)
        self.assertLessEqual(issued.valid_before - issued.valid_after, 24 * 3600 + 60)
        self.assertNotIn("x-teleport-role", issued.extensions)

    async def test_a_server_that_is_not_registered(self) -> None:
        """
        By whatever name, and by none.
        """
        await self.start()
        for names in ((OTHER,), ("db1",), ("localhost",), ()):
            self.assertIs((await self.refused(*names)).kind, Kind.ACCESS_DENIED, names)

    async def test_a_name_that_is_another_server_s(self) -> None:
        """
        The id of one does not open the names of others.
        """
        await self.start()
        await self.cluster.local().create(node(OTHER, "web1", "10.0.0.6:22"))
        for foreign in ("web1", "10.0.0.6", "evil.com", "db1.evil.com"):
            self.assertIs((await self.refused(ID, foreign)).kind, Kind.ACCESS_DENIED, foreign)
        for foreign in (OTHER, "teleport.cluster.local", "*", "db1\nevil"):
            self.assertIn((await self.refused(ID, foreign)).kind, (Kind.ACCESS_DENIED, Kind.BAD_PARAMETER), foreign)

    async def test_an_entry_that_is_called_as_auth_is(self) -> None:
        """
        Does not make the proxy auth.
        """
        await self.start()
        await self.cluster.local().create(node(OTHER, "teleport.cluster.local"))
        await self.refused(OTHER, "teleport.cluster.local")

    async def test_no_tls_and_no_other_authority(self) -> None:
        """
        SSH alone.
        """
        await self.start()
        public = Keys().public
        for more in ({"keys": public}, {"keys": PublicKeys(tls=public.tls)}, {"authority": "db"}):
            self.assertIs((await self.refused(ID, **more)).kind, Kind.BAD_PARAMETER)

    async def test_hosts_of_other_roles_get_none(self) -> None:
        """
        Not even for themselves.
        """
        await self.start()
        self.proxy = self.host(SystemRole.NODE, ID)
        self.assertIs((await self.refused(ID)).kind, Kind.ACCESS_DENIED)

    # --- registering oneself

    async def test_a_host_writes_its_own_entry(self) -> None:
        """
        Which says where it came from, whatever the host says.
        """
        await self.start()
        web1 = self.host(SystemRole.NODE, OTHER, "web1", "web1.example.com", "10.0.0.6")
        own = node(OTHER, "web1", "10.0.0.6:22")
        await web1.upsert(evolve(own, metadata=evolve(own.metadata, labels={ORIGIN_LABEL: "dynamic", "env": "x"})))
        stored = await self.cluster.local().get("node", OTHER)
        self.assertEqual(stored.metadata.labels, {ORIGIN_LABEL: SELF_REGISTERED, "env": "x"})

    async def test_a_host_writes_no_other_entry(self) -> None:
        """
        Nobody else's, none at names it is not certified for, none as an agent, and nothing but nodes.
        """
        await self.start()
        web1 = self.host(SystemRole.NODE, OTHER, "web1", "web1.example.com", "10.0.0.6")
        for resource in (
            node(ID, "web1", "10.0.0.6:22"),
            node(OTHER, "db1", "10.0.0.6:22"),
            node(OTHER, "web1", "10.0.0.5:22"),
            node(OTHER, "web1", "10.0.0.6:22", "teleport"),
            node(OTHER, "web1", "10.0.0.6:22", "openssh-ec2-ice"),
            Resource("role", "v7", Metadata("r"), {}),
        ):
            with self.assertRaises(TeleportError) as caught:
                await web1.upsert(resource)
            self.assertIs(caught.exception.kind, Kind.ACCESS_DENIED, resource)
        proxy = self.host(SystemRole.PROXY, OTHER, "web1", "web1.example.com", "10.0.0.6")
        with self.assertRaises(TeleportError):
            await proxy.upsert(node(OTHER, "web1", "10.0.0.6:22"))
