"""
Typed audit events.

One frozen class per event name, named after it in CamelCase (C{session.start} is L{SessionStart}, C{user.login} is
L{UserLogin}). Facts that many events share are groups, flattened into the JSON under the reference's field names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from attrs import field, frozen


class Event(Protocol):
    """
    What every audit event class has.
    """

    NAME: ClassVar[str]
    """The reference's event name: C{session.start}."""

    @property
    def code(self) -> str:
        """
        The reference's code, which says success or failure: C{T2000I}.
        """
        ...

    def fields(self) -> dict[str, Any]:
        """
        @return: the event's own JSON fields; C{event}, C{code}, C{time}, C{uid}, C{ei} and C{cluster_name} are
            added by the emitter.
        """
        ...


@frozen(kw_only=True)
class Actor:
    """
    Who did it: C{user}, C{login}, C{impersonator}, C{user_roles}, C{user_traits}, C{user_kind}.
    """

    user: str
    login: str = ""
    impersonator: str = ""
    roles: tuple[str, ...] = ()
    traits: Mapping[str, tuple[str, ...]] = field(factory=dict)
    kind: str = ""


@frozen(kw_only=True)
class Connection:
    """
    Over what: C{addr.local}, C{addr.remote}, C{proto}.
    """

    remote: str = ""
    local: str = ""
    protocol: str = "ssh"


@frozen(kw_only=True)
class Server:
    """
    Where: C{server_id}, C{server_hostname}, C{server_addr}, C{server_labels}, C{server_version}, C{forwarded_by},
    C{server_sub_kind}.
    """

    id: str
    hostname: str = ""
    address: str = ""
    labels: Mapping[str, str] = field(factory=dict)
    version: str = ""
    forwarded_by: str = ""
    sub_kind: str = ""


@frozen(kw_only=True)
class Session:
    """
    In which session: C{sid}, C{private_key_policy}, C{with_mfa}.
    """

    id: str
    private_key_policy: str = ""
    with_mfa: str = ""
