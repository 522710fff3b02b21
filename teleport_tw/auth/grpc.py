"""
Serves the contract over gRPC: every call is turned into one on the caller's own L{Api}.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from attrs import define, evolve, field
from google.protobuf.empty_pb2 import Empty
from twisted.internet.defer import Deferred

from teleport_tw.api import ceremonies, convert, proofs
from teleport_tw.api.contract import Api, Certificates, Watched
from teleport_tw.api.faults import to_fault
from teleport_tw.api.proto import audit_pb2, auth_pb2, factors_pb2, presence_pb2, resource_pb2, websessions_pb2
from teleport_tw.audit.lines import read as read_event
from teleport_tw.auth.grpc_web import FactorCalls, WebSessionCalls
from teleport_tw.auth.local import LocalApi
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.pki.kept import Kept
from teleport_tw.recordings.storage import MAX_PART_BYTES
from teleport_tw.resources.metadata import Resource
from teleport_tw.rpc.peer import Peer
from teleport_tw.rpc.server import Incoming, Limits, Routes
from teleport_tw.rpc.turnstile import Quota

BATCH = 200
"""Pieces of news in one message of a watch."""
BATCH_BYTES = 1024 * 1024
"""A message of a watch is closed once it holds this much."""
CHUNK = 256 * 1024
"""Bytes of a recording in one message."""


def routes(
    admit: Callable[[Peer], LocalApi],
    limits: Limits | None = None,
    called: Callable[[str, str, float], None] | None = None,
    quota: Quota | None = None,
) -> Routes[Api]:
    """
    @param admit: the API of whoever is at the other end; raises where nobody may be.
    @param called: told of each call, to count them.
    @param quota: how many calls each caller may have at once.
    """
    table: Routes[Api] = Routes(admit, to_fault, limits or Limits(), called, quota)
    for schema, name, calls in (
        (resource_pb2, "ResourceService", ResourceCalls()),
        (auth_pb2, "AuthService", AuthCalls()),
        (factors_pb2, "FactorService", FactorCalls()),
        (websessions_pb2, "WebSessionService", WebSessionCalls()),
        (presence_pb2, "PresenceService", PresenceCalls()),
        (audit_pb2, "AuditService", AuditCalls()),
    ):
        table.add(schema.DESCRIPTOR.services_by_name[name], calls)
    return table


@define(eq=False)
class Batches:
    """
    A watch's news in messages: what is there at once goes together, and nothing waits for more.
    """

    _news: AsyncIterator[Watched]
    _next: Deferred[Any] | None = field(default=None, init=False)
    _held: list[Any] = field(factory=list, init=False)
    _over: BaseException | None = field(default=None, init=False)

    def __aiter__(self) -> AsyncIterator[resource_pb2.WatchBatch]:
        return self

    async def __anext__(self) -> resource_pb2.WatchBatch:
        batch, size = resource_pb2.WatchBatch(), 0
        while len(batch.events) < BATCH and size < BATCH_BYTES and self._over is None:
            self._ask()
            if not self._held and self._over is None:
                if batch.events:
                    break
                assert self._next is not None
                await self._next
            if self._held:
                event = convert.watched_to_pb(self._held.pop())
                size += event.ByteSize()
                batch.events.append(event)
        if batch.events:
            return batch
        assert self._over is not None
        raise self._over

    def _ask(self) -> None:
        if self._next is None and not self._held and self._over is None:
            self._next = Deferred.fromCoroutine(self._news.__anext__())  # type: ignore[arg-type]
            self._next.addCallbacks(self._came, self._ended)

    def _came(self, watched: Watched) -> None:
        self._next = None
        self._held.append(watched)

    def _ended(self, failure: Any) -> None:
        self._next = None
        self._over = failure.value

    async def aclose(self) -> None:
        """
        Give the watch up.
        """
        if self._next is not None:
            self._next.cancel()
        await self._news.aclose()  # type: ignore[attr-defined]


class ResourceCalls:
    """
    C{teleport_tw.v1.ResourceService}.
    """

    async def Get(self, request: resource_pb2.GetResourceRequest, api: Api) -> resource_pb2.Resource:
        """See the contract."""
        resource = await api.get(
            request.kind, request.name, sub_kind=request.sub_kind, with_secrets=request.with_secrets
        )
        return convert.resource_to_pb(resource)

    async def List(self, request: resource_pb2.ListResourcesRequest, api: Api) -> resource_pb2.ListResourcesResponse:
        """See the contract."""
        return convert.page_to_pb(await api.list(request.kind, convert.query_from_pb(request.query)))

    async def Create(self, request: resource_pb2.Resource, api: Api) -> resource_pb2.Resource:
        """See the contract."""
        return convert.resource_to_pb(await api.create(convert.resource_from_pb(request)))

    async def Upsert(self, request: resource_pb2.Resource, api: Api) -> resource_pb2.Resource:
        """See the contract."""
        return convert.resource_to_pb(await api.upsert(convert.resource_from_pb(request)))

    async def Update(self, request: resource_pb2.Resource, api: Api) -> resource_pb2.Resource:
        """See the contract."""
        return convert.resource_to_pb(await api.update(convert.resource_from_pb(request)))

    async def Delete(self, request: resource_pb2.DeleteResourceRequest, api: Api) -> Empty:
        """See the contract."""
        await api.delete(request.kind, request.name, sub_kind=request.sub_kind)
        return Empty()

    def Watch(self, request: resource_pb2.WatchRequest, api: Api) -> Batches:
        """See the contract."""
        return Batches(api.watch(tuple(request.kinds), with_initial=request.with_initial))


def _authorities(authorities: tuple[Resource, ...]) -> bytes:
    return ceremonies.certificates_to_pb(Certificates(authorities=authorities)).SerializeToString()


@define(eq=False)
class AuthCalls:
    """
    C{teleport_tw.v1.AuthService}.
    """

    _written: Kept[tuple[Resource, ...], bytes] = field(factory=lambda: Kept(_authorities, most=8), init=False)

    def _answer(self, certificates: Certificates) -> bytes:
        """
        The message, written out: the authorities, most of it, are the same for everybody and are written once. Two
        protobuf messages one after the other are their sum.
        """
        own = ceremonies.certificates_to_pb(evolve(certificates, authorities=()))
        return own.SerializeToString() + self._written.of(certificates.authorities)

    async def Ping(self, request: Empty, api: Api) -> auth_pb2.PingResponse:
        """See the contract."""
        return ceremonies.info_to_pb(await api.ping())

    async def Join(self, request: auth_pb2.JoinRequest, api: Api) -> bytes:
        """See the contract."""
        return self._answer(await api.join(ceremonies.join_from_pb(request)))

    async def WhoJoined(self, request: auth_pb2.WhoJoinedRequest, api: Api) -> auth_pb2.WhoJoinedResponse:
        """See the contract."""
        return auth_pb2.WhoJoinedResponse(hosts=map(ceremonies.joined_to_pb, await api.who_joined(request.handle)))

    async def RenewHost(self, request: auth_pb2.RenewHostRequest, api: Api) -> bytes:
        """See the contract."""
        certificates = await api.renew_host(ceremonies.keys_from_pb(request.keys), tuple(request.addresses))
        return self._answer(certificates)

    async def Login(self, request: auth_pb2.LoginRequest, api: Api) -> bytes:
        """See the contract."""
        return self._answer(await api.login(ceremonies.login_from_pb(request)))

    async def Issue(self, request: auth_pb2.IssueRequest, api: Api) -> bytes:
        """See the contract."""
        return self._answer(await api.issue(ceremonies.issue_from_pb(request)))

    async def IssueHost(self, request: auth_pb2.IssueHostRequest, api: Api) -> bytes:
        """See the contract."""
        return self._answer(await api.issue_host(ceremonies.issue_host_from_pb(request)))

    async def IssueOpenSSH(self, request: auth_pb2.IssueOpenSSHRequest, api: Api) -> auth_pb2.IssueOpenSSHResponse:
        """See the contract."""
        certificate = await api.issue_openssh(ceremonies.issue_openssh_from_pb(request))
        return auth_pb2.IssueOpenSSHResponse(certificate=certificate)

    async def IssueDatabase(self, request: auth_pb2.IssueDatabaseRequest, api: Api) -> auth_pb2.IssueDatabaseResponse:
        """See the contract."""
        issued = await api.issue_database(ceremonies.issue_database_from_pb(request))
        return ceremonies.database_certificate_to_pb(issued)

    async def CreateSetup(self, request: auth_pb2.CreateSetupRequest, api: Api) -> auth_pb2.SetupTicket:
        """See the contract."""
        purpose, ttl = ceremonies.purpose_from_pb(request.purpose), convert.duration_from_pb(request.ttl)
        return ceremonies.ticket_to_pb(await api.create_setup(request.username, purpose, ttl))

    async def GetSetup(self, request: auth_pb2.GetSetupRequest, api: Api) -> auth_pb2.SetupTicket:
        """See the contract."""
        return ceremonies.ticket_to_pb(await api.get_setup(Secret(request.token)))

    async def CompleteSetup(self, request: auth_pb2.CompleteSetupRequest, api: Api) -> factors_pb2.RecoveryCodes:
        """See the contract."""
        codes = await api.complete_setup(
            Secret(request.token),
            Secret(request.password),
            Secret(request.otp),
            answer=proofs.answer_from_pb(request.answer) if request.HasField("answer") else None,
            device_name=request.device_name,
        )
        return proofs.codes_to_pb(codes)


class PresenceCalls:
    """
    C{teleport_tw.v1.PresenceService}.
    """

    async def Heartbeat(self, request: presence_pb2.HeartbeatRequest, api: Api) -> Empty:
        """See the contract."""
        await api.heartbeat(convert.resource_from_pb(request.resource), convert.duration_from_pb(request.ttl))
        return Empty()

    async def Goodbye(self, request: presence_pb2.GoodbyeRequest, api: Api) -> Empty:
        """See the contract."""
        await api.goodbye(request.kind, request.name)
        return Empty()

    async def Acquire(self, request: presence_pb2.Semaphore, api: Api) -> presence_pb2.AcquireResponse:
        """See the contract."""
        return presence_pb2.AcquireResponse(lease=await api.acquire(convert.semaphore_from_pb(request)))

    async def Keep(self, request: presence_pb2.SemaphoreLease, api: Api) -> Empty:
        """See the contract."""
        await api.keep(convert.semaphore_from_pb(request.semaphore), request.lease)
        return Empty()

    async def Release(self, request: presence_pb2.SemaphoreLease, api: Api) -> Empty:
        """See the contract."""
        await api.release(convert.semaphore_from_pb(request.semaphore), request.lease)
        return Empty()


class AuditCalls:
    """
    C{teleport_tw.v1.AuditService}.
    """

    async def Emit(self, request: audit_pb2.EmitRequest, api: Api) -> Empty:
        """See the contract."""
        await api.emit([read_event(event) for event in request.events])
        return Empty()

    async def Search(self, request: audit_pb2.EventQuery, api: Api) -> audit_pb2.EventPage:
        """See the contract."""
        return convert.event_page_to_pb(await api.search(convert.event_query_from_pb(request)))

    async def Verify(self, request: Empty, api: Api) -> audit_pb2.Verification:
        """See the contract."""
        return convert.verification_to_pb(await api.verify())

    async def PutRecording(self, requests: Incoming, api: LocalApi) -> Empty:
        """See the contract."""
        session, part, size = "", 0, 0
        pieces: list[bytes] = []
        async for message in requests:
            if not pieces:
                session, part = message.session, message.part
                await api.check_recording(session)
            pieces.append(message.data)
            size += len(message.data)
            if size > MAX_PART_BYTES:
                raise bad_parameter(f"a part of a recording may not be longer than {MAX_PART_BYTES} bytes")
        await api.put_recording(session, part, b"".join(pieces))
        return Empty()

    async def CompleteRecording(self, request: audit_pb2.CompleteRecordingRequest, api: Api) -> Empty:
        """See the contract."""
        await api.complete_recording(request.session, request.parts)
        return Empty()

    def GetRecording(self, request: audit_pb2.GetRecordingRequest, api: Api) -> Chunks:
        """See the contract."""
        return Chunks(api.get_recording(request.session, request.follow))

    async def SearchRecordings(
        self, request: audit_pb2.SearchRecordingsRequest, api: Api
    ) -> audit_pb2.SearchRecordingsResponse:
        """See the contract."""
        hits = await api.search_recordings(request.text, convert.event_query_from_pb(request.query))
        return convert.hits_to_pb(hits)


@define(eq=False)
class Chunks:
    """
    A recording's bytes in messages of bounded size.
    """

    _source: AsyncIterator[bytes]
    _rest: memoryview = field(default=memoryview(b""), init=False)

    def __aiter__(self) -> AsyncIterator[audit_pb2.RecordingChunk]:
        return self

    async def __anext__(self) -> audit_pb2.RecordingChunk:
        while not self._rest:
            self._rest = memoryview(await self._source.__anext__())
        chunk, self._rest = self._rest[:CHUNK], self._rest[CHUNK:]
        return audit_pb2.RecordingChunk(data=bytes(chunk))

    async def aclose(self) -> None:
        """
        Give the recording up.
        """
        await self._source.aclose()  # type: ignore[attr-defined]
