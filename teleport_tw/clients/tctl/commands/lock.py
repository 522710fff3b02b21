"""
Lock a user, role, login or server out: live sessions end, new ones are refused, until the lock ends or is removed.
"""

from __future__ import annotations

import argparse
import uuid
from typing import Any

from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.timing import format_time, parse_duration, parse_time, utc_now
from teleport_tw.clients.program import Context
from teleport_tw.resources.metadata import Metadata, Resource

TARGETS = {
    "user": "a user's name",
    "role": "everybody who holds a role",
    "login": "a login on any server",
    "mfa_device": "UUID of a second factor device",
    "windows_desktop": "a desktop's name",
    "access_request": "UUID of an access request",
    "device": "UUID of a trusted device",
    "server_id": "UUID of a server: nobody gets in, and it stops being trusted",
    "bot_instance_id": "an instance of a bot",
    "join_token": "everything that joined by a token",
}


EXAMPLES = """\
tctl lock --user=eve --message="suspicious" --ttl=10h
tctl get locks
tctl rm lock/NAME
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl lock}.
    """
    for target, what in TARGETS.items():
        parser.add_argument(f"--{target.replace('_', '-')}", dest=target, default="", metavar="NAME", help=what)
    parser.add_argument("--message", default="", help="shown to who is locked out")
    parser.add_argument("--ttl", default="", help="how long: 10h; for good when neither this nor --expires is given")
    parser.add_argument("--expires", default="", help="until when: 2026-01-31T15:04:05Z")
    parser.set_defaults(run=run)


async def run(context: Context, options: argparse.Namespace) -> None:
    """
    Takes effect on live sessions within two seconds.
    """
    target = {name: getattr(options, name) for name in TARGETS if getattr(options, name)}
    if not target:
        raise bad_parameter("say what to lock: --user, --role, --login, --server-id or another target")
    if options.ttl and options.expires:
        raise bad_parameter("give --ttl or --expires, not both")
    now = utc_now()
    spec: dict[str, Any] = {"target": target, "created_at": format_time(now)}
    if options.message:
        spec["message"] = options.message
    until = now + parse_duration(options.ttl) if options.ttl else None
    if options.expires:
        until = parse_time(options.expires)
    if until is not None:
        if until <= now:
            raise bad_parameter("that lock would have ended already")
        spec["expires"] = format_time(until)
    lock = Resource(kind="lock", version="v2", metadata=Metadata(name=str(uuid.uuid4()), expires=until), spec=spec)
    api = await context.api()
    await api.create(lock)
    print(f'Created a lock with name "{lock.name}".')
