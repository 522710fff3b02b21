"""
How we prove ourselves to a MongoDB server: by our certificate, C{MONGODB-X509}; by SCRAM where we have a password.

A password is there because somebody put it there, so that it goes first and alone: the same name is another user in
C{$external} than in C{admin} or where C{authSource} of the address says.

@see: specifications, C{auth/auth.md}
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import frozen

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.base.secret import Secret
from teleport_tw.base.tasks import Threads
from teleport_tw.protocols.mongodb import commands, documents
from teleport_tw.protocols.sasl.scram import Client, Mechanism, prepared
from teleport_tw.resources.databases import Database

Ask = Callable[[Mapping[str, Any]], Awaitable[bytes]]
"""Sends a command; gives the answer's document in BSON."""

MIN_WIRE_VERSION = 6
"""OP_MSG came with MongoDB 3.6."""

ADMIN = "admin"


@frozen(kw_only=True)
class Proof:
    """
    A password, and where it counts.

    @ivar source: the logical database that has the user.
    @ivar threads: that the hashing of it is done in.
    """

    password: Secret[bytes]
    threads: Threads
    source: str = ADMIN


def proof_of(database: Database, password: Secret[bytes] | None, threads: Threads) -> Proof | None:
    """
    @param password: of this host's; C{None} where the certificate is to do.
    """
    if password is None:
        return None
    return Proof(password=password, threads=threads, source=database.parameters.get("authSource") or ADMIN)


async def login(ask: Ask, user: str, proof: Proof | None = None) -> None:
    """
    @param user: of the database; the certificate that was shown in TLS says C{CN=user}.
    @param proof: in place of the certificate.
    @raise TeleportError: CONNECTION_PROBLEM, it does not take us, or is too old.
    """
    # No word of who we are: the client may say who it is once for a connection, in its own hello.
    hello: dict[str, Any] = {"hello": 1, "helloOk": True, "$db": ADMIN}
    if proof is not None:
        hello["saslSupportedMechs"] = f"{proof.source}.{user}"
    told = documents.deep(await _asked(ask, hello, "said no hello"))
    version = told.get("maxWireVersion")
    if not isinstance(version, int) or version < MIN_WIRE_VERSION:
        raise _problem("it is older than MongoDB 3.6")
    if proof is not None:
        await _by_password(ask, user, proof, told.get("saslSupportedMechs"))
        return
    await _asked(
        ask,
        {"authenticate": 1, "mechanism": "MONGODB-X509", "user": f"CN={user}", "$db": "$external"},
        f"did not take the certificate of CN={user}: is there such a user in $external?",
    )


async def _by_password(ask: Ask, user: str, proof: Proof, offered: Any) -> None:
    """
    @param offered: names of mechanisms that the user has; from the server, anything. Servers that do not say have
        C{SCRAM-SHA-1}.
    """
    known = offered if isinstance(offered, list) else []
    mechanism = Mechanism.SHA_256 if Mechanism.SHA_256.value in known else Mechanism.SHA_1
    refused = f"did not take our password of {user!r} in {proof.source!r}"
    try:
        client = Client(mechanism, _made(mechanism, user, proof.password), user)
        start = {
            "saslStart": 1,
            "mechanism": mechanism.value,
            "payload": client.first(),
            "options": {"skipEmptyExchange": True},
            "$db": proof.source,
        }
        number, challenge, _ = _step(await _asked(ask, start, refused))
        following = {"saslContinue": 1, "conversationId": number, "$db": proof.source}
        final = await proof.threads.run(client.final, challenge)
        _, outcome, done = _step(await _asked(ask, {**following, "payload": final}, refused))
        client.finish(outcome)
        if not done:
            _, _, done = _step(await _asked(ask, {**following, "payload": b""}, refused))
        if not done:
            raise _problem("it does not end signing in")
    except RemoteProtocolError as error:
        raise _problem(f"{refused} ({error})") from error


def _made(mechanism: Mechanism, user: str, password: Secret[bytes]) -> Secret[bytes]:
    """
    @return: what the mechanism takes: the password prepared, or for SHA-1 what MongoDB always made of it.
    @raise TeleportError: CONNECTION_PROBLEM, it is no text.
    """
    if mechanism is Mechanism.SHA_1:
        octets = user.encode("utf-8") + b":mongo:" + password.reveal()
        return Secret(hashlib.md5(octets, usedforsecurity=False).hexdigest().encode("ascii"))
    try:
        return Secret(prepared(password.reveal().decode("utf-8")))
    except UnicodeDecodeError:
        raise _problem("takes passwords in UTF-8 alone, and ours is not") from None


def _step(answer: bytes) -> tuple[Any, bytes, bool]:
    """
    @return: the conversation's number as the server wants it back, what it says in it, and whether that was all.
    """
    read = documents.deep(answer)
    payload = read.get("payload")
    return read.get("conversationId"), payload if isinstance(payload, bytes) else b"", bool(read.get("done"))


async def _asked(ask: Ask, command: Mapping[str, Any], text: str) -> bytes:
    answer = await ask(command)
    said = commands.verdict(answer)
    if said.error or not answer:
        raise _problem(f"{text} ({said.error})" if said.error else text)
    return answer


def _problem(text: str) -> TeleportError:
    return TeleportError(Kind.CONNECTION_PROBLEM, f"the MongoDB server {text}")
