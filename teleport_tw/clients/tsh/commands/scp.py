"""
Copy files from and to servers, and between servers.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.clients.output import harmless
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.clients.tsh.copying import Copier, Here, Place, Progress, Spot
from teleport_tw.clients.tsh.target import Wanted, add_cluster, nodes
from teleport_tw.clients.tsh.way import Notices, way, worded
from teleport_tw.conch.connection import Connection
from teleport_tw.dial.sftp import Sftp

EXAMPLES = """\
tsh scp notes.txt root@node-1:/tmp/
tsh scp -r root@node-1:/var/log/nginx .
tsh scp 'root@node-1:*.conf' root@node-2:backup/
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh scp}.
    """
    parser.add_argument("paths", nargs="+", metavar="[[user@]host:]path", help="sources, then the target")
    parser.add_argument("-r", "--recursive", action="store_true", help="folders too")
    parser.add_argument("-P", "--port", type=int, default=0, help="port of a server that is dialled")
    parser.add_argument("-p", "--preserve", action="store_true", help="keep permissions and times")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress")
    add_cluster(parser)
    parser.set_defaults(run=run)


async def run(context: UserContext, options: argparse.Namespace) -> None:
    """
    Always SFTP inside.
    """
    spots = list(map(Spot.parse, options.paths))
    if len(spots) < 2:
        raise bad_parameter("say what to copy and where to: tsh scp SOURCE… TARGET")
    if not any(spot.host for spot in spots):
        raise bad_parameter("one of the paths must be on a server: [user@]host:path")
    *sources, target = spots
    progress, stop = meter(options.quiet or not sys.stdout.isatty())
    copier = Copier(options.recursive, options.preserve, progress)
    places = Places(context, options)
    try:
        there = await places.at(target)
        for source in sources:
            await copier.copy(await places.at(source), source.path, there, target.path, into=len(sources) > 1)
    finally:
        stop()
        places.close()


class Places:
    """
    One connection a server, however many paths name it.
    """

    def __init__(self, context: UserContext, options: argparse.Namespace) -> None:
        self._context = context
        self._options = options
        self._notices = Notices()
        self._way = way(context, self._notices)
        self._open: dict[str, tuple[Connection, Sftp]] = {}

    async def at(self, spot: Spot) -> Place:
        """
        @raise TeleportError: the server cannot be reached, or offers no SFTP.
        """
        if not spot.host:
            return Here()
        if spot.host not in self._open:
            self._open[spot.host] = await self._connect(Wanted.parse(spot.host))
        return self._open[spot.host][1]

    async def _connect(self, wanted: Wanted) -> tuple[Connection, Sftp]:
        standing = self._context.signed.standing
        login = wanted.login_for(self._options.login, standing)
        found = await nodes(self._context, wanted, self._options.port)
        if len(found) != 1:
            raise bad_parameter(f"{len(found)} servers have the labels {wanted.host}; name one")
        try:
            connection = await self._way.connect(found[0].target, login, names=found[0].names)
            return connection, await Sftp.open(connection, self._context.reactor)
        except TeleportError as error:
            raise worded(error, login, found[0].name, standing.logins, self._notices) from error

    def close(self) -> None:
        """
        Hang up.
        """
        for connection, sftp in self._open.values():
            sftp.close()
            connection.transport.loseConnection()


def meter(quiet: bool) -> tuple[Progress, Callable[[], None]]:
    """
    @return: what shows progress, and what ends it.
    """
    if quiet:
        return (lambda name, size, more: None), (lambda: None)
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    bars = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    bars.start()
    current = [bars.add_task("", visible=False)]

    def tell(name: str, size: int, more: int) -> None:
        if more:
            bars.advance(current[0], more)
        else:
            current[0] = bars.add_task(harmless(name), total=size)

    return tell, bars.stop
