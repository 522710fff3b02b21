"""
Who somebody is by the SSH certificate they hold, and for how long: what C{tsh status} shows.

The certificate is one's own, so it is read and not verified; neither Twisted nor a crypto library is needed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import frozen

from teleport_tw.base.errors import RemoteProtocolError, TeleportError, bad_parameter, not_found
from teleport_tw.base.timing import Duration, format_duration, from_timestamp
from teleport_tw.clients.profile import Profile, ProfileFolder
from teleport_tw.protocols.ssh import certificate as certificates
from teleport_tw.protocols.ssh.keys import parse_line

_NOT_LOGINS = "-teleport-"
_KEPT_APART = ("teleport-roles", "teleport-traits", "teleport-active-requests", "teleport-route-to-cluster")


@frozen(kw_only=True)
class Standing:
    """
    @ivar extensions: what the certificate permits, by name.
    @ivar expires: aware UTC.
    """

    username: str
    roles: tuple[str, ...]
    traits: Mapping[str, tuple[str, ...]]
    logins: tuple[str, ...]
    extensions: tuple[str, ...]
    requests: tuple[str, ...]
    expires: datetime

    def left(self, now: datetime) -> Duration:
        """
        @return: how long it is good for still; zero when it is not.
        """
        return max(Duration(0), self.expires - now)


def read_line(line: str) -> Standing:
    """
    @param line: of a C{-cert.pub} file.
    @raise TeleportError: BAD_PARAMETER, it is no such certificate.
    """
    try:
        found = certificates.parse(parse_line(line.strip()).blob)
    except RemoteProtocolError as error:
        raise bad_parameter(f"the SSH certificate cannot be read ({error}); log in again") from error
    roles = _json(found.extensions.get("teleport-roles", ""))
    traits = _json(found.extensions.get("teleport-traits", ""))
    requests = _json(found.extensions.get("teleport-active-requests", ""))
    return Standing(
        username=found.key_id,
        roles=_texts(roles.get("roles")),
        traits={str(key): _texts(values) for key, values in traits.items()},
        logins=tuple(name for name in found.principals if not name.startswith(_NOT_LOGINS)),
        extensions=tuple(name for name in found.extensions if name not in _KEPT_APART),
        requests=_texts(requests.get("access_requests")),
        expires=from_timestamp(min(found.valid_before, 253402300799)),
    )


def _json(text: str) -> Mapping[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


def of_profile(folder: ProfileFolder, profile: Profile) -> Standing:
    """
    @raise TeleportError: NOT_FOUND, there is no certificate.
    """
    path = folder.paths(profile).ssh_certificate
    try:
        return read_line(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise not_found(
            f"Not logged in to {profile.cluster}. Run: tsh login --proxy={profile.web_proxy_addr} --user={profile.user}"
        ) from None


def require_valid(standing: Standing, now: datetime, hint: str) -> None:
    """
    @param hint: the command that gets new certificates.
    @raise TeleportError: ACCESS_DENIED, the certificates have expired.
    """
    if standing.expires <= now:
        from teleport_tw.base.errors import Kind

        raise TeleportError(Kind.ACCESS_DENIED, f"Your certificates expired at {shown_time(standing.expires)}. {hint}")


def shown_time(moment: datetime) -> str:
    """
    @return: local time with its offset, to the second.
    """
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %z %Z").rstrip()


def described(
    profile: Profile,
    standing: Standing,
    now: datetime,
    *,
    active: bool,
    verbose: bool = False,
    databases: Sequence[str] = (),
) -> str:
    """
    @param databases: names of those that certificates are kept for.
    @return: the block of lines of C{tsh status}.
    """
    left = standing.left(now)
    lines = [("Profile URL", f"https://{profile.web_proxy_addr}"), ("Logged in as", standing.username)]
    lines.append(("Cluster", profile.cluster))
    if standing.requests:
        lines.append(("Active requests", ", ".join(standing.requests)))
    lines.append(("Roles", ", ".join(standing.roles)))
    if verbose:
        lines += [
            ("Traits", f"{key}: {', '.join(values)}") for key, values in sorted(standing.traits.items()) if values
        ]
    lines.append(("Logins", ", ".join(standing.logins)))
    lines.append(("Kubernetes", "disabled"))
    if databases:
        lines.append(("Databases", ", ".join(databases)))
    valid = f"valid for {format_duration(Duration(seconds=int(left.total_seconds())))}" if left else "EXPIRED"
    lines.append(("Valid until", f"{shown_time(standing.expires)} [{valid}]"))
    lines.append(("Extensions", ", ".join(standing.extensions)))
    text = ""
    for index, (name, value) in enumerate(lines):
        mark = "> " if active and not index else "  "
        text += f"{mark}{name + ':':<20}{value}".rstrip() + "\n"
    return text


def as_value(profile: Profile, standing: Standing, databases: Sequence[str] = ()) -> dict[str, Any]:
    """
    @param databases: as L{described} has them.
    @return: the same for JSON and YAML.
    """
    from teleport_tw.base.timing import format_time

    return {
        "profile_url": f"https://{profile.web_proxy_addr}",
        "username": standing.username,
        "cluster": profile.cluster,
        "roles": list(standing.roles),
        "traits": {key: list(values) for key, values in standing.traits.items()},
        "logins": list(standing.logins),
        "active_requests": list(standing.requests),
        "kubernetes_enabled": False,
        "databases": list(databases),
        "valid_until": format_time(standing.expires),
        "extensions": list(standing.extensions),
    }
