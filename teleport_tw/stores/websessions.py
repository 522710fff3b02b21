"""
Sessions on the web at rest.

Each is kept under the hash of its id, and its private keys are sealed with a key that only the id yields: who reads
the store can neither use a session nor make a certificate's key of it.
"""

from __future__ import annotations

import secrets
from base64 import b64decode, b64encode
from datetime import datetime
from hashlib import sha256

from attrs import define, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from teleport_tw.backends.interface import Backend, Condition, Delete, Put
from teleport_tw.base.errors import Kind, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import format_time, parse_time
from teleport_tw.stores import layout, records

_NONCE = 12


@frozen(kw_only=True)
class StoredSession:
    """
    @ivar public_id: what the user may see of it.
    @ivar mfa_device: that the user signed in with.
    @ivar sealed: the rest, as L{seal} made it.
    """

    username: str
    public_id: str
    mfa_device: str
    created: datetime
    last_used: datetime
    expires: datetime
    address: str
    user_agent: str
    sealed: bytes


@define(eq=False)
class WebSessionStore:
    """
    Reads and writes them.
    """

    backend: Backend

    async def create(self, id: Secret[str], session: StoredSession, gone: datetime) -> None:
        """
        @param gone: when the store may forget it unless it is used.
        """
        key = hash_id(id)
        index = layout.sign_in_key(session.username, session.public_id)
        await self.backend.batch(
            (
                Put(layout.web_session_key(key), _encode(session), gone, Condition.ABSENT),
                Put(index, records.encode({"key": key}), session.expires, Condition.ABSENT),
            )
        )

    async def get(self, id: Secret[str]) -> StoredSession | None:
        """
        @return: C{None} where there is none.
        """
        return await self._get(hash_id(id))

    async def _get(self, key: str) -> StoredSession | None:
        fields = await records.read(self.backend, layout.web_session_key(key))
        return _decode(fields) if fields is not None else None

    async def used(self, id: Secret[str], now: datetime, gone: datetime, sealed: bytes = b"") -> bool:
        """
        @param sealed: in place of what was; empty leaves it.
        @return: False when it ended meanwhile.
        """
        there = False

        def step(fields: records.Fields | None) -> records.Change:
            nonlocal there
            there = fields is not None
            if fields is None:
                return records.Change(None)
            changed = {**fields, "last_used": format_time(now)}
            if sealed:
                changed["sealed"] = b64encode(sealed).decode("ascii")
            return records.Change(changed, gone)

        await records.change(self.backend, layout.web_session_key(hash_id(id)), step)
        return there

    async def delete(self, id: Secret[str]) -> StoredSession | None:
        """
        @return: what ended; C{None} where nothing was.
        """
        session = await self.get(id)
        if session is not None:
            await self._delete(hash_id(id), session)
        return session

    async def _delete(self, key: str, session: StoredSession) -> None:
        await self.backend.batch(
            (
                Delete(layout.web_session_key(key), Condition.ANY),
                Delete(layout.sign_in_key(session.username, session.public_id), Condition.ANY),
            )
        )

    async def of(self, username: str) -> tuple[StoredSession, ...]:
        """
        @return: newest first.
        """
        found = [session for _, session in await self._all(username)]
        return tuple(sorted(found, key=lambda session: session.created, reverse=True))

    async def delete_of(self, username: str, public_id: str) -> bool:
        """
        @return: whether there was one.
        """
        for key, session in await self._all(username):
            if session.public_id == public_id:
                await self._delete(key, session)
                return True
        return False

    async def delete_all(self, username: str, *, but: str = "") -> int:
        """
        @param but: a public id that stays.
        @return: how many ended.
        """
        ended = 0
        for key, session in await self._all(username):
            if session.public_id != but:
                await self._delete(key, session)
                ended += 1
        return ended

    async def _all(self, username: str) -> list[tuple[str, StoredSession]]:
        try:
            prefix = layout.sign_ins_prefix(username)
        except TeleportError as error:
            if error.kind is Kind.BAD_PARAMETER:
                return []
            raise
        found = []
        for item in (await self.backend.range(prefix)).items:
            key = str(records.decode(item.value)["key"])
            session = await self._get(key)
            if session is not None:
                found.append((key, session))
        return found


def hash_id(id: Secret[str]) -> str:
    """
    @return: what the session is kept under.
    """
    return sha256(b"session " + id.reveal().encode("utf-8", "surrogateescape")).hexdigest()


def seal(id: Secret[str], fields: records.Fields) -> bytes:
    """
    @return: nonce and AES-256-GCM's ciphertext.
    """
    nonce = secrets.token_bytes(_NONCE)
    return nonce + AESGCM(_key(id)).encrypt(nonce, records.encode(fields), hash_id(id).encode())


def unseal(id: Secret[str], sealed: bytes) -> records.Fields:
    """
    @raise TeleportError: INTERNAL, it was changed in the store.
    """
    try:
        plain = AESGCM(_key(id)).decrypt(sealed[:_NONCE], sealed[_NONCE:], hash_id(id).encode())
    except InvalidTag as error:
        raise TeleportError(Kind.INTERNAL, "a stored session is damaged") from error
    return records.decode(plain)


def _key(id: Secret[str]) -> bytes:
    derive = HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"teleport web session keys")
    return derive.derive(id.reveal().encode("utf-8", "surrogateescape"))


def _encode(session: StoredSession) -> bytes:
    return records.encode(
        {
            "username": session.username,
            "public_id": session.public_id,
            "mfa_device": session.mfa_device,
            "created": format_time(session.created),
            "last_used": format_time(session.last_used),
            "expires": format_time(session.expires),
            "address": session.address,
            "user_agent": session.user_agent,
            "sealed": b64encode(session.sealed).decode("ascii"),
        }
    )


def _decode(fields: records.Fields) -> StoredSession:
    return StoredSession(
        username=fields["username"],
        public_id=fields["public_id"],
        mfa_device=fields["mfa_device"],
        created=parse_time(fields["created"]),
        last_used=parse_time(fields["last_used"]),
        expires=parse_time(fields["expires"]),
        address=fields["address"],
        user_agent=fields["user_agent"],
        sealed=b64decode(fields["sealed"]),
    )
