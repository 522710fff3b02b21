"""
Databases (C{db}): what an agent serves; the agents that do are L{teleport_tw.resources.database_servers}.

@see: reference for protocols, section 1.11
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from attrs import evolve, field, frozen

from teleport_tw.base.addresses import split_address
from teleport_tw.base.errors import TeleportError
from teleport_tw.base.timing import Duration, format_duration, parse_duration
from teleport_tw.resources.fields import Fields, without_empty
from teleport_tw.resources.metadata import Json, Metadata, Resource

KIND = "db"
VERSION = "v3"

DEFAULT_PORTS: Mapping[str, int] = {
    "postgres": 5432,
    "cockroachdb": 26257,
    "mysql": 3306,
    "mongodb": 27017,
    "redis": 6379,
}
"""Every protocol that is served, by the word of C{spec.protocol}, and where its servers listen by custom."""

NAMES_CHECKED = frozenset({"postgres", "mongodb"})
"""Protocols where roles limit the logical database too: elsewhere one reaches the others from within any of them."""

AUTO_USERS = frozenset({"postgres", "mysql", "mongodb"})
"""Protocols where users can be made for a session."""

MAX_NAME = 253
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?\Z")


class TLSMode(Enum):
    """
    How far a target's certificate is checked.
    """

    VERIFY_FULL = "verify-full"
    VERIFY_CA = "verify-ca"
    INSECURE = "insecure"


@frozen(kw_only=True)
class DatabaseTLS:
    """
    @ivar server_name: expected in place of the address's host; empty for that.
    @ivar ca_cert: PEM of the authorities believed; empty for the cluster's C{db} authority.
    @ivar trust_system_cert_pool: the host's own list of authorities as well.
    """

    mode: TLSMode = TLSMode.VERIFY_FULL
    server_name: str = ""
    ca_cert: str = ""
    trust_system_cert_pool: bool = False


@frozen(kw_only=True)
class AdminUser:
    """
    Who makes users in the database.

    @ivar name: a database user; empty where none is configured.
    @ivar default_database: where it connects to; empty for the protocol's custom.
    """

    name: str = ""
    default_database: str = ""


@frozen(kw_only=True)
class AWS:
    """
    @ivar iam: whether we prove ourselves with a token of IAM.
    @ivar details: everything under C{spec.aws}, as written.
    """

    region: str = ""
    account_id: str = ""
    assume_role_arn: str = ""
    external_id: str = ""
    details: Json = field(factory=dict)

    @property
    def iam(self) -> bool:
        """
        A region tells that the database is Amazon's.
        """
        return bool(self.region)


@frozen(kw_only=True)
class GCP:
    """
    Google's names for an instance.
    """

    project_id: str = ""
    instance_id: str = ""


@frozen(kw_only=True)
class DynamicLabel:
    """
    A label whose value is what a command prints.

    @ivar result: what it printed last; empty before.
    """

    command: tuple[str, ...]
    period: Duration
    result: str = ""


@frozen(kw_only=True)
class Database:
    """
    What somebody may reach through an agent.

    @ivar protocol: a key of L{DEFAULT_PORTS}.
    @ivar uri: as written: C{host:port}, or with a scheme and parameters where the protocol has such.
    @ivar mysql_version: shown to clients in place of the real server's; empty for that.
    @ivar dynamic_labels: by name.
    """

    name: str
    protocol: str
    uri: str
    description: str = ""
    labels: Mapping[str, str] = field(factory=dict)
    dynamic_labels: Mapping[str, DynamicLabel] = field(factory=dict)
    tls: DatabaseTLS = DatabaseTLS()
    admin_user: AdminUser = AdminUser()
    mysql_version: str = ""
    aws: AWS = AWS()
    gcp: GCP = GCP()
    expires: datetime | None = None
    revision: str = ""

    @classmethod
    def parse(cls, resource: Resource) -> Database:
        """
        @param resource: of kind C{db}.
        @raise TeleportError: BAD_PARAMETER naming every wrong key.
        """
        spec = Fields.of(resource, KIND)
        if resource.name and not (len(resource.name) <= MAX_NAME and _NAME.match(resource.name)):
            spec.wrong.append("metadata.name must be letters, digits, dots, hyphens and underscores")
        protocol = spec.text("protocol", needed=True, among=tuple(DEFAULT_PORTS))
        uri = spec.text("uri", needed=True)
        tls, aws, gcp, admin = (spec.section(key) for key in ("tls", "aws", "gcp", "admin_user"))
        spec.only(
            "protocol",
            "uri",
            "ca_cert",
            "tls",
            "aws",
            "gcp",
            "azure",
            "ad",
            "mysql",
            "mongo_atlas",
            "oracle",
            "dynamic_labels",
            "admin_user",
        )
        tls.only("mode", "server_name", "ca_cert", "trust_system_cert_pool")
        database = cls(
            name=resource.name,
            protocol=protocol,
            uri=uri,
            description=resource.metadata.description,
            labels=resource.metadata.labels,
            dynamic_labels=_dynamic_labels(spec),
            tls=DatabaseTLS(
                mode=tls.member("mode", TLSMode, TLSMode.VERIFY_FULL),
                server_name=tls.text("server_name"),
                ca_cert=tls.text("ca_cert") or spec.text("ca_cert"),
                trust_system_cert_pool=tls.flag("trust_system_cert_pool"),
            ),
            admin_user=AdminUser(name=admin.text("name"), default_database=admin.text("default_database")),
            mysql_version=spec.section("mysql").text("server_version"),
            aws=AWS(
                region=aws.text("region"),
                account_id=aws.text("account_id"),
                assume_role_arn=aws.text("assume_role_arn"),
                external_id=aws.text("external_id"),
                details=aws.values,
            ),
            gcp=GCP(project_id=gcp.text("project_id"), instance_id=gcp.text("instance_id")),
            expires=resource.metadata.expires,
            revision=resource.revision,
        )
        if protocol and uri:
            try:
                _addresses(uri, protocol)
            except (TeleportError, ValueError) as error:
                spec.must_be("uri", f"host:port ({error})")
        if database.tls.ca_cert and "-----BEGIN CERTIFICATE-----" not in database.tls.ca_cert:
            tls.must_be("ca_cert", "certificates in PEM")
        spec.done(resource)
        return database

    @property
    def all_labels(self) -> Mapping[str, str]:
        """
        Static labels and the results of commands, which roles match on alike; a result wins over a label of its name.
        """
        return {**self.labels, **{name: label.result for name, label in self.dynamic_labels.items()}}

    @property
    def addresses(self) -> tuple[tuple[str, int], ...]:
        """
        Hosts and ports of the target; several for a replica set or cluster.
        """
        return _addresses(self.uri, self.protocol)

    @property
    def host(self) -> str:
        """
        The first host, which its certificate is expected to name.
        """
        return self.addresses[0][0]

    @property
    def port(self) -> int:
        """
        The first host's port.
        """
        return self.addresses[0][1]

    @property
    def server_name(self) -> str:
        """
        What the target's certificate must name.
        """
        return self.tls.server_name or self.host

    @property
    def parameters(self) -> Mapping[str, str]:
        """
        What the URI says behind its question mark, such as C{mode=cluster}.
        """
        return dict(parse_qsl(urlsplit(self.uri).query)) if "://" in self.uri else {}

    @property
    def checks_names(self) -> bool:
        """
        Whether roles limit the logical database (C{db_names}).
        """
        return self.protocol in NAMES_CHECKED

    def with_results(self, results: Mapping[str, str]) -> Database:
        """
        @param results: name of a dynamic label to what its command printed.
        """
        labels = {
            name: evolve(label, result=results.get(name, label.result)) for name, label in self.dynamic_labels.items()
        }
        return evolve(self, dynamic_labels=labels)

    def to_resource(self) -> Resource:
        """
        @return: the noun as stored and announced.
        """
        tls, admin = self.tls, self.admin_user
        spec: dict[str, Any] = without_empty(
            (
                ("protocol", self.protocol),
                ("uri", self.uri),
                (
                    "tls",
                    without_empty(
                        (
                            ("mode", tls.mode.value),
                            ("server_name", tls.server_name),
                            ("ca_cert", tls.ca_cert),
                            ("trust_system_cert_pool", True if tls.trust_system_cert_pool else None),
                        )
                    ),
                ),
                ("admin_user", without_empty((("name", admin.name), ("default_database", admin.default_database)))),
                ("mysql", without_empty((("server_version", self.mysql_version),))),
                ("aws", dict(self.aws.details)),
                (
                    "gcp",
                    without_empty((("project_id", self.gcp.project_id), ("instance_id", self.gcp.instance_id))),
                ),
                (
                    "dynamic_labels",
                    {
                        name: without_empty(
                            (
                                ("command", list(label.command)),
                                ("period", format_duration(label.period)),
                                ("result", label.result),
                            )
                        )
                        for name, label in self.dynamic_labels.items()
                    },
                ),
            )
        )
        metadata = Metadata(
            name=self.name,
            description=self.description,
            labels=self.labels,
            expires=self.expires,
            revision=self.revision,
        )
        return Resource(kind=KIND, version=VERSION, metadata=metadata, spec=spec)


def _dynamic_labels(spec: Fields) -> dict[str, DynamicLabel]:
    """
    As a mapping from name, which is stored, or a list with names, which people write.
    """
    listed: list[tuple[str, Fields]]
    if isinstance(spec.values.get("dynamic_labels"), list | tuple):
        listed = [(each.text("name", needed=True), each) for each in spec.sections("dynamic_labels")]
    else:
        section = spec.section("dynamic_labels")
        listed = [(str(name), section.section(name)) for name in section.values]
    return {
        name: DynamicLabel(
            command=each.texts("command", needed=True),
            period=each.duration("period", parse_duration("1m"), least=parse_duration("1s")),
            result=each.text("result"),
        )
        for name, each in listed
    }


def _addresses(uri: str, protocol: str) -> tuple[tuple[str, int], ...]:
    """
    @raise TeleportError: BAD_PARAMETER, no host or port is to be read.
    @raise ValueError: the same, for a URI with a scheme.
    """
    authority = uri
    if "://" in uri:
        authority = urlsplit(uri).netloc.rpartition("@")[2]
    found = tuple(split_address(each, DEFAULT_PORTS.get(protocol)) for each in authority.split(",") if each)
    if not found or not all(host for host, _ in found):
        raise ValueError("no host")
    return found
