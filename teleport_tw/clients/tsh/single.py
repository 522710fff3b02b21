"""
C{tsh ssh HOST COMMAND} with nothing forwarded and no terminal: what scripts do, and what must start fast. It gets by
without a reactor; whatever it does not know how to do, it leaves to L{teleport_tw.clients.tsh.remote}.
"""

from __future__ import annotations

import argparse
import os
import sys
from threading import Thread
from typing import TYPE_CHECKING

from teleport_tw.base.errors import TeleportError
from teleport_tw.clients.tsh.context import Signed, signed_in
from teleport_tw.clients.tsh.target import Wanted, address, options_of, passed_variables, words_of
from teleport_tw.dial.blocking import open_stream

if TYPE_CHECKING:
    import ssl

KEEPALIVE_SECONDS = 30.0

_KNOWN_OPTIONS = frozenset(["user", "port", "serveraliveinterval", "exitonforwardfailure", "escapechar"])


def run_single(options: argparse.Namespace) -> int | None:
    """
    @return: the exit status; none where there is more to it than a command.
    @raise TeleportError: it did not work.
    """
    said = options_of(options.option)
    if not words_of(options.command) or not _simple(options) or not said.keys() <= _KNOWN_OPTIONS:
        return None
    wanted = Wanted.parse(options.target)
    signed = signed_in(options)
    if wanted.by_labels or not signed.identity.ssh_key.reveal():
        return None
    login = wanted.login_for(options.login or said.get("user", ""), signed.standing)
    target = address(wanted.host, options.port or int(said.get("port", "0") or 0))
    opening = _Opening(signed, target)
    opening.start()  # the proxy and the agent are at work while we load the rest
    from teleport_tw.clients.tsh.way import Notices, worded
    from teleport_tw.conch.single import PersonNeededError, SingleCommand
    from teleport_tw.dial.known import HostTrust
    from teleport_tw.dial.single import Runner
    from teleport_tw.pki.keys import PrivateKey
    from teleport_tw.protocols.ssh import keys as ssh_keys

    identity, notices = signed.identity, Notices()
    try:
        trust = HostTrust.of_known_hosts(signed.profile.cluster, identity.known_hosts)
        command = SingleCommand(
            username=login,
            key=PrivateKey.load(identity.ssh_key).native,
            blob=ssh_keys.parse_line(identity.ssh_certificate).blob,
            verify=lambda proof: trust.check(proof, (wanted.host,)),
            command=words_of(options.command).encode("utf-8", "surrogateescape"),
            variables=passed_variables(os.environ),
            show=notices.show,
        )
        connection, early = opening.result()
        seconds = said.get("serveraliveinterval", "")
        keepalive = float(seconds) if seconds.isdecimal() and int(seconds) else KEEPALIVE_SECONDS
        status = Runner(connection, command, keepalive).run(early)
    except PersonNeededError:
        options.proof_needed = True  # so that the other way does not have to find out again
        return None
    except TeleportError as error:
        raise worded(error, login, wanted.host, signed.standing.logins, notices) from error
    if command.signal:
        print(f"The command was ended by SIG{command.signal}.", file=sys.stderr)
    return status


def _simple(options: argparse.Namespace) -> bool:
    return not (
        options.forward
        or options.dynamic_forward
        or options.remote_forward
        or options.no_remote_exec
        or options.tty
        or options.x11_untrusted
        or options.x11_trusted
        or options.forward_agent
        or options.fork_after_authentication
        or options.reason
        or options.invite
        or options.debug  # the reactor's way logs
    )


class _Opening(Thread):
    """
    Opens the stream to the server.
    """

    def __init__(self, signed: Signed, target: str) -> None:
        super().__init__(daemon=True)
        self._signed, self._target = signed, target
        self._opened: tuple[ssl.SSLSocket, bytes] | None = None
        self._problem: BaseException | None = None

    def run(self) -> None:
        """
        In the thread.
        """
        profile, identity = self._signed.profile, self._signed.identity
        routed = self._target if profile.cluster == identity.cluster else f"{self._target}@{profile.cluster}"
        try:
            self._opened = open_stream(*self._signed.proxy, identity, routed)
        except BaseException as error:
            self._problem = error

    def result(self) -> tuple[ssl.SSLSocket, bytes]:
        """
        @return: the connection, and what the server said already.
        @raise TeleportError: see L{open_stream}.
        """
        self.join()
        if self._problem is not None:
            raise self._problem
        assert self._opened is not None, "one or the other"
        return self._opened
