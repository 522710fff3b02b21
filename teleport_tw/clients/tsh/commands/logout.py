"""
Sign out: delete keys and certificates, from disk and from the ssh-agent.

Whom to believe about each proxy is remembered, so that the next login needs no --ca-pin.
"""

from __future__ import annotations

import argparse
import sys

from teleport_tw.base.addresses import host_of
from teleport_tw.base.errors import TeleportError
from teleport_tw.clients.home import home
from teleport_tw.clients.profile import Profile, ProfileFolder
from teleport_tw.clients.sshagent import SshAgent

EXAMPLES = """\
tsh logout                                      of all clusters
tsh logout --proxy=teleport.example.com         of one
tsh logout --forget-trust                       as if we had never been there
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh logout}.
    """
    parser.add_argument(
        "--forget-trust",
        action="store_true",
        help="forget the clusters' authorities too",
    )
    parser.set_defaults(run=run, offline=True)


def run(options: argparse.Namespace) -> int:
    """
    The proxy is not asked; certificates that somebody else copied are ended by C{tctl lock}.
    """
    folder = ProfileFolder(home())
    wanted = host_of(options.proxy.partition(",")[0]) if options.proxy else ""
    profiles = [folder.read(name) for name in folder.names() if not wanted or name == wanted]
    profiles = [profile for profile in profiles if not options.user or profile.user == options.user]
    if not profiles:
        print("All users logged out." if not (wanted or options.user) else "Not logged in.")
        return 0
    for profile in profiles:
        _leave_databases(folder, profile)
        folder.forget(profile, trust=options.forget_trust)
        _take_back(profile)
        if wanted or options.user:
            print(f"Logged out {profile.user} from {profile.name}.")
    if not (wanted or options.user):
        print("Logged out all users from all proxies.")
    return 0


def _leave_databases(folder: ProfileFolder, profile: Profile) -> None:
    """
    Their sections in the files of native clients go with them.
    """
    if not folder.paths(profile).databases.is_dir():
        return
    from teleport_tw.clients.databases import DatabaseLogins

    logins = DatabaseLogins(folder, profile)
    for login in logins.list():
        try:
            logins.forget(login)
        except TeleportError as error:
            sys.stderr.write(f"WARNING: {error}\n")


def _take_back(profile: Profile) -> None:
    agent = SshAgent.running()
    if agent is None:
        return
    try:
        for found in {name for _, name in agent.listed()}:
            parts = found.split(":")
            if parts[:2] == ["teleport", profile.name] and parts[-1] == profile.user:
                agent.remove(found)
    except TeleportError as error:
        sys.stderr.write(f"WARNING: {error}\n")
