"""
Inside a session: whose it is, and which.
"""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Mapping

EXAMPLES = """\
teleport status
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{teleport status}.
    """
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """
    Reads what the agent put into the environment.
    """
    text = shown(os.environ, getpass.getuser())
    if not text:
        sys.stderr.write("ERROR: this is not a session of a Teleport cluster\n")
        return 1
    sys.stdout.write(text)
    return 0


def shown(variables: Mapping[str, str], login: str) -> str:
    """
    @return: what C{teleport status} prints; empty outside of sessions.
    """
    user, session = variables.get("SSH_TELEPORT_USER", ""), variables.get("SSH_SESSION_ID", "")
    if not user and not session:
        return ""
    cluster, proxy = variables.get("SSH_TELEPORT_CLUSTER_NAME", ""), variables.get("SSH_SESSION_WEBPROXY_ADDR", "")
    came_from = variables.get("SSH_CLIENT", "")
    lines = [
        f"User ID     : {user}, logged in as {login}" + (f" from {came_from}" if came_from else ""),
        f"Cluster Name: {cluster}",
        f"Host UUID   : {variables.get('SSH_TELEPORT_HOST_UUID', '')}",
        f"Session ID  : {session}",
    ]
    if proxy and session:
        lines.append(f"Session URL : https://{proxy}/web/cluster/{cluster}/console/session/{session}")
    return "\n".join(lines) + "\n"
