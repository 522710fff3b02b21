"""
What a command of C{tsh} is handed: who the user is, and the ways to the cluster, each opened when first asked for.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, evolve, field

from teleport_tw.base.addresses import host_of, split_address
from teleport_tw.base.errors import TeleportError, bad_parameter
from teleport_tw.base.timing import utc_now
from teleport_tw.clients import standing
from teleport_tw.clients.home import home
from teleport_tw.clients.profile import Profile, ProfileFolder
from teleport_tw.dial.identity import ClientIdentity

if TYPE_CHECKING:
    from teleport_tw.api.client import RpcApi
    from teleport_tw.api.contract import Api

DEFAULT_PORT = 3080

HEADLESS_VERBS = ("ls", "ssh", "scp")


@define(eq=False)
class Signed:
    """
    Where the user's certificates lie, and what they say.

    @ivar profile: the proxy and cluster; of an identity file it is made up from C{--proxy}.
    @ivar known_hosts: C{@cert-authority} lines.
    """

    profile: Profile
    identity: ClientIdentity
    standing: standing.Standing

    @property
    def proxy(self) -> tuple[str, int]:
        """
        Host and port of the proxy's one port.
        """
        return split_address(self.profile.web_proxy_addr, DEFAULT_PORT)


def signed_in(options: argparse.Namespace) -> Signed:
    """
    @param options: C{--proxy --user --identity --cluster} and their variables decide.
    @raise TeleportError: NOT_FOUND, not signed in; ACCESS_DENIED, not any more. Somebody at a terminal is asked to sign
        in again first; that blocks, and nothing else is under way then.
    """
    if options.headless:
        return _headless(options)
    found = _by_file(options) if options.identity else _by_profile(options)
    profile = found.profile
    hint = f"Log in again: tsh login --proxy={profile.web_proxy_addr} --user={profile.user}"
    if options.identity:
        hint = f"Make a new {options.identity}: tctl auth sign --user={profile.user} --out={options.identity}"
    try:
        standing.require_valid(found.standing, utc_now(), hint)
    except TeleportError as error:
        if options.identity or not _may_ask(options):
            raise
        sys.stderr.write(f"{error.message.partition('. ')[0]}. Signing in again as {profile.user}.\n")
        from teleport_tw.clients.tsh.commands import login

        login.again(ProfileFolder(home()), profile, options)
        found = _by_profile(options)
        standing.require_valid(found.standing, utc_now(), hint)
    return found


def _headless(options: argparse.Namespace) -> Signed:
    """
    Approved at another machine, once a run; nothing is written.
    """
    before = getattr(options, "headless_signed", None)
    if isinstance(before, Signed):
        return before
    if options.verb not in HEADLESS_VERBS:
        raise bad_parameter(f"--headless is for {', '.join(HEADLESS_VERBS)}")
    if not options.proxy:
        raise bad_parameter("with --headless say where the cluster is: --proxy=HOST:PORT")
    from teleport_tw.clients import browserlogin, login

    learned = ProfileFolder(home()).authorities(host_of(options.proxy.partition(",")[0]))
    believe = login.Believe(pins=options.ca_pin, authorities=learned, insecure=options.insecure)
    facts = login.find(options.proxy, believe)
    issued = browserlogin.elsewhere(facts, options.user or getpass.getuser())
    profile = login.profile_of(facts, issued.username, _cluster(options))
    kept = issued.credentials((profile.name, host_of(profile.ssh_proxy_addr)))
    identity = ClientIdentity(
        username=issued.username,
        cluster=facts.cluster,
        ssh_key=kept.ssh_key,
        ssh_certificate=kept.ssh_certificate.decode("ascii").strip(),
        tls_key=kept.tls_key,
        tls_certificate=kept.tls_certificate,
        tls_authorities=kept.tls_authorities,
        known_hosts=kept.known_hosts.decode("ascii"),
    )
    signed = Signed(profile, identity, standing.read_line(identity.ssh_certificate))
    options.headless_signed = signed
    return signed


def _may_ask(options: argparse.Namespace) -> bool:
    if options.relogin is not None:
        return bool(options.relogin)
    return sys.stdin is not None and sys.stdin.isatty() and os.isatty(2)


def _by_profile(options: argparse.Namespace) -> Signed:
    folder = ProfileFolder(home())
    profile = folder.read(host_of(options.proxy.partition(",")[0]) if options.proxy else "")
    paths = folder.paths(profile)
    found = standing.of_profile(folder, profile)
    identity = ClientIdentity.of_files(
        username=found.username,
        cluster=profile.cluster,
        ssh_key=paths.ssh_key,
        ssh_certificate=paths.ssh_certificate,
        tls_key=paths.tls_key,
        tls_certificate=paths.tls_certificate,
        tls_authorities=paths.tls_authorities,
        known_hosts=folder.known_hosts,
    )
    return Signed(evolve(profile, cluster=_cluster(options) or profile.cluster), identity, found)


def _by_file(options: argparse.Namespace) -> Signed:
    from teleport_tw.pki import identityfile

    if not options.proxy:
        raise bad_parameter("with --identity say where the cluster is: --proxy=HOST:PORT")
    path = Path(options.identity)
    content = identityfile.read(path)
    if not content.ssh_certificate or not content.tls_certificate or not content.tls_authorities:
        raise bad_parameter(f"{path} lacks a certificate; make one by `tctl auth sign --format=file`")
    found = standing.read_line(content.ssh_certificate)
    identity = ClientIdentity(
        username=found.username,
        cluster=cluster_of(content.known_hosts),
        ssh_key=content.key,
        ssh_certificate=content.ssh_certificate,
        tls_key=content.key,
        tls_certificate=content.tls_certificate.encode(),
        tls_authorities="".join(content.tls_authorities).encode(),
        known_hosts=content.known_hosts,
    )
    web, _, ssh = options.proxy.partition(",")
    host, port = split_address(web, DEFAULT_PORT)
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    profile = Profile(
        web_proxy_addr=address,
        user=found.username,
        cluster=_cluster(options) or identity.cluster,
        ssh_proxy_addr=f"{host}:{ssh}" if ssh else "",
    )
    return Signed(profile, identity, found)


def _cluster(options: argparse.Namespace) -> str:
    chosen = getattr(options, "cluster", "") or os.environ.get("TELEPORT_CLUSTER") or os.environ.get("TELEPORT_SITE")
    return str(chosen or "")


def cluster_of(known_hosts: str) -> str:
    """
    @param known_hosts: C{@cert-authority} lines; the first pattern of each is the cluster's name.
    """
    for line in known_hosts.splitlines():
        words = line.split()
        if len(words) > 2 and words[0] == "@cert-authority":
            return words[1].partition(",")[0].removeprefix("*.")
    return ""


@define(eq=False)
class UserContext:
    """
    One run of one command that needs the reactor.
    """

    options: argparse.Namespace
    _signed: Signed | None = field(default=None, init=False)
    _api: RpcApi | None = field(default=None, init=False)

    async def run(self, body: Callable[[UserContext, argparse.Namespace], Awaitable[int | None]]) -> int | None:
        """
        Run a command and hang up after it.
        """
        if self.options.debug:
            _log_to_stderr()
        try:
            return await body(self, self.options)
        finally:
            if self._api is not None:
                await self._api.close()

    @property
    def reactor(self) -> Any:
        """
        The running reactor.
        """
        from twisted.internet import reactor

        return reactor

    @property
    def signed(self) -> Signed:
        """
        Who the user is.

        @raise TeleportError: see L{signed_in}.
        """
        if self._signed is None:
            self._signed = signed_in(self.options)
        return self._signed

    async def api(self) -> Api:
        """
        @return: auth, as the user, by way of the proxy.
        """
        if self._api is None:
            from teleport_tw.dial.rpc import connect_through

            signed = self.signed
            self._api = connect_through(*signed.proxy, signed.identity)
        return self._api


def _log_to_stderr() -> None:
    from twisted.logger import globalLogBeginner, textFileLogObserver

    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stderr)], redirectStandardIO=False)
