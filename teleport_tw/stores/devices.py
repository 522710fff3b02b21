"""
Second factors at rest: authenticator apps, security keys and passkeys, recovery codes.

Kept below C{secrets/}. A key is found by its user and, for who signs in without a name, by its credential's id, which
no two users share.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any

from attrs import define, field, frozen

from teleport_tw.backends.interface import Backend, Check, Condition, Delete, Item, Operation, Put
from teleport_tw.backends.keys import Key
from teleport_tw.base.errors import Kind, TeleportError, not_found
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import format_time, parse_time
from teleport_tw.stores import layout, records

MOST_DEVICES = 20
"""Of one user; more than anybody carries, few enough to look at for each sign-in."""

HANDLE_BYTES = 32
"""Of a user's handle: random, so that a lost key tells nobody whose it is (WebAuthn section 14.6.1)."""


@frozen(kw_only=True)
class OtpDevice:
    """
    An authenticator app.

    @ivar id: a UUID, in certificates and events.
    @ivar last_step: of the code used last.
    """

    id: str
    name: str
    secret: Secret[str]
    last_step: int = -1
    added: datetime | None = None
    last_used: datetime | None = None
    revision: int = field(default=0, eq=False)


@frozen(kw_only=True)
class KeyDevice:
    """
    A security key or passkey.

    @ivar credential: attested credential data (WebAuthn section 6.5.2): AAGUID, credential id, public key in COSE form.
    @ivar credential_id: the same as within.
    @ivar count: the signature counter seen last; zero for keys that have none.
    @ivar transports: how browsers reach it.
    @ivar passwordless: it knows its user and checks a PIN or finger.
    @ivar suspect: its counter went back once.
    """

    id: str
    name: str
    credential: bytes
    credential_id: bytes
    count: int = 0
    transports: tuple[str, ...] = ()
    passwordless: bool = False
    suspect: bool = False
    added: datetime | None = None
    last_used: datetime | None = None
    revision: int = field(default=0, eq=False)


AnyDevice = OtpDevice | KeyDevice


@define(eq=False)
class Devices:
    """
    Reads and writes them, each change safe against another at the same time.
    """

    backend: Backend

    async def all(self, username: str) -> tuple[AnyDevice, ...]:
        """
        @return: oldest first; none for names that cannot be.
        """
        try:
            prefix = layout.devices_prefix(username)
        except TeleportError:
            return ()
        page = await self.backend.range(prefix)
        found = [_device(item) for item in page.items]
        return tuple(sorted(found, key=lambda device: (format_time(device.added) if device.added else "", device.id)))

    async def by_credential(self, credential_id: bytes) -> tuple[str, KeyDevice] | None:
        """
        @return: the user and the key; None where nobody has it.
        """
        fields = await records.read(self.backend, _credential_key(credential_id))
        if fields is None:
            return None
        username = str(fields["username"])
        for device in await self.all(username):
            if isinstance(device, KeyDevice) and device.credential_id == credential_id:
                return username, device
        return None

    def adding(self, username: str, device: AnyDevice) -> list[Operation]:
        """
        @return: what adds it, to be part of a batch: ALREADY_EXISTS when the credential is somebody's already.
        """
        key = _key(username, device.id)
        operations: list[Operation] = [Put(key, _encode(device), None, Condition.ABSENT)]
        if isinstance(device, KeyDevice):
            owner = records.encode({"username": username, "device": device.id})
            operations.append(Put(_credential_key(device.credential_id), owner, None, Condition.ABSENT))
        return operations

    async def add(self, username: str, device: AnyDevice) -> None:
        """
        @raise TeleportError: ALREADY_EXISTS, the credential is somebody's already.
        """
        await self.backend.batch(self.adding(username, device))

    async def remove(self, username: str, device: AnyDevice, others: Sequence[AnyDevice] = ()) -> None:
        """
        @param others: those that must still be there, so that of two who remove the last two, one does not.
        @raise TeleportError: NOT_FOUND, COMPARE_FAILED: somebody else was faster.
        """
        checks = [Check(_key(username, each.id), Condition.PRESENT) for each in others]
        own = Delete(_key(username, device.id), Condition.PRESENT)
        await self.backend.batch([*checks, own, *_removing(username, (device,))[1:]])

    async def removing_all(self, username: str) -> list[Operation]:
        """
        @return: what takes every device away, to be part of a batch.
        """
        return _removing(username, await self.all(username))

    async def used(self, username: str, before: AnyDevice, after: AnyDevice) -> bool:
        """
        Note a use, which spends a code or moves a counter on.

        @return: False when another use came first.
        """
        try:
            await self.backend.compare_and_swap(_key(username, before.id), before.revision, _encode(after))
        except TeleportError as error:
            if error.kind in (Kind.COMPARE_FAILED, Kind.NOT_FOUND):
                return False
            raise
        return True

    async def rename(self, username: str, id: str, name: str) -> bool:
        """
        Whatever else happens to it meanwhile.

        @return: False when it is not there.
        """
        there = False

        def step(fields: records.Fields | None) -> records.Change:
            nonlocal there
            there = fields is not None
            return records.Change({**fields, "name": name} if fields else None)

        await records.change(self.backend, _key(username, id), step)
        return there

    async def suspect(self, username: str, device: KeyDevice) -> None:
        """
        Mark it for good, whatever else happens to it.
        """

        def step(fields: records.Fields | None) -> records.Change:
            return records.Change({**fields, "suspect": True} if fields else None)

        await records.change(self.backend, _key(username, device.id), step)

    async def handle(self, username: str) -> bytes:
        """
        @return: the user's handle, made on the first asking.
        """
        key = layout.webauthn_user_key(username)
        return b64decode(await _made_once(self.backend, key, "handle", lambda: secrets.token_bytes(HANDLE_BYTES)))

    async def known_handle(self, username: str) -> bytes:
        """
        @return: empty where none was made.
        """
        fields = await records.read(self.backend, layout.webauthn_user_key(username))
        return b64decode(fields["handle"]) if fields else b""

    # --- recovery codes

    async def set_recovery(self, username: str, hashes: Sequence[str], now: datetime) -> None:
        """
        In place of older ones.
        """
        await self.backend.batch([self.setting_recovery(username, hashes, now)])

    def setting_recovery(self, username: str, hashes: Sequence[str], now: datetime) -> Put:
        """
        @return: the same, to be part of a batch.
        """
        fields = {"codes": list(hashes), "made": format_time(now)}
        return Put(layout.recovery_key(username), records.encode(fields))

    async def recovery_left(self, username: str) -> int:
        """
        @return: how many codes are left.
        """
        try:
            key = layout.recovery_key(username)
        except TeleportError:
            return 0
        fields = await records.read(self.backend, key)
        return len(fields["codes"]) if fields else 0

    async def use_recovery(self, username: str, code_hash: str, *, spend: bool) -> bool:
        """
        @return: whether the code was good; from now on it is not.
        """
        found = False

        def step(fields: records.Fields | None) -> records.Change:
            nonlocal found
            codes = list(fields["codes"]) if fields else []
            found = code_hash in codes
            left = [code for code in codes if code != code_hash] if spend else codes
            return records.Change({**fields, "codes": left} if fields else None)

        try:
            key = layout.recovery_key(username)
        except TeleportError:
            return False
        if await records.read(self.backend, key) is None:
            return False
        await records.change(self.backend, key, step)
        return found

    # --- what the cluster keeps

    async def cluster_secret(self) -> bytes:
        """
        @return: what credentials of nobody are derived from; made on the first asking.
        """
        key = layout.webauthn_settings_key("decoys")
        return b64decode(await _made_once(self.backend, key, "secret", lambda: secrets.token_bytes(32)))

    async def kept_rp_id(self) -> str:
        """
        @return: empty before the first key was registered.
        """
        fields = await records.read(self.backend, layout.webauthn_settings_key("rp_id"))
        return str(fields["rp_id"]) if fields else ""

    async def keep_rp_id(self, rp_id: str) -> None:
        """
        Keys are registered for it from now on.
        """
        await records.write(self.backend, layout.webauthn_settings_key("rp_id"), {"rp_id": rp_id})


