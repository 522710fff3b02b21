"""
The contract over gRPC: L{RpcApi}.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence

from attrs import define, field
from google.protobuf.empty_pb2 import Empty

from teleport_tw.api import ceremonies, convert, proofs
from teleport_tw.api.client_web import RpcFactors
from teleport_tw.api.contract import (
    Certificates,
    ClusterInfo,
    DatabaseCertificate,
    DatabaseCertRequest,
    EventPage,
    EventQuery,
    Hit,
    HostIssueRequest,
    IssueRequest,
    Joined,
    JoinRequest,
    LoginRequest,
    MfaAnswer,
    OpenSSHIssueRequest,
    Page,
    PublicKeys,
    Query,
    SemaphoreRequest,
    SetupPurpose,
    SetupTicket,
    Verification,
    Watched,
)
from teleport_tw.api.factors import NOTHING
from teleport_tw.api.faults import from_fault
from teleport_tw.api.proto import audit_pb2, auth_pb2, presence_pb2, resource_pb2
from teleport_tw.api.proto.audit_pb2_grpc import AuditServiceStub
from teleport_tw.api.proto.auth_pb2_grpc import AuthServiceStub
from teleport_tw.api.proto.presence_pb2_grpc import PresenceServiceStub
from teleport_tw.api.proto.resource_pb2_grpc import ResourceServiceStub
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import Duration
from teleport_tw.resources.metadata import Json, Resource
from teleport_tw.rpc.client import Channel, ClientTls, Stream

UPLOAD_CHUNK = 256 * 1024
"""Bytes of a recording in one message: well below gRPC's 4 MiB, large enough that the framing does not count."""

_ALL = Query()

LONG = 600.0
"""Seconds, for calls that walk a whole log or carry a recording."""


def connect(target: str, tls: ClientTls, *, timeout: float = 30) -> RpcApi:
    """
    Nothing is sent before the first call.

    @param target: as gRPC writes it: C{dns:///auth.example.com:3025}, C{unix:/path}.
    @param timeout: seconds for calls that are not streams.
    """
    return RpcApi(Channel(target, tls, from_fault, timeout))


@define(eq=False)
class _News:
    """
    A watch's pieces of news, out of the batches they travel in.
    """

    _batches: Stream[resource_pb2.WatchBatch]
    _waiting: deque[Watched] = field(factory=deque, init=False)

    def __aiter__(self) -> AsyncIterator[Watched]:
        return self

    async def __anext__(self) -> Watched:
        while not self._waiting:
            batch = await self._batches.__anext__()
            self._waiting.extend(map(convert.watched_from_pb, batch.events))
        return self._waiting.popleft()

    async def aclose(self) -> None:
        self._waiting.clear()
        await self._batches.aclose()


@define(eq=False)
class _Bytes:
    """
    A recording's bytes.
    """

    _chunks: Stream[audit_pb2.RecordingChunk]

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return (await self._chunks.__anext__()).data

    async def aclose(self) -> None:
        await self._chunks.aclose()


