"""
List, add and remove your second factors: authenticator apps, security keys, passkeys.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import datetime

from teleport_tw.api.contract import Api, Device, DeviceTicket, DeviceType, MfaAnswer, Scope
from teleport_tw.base.errors import bad_parameter, not_found
from teleport_tw.base.timing import format_time
from teleport_tw.clients.factors import Answering
from teleport_tw.clients.login import Asker
from teleport_tw.clients.output import FORMATS, harmless, show, table
from teleport_tw.clients.tsh.context import UserContext
from teleport_tw.clients.tsh.proving import answering

EXAMPLES = """\
tsh mfa ls
tsh mfa add --type=webauthn --name=yubikey       touch the key when it blinks
tsh mfa add --type=totp --name=phone             scan the code with an authenticator app
tsh mfa add --type=webauthn --name=passkey --allow-passwordless
tsh mfa rm phone
tsh mfa recovery                                 new recovery codes; the old ones stop working
"""

TYPES = tuple(each.value for each in DeviceType)
WORDS = {DeviceType.TOTP: "TOTP", DeviceType.WEBAUTHN: "WEBAUTHN"}


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh mfa ls|add|rm|recovery}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    ls = commands.add_parser("ls", help="your second factors")
    ls.add_argument("-v", "--verbose", action="store_true", help="with their ids")
    ls.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    ls.set_defaults(run=run_ls)
    add = commands.add_parser("add", help="add a second factor")
    add.add_argument("--type", default="", type=str.lower, choices=("", *TYPES), help="asked for when not given")
    add.add_argument("--name", default="", help="asked for when not given")
    add.add_argument(
        "--allow-passwordless",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="sign in with this key alone; it needs a PIN or a fingerprint",
    )
    add.set_defaults(run=run_add)
    rm = commands.add_parser("rm", help="remove one")
    rm.add_argument("name", help="its name or id")
    rm.set_defaults(run=run_rm)
    recovery = commands.add_parser("recovery", help="new recovery codes, for the day the devices are gone")
    recovery.set_defaults(run=run_recovery)


async def run_ls(context: UserContext, options: argparse.Namespace) -> None:
    """
    Oldest first.
    """
    api = await context.api()
    found = await api.list_devices()
    columns: tuple[str, ...] = ("Name", "Type", "Added at", "Last used")
    rows = [(each.name, _type(each), _when(each.added), _when(each.last_used)) for each in found]
    if options.verbose:
        columns = ("ID", *columns)
        rows = [(each.id, *row) for each, row in zip(found, rows, strict=True)]  # type: ignore[misc]  # a cell more
    text = table(columns, rows)
    if options.format == "text" and not found:
        text = "You have no second factor. Add one: tsh mfa add\n"
    show(options.format, [_plain(each) for each in found], text)


def _type(device: Device) -> str:
    words = WORDS[device.type]
    if device.passwordless:
        words += ", passwordless"
    return f"{words} (suspended: there seems to be a copy of it)" if device.suspect else words


def _when(moment: datetime | None) -> str:
    return format_time(moment) if moment is not None else "-"


def _plain(device: Device) -> dict[str, object]:
    return {
        "id": device.id,
        "name": device.name,
        "type": WORDS[device.type],
        "added": _when(device.added),
        "last_used": _when(device.last_used),
        "passwordless": device.passwordless,
        "suspect": device.suspect,
    }


async def _proved(api: Api, asked: Answering, devices: Sequence[Device]) -> MfaAnswer | None:
    """
    @return: none where there is no device yet to prove anything with.
    """
    if not devices:
        return None
    challenge = await api.create_challenge(Scope.MANAGE_DEVICES)
    return asked.answer(challenge, "This needs one of the second factors that you have.")


async def run_add(context: UserContext, options: argparse.Namespace) -> None:
    """
    The one you have first, then the new one.
    """
    asker, asked = Asker(), answering(context)
    api = await context.api()
    devices = await api.list_devices()
    type = DeviceType(options.type or asker.line(f"Choose device type [{', '.join(TYPES)}]: ").lower() or TYPES[0])
    name = options.name or asker.line("Enter device name: ")
    if not name:
        raise bad_parameter("a device needs a name: --name=NAME")
    passwordless = bool(options.allow_passwordless)
    if type is DeviceType.WEBAUTHN and options.allow_passwordless is None and asker.interactive:
        passwordless = asker.line("Allow passwordless logins [y/N]: ").lower() in ("y", "yes")
    proof = await _proved(api, asked, devices)
    ticket = await api.begin_device(type, name, proof, passwordless=passwordless)
    answer = asked.register(ticket.webauthn) if ticket.webauthn is not None else _scanned(ticket, asker)
    added = await api.add_device(ticket.id, answer)
    print(f"MFA device {harmless(added.name)!r} added.")
    if not (await api.account_state()).recovery_codes:
        print("For the day all your devices are gone, keep recovery codes: tsh mfa recovery")


def _scanned(ticket: DeviceTicket, asker: Asker) -> MfaAnswer:
    import segno

    if sys.stderr.isatty():
        segno.make(ticket.otp_uri.reveal(), error="m").terminal(out=sys.stderr, compact=True)
    sys.stderr.write(
        "Scan this with your authenticator app, or add an account there by its secret key:\n\n"
        f"  {ticket.otp_secret.reveal()}\n\n"
    )
    code = asker.secret("Once it is there, enter the code that the app shows:\n")
    return MfaAnswer(otp=code)


async def run_rm(context: UserContext, options: argparse.Namespace) -> None:
    """
    By name, or by id where two should ever have one name.
    """
    api = await context.api()
    devices = await api.list_devices()
    found = [each for each in devices if options.name in (each.name, each.id)]
    if not found:
        known = ", ".join(harmless(each.name) for each in devices) or "none"
        raise not_found(f"you have no second factor called {options.name!r}; there are: {known}")
    proof = await _proved(api, answering(context), devices)
    assert proof is not None, "there is a device"
    await api.delete_device(found[0].id, proof)
    print(f"MFA device {harmless(found[0].name)!r} removed.")


async def run_recovery(context: UserContext, options: argparse.Namespace) -> None:
    """
    Shown once.
    """
    api = await context.api()
    proof = await _proved(api, answering(context), await api.list_devices())
    if proof is None:
        raise bad_parameter("recovery codes stand in for second factors, and you have none: tsh mfa add")
    codes = await api.recovery_codes(proof)
    print("Each of these works once, in place of a code of your authenticator app. They are not shown again.\n")
    print("\n".join(f"  {code.reveal()}" for code in codes))
