"""
Why the answer was no, in words for administrators. The user hears L{FOR_USERS} and nothing else.
"""

from __future__ import annotations

from teleport_tw.access.decision import Decision

FOR_USERS = "access denied"


def explain(decision: Decision) -> str:
    """
    @return: the answer in the first line, then a line for each role that had a say.
    """
    head = ("allowed: " if decision.allowed else "denied: ") + decision.reason
    return "\n".join([head, *(f"  {finding}" for finding in decision.findings)])
