"""
A user's running ssh-agent: our certificate goes in at sign-in and out at sign-out.

Blocking, with a short time limit, over the socket that C{SSH_AUTH_SOCK} names; needs no Twisted.

@see: draft-ietf-sshm-ssh-agent, sections 5.2 and 5.3
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping

from attrs import frozen

from teleport_tw.base.errors import Kind, RemoteProtocolError, TeleportError
from teleport_tw.protocols.ssh.wire import Reader, put_byte, put_string, put_text, put_uint32

_SUCCESS, _IDENTITIES_ANSWER = 6, 12
_REQUEST_IDENTITIES, _REMOVE_IDENTITY, _ADD_ID_CONSTRAINED = 11, 18, 25
_CONSTRAIN_LIFETIME = 1

MAX_MESSAGE_BYTES = 256 * 1024
"""As much as OpenSSH's agent takes and gives."""

MAX_IDENTITIES = 2048

TIMEOUT_SECONDS = 5.0
"""Adding and listing ask nobody anything."""


def comment(proxy: str, cluster: str, user: str) -> str:
    """
    @return: what our keys are called inside the agent.
    """
    return f"teleport:{proxy}:{cluster}:{user}"


@frozen
class SshAgent:
    """
    @ivar path: of the agent's socket.
    """

    path: str

    @classmethod
    def running(cls, environment: Mapping[str, str] = os.environ) -> SshAgent | None:
        """
        @return: the agent of this login, if there is one.
        """
        path = environment.get("SSH_AUTH_SOCK", "")
        return cls(path) if path else None

    def add(self, private: bytes, certificate: bytes, name: str, lifetime_seconds: int) -> None:
        """
        Lend the agent a key with its certificate.

        @param private: the type's own private fields, see L{private_fields}.
        @param certificate: blob.
        @param lifetime_seconds: the agent forgets it then.
        @raise TeleportError: CONNECTION_PROBLEM, nobody answers; ACCESS_DENIED, the agent does not want it.
        """
        algorithm = Reader(certificate).string()
        body = put_string(algorithm) + put_string(certificate) + private + put_text(name)
        body += put_byte(_CONSTRAIN_LIFETIME) + put_uint32(max(1, min(lifetime_seconds, 0xFFFF_FFFF)))
        if self._ask(_ADD_ID_CONSTRAINED, body)[:1] != bytes((_SUCCESS,)):
            raise TeleportError(Kind.ACCESS_DENIED, "the ssh-agent does not take the certificate")

    def listed(self) -> list[tuple[bytes, str]]:
        """
        @return: blob and comment of each key that it holds.
        @raise TeleportError: CONNECTION_PROBLEM, no sensible answer.
        """
        answer = self._ask(_REQUEST_IDENTITIES, b"")
        try:
            reader = Reader(answer)
            if reader.byte() != _IDENTITIES_ANSWER:
                raise RemoteProtocolError("another answer")
            count = reader.uint32()
            return [
                (reader.string(), reader.string().decode("utf-8", "replace")) for _ in range(min(count, MAX_IDENTITIES))
            ]
        except RemoteProtocolError as error:
            raise _trouble("it gave an answer that makes no sense") from error

    def remove(self, name: str) -> int:
        """
        Take back what was lent under a name, or under any that begins with it and a colon.

        @return: how many keys.
        """
        ours = [blob for blob, found in self.listed() if found == name or found.startswith(f"{name}:")]
        return sum(self._ask(_REMOVE_IDENTITY, put_string(blob))[:1] == bytes((_SUCCESS,)) for blob in ours)

    def _ask(self, number: int, body: bytes) -> bytes:
        message = put_byte(number) + body
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.settimeout(TIMEOUT_SECONDS)
                connection.connect(self.path)
                connection.sendall(put_string(message))
                size = int.from_bytes(_exactly(connection, 4), "big")
                if not 0 < size <= MAX_MESSAGE_BYTES:
                    raise _trouble("it gave an answer that makes no sense")
                return _exactly(connection, size)
        except OSError as error:
            raise _trouble(error.strerror or str(error)) from error


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            raise _trouble("it hung up")
        data += piece
    return data


def _trouble(reason: str) -> TeleportError:
    return TeleportError(Kind.CONNECTION_PROBLEM, f"the ssh-agent cannot be used: {reason}")
