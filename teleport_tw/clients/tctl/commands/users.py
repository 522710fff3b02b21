"""
Users: add, list, update and remove them, and send them a link to reset their password.

A new user gets a link by which they choose a password and set up their second factor.
"""

from __future__ import annotations

import argparse
from typing import Any

from attrs import evolve

from teleport_tw.api.contract import SetupPurpose, SetupTicket, every
from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import format_duration, format_time, parse_duration
from teleport_tw.clients.output import FORMATS, show, table
from teleport_tw.clients.program import Context
from teleport_tw.resources.metadata import Metadata, Resource

TRAITS = {
    "logins": "Unix logins",
    "windows_logins": "Windows logins",
    "kubernetes_users": "Kubernetes users",
    "kubernetes_groups": "Kubernetes groups",
    "db_users": "database users",
    "db_names": "database names",
    "db_roles": "database roles",
    "aws_role_arns": "AWS roles",
    "azure_identities": "Azure identities",
    "gcp_service_accounts": "GCP service accounts",
    "host_user_uid": "uid of the user made on hosts",
    "host_user_gid": "gid of the user made on hosts",
}


EXAMPLES = """\
tctl users add alice --roles=access --logins=root,alice
tctl users ls --format=json
tctl users update alice --set-roles=access,auditor
tctl users reset alice
tctl users rm alice
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl users add|ls|update|rm|reset}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    add = commands.add_parser("add", help="create a user and print the sign-up link")
    add.add_argument("name")
    add.add_argument("--roles", required=True, help="comma-separated role names")
    for trait, what in TRAITS.items():
        add.add_argument(f"--{trait.replace('_', '-')}", dest=trait, metavar="LIST", help=f"{what}, comma-separated")
    add.add_argument("--ttl", default="1h", help="how long the link works, at most 48h [1h]")
    add.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    add.set_defaults(run=run_add)

    ls = commands.add_parser("ls", help="list users")
    ls.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    ls.set_defaults(run=run_ls)

    update = commands.add_parser("update", help="change a user's roles or traits")
    update.add_argument("name")
    update.add_argument("--set-roles", metavar="LIST", help="replaces the roles; comma-separated")
    for trait, what in TRAITS.items():
        flag = f"--set-{trait.replace('_', '-')}"
        update.add_argument(flag, dest=trait, metavar="LIST", help=f"replaces the {what}; empty clears them")
    update.set_defaults(run=run_update)

    rm = commands.add_parser("rm", help="remove users", aliases=["delete"])
    rm.add_argument("names", metavar="name[,name]", help="comma-separated")
    rm.set_defaults(run=run_rm)

    reset = commands.add_parser("reset", help="take away password and devices, print a link to set new ones")
    reset.add_argument("name")
    reset.add_argument("--ttl", default="8h", help="how long the link works, at most 24h [8h]")
    reset.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    reset.set_defaults(run=run_reset)


def words(text: str | None) -> list[str]:
    """
    @return: the non-empty words of a comma-separated list.
    """
    return [word.strip() for word in (text or "").split(",") if word.strip()]


async def run_add(context: Context, options: argparse.Namespace) -> None:
    """
    Create the user, then the link.
    """
    traits = {trait: words(getattr(options, trait)) for trait in TRAITS if getattr(options, trait)}
    ttl = parse_duration(options.ttl)
    api = await context.api()
    for role in words(options.roles):
        await api.get("role", role)
    user = Resource(
        kind="user",
        version="v2",
        metadata=Metadata(name=options.name),
        spec={"roles": words(options.roles), "traits": traits},
    )
    await api.create(user)
    ticket = await api.create_setup(options.name, SetupPurpose.INVITE, ttl)
    await _tell(context, options, ticket, f'User "{options.name}" has been created but requires a password. Share this')


async def run_reset(context: Context, options: argparse.Namespace) -> None:
    """
    The old password stops working at once.
    """
    api = await context.api()
    ticket = await api.create_setup(options.name, SetupPurpose.RESET, parse_duration(options.ttl))
    await _tell(context, options, ticket, f'The password of user "{options.name}" has been reset. Share this')


async def _tell(context: Context, options: argparse.Namespace, ticket: SetupTicket, opening: str) -> None:
    address = await context.web_address()
    path = "invite" if ticket.purpose is SetupPurpose.INVITE else "reset"
    link = f"https://{address or '<proxy>:3080'}/web/{path}/{ticket.token.reveal()}"
    facts: dict[str, Any] = {
        "user": ticket.username,
        "url": link,
        "token": ticket.token.reveal(),
        "expires": format_time(ticket.expires),
    }
    lasting = format_duration(parse_duration(options.ttl))
    note = "" if address else "\nNOTE: replace <proxy>:3080 with the address of your proxy.\n"
    show(
        options.format,
        facts,
        f"{opening} URL with the user to complete the set-up; it works once and for {lasting}:\n{link}\n{note}",
    )


async def run_ls(context: Context, options: argparse.Namespace) -> None:
    """
    By name.
    """
    api = await context.api()
    users = [user async for user in every(api, "user")]
    rows = [(user.name, ",".join(user.spec.get("roles") or ()), "locked" if _locked(user) else "") for user in users]
    show(options.format, [user.to_json() for user in users], table(("User", "Roles", "State"), rows))


def _locked(user: Resource) -> bool:
    status = user.spec.get("status") or {}
    return bool(status.get("is_locked"))


async def run_update(context: Context, options: argparse.Namespace) -> None:
    """
    Roles reach certificates at the user's next sign-in.
    """
    api = await context.api()
    user = await api.get("user", options.name)
    spec = dict(user.spec)
    traits = dict(spec.get("traits") or {})
    changed = False
    if options.set_roles is not None:
        roles = words(options.set_roles)
        if not roles:
            raise bad_parameter("--set-roles needs at least one role")
        for role in roles:
            await api.get("role", role)
        spec["roles"] = roles
        changed = True
    for trait in TRAITS:
        given = getattr(options, trait)
        if given is not None:
            traits[trait] = words(given)
            changed = True
    if not changed:
        raise bad_parameter("nothing to change: give --set-roles, --set-logins or another --set-… flag")
    spec["traits"] = {trait: values for trait, values in traits.items() if values}
    await api.update(evolve(user, spec=spec))
    print(f"User {options.name} has been updated; it takes effect at their next sign-in.")


async def run_rm(context: Context, options: argparse.Namespace) -> None:
    """
    Certificates already issued end by themselves; lock the user to end sessions at once.
    """
    api = await context.api()
    for name in words(options.names):
        await api.delete("user", name)
        print(f'User "{name}" has been deleted')
