"""
Passwords that are tokens of Amazon's IAM: for RDS and Aurora, and for Redis users of ElastiCache and MemoryDB.

A token is the address of a request to connect, signed with the host's own AWS credentials, or those of a role that they
assume. Making one asks nobody but where a role is assumed or the credentials are fetched. Databases take it for fifteen
minutes; we keep it for ten.

@see: RDS User Guide, I{Connecting to your DB instance using IAM authentication}; ElastiCache User Guide,
    I{Authenticating with IAM}
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IReactorTime

from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Threads
from teleport_tw.resources.databases import Database

VALID_SECONDS = 900
KEEP_SECONDS = 600.0
"""Credentials of a host are replaced ten minutes before their end, so that what they sign lives as long."""
WORK_SECONDS = 30.0
"""To read credentials, assume a role and sign."""
MAX_TOKENS = 1000
"""Of more, the one not used for longest is forgotten."""

_CALL_SECONDS = 5
_SQL = ("postgres", "mysql")


@frozen(kw_only=True)
class Order:
    """
    A token that is wanted.

    @ivar service: of AWS, in whose name it is signed.
    @ivar url: that is signed; the token is what stands behind its scheme.
    @ivar role: ARN of a role to assume; empty for none.
    @ivar external_id: that the role asks for.
    """

    service: str
    url: str
    query: Mapping[str, str] = field(hash=False)
    region: str
    role: str = ""
    external_id: str = ""

    @classmethod
    def of(cls, database: Database, user: str) -> Order | None:
        """
        @return: C{None} for databases that take no such token.
        @raise TeleportError: NOT_IMPLEMENTED, Redshift makes passwords otherwise.
        """
        aws = database.aws
        if not aws.iam:
            return None
        if aws.details.get("redshift") or aws.details.get("redshift_serverless"):
            raise TeleportError(
                Kind.NOT_IMPLEMENTED, "tokens of Redshift are not served; give the agent a password of the user's"
            )
        if database.protocol in _SQL:
            service, address = "rds-db", f"https://{database.host}:{database.port}/"
            query = {"Action": "connect", "DBUser": user}
        elif database.protocol == "redis" and (cache := _cache(aws.details)):
            service, name = cache
            address, query = f"http://{name}/", {"Action": "connect", "User": user}
        else:
            return None
        return cls(
            service=service,
            url=address,
            query=query,
            region=aws.region,
            role=aws.assume_role_arn,
            external_id=aws.external_id,
        )


def _cache(details: Mapping[str, Any]) -> tuple[str, str] | None:
    """
    @return: the service, and the name that it knows the servers by.
    """
    for service, key in (("elasticache", "replication_group_id"), ("memorydb", "cluster_name")):
        section = details.get(service)
        name = section.get(key) if isinstance(section, Mapping) else None
        if isinstance(name, str) and name:
            return service, name
    return None


@define(eq=False)
class Tokens:
    """
    A L{teleport_tw.agents.db.passwords.Source}.

    @ivar make: blocks; see L{signed}.
    """

    clock: IReactorTime
    threads: Threads
    make: Callable[[Order], Secret[bytes]] = field(default=lambda order: signed(order))
    _kept: OrderedDict[Order, tuple[float, Secret[bytes]]] = field(factory=OrderedDict, init=False)

    async def password(self, database: Database, user: str) -> Secret[bytes] | None:
        """
        See L{teleport_tw.agents.db.passwords.Source.password}.
        """
        order = Order.of(database, user)
        if order is None:
            return None
        kept = self._kept.get(order)
        if kept is not None and kept[0] > self.clock.seconds():
            self._kept.move_to_end(order)
            return kept[1]
        until = self.clock.seconds() + KEEP_SECONDS
        try:
            token = await self.threads.run(self.make, order).addTimeout(WORK_SECONDS, self.clock)
        except TimeoutError as error:
            raise _problem("AWS did not answer in time") from error
        self._kept[order] = until, token
        self._kept.move_to_end(order)
        if len(self._kept) > MAX_TOKENS:
            self._kept.popitem(last=False)
        return token


def signed(order: Order) -> Secret[bytes]:
    """
    Blocks.

    @raise TeleportError: NOT_IMPLEMENTED, boto3 is not installed; CONNECTION_PROBLEM, there are no credentials.
    """
    try:
        import boto3  # of the extra C{aws}, which most agents do without
        from botocore.awsrequest import prepare_request_dict
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.model import ServiceId
        from botocore.signers import RequestSigner
    except ImportError as error:
        raise TeleportError(
            Kind.NOT_IMPLEMENTED,
            "the agent cannot make tokens of AWS IAM: boto3 is not installed beside it",
            details="databases with aws.region need boto3: pip install 'teleport_tw[aws]'",
        ) from error
    try:
        session = boto3.session.Session(region_name=order.region)
        if order.role:
            session = _assumed(session, order)
        credentials = session.get_credentials()
        if credentials is None:
            raise _problem("this host has no credentials of AWS")
        request: dict[str, Any] = {
            "url_path": "",
            "query_string": dict(order.query),
            "method": "GET",
            "headers": {},
            "body": {},
            "context": {},
        }
        prepare_request_dict(request, order.url)
        signer = RequestSigner(ServiceId(order.service), order.region, order.service, "v4", credentials, session.events)
        url: str = signer.generate_presigned_url(
            request, operation_name="connect", region_name=order.region, expires_in=VALID_SECONDS
        )
    except (BotoCoreError, ClientError) as error:
        raise _problem(str(error)) from error
    return Secret(url.partition("://")[2].encode("ascii"))


def _assumed(session: Any, order: Order) -> Any:
    """
    @param session: of boto3, which has no types.
    @return: one with the credentials of the role.
    """
    import boto3
    from botocore.config import Config

    limits = Config(connect_timeout=_CALL_SECONDS, read_timeout=_CALL_SECONDS, retries={"total_max_attempts": 2})
    wish = {"RoleArn": order.role, "RoleSessionName": "teleport-db"}
    if order.external_id:
        wish["ExternalId"] = order.external_id
    given = session.client("sts", config=limits).assume_role(**wish)["Credentials"]
    return boto3.session.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        region_name=order.region,
    )


def _problem(details: str) -> TeleportError:
    return TeleportError(
        Kind.CONNECTION_PROBLEM,
        "the agent has no token of AWS IAM for this database; its log says why",
        details=details,
    )
