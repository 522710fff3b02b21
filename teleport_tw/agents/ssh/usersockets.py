"""
UNIX sockets opened with the login's rights.

Whether a user may connect to a socket, or make one, is for the kernel to say to that user, not to us, and the far end
shall see that user's credentials: a process of the login's (L{teleport_tw.agents.ssh.fileserver}) opens the socket and
hands it over.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout

from teleport_tw.agents.ssh.fileserver import MAX_REPORT_BYTES
from teleport_tw.agents.ssh.realm import SSHUser
from teleport_tw.agents.ssh.spawn import Ended, Launch
from teleport_tw.agents.ssh.transfer import ReportReader, launch, open_pipe
from teleport_tw.base.errors import Kind, TeleportError

OPEN_SECONDS = 15.0

MAX_PATH_BYTES = 108
"""C{sun_path} of Linux."""


@frozen
class Given:
    """
    A socket, connected or listening, and its path.
    """

    sock: socket.socket
    path: str


async def open_socket(user: SSHUser, verb: str, path: str) -> Given:
    """
    @param verb: C{connect}, C{listen}, or C{private}, for which C{path} is a name alone.
    @raise TeleportError: CONNECTION_PROBLEM, with the system's reason.
    """
    if not path or "\0" in path or len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise TeleportError(Kind.BAD_PARAMETER, "no such socket can be")
    account = await user.account()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        told = await run(user, launch(account, (verb, path), account.environment), theirs.fileno())
        error = str(told.get("error", "the process that opens sockets failed"))
        if error:
            raise TeleportError(Kind.CONNECTION_PROBLEM, f"{path}: {error}")
        ours.setblocking(False)
        try:
            _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
        except OSError:
            descriptors = []
        if not descriptors:
            raise TeleportError(Kind.INTERNAL, f"{path}: no socket was handed over")
        return Given(socket.socket(fileno=descriptors[0]), str(told.get("path", path)))


async def unlink(user: SSHUser, path: str) -> None:
    """
    Remove the name of a socket, and its directory if it was a private one.
    """
    account = await user.account()
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    try:
        await run(user, launch(account, ("unlink", path), {}), nothing)
    finally:
        os.close(nothing)


async def run(user: SSHUser, wanted: Launch, stdin: int) -> Mapping[str, Any]:
    """
    Run a short program of ours, or a tool, as the login.

    @param stdin: stays the caller's.
    @return: its last report; empty where there is none; C{status} is the exit code.
    @raise TeleportError: it cannot be started, or takes too long.
    """
    realm = user.realm
    reading, writing = open_pipe()
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    done: Deferred[Ended] = Deferred()
    try:
        try:
            process = realm.spawner.spawn(
                wanted, (stdin, nowhere, writing), lambda ended: None if done.called else done.callback(ended)
            )
        finally:
            os.close(writing)
            os.close(nowhere)
        try:
            ended = await done.addTimeout(OPEN_SECONDS, realm.reactor)
        except DeferredTimeout as error:
            process.signal(9)
            raise TeleportError(Kind.CONNECTION_PROBLEM, "it took too long") from error
        if ended.problem:
            raise TeleportError(Kind.INTERNAL, "a program of the agent's could not be started", details=ended.problem)
        os.set_blocking(reading, False)
        try:
            said = os.read(reading, MAX_REPORT_BYTES)
        except BlockingIOError:
            said = b""
    finally:
        os.close(reading)
    found: dict[str, Any] = {"status": ended.code}
    ReportReader(found.update).feed(said)
    return found
