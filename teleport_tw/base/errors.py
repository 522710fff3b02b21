"""
The errors of the project, each with a kind that every edge words in its own protocol.

A room raises L{TeleportError} with a L{Kind}; an edge (gRPC, HTTP, SSH, a command's exit code) holds one table from
kind to its own code. Codecs raise L{RemoteProtocolError} for what the peer did wrong and L{LocalProtocolError} for
what our own code did wrong.
"""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """
    What sort of failure this is, coarse enough that every protocol has a word for it.
    """

    NOT_FOUND = "not found"
    ALREADY_EXISTS = "already exists"
    BAD_PARAMETER = "bad parameter"
    ACCESS_DENIED = "access denied"
    COMPARE_FAILED = "compare failed"
    LIMIT_EXCEEDED = "limit exceeded"
    CONNECTION_PROBLEM = "connection problem"
    NOT_IMPLEMENTED = "not implemented"
    INTERNAL = "internal error"


class TeleportError(Exception):
    """
    A failure with a known reason.

    @ivar kind: what sort of failure.
    @ivar message: the text for the user: what is wrong and what to do about it. Never holds a secret.
    @ivar details: facts for the log and the audit event only; a refused user does not see them.
    """

    def __init__(self, kind: Kind, message: str, *, details: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.details = details

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.kind.name}, {self.message!r})"


def not_found(message: str) -> TeleportError:
    """
    @param message: what was looked for, in the user's words.
    """
    return TeleportError(Kind.NOT_FOUND, message)


def bad_parameter(message: str) -> TeleportError:
    """
    @param message: which value is wrong and what a right one looks like.
    """
    return TeleportError(Kind.BAD_PARAMETER, message)


def access_denied(message: str = "access denied", *, details: str = "") -> TeleportError:
    """
    @param message: what the user is told; keep it free of the reason.
    @param details: the reason, for the administrator.
    """
    return TeleportError(Kind.ACCESS_DENIED, message, details=details)


class ProtocolError(Exception):
    """
    Bytes or messages that a protocol does not allow.

    @ivar code: what the protocol's own error report would carry, where it has one: a number or name the edge knows.
    """

    def __init__(self, message: str, *, code: int | str | None = None) -> None:
        super().__init__(message)
        self.code = code


class RemoteProtocolError(ProtocolError):
    """
    The peer broke the protocol; the connection ends, the process does not care.
    """


class LocalProtocolError(ProtocolError):
    """
    Our own code asked a codec or machine for something the protocol does not allow: a bug of ours.
    """
