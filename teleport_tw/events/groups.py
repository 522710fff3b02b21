"""
Facts that many events share, flattened into the JSON under the reference's field names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from attrs import field, frozen

from teleport_tw.events.rating import Group, Name, Public, Rating

_KINDS = {"human": 1, "bot": 2, "system": 3}


def _user_kind(kind: str | int) -> str | int:
    return _KINDS.get(kind, kind) if isinstance(kind, str) else kind


@frozen(kw_only=True)
class Actor(Group):
    """
    Who did it.

    @ivar kind: C{human}, C{bot} or C{system}; JSON has the reference's numbers 1, 2, 3.
    """

    user: Public[str]
    login: Public[str] = ""
    impersonator: Public[str] = ""
    roles: Annotated[tuple[str, ...], Rating.PUBLIC, Name("user_roles")] = ()
    traits: Annotated[Mapping[str, tuple[str, ...]], Rating.SENSITIVE, Name("user_traits")] = field(factory=dict)
    kind: Annotated[str | int, Rating.PUBLIC, Name("user_kind")] = field(default="", converter=_user_kind)
    access_requests: Public[tuple[str, ...]] = ()
    required_private_key_policy: Public[str] = ""
    bot_name: Public[str] = ""
    bot_instance: Annotated[str, Rating.PUBLIC, Name("bot_instance_id")] = ""
    cluster: Annotated[str, Rating.PUBLIC, Name("user_cluster_name")] = ""


@frozen(kw_only=True)
class Connection(Group):
    """
    Over what.

    @ivar remote: address and port of the peer.
    @ivar local: our own end.
    """

    remote: Annotated[str, Rating.PUBLIC, Name("addr.remote")] = ""
    local: Annotated[str, Rating.PUBLIC, Name("addr.local")] = ""
    protocol: Annotated[str, Rating.PUBLIC, Name("proto")] = "ssh"


@frozen(kw_only=True)
class Server(Group):
    """
    Where.
    """

    id: Annotated[str, Rating.PUBLIC, Name("server_id")]
    hostname: Annotated[str, Rating.PUBLIC, Name("server_hostname")] = ""
    address: Annotated[str, Rating.PUBLIC, Name("server_addr")] = ""
    labels: Annotated[Mapping[str, str], Rating.PUBLIC, Name("server_labels")] = field(factory=dict)
    version: Annotated[str, Rating.PUBLIC, Name("server_version")] = ""
    forwarded_by: Public[str] = ""
    sub_kind: Annotated[str, Rating.PUBLIC, Name("server_sub_kind")] = ""
    namespace: Annotated[str, Rating.PUBLIC, Name("namespace")] = "default"


@frozen(kw_only=True)
class Session(Group):
    """
    In which session.
    """

    id: Annotated[str, Rating.PUBLIC, Name("sid")]
    private_key_policy: Public[str] = ""
    with_mfa: Public[str] = ""


@frozen(kw_only=True)
class Recorded(Group):
    """
    What was kept of a session that ended, so that the log vouches for the recording.

    @ivar mode: C{node}, C{node-sync}, C{proxy}, C{proxy-sync} or C{off}.
    @ivar digest: the last link of the recording's chain, hex; the recording is whole when it ends in this.
    """

    mode: Annotated[str, Rating.PUBLIC, Name("session_recording")] = ""
    digest: Annotated[str, Rating.PUBLIC, Name("recording_digest")] = ""
    parts: Annotated[int | None, Rating.PUBLIC, Name("recording_parts")] = None


__all__ = ["Actor", "Connection", "Recorded", "Server", "Session"]
