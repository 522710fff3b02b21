"""
What a client says to a server to join a session there; docs/protocols/joining.rst.
"""

from __future__ import annotations

from collections.abc import Mapping

from teleport_tw.pki.sshcert import JOIN_PRINCIPAL

LOGIN = JOIN_PRINCIPAL
"""As which one joins: every certificate has it, and it is good for nothing else."""

SESSION = "TELEPORT_SESSION"
MODE = "TELEPORT_SSH_JOIN_MODE"
MODES = (MODE, "TELEPORT_SESSION_JOIN_MODE")
"""Names that are understood, the first before the second."""

REASON = "TELEPORT_SESSION_REASON"
INVITED = "TELEPORT_SESSION_INVITED_USERS"

FORCE_TERMINATE = "x-teleport-force-terminate"
FILE_DECISION = "file-transfer-decision@goteleport.com"
EVENT = "x-teleport-event"
PRESENCE = "x-teleport-mfa-presence"
CURRENT_SESSION = "current-session-id@goteleport.com"
QUERY = "session-id-query@goteleport.com"


def variables(session: str, mode: str) -> Mapping[str, str]:
    """
    @param mode: C{peer}, C{observer} or C{moderator}.
    @return: for C{env} requests before the one for a shell.
    """
    return {SESSION: session, MODE: mode}
