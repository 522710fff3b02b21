"""
Databases, as auth sees them: certificates for agents, and who announces what.
"""

from __future__ import annotations

import uuid
from datetime import timedelta
from ssl import PEM_cert_to_DER_cert
from typing import Any

from attrs import evolve
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from teleport_tw.api.contract import Api, DatabaseCertRequest, EventQuery, IssueRequest, PublicKeys
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.timing import utc_now
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.identity import Identity, RouteToDatabase, SystemRole
from teleport_tw.pki.keys import spki_pem
from teleport_tw.resources.database_servers import DatabaseServer
from teleport_tw.resources.databases import Database
from teleport_tw.resources.metadata import Metadata, Resource
from tests.auth.cluster import Cluster, Keys

KEY = spki_pem(rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key())


class DatabaseCase(TestCase):
    """
    A cluster and an agent that serves databases.
    """

    timeout = 60

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.start())

    async def start(self) -> None:
        self.cluster = await Cluster.start(self.addCleanup, listen=False)
        self.admin = self.cluster.local()
        self.agent = self.cluster.local(SystemRole.DB)

    async def refused(self, work: Any, kind: Kind) -> TeleportError:
        try:
            await work
        except TeleportError as error:
            self.assertEqual(error.kind, kind)
            return error
        self.fail("not refused")


class ClientCertificateTests(DatabaseCase):
    """
    What an agent shows a database.
    """

    async def test_names_the_user_alone(self) -> None:
        """The subject is the database user and nothing more, since some databases compare all of it."""
        issued = await self.agent.issue_database(DatabaseCertRequest(key=KEY, username="orders"))
        leaf = x509.load_pem_x509_certificate(issued.certificate)
        self.assertEqual(leaf.subject.rfc4514_string(), "CN=orders")
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        self.assertEqual(list(usage), [ExtendedKeyUsageOID.CLIENT_AUTH])

    async def test_signed_by_one_authority_and_believing_another(self) -> None:
        """The database believes db_client; the agent believes db."""
        core = self.cluster.auth.core
        assert core is not None
        issued = await self.agent.issue_database(DatabaseCertRequest(key=Keys().public.tls, username="orders"))
        leaf = x509.load_pem_x509_certificate(issued.certificate)
        (root,) = core.signing.authority(AuthorityType.DB_CLIENT).trusted_tls
        leaf.verify_directly_issued_by(root)
        self.assertEqual(issued.roots, core.signing.roots(AuthorityType.DB))

    async def test_lasts_a_day_at_most(self) -> None:
        """And as short as asked for."""
        for asked, most in ((timedelta(0), 24 * 60), (timedelta(days=30), 24 * 60), (timedelta(minutes=5), 5)):
            request = DatabaseCertRequest(key=KEY, username="orders", ttl=asked)
            leaf = x509.load_pem_x509_certificate((await self.agent.issue_database(request)).certificate)
            left = leaf.not_valid_after_utc - utc_now()
            self.assertTrue(timedelta(minutes=most - 1) < left <= timedelta(minutes=most), left)

    async def test_is_not_for_the_cluster(self) -> None:
        """Nobody in the cluster takes it for a user of the same name."""
        core = self.cluster.auth.core
        assert core is not None
        issued = await self.agent.issue_database(DatabaseCertRequest(key=KEY, username="editor"))
        leaf = x509.load_pem_x509_certificate(issued.certificate)
        der = leaf.public_bytes(Encoding.DER)
        self.assertRaises(TeleportError, core.signing.identify, der, utc_now())

    async def test_only_usable_requests(self) -> None:
        """A user must be named; databases know no Ed25519."""
        for name in ("", "a\nb", "x" * 256):
            await self.refused(
                self.agent.issue_database(DatabaseCertRequest(key=KEY, username=name)), Kind.BAD_PARAMETER
            )
        ed25519 = spki_pem(Keys().ssh.public)
        await self.refused(
            self.agent.issue_database(DatabaseCertRequest(key=ed25519, username="orders")), Kind.BAD_PARAMETER
        )

    async def test_is_told(self) -> None:
        """The audit log hears of it."""
        await self.agent.issue_database(DatabaseCertRequest(key=KEY, username="orders"))
        core = self.cluster.auth.core
        assert core is not None
        await core.events.flush()  # type: ignore[attr-defined]  # the emitter's
        page = await self.admin.search(EventQuery(types=("cert.create",)))
        told = [event for event in page.events if event["cert_type"] == "db_client"]
        self.assertEqual([event["identity"]["user"] for event in told], ["orders"])

    async def test_others_get_none(self) -> None:
        """Neither the proxy nor an administrator."""
        for role in (SystemRole.PROXY, SystemRole.NODE, SystemRole.ADMIN):
            api: Api = self.cluster.local(role)
            await self.refused(api.issue_database(DatabaseCertRequest(key=KEY, username="orders")), Kind.ACCESS_DENIED)


