"""
A recording, out of a file or fetched from the cluster.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from teleport_tw.base.errors import RemoteProtocolError, bad_parameter
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.recordings.container import Reader, Timed

CHUNK = 1024 * 1024


async def records(context: UserContext, name: str) -> list[Timed]:
    """
    @param name: a session's id, or a file's path.
    @return: everything in it; of a torn one what can be read.
    @raise TeleportError: NOT_FOUND; BAD_PARAMETER, it is no recording.
    """
    reader = Reader()
    found: list[Timed] = []
    path = Path(name)
    try:
        if path.is_file():
            for chunk in _chunks(path):
                found += reader.feed(chunk)
        else:
            async for chunk in (await context.api()).get_recording(name):
                found += reader.feed(chunk)
    except RemoteProtocolError as error:
        raise bad_parameter(f"{name} is not a recording: {error}") from error
    if not found:
        raise bad_parameter(f"there is nothing in the recording {name}")
    return found


async def followed(context: UserContext, session: str) -> AsyncIterator[Timed]:
    """
    A session's recording from its beginning, as it comes.

    @raise TeleportError: NOT_FOUND; BAD_PARAMETER, it was begun anew by a host that crashed, or changed.
    """
    reader = Reader()
    try:
        async for chunk in (await context.api()).get_recording(session, follow=True):
            for record in reader.feed(chunk):
                yield record
    except RemoteProtocolError as error:
        raise bad_parameter(f"the recording of {session} cannot be followed any more: {error}") from error


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