async def _made_once(backend: Backend, key: Key, name: str, make: Any) -> str:
    made = b64encode(make()).decode("ascii")
    fields = await records.read(backend, key)
    if fields is None:
        try:
            await backend.create(key, records.encode({name: made}))
        except TeleportError as error:
            if error.kind is not Kind.ALREADY_EXISTS:
                raise
            fields = await records.read(backend, key)
            if fields is None:
                raise not_found("a record went away as it was made") from error
        else:
            return made
    return str(fields[name])


def _key(username: str, id: str) -> Key:
    return (*layout.devices_prefix(username), id)


def _credential_key(credential_id: bytes) -> Key:
    return layout.webauthn_credential_key(sha256(credential_id).hexdigest())


def _removing(username: str, devices: Sequence[AnyDevice]) -> list[Operation]:
    gone: list[Operation] = []
    for device in devices:
        gone.append(Delete(_key(username, device.id), Condition.ANY))
        if isinstance(device, KeyDevice):
            gone.append(Delete(_credential_key(device.credential_id), Condition.ANY))
    return gone


def _moment(value: Mapping[str, Any], name: str) -> datetime | None:
    text = value.get(name)
    return parse_time(text) if text else None


def _device(item: Item) -> AnyDevice:
    value = records.decode(item.value)
    shared: dict[str, Any] = {
        "id": item.key[-1],
        "name": value["name"],
        "added": _moment(value, "added"),
        "last_used": _moment(value, "last_used"),
        "revision": item.revision,
    }
    if value.get("type") == "webauthn":
        return KeyDevice(
            credential=b64decode(value["credential"]),
            credential_id=b64decode(value["credential_id"]),
            count=value["count"],
            transports=tuple(value.get("transports", ())),
            passwordless=bool(value.get("passwordless")),
            suspect=bool(value.get("suspect")),
            **shared,
        )
    return OtpDevice(secret=Secret(value["secret"]), last_step=value["last_step"], **shared)


def _encode(device: AnyDevice) -> bytes:
    fields: dict[str, Any] = {"name": device.name}
    if device.added is not None:
        fields["added"] = format_time(device.added)
    if device.last_used is not None:
        fields["last_used"] = format_time(device.last_used)
    if isinstance(device, OtpDevice):
        return records.encode(
            {"type": "totp", "secret": device.secret.reveal(), "last_step": device.last_step, **fields}
        )
    return records.encode(
        {
            "type": "webauthn",
            "credential": b64encode(device.credential).decode("ascii"),
            "credential_id": b64encode(device.credential_id).decode("ascii"),
            "count": device.count,
            "transports": list(device.transports),
            "passwordless": device.passwordless,
            "suspect": device.suspect,
            **fields,
        }
    )