class AnnouncementTests(DatabaseCase):
    """
    Who serves which database.
    """

    def host(self) -> tuple[Api, str]:
        host_id = str(uuid.uuid4())
        identity = Identity(username=f"{host_id}.example.com", cluster="example.com", system_roles=(SystemRole.DB,))
        return self.cluster.auth.api_for(identity), host_id

    def server(self, host_id: str, name: str = "orders") -> DatabaseServer:
        database = Database(name=name, protocol="postgres", uri="localhost:5432", labels={"env": "prod"})
        return DatabaseServer(host_id=host_id, hostname="h", database=database)

    async def test_as_many_as_it_serves(self) -> None:
        """One host, several databases; each leaves the list by itself."""
        api, host_id = self.host()
        for name in ("orders", "users"):
            await api.heartbeat(self.server(host_id, name).to_resource(), timedelta(minutes=1))
        listed = (await self.admin.list("db_server")).items
        self.assertEqual([DatabaseServer.parse(each).database.name for each in listed], ["orders", "users"])
        (instance,) = [each for each in (await self.admin.list("instance")).items if each.name == host_id]
        self.assertEqual(instance.spec["services"], ["Db"])
        await api.goodbye("db_server", self.server(host_id).name)
        self.assertEqual(len((await self.admin.list("db_server")).items), 1)

    async def test_nothing_for_others(self) -> None:
        """Neither under another host's id, nor with another's id inside."""
        api, host_id = self.host()
        other = str(uuid.uuid4())
        await self.refused(api.heartbeat(self.server(other).to_resource(), timedelta(minutes=1)), Kind.ACCESS_DENIED)
        await self.refused(api.goodbye("db_server", f"{other}.orders"), Kind.ACCESS_DENIED)
        posing = evolve(
            self.server(other).to_resource(), metadata=Metadata(f"{host_id}.orders", labels={"env": "prod"})
        )
        await self.refused(api.heartbeat(posing, timedelta(minutes=1)), Kind.BAD_PARAMETER)

    async def test_users_see_what_they_reach(self) -> None:
        """By the database's labels."""
        api, host_id = self.host()
        await api.heartbeat(self.server(host_id).to_resource(), timedelta(minutes=1))
        for env, seen in (("prod", 1), ("dev", 0)):
            spec = {"allow": {"db_labels": {"env": env}, "db_users": ["*"], "db_names": ["*"]}}
            await self.admin.upsert(Resource("role", "v7", Metadata(env), spec))
            identity = Identity(username="alice", cluster="example.com", roles=(env,))
            listed = await self.cluster.auth.api_for(identity).list("db_server")
            self.assertEqual(len(listed.items), seen)


def described(name: str = "orders", **spec: Any) -> Resource:
    said = {"protocol": "postgres", "uri": "localhost:5432", **spec}
    return Resource("db", "v3", Metadata(name, labels={"env": "prod"}), said)


class DynamicTests(DatabaseCase):
    """
    Databases as resources.
    """

    async def told(self, *types: str) -> list[dict[str, Any]]:
        core = self.cluster.auth.core
        assert core is not None
        await core.events.flush()  # type: ignore[attr-defined]  # the emitter's
        return [dict(event) for event in (await self.admin.search(EventQuery(types=types))).events]

    async def test_changes_are_told(self) -> None:
        """With where it leads; a wrong one is refused."""
        await self.admin.create(described())
        await self.admin.upsert(described(uri="localhost:5433"))
        await self.admin.delete("db", "orders")
        told = await self.told("db.create", "db.update", "db.delete")
        self.assertEqual(
            sorted((event["code"], event["name"], event["db_uri"]) for event in told),
            [
                ("TDB03I", "orders", "localhost:5432"),
                ("TDB04I", "orders", "localhost:5433"),
                ("TDB05I", "orders", "localhost:5433"),
            ],
        )
        await self.refused(self.admin.create(described(protocol="oracle")), Kind.BAD_PARAMETER)

    async def test_agents_see_them(self) -> None:
        """And change nothing."""
        await self.admin.create(described())
        self.assertEqual(len((await self.agent.list("db")).items), 1)
        await self.refused(self.agent.delete("db", "orders"), Kind.ACCESS_DENIED)


