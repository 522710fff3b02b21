"""
What the command line says over the file: C{teleport start --roles=node --token=… --auth-server=…}.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from attrs import evolve, field, frozen

from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.keypaths import suggestion
from teleport_tw.base.secret import Secret
from teleport_tw.config.sections import Configuration, Join

ROLES = ("auth", "proxy", "node", "db")
"""The words of C{--roles} that this version serves."""
OTHER_ROLES = ("app", "kube", "windowsdesktop", "discovery")


@frozen(kw_only=True)
class Overrides:
    """
    Empty members leave the file's word.

    @ivar roles: exactly these services run.
    @ivar labels: added to the node's own.
    @ivar token: the secret, or a path to it.
    """

    roles: tuple[str, ...] = ()
    token: str = ""
    auth_server: str = ""
    proxy_server: str = ""
    nodename: str = ""
    data_dir: str = ""
    pid_file: str = ""
    diag_addr: str = ""
    advertise_ip: str = ""
    ca_pins: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(factory=dict)
    listen_ip: str = ""
    debug: bool = False


def parse_roles(text: str) -> tuple[str, ...]:
    """
    @param text: C{node,proxy}; C{ssh} is another word for C{node}.
    @raise TeleportError: BAD_PARAMETER.
    """
    found = tuple("node" if word == "ssh" else word for part in text.split(",") if (word := part.strip().lower()))
    for word in found:
        if word in OTHER_ROLES:
            raise bad_parameter(f"role {word} is not served by this version yet; known are {', '.join(ROLES)}")
        if word not in ROLES:
            raise bad_parameter(f"{word!r} is not a role; known are {', '.join(ROLES)}{suggestion(word, ROLES)}")
    if not found:
        raise bad_parameter(f"no role is named; known are {', '.join(ROLES)}")
    return found


def parse_labels(text: str) -> dict[str, str]:
    """
    @param text: C{env=prod,team="data"}; a colon may stand for the equals sign.
    @raise TeleportError: BAD_PARAMETER.
    """
    labels = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        sign = "=" if "=" in part else ":"
        key, found, value = part.partition(sign)
        if not found or not key.strip():
            raise bad_parameter(f"{part!r} is not a label; write key=value,key=value")
        labels[key.strip()] = value.strip().strip('"')
    return labels


def token_from(value: str) -> Secret[str]:
    """
    @param value: the secret itself, or an absolute path to a file that holds it.
    @raise TeleportError: BAD_PARAMETER, it is a path that cannot be read.
    """
    if not value.startswith("/"):
        return Secret(value)
    try:
        return Secret(Path(value).read_text().strip())
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise bad_parameter(f"cannot read the token from {value}: {reason}") from error


def apply(configuration: Configuration, overrides: Overrides) -> Configuration:
    """
    @return: the configuration with the command line's word over it.
    @raise TeleportError: BAD_PARAMETER.
    """
    if overrides.auth_server and overrides.proxy_server:
        raise bad_parameter("--auth-server and --proxy-server exclude each other")
    teleport = configuration.teleport
    plain = {
        name: value
        for name in ("nodename", "data_dir", "pid_file", "diag_addr", "advertise_ip", "ca_pins")
        if (value := getattr(overrides, name))
    }
    teleport = evolve(teleport, **plain)
    if overrides.auth_server:
        teleport = evolve(teleport, auth_servers=(overrides.auth_server,), proxy_server="")
    if overrides.proxy_server:
        teleport = evolve(teleport, proxy_server=overrides.proxy_server, auth_servers=())
    if overrides.token:
        teleport = evolve(teleport, join=Join(token=token_from(overrides.token)))
    if overrides.debug:
        teleport = evolve(teleport, log=evolve(teleport.log, severity="DEBUG"))
    auth, proxy, ssh, db = configuration.auth, configuration.proxy, configuration.ssh, configuration.db
    if overrides.roles:
        auth = evolve(auth, enabled="auth" in overrides.roles)
        proxy = evolve(proxy, enabled="proxy" in overrides.roles)
        ssh = evolve(ssh, enabled="node" in overrides.roles)
        db = evolve(db, enabled="db" in overrides.roles)
    if overrides.labels:
        ssh = evolve(ssh, labels={**ssh.labels, **overrides.labels})
    if overrides.listen_ip:
        auth = evolve(auth, listen_addr=_moved(auth.listen_addr, overrides.listen_ip))
        ssh = evolve(ssh, listen_addr=_moved(ssh.listen_addr, overrides.listen_ip))
        proxy = evolve(proxy, web_listen_addr=_moved(proxy.web_listen_addr, overrides.listen_ip))
        if proxy.listen_addr:
            proxy = evolve(proxy, listen_addr=_moved(proxy.listen_addr, overrides.listen_ip))
    return evolve(configuration, teleport=teleport, auth=auth, proxy=proxy, ssh=ssh, db=db)


def _moved(address: str, ip: str) -> str:
    return f"[{ip}]:{address.rpartition(':')[2]}" if ":" in ip else f"{ip}:{address.rpartition(':')[2]}"
