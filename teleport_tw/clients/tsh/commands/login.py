"""
Sign in: password and one-time code for certificates that last some hours.

Signed in already, it only chooses the profile.
"""

from __future__ import annotations

import argparse
import getpass
import sys
from pathlib import Path

from teleport_tw.base.addresses import host_of
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.timing import utc_now
from teleport_tw.clients import standing
from teleport_tw.clients.home import home
from teleport_tw.clients.profile import Profile, ProfileFolder

EXAMPLES = """\
tsh login --proxy=teleport.example.com --user=alice
tsh login --proxy=localhost:3080 --user=alice --ca-pin=sha256:…     the first time, at a cluster of your own
tsh login --proxy=… --auth=passwordless                              by a passkey alone
tsh login --proxy=… --auth=browser                                   at the proxy's page, in the browser beside it
tsh login --proxy=… --user=robot --out=robot.pem < secrets           two lines: password, code
"""

CONNECTORS = ("", "local", "passwordless", "browser")

ATTEMPTS = 3
"""That somebody at a terminal has to type it right."""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh login}.
    """
    parser.add_argument("cluster", nargs="?", default="", help="the cluster to use; the proxy's own by default")
    parser.add_argument("-o", "--out", default="", metavar="FILE", help="write an identity file and no profile")
    parser.add_argument("-f", "--format", choices=("file", "openssh"), default="file", help="of --out [file]")
    parser.add_argument("--overwrite", action="store_true", help="replace the files of --out")
    parser.add_argument("--browser", default="", choices=("", "none"), help="none: print links, open no browser")
    parser.add_argument("-v", "--verbose", action="store_true", help="show traits as well")
    parser.set_defaults(run=run, offline=True)


def run(options: argparse.Namespace) -> int:
    """
    Prints what C{tsh status} does.
    """
    if options.auth not in CONNECTORS:
        raise bad_parameter(f"there is no connector {options.auth!r} here; there are local, passwordless and browser")
    folder = ProfileFolder(home())
    known = _known(folder, options.proxy)
    address = options.proxy or (known.web_proxy_addr if known else "")
    if not address:
        raise bad_parameter("which proxy? give --proxy=HOST[:PORT]")
    user = options.user or (known.user if known else getpass.getuser())
    if known and not options.out and known.user == user and _still_good(folder, known, options):
        chosen = folder.choose(known, options.cluster or known.cluster)
    else:
        chosen = _sign_in(folder, address, user, options)
        if options.out:
            return 0
    found = standing.of_profile(folder, chosen)
    sys.stdout.write(standing.described(chosen, found, utc_now(), active=True, verbose=options.verbose))
    return 0


def again(folder: ProfileFolder, profile: Profile, options: argparse.Namespace) -> Profile:
    """
    Sign in once more, in the middle of another command.

    @param options: of that command; the program's own flags count.
    @raise TeleportError: it did not work.
    """
    from teleport_tw.clients import login

    asked = argparse.Namespace(**{**vars(options), "out": "", "cluster": ""})
    for attempt in range(ATTEMPTS):
        try:
            renewed = _sign_in(folder, profile.web_proxy_addr, profile.user, asked)
            break
        except TeleportError as error:
            if attempt == ATTEMPTS - 1 or error.kind is not Kind.ACCESS_DENIED or not login.Asker().interactive:
                raise
            sys.stderr.write(f"ERROR: {error.message}\n")
    return renewed if renewed.cluster == profile.cluster else folder.choose(renewed, profile.cluster)


def _known(folder: ProfileFolder, proxy: str) -> Profile | None:
    try:
        return folder.read(host_of(proxy.partition(",")[0]) if proxy else "")
    except TeleportError as error:
        if error.kind is Kind.NOT_FOUND:
            return None
        sys.stderr.write(f"WARNING: {error}\n")
        return None


def _still_good(folder: ProfileFolder, known: Profile, options: argparse.Namespace) -> bool:
    if options.ttl or (options.cluster and options.cluster != known.cluster):
        return False
    if ":" in options.proxy and options.proxy.partition(",")[0] != known.web_proxy_addr:
        return False
    try:
        return standing.of_profile(folder, known).expires > utc_now()
    except TeleportError:
        return False


def _sign_in(folder: ProfileFolder, address: str, user: str, options: argparse.Namespace) -> Profile:
    from teleport_tw.clients import login
    from teleport_tw.clients.factors import Answering

    if options.insecure:
        sys.stderr.write("WARNING: You are using insecure connection to Teleport proxy.\n")
    learned = folder.authorities(host_of(address.partition(",")[0]))
    believe = login.Believe(pins=options.ca_pin, authorities=learned, insecure=options.insecure)
    facts = login.find(address, believe)
    asker = login.Asker()
    ttl, one_key = login.read_ttl(options.ttl), bool(options.out)
    if options.auth == login.BROWSER:
        from teleport_tw.clients import browserlogin

        shown = getattr(options, "browser", "") != "none"
        issued = browserlogin.beside(facts, ttl=ttl, one_key=one_key, open_browser=shown)
    else:
        issued = login.sign_in(
            facts,
            user,
            asker,
            Answering(asker, facts.origin, options.mfa_mode).answer,
            ttl=ttl,
            cluster=options.cluster,
            one_key=one_key,
            passwordless=options.auth == login.PASSWORDLESS or (not options.auth and facts.passwordless),
        )
    profile = login.profile_of(facts, issued.username, options.cluster)
    hosts = (profile.name, host_of(profile.ssh_proxy_addr))
    if options.out:
        identity = issued.identity_file(hosts)
        written = login.write_identity(identity, Path(options.out), options.format, overwrite=options.overwrite)
        print(f"\nThe certificate has been written to {', '.join(map(str, written))}")
        return profile
    lent = _lend(issued, profile, options.add_keys_to_agent)
    folder.store(profile, issued.credentials(hosts, keep_ssh_key=not (lent and options.add_keys_to_agent == "only")))
    return profile


def _lend(issued: object, profile: Profile, mode: str) -> bool:
    """
    @return: whether the ssh-agent has the certificate.
    @raise TeleportError: it was asked for and cannot be done.
    """
    from teleport_tw.clients import login
    from teleport_tw.clients.sshagent import SshAgent, comment

    assert isinstance(issued, login.Issued)
    agent = SshAgent.running()
    if mode == "no" or (agent is None and mode == "auto"):
        return False
    if agent is None:
        raise bad_parameter(f"--add-keys-to-agent={mode}, but no ssh-agent runs: SSH_AUTH_SOCK is not set")
    name = comment(profile.name, profile.cluster, profile.user)
    left = standing.read_line(issued.certificates.ssh.decode()).left(utc_now())
    try:
        agent.remove(name)
        agent.add(login.private_fields(issued.ssh_key), issued.ssh_blob, name, int(left.total_seconds()))
    except TeleportError as error:
        if mode != "auto":
            raise
        sys.stderr.write(f"WARNING: {error}\n")
        return False
    return True