class RouteTests(DatabaseCase):
    """
    Certificates for one database.
    """

    async def user(self, allow: dict[str, Any], deny: dict[str, Any] | None = None, **options: Any) -> Api:
        spec = {"allow": {"db_labels": {"env": "prod"}, **allow}, "deny": deny or {}, "options": options}
        await self.admin.upsert(Resource("role", "v7", Metadata("dba"), spec))
        await self.cluster.user("alice", "dba")
        identity = Identity(
            username="alice", cluster="example.com", roles=("dba",), expires=utc_now() + timedelta(hours=1)
        )
        return self.cluster.auth.api_for(identity)

    async def issued(self, api: Api, **route: Any) -> Identity:
        asked = RouteToDatabase(**{"service": "orders", **route})
        got = await api.issue(IssueRequest(keys=PublicKeys(tls=Keys().public.tls), database=asked))
        core = self.cluster.auth.core
        assert core is not None
        return core.signing.identify(PEM_cert_to_DER_cert(got.tls.decode()), utc_now())

    async def test_for_the_database_alone(self) -> None:
        """It says which, is good for nothing else, and breeds no further ones."""
        await self.admin.create(described())
        api = await self.user({"db_users": ["app"], "db_names": ["main"]})
        identity = await self.issued(api, username="app", database="main")
        wanted = RouteToDatabase(service="orders", protocol="postgres", username="app", database="main")
        self.assertEqual((identity.database, identity.usage), (wanted, ("usage:db",)))
        narrow = self.cluster.auth.api_for(identity)
        await self.refused(narrow.list("node"), Kind.ACCESS_DENIED)
        await self.refused(self.issued(narrow, username="app"), Kind.ACCESS_DENIED)

    async def test_refusals_help(self) -> None:
        """They say what is allowed; a database out of reach is not known at all."""
        await self.admin.create(described())
        await self.admin.create(described("shop", protocol="mysql", uri="localhost:3306"))
        hidden = evolve(described("hidden"), metadata=Metadata("hidden", labels={"env": "dev"}))
        await self.admin.create(hidden)
        api = await self.user({"db_users": ["app", "reader"], "db_names": ["main"]}, {"db_users": ["reader"]})
        error = await self.refused(self.issued(api, username="root"), Kind.ACCESS_DENIED)
        self.assertIn("'root'", error.message)
        self.assertIn("they name users app", error.message)
        self.assertNotIn("reader", error.message)
        error = await self.refused(self.issued(api, username="app", database="other"), Kind.ACCESS_DENIED)
        self.assertIn("names main", error.message)
        error = await self.refused(self.issued(api, service="shop", username="root"), Kind.ACCESS_DENIED)
        self.assertIn("mysql has no check of database names", error.message)
        missing = await self.refused(self.issued(api, service="nothing"), Kind.NOT_FOUND)
        unseen = await self.refused(self.issued(api, service="hidden"), Kind.NOT_FOUND)
        self.assertEqual(missing.message.replace("nothing", "hidden"), unseen.message)

    async def test_names_where_they_are_checked(self) -> None:
        """MySQL's may be anything."""
        await self.admin.create(described("shop", protocol="mysql", uri="localhost:3306"))
        api = await self.user({"db_users": ["app"]})
        identity = await self.issued(api, service="shop", username="app", database="anything")
        assert identity.database is not None
        self.assertEqual((identity.database.protocol, identity.database.database), ("mysql", "anything"))

    async def test_what_does_not_fit(self) -> None:
        """Another protocol; roles where no user is made."""
        await self.admin.create(described())
        api = await self.user({"db_users": ["*"], "db_names": ["*"]})
        await self.refused(self.issued(api, protocol="mysql"), Kind.BAD_PARAMETER)
        await self.refused(self.issued(api, roles=("reader",)), Kind.BAD_PARAMETER)

    async def test_automatic_users(self) -> None:
        """Under the person's own name, with roles that are offered; names are still checked."""
        await self.admin.create(described(admin_user={"name": "boss"}))
        api = await self.user(
            {"db_roles": ["reader", "writer"], "db_names": ["main"]},
            {"db_roles": ["writer"]},
            create_db_user_mode="keep",
        )
        identity = await self.issued(api, database="main", roles=("reader",))
        wanted = RouteToDatabase(
            service="orders", protocol="postgres", username="alice", database="main", roles=("reader",)
        )
        self.assertEqual(identity.database, wanted)
        error = await self.refused(self.issued(api, roles=("writer",)), Kind.ACCESS_DENIED)
        self.assertIn("you may have reader", error.message)
        await self.refused(self.issued(api, username="root"), Kind.BAD_PARAMETER)
        await self.refused(self.issued(api, database="other"), Kind.ACCESS_DENIED)

    async def test_as_agents_serve_it(self) -> None:
        """Labels from commands count; what cannot be read is passed over."""
        host_id = str(uuid.uuid4())
        identity = Identity(username=f"{host_id}.example.com", cluster="example.com", system_roles=(SystemRole.DB,))
        database = Database(name="orders", protocol="redis", uri="localhost:6379", labels={"env": "prod"})
        server = DatabaseServer(host_id=host_id, hostname="h", database=database)
        await self.cluster.auth.api_for(identity).heartbeat(server.to_resource(), timedelta(minutes=1))
        api = await self.user({"db_users": ["default"]})
        issued = await self.issued(api, username="default")
        assert issued.database is not None
        self.assertEqual(issued.database.protocol, "redis")

    async def test_for_others(self) -> None:
        """An administrator's C{tctl auth sign} is held to the user's roles as well."""
        await self.admin.create(described())
        await self.user({"db_users": ["app"], "db_names": ["*"]})
        for user, good in (("app", True), ("root", False)):
            route = RouteToDatabase(service="orders", username=user)
            work = self.admin.issue(
                IssueRequest(keys=PublicKeys(tls=Keys().public.tls), username="alice", database=route)
            )
            if good:
                await work
            else:
                await self.refused(work, Kind.ACCESS_DENIED)
