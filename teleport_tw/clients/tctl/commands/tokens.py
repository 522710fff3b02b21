"""
Join tokens: what a server shows once to be let into the cluster.
"""

from __future__ import annotations

import argparse
import secrets
from datetime import timedelta
from typing import Any

from teleport_tw.api.contract import Query, every
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import NEVER, format_duration, format_time, parse_duration, utc_now
from teleport_tw.clients.output import FORMATS, show, table
from teleport_tw.clients.program import Context
from teleport_tw.clients.selection import parse_labels
from teleport_tw.resources.metadata import Metadata, Resource, format_labels

ROLES = {
    "node": "Node",
    "proxy": "Proxy",
    "auth": "Auth",
    "app": "App",
    "db": "Db",
    "kube": "Kube",
    "windowsdesktop": "WindowsDesktop",
    "discovery": "Discovery",
    "bot": "Bot",
}


EXAMPLES = """\
tctl tokens add --type=node
tctl tokens ls
tctl tokens rm TOKEN
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl tokens add|ls|rm}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    add_ = commands.add_parser("add", help="make a token")
    add_.add_argument("--type", required=True, help=f"comma-separated: {', '.join(ROLES)}")
    add_.add_argument("--value", default="", help="the token's value; random when not given")
    add_.add_argument("--labels", default="", help="labels of the token: env=prod")
    add_.add_argument("--ttl", default="30m", help="how long it works; never for a permanent one [30m]")
    add_.add_argument("--one-use", action="store_true", help="the first server that joins uses it up")
    add_.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    add_.set_defaults(run=run_add)

    ls = commands.add_parser("ls", help="list tokens")
    ls.add_argument("--with-secrets", action="store_true", help="show the values")
    ls.add_argument("--labels", default="", help="only those with these labels")
    ls.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    ls.set_defaults(run=run_ls)

    rm = commands.add_parser("rm", help="remove a token; who joined by it stays", aliases=["del"])
    rm.add_argument("token")
    rm.set_defaults(run=run_rm)


async def run_add(context: Context, options: argparse.Namespace) -> None:
    """
    The value is shown this once in full.
    """
    await add(
        context,
        kinds=options.type,
        ttl=options.ttl,
        value=options.value,
        form=options.format,
        marked=options.labels,
        one_use=options.one_use,
    )


async def add(
    context: Context, *, kinds: str, ttl: str, value: str, form: str, marked: str = "", one_use: bool = False
) -> None:
    """
    Make the token and tell how to use it.
    """
    names = [kind.strip().lower() for kind in kinds.split(",") if kind.strip()]
    unknown = [name for name in names if name not in ROLES]
    if unknown or not names:
        raise bad_parameter(f"{', '.join(unknown) or 'nothing'} is no type of service; there are {', '.join(ROLES)}")
    duration = parse_duration(ttl)
    expires = None if duration == NEVER else utc_now() + duration
    spec: dict[str, Any] = {"roles": [ROLES[name] for name in names], "join_method": "token"}
    if one_use:
        spec["max_uses"] = 1
    token = Resource(
        kind="token",
        version="v2",
        metadata=Metadata(name=value or secrets.token_hex(16), labels=parse_labels(marked), expires=expires),
        spec=spec,
    )
    api = await context.api()
    await api.create(token)
    info = await api.ping()
    address = await context.web_address() or "<proxy>:3080"
    facts = {
        "token": token.name,
        "roles": spec["roles"],
        "expires": format_time(expires) if expires else None,
        "ca_pins": info.ca_pins,
        "proxy": address,
    }
    lasting = "does not expire" if expires is None else f"expires in {format_duration(duration)}"
    pins = " \\\n      ".join(f"--ca-pin={pin}" for pin in info.ca_pins)
    text = (
        f"The invite token: {token.name}\n"
        f"It {lasting}{' and works once' if one_use else ''}.\n\n"
        f"Run this on the server that is to join:\n\n"
        f"  teleport start --roles={','.join(names)} \\\n"
        f"      --token={token.name} \\\n"
        f"      {pins} \\\n"
        f"      --proxy-server={address}\n\n"
        f"or write the configuration of a service first:\n\n"
        f"  teleport node configure --token={token.name} --proxy={address} -o /etc/teleport.yaml\n"
    )
    show(form, facts, text)


async def run_ls(context: Context, options: argparse.Namespace) -> None:
    """
    Values are masked unless asked for.
    """
    api = await context.api()
    query = Query(labels=parse_labels(options.labels), with_secrets=options.with_secrets)
    tokens = [token async for token in every(api, "token", query)]
    rows = []
    for token in tokens:
        expires = token.metadata.expires
        left = expires - utc_now() if expires else timedelta(0)
        rows.append(
            (
                token.name if options.with_secrets else masked(token.name),
                ",".join(token.spec.get("roles") or ()),
                format_labels(token.metadata.labels),
                f"{format_time(expires)} ({format_duration(timedelta(seconds=int(left.total_seconds())))})"
                if expires
                else "never",
            )
        )
    value = [token.to_json() for token in tokens]
    if not options.with_secrets:
        for shown in value:
            shown["metadata"]["name"] = masked(shown["metadata"]["name"])
    show(options.format, value, table(("Token", "Type", "Labels", "Expiry Time (UTC)"), rows))


def masked(token: str) -> str:
    """
    @return: the last quarter, at most eight characters, behind stars; a name already masked stays.
    """
    if token.startswith("*"):
        return token
    kept = min(8, len(token) // 4)
    return "*" * (len(token) - kept) + token[len(token) - kept :]


async def run_rm(context: Context, options: argparse.Namespace) -> None:
    """
    By its value.
    """
    api = await context.api()
    await api.delete("token", options.token)
    print("The token has been deleted")