@define(eq=False)
class RpcApi(RpcFactors):
    """
    Implements L{teleport_tw.api.contract.Api}; the identity is the channel's certificate.
    """

    def with_mfa(self, answer: MfaAnswer) -> RpcApi:
        """See the contract."""
        message = proofs.answer_to_pb(answer)
        assert message is not None
        return RpcApi(self.channel.saying(((proofs.HEADER, message.SerializeToString()),)))

    async def close(self) -> None:
        """
        End every call and the connection.
        """
        await self.channel.close()

    def renew(self, tls: ClientTls) -> None:
        """
        Use another certificate for calls made from now on.
        """
        self.channel.renew(tls)

    # --- resources

    async def get(self, kind: str, name: str, *, sub_kind: str = "", with_secrets: bool = False) -> Resource:
        """See the contract."""
        request = resource_pb2.GetResourceRequest(kind=kind, name=name, sub_kind=sub_kind, with_secrets=with_secrets)
        stub = self.channel.stub(ResourceServiceStub)
        return convert.resource_from_pb(await self.channel.call(stub.Get, request))

    async def list(self, kind: str, query: Query = _ALL) -> Page:
        """See the contract."""
        request = resource_pb2.ListResourcesRequest(kind=kind, query=convert.query_to_pb(query))
        stub = self.channel.stub(ResourceServiceStub)
        return convert.page_from_pb(await self.channel.call(stub.List, request))

    async def create(self, resource: Resource) -> Resource:
        """See the contract."""
        stub = self.channel.stub(ResourceServiceStub)
        return convert.resource_from_pb(await self.channel.call(stub.Create, convert.resource_to_pb(resource)))

    async def upsert(self, resource: Resource) -> Resource:
        """See the contract."""
        stub = self.channel.stub(ResourceServiceStub)
        return convert.resource_from_pb(await self.channel.call(stub.Upsert, convert.resource_to_pb(resource)))

    async def update(self, resource: Resource) -> Resource:
        """See the contract."""
        stub = self.channel.stub(ResourceServiceStub)
        return convert.resource_from_pb(await self.channel.call(stub.Update, convert.resource_to_pb(resource)))

    async def delete(self, kind: str, name: str, *, sub_kind: str = "") -> None:
        """See the contract."""
        request = resource_pb2.DeleteResourceRequest(kind=kind, name=name, sub_kind=sub_kind)
        await self.channel.call(self.channel.stub(ResourceServiceStub).Delete, request)

    def watch(self, kinds: Sequence[str], *, with_initial: bool = True) -> AsyncIterator[Watched]:
        """See the contract."""
        request = resource_pb2.WatchRequest(kinds=kinds, with_initial=with_initial)
        return _News(self.channel.read(self.channel.stub(ResourceServiceStub).Watch, request))

    # --- ceremonies

    async def ping(self) -> ClusterInfo:
        """See the contract."""
        return ceremonies.info_from_pb(await self.channel.call(self.channel.stub(AuthServiceStub).Ping, Empty()))

    async def join(self, request: JoinRequest) -> Certificates:
        """See the contract."""
        stub = self.channel.stub(AuthServiceStub)
        return ceremonies.certificates_from_pb(await self.channel.call(stub.Join, ceremonies.join_to_pb(request)))

    async def who_joined(self, handle: str) -> tuple[Joined, ...]:
        """See the contract."""
        request = auth_pb2.WhoJoinedRequest(handle=handle)
        found = await self.channel.call(self.channel.stub(AuthServiceStub).WhoJoined, request)
        return tuple(map(ceremonies.joined_from_pb, found.hosts))

    async def renew_host(self, keys: PublicKeys, addresses: Sequence[str] = ()) -> Certificates:
        """See the contract."""
        request = auth_pb2.RenewHostRequest(keys=ceremonies.keys_to_pb(keys), addresses=addresses)
        stub = self.channel.stub(AuthServiceStub)
        return ceremonies.certificates_from_pb(await self.channel.call(stub.RenewHost, request))

    async def login(self, request: LoginRequest) -> Certificates:
        """See the contract."""
        stub = self.channel.stub(AuthServiceStub)
        return ceremonies.certificates_from_pb(await self.channel.call(stub.Login, ceremonies.login_to_pb(request)))

    async def issue(self, request: IssueRequest) -> Certificates:
        """See the contract."""
        stub = self.channel.stub(AuthServiceStub)
        return ceremonies.certificates_from_pb(await self.channel.call(stub.Issue, ceremonies.issue_to_pb(request)))

    async def issue_host(self, request: HostIssueRequest) -> Certificates:
        """See the contract."""
        stub = self.channel.stub(AuthServiceStub)
        return ceremonies.certificates_from_pb(
            await self.channel.call(stub.IssueHost, ceremonies.issue_host_to_pb(request))
        )

    async def issue_openssh(self, request: OpenSSHIssueRequest) -> bytes:
        """See the contract."""
        stub = self.channel.stub(AuthServiceStub)
        return (await self.channel.call(stub.IssueOpenSSH, ceremonies.issue_openssh_to_pb(request))).certificate

    async def issue_database(self, request: DatabaseCertRequest) -> DatabaseCertificate:
        """See the contract."""
        stub = self.channel.stub(AuthServiceStub)
        return ceremonies.database_certificate_from_pb(
            await self.channel.call(stub.IssueDatabase, ceremonies.issue_database_to_pb(request))
        )

    async def create_setup(self, username: str, purpose: SetupPurpose, ttl: Duration) -> SetupTicket:
        """See the contract."""
        request = auth_pb2.CreateSetupRequest(
            username=username, purpose=ceremonies.purpose_to_pb(purpose), ttl=convert.duration_to_pb(ttl)
        )
        stub = self.channel.stub(AuthServiceStub)
        return ceremonies.ticket_from_pb(await self.channel.call(stub.CreateSetup, request))

    async def get_setup(self, token: Secret[str]) -> SetupTicket:
        """See the contract."""
        request = auth_pb2.GetSetupRequest(token=token.reveal())
        stub = self.channel.stub(AuthServiceStub)
        return ceremonies.ticket_from_pb(await self.channel.call(stub.GetSetup, request))

    async def complete_setup(
        self,
        token: Secret[str],
        password: Secret[str],
        otp: Secret[str] = NOTHING,
        *,
        answer: MfaAnswer | None = None,
        device_name: str = "",
    ) -> tuple[Secret[str], ...]:
        """See the contract."""
        request = auth_pb2.CompleteSetupRequest(
            token=token.reveal(),
            password=password.reveal(),
            otp=otp.reveal(),
            answer=proofs.answer_to_pb(answer),
            device_name=device_name,
        )
        stub = self.channel.stub(AuthServiceStub)
        return proofs.codes_from_pb(await self.channel.call(stub.CompleteSetup, request))

    # --- presence

    async def heartbeat(self, resource: Resource, ttl: Duration) -> None:
        """See the contract."""
        request = presence_pb2.HeartbeatRequest(
            resource=convert.resource_to_pb(resource), ttl=convert.duration_to_pb(ttl)
        )
        await self.channel.call(self.channel.stub(PresenceServiceStub).Heartbeat, request)

    async def goodbye(self, kind: str, name: str) -> None:
        """See the contract."""
        request = presence_pb2.GoodbyeRequest(kind=kind, name=name)
        await self.channel.call(self.channel.stub(PresenceServiceStub).Goodbye, request)

    async def acquire(self, request: SemaphoreRequest) -> str:
        """See the contract."""
        stub = self.channel.stub(PresenceServiceStub)
        return (await self.channel.call(stub.Acquire, convert.semaphore_to_pb(request))).lease

    async def keep(self, request: SemaphoreRequest, lease: str) -> None:
        """See the contract."""
        message = presence_pb2.SemaphoreLease(semaphore=convert.semaphore_to_pb(request), lease=lease)
        await self.channel.call(self.channel.stub(PresenceServiceStub).Keep, message)

    async def release(self, request: SemaphoreRequest, lease: str) -> None:
        """See the contract."""
        message = presence_pb2.SemaphoreLease(semaphore=convert.semaphore_to_pb(request), lease=lease)
        await self.channel.call(self.channel.stub(PresenceServiceStub).Release, message)

    # --- audit

    async def emit(self, events: Sequence[Json]) -> None:
        """See the contract."""
        await self.emit_text([convert.json_to_text(event) for event in events])

    async def emit_text(self, events: Sequence[str]) -> None:
        """
        As L{emit}, for events that are JSON already.
        """
        request = audit_pb2.EmitRequest(events=events)
        await self.channel.call(self.channel.stub(AuditServiceStub).Emit, request)

    async def search(self, query: EventQuery) -> EventPage:
        """See the contract."""
        stub = self.channel.stub(AuditServiceStub)
        return convert.event_page_from_pb(
            await self.channel.call(stub.Search, convert.event_query_to_pb(query), timeout=LONG)
        )

    async def verify(self) -> Verification:
        """See the contract."""
        stub = self.channel.stub(AuditServiceStub)
        return convert.verification_from_pb(await self.channel.call(stub.Verify, Empty(), timeout=LONG))

    async def put_recording(self, session: str, part: int, data: bytes) -> None:
        """See the contract."""

        def messages() -> Iterator[audit_pb2.RecordingPart]:
            yield audit_pb2.RecordingPart(session=session, part=part, data=data[:UPLOAD_CHUNK])
            for start in range(UPLOAD_CHUNK, len(data), UPLOAD_CHUNK):
                yield audit_pb2.RecordingPart(data=data[start : start + UPLOAD_CHUNK])

        await self.channel.send(self.channel.stub(AuditServiceStub).PutRecording, messages(), timeout=LONG)

    async def complete_recording(self, session: str, parts: int) -> None:
        """See the contract."""
        request = audit_pb2.CompleteRecordingRequest(session=session, parts=parts)
        await self.channel.call(self.channel.stub(AuditServiceStub).CompleteRecording, request)

    def get_recording(self, session: str, follow: bool = False) -> AsyncIterator[bytes]:
        """See the contract."""
        request = audit_pb2.GetRecordingRequest(session=session, follow=follow)
        return _Bytes(self.channel.read(self.channel.stub(AuditServiceStub).GetRecording, request))

    async def search_recordings(self, text: str, query: EventQuery) -> tuple[Hit, ...]:
        """See the contract."""
        request = audit_pb2.SearchRecordingsRequest(text=text, query=convert.event_query_to_pb(query))
        stub = self.channel.stub(AuditServiceStub)
        return convert.hits_from_pb(await self.channel.call(stub.SearchRecordings, request, timeout=LONG))
