"""
The cluster at a glance: its name, version, CA pins, and the state of each authority.
"""

from __future__ import annotations

import argparse
from typing import Any

from teleport_tw.api.contract import every
from teleport_tw.clients.output import FORMATS, show, table
from teleport_tw.clients.program import Context
from teleport_tw.resources.metadata import Resource


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tctl status}.
    """
    parser.add_argument("-f", "--format", choices=FORMATS, default="text", help="[text]")
    parser.set_defaults(run=run)


async def run(context: Context, options: argparse.Namespace) -> None:
    """
    Anybody who may read the authorities can ask.
    """
    api = await context.api()
    info = await api.ping()
    facts = [_facts(authority) async for authority in every(api, "cert_authority")]
    text = f"Cluster:  {info.cluster}\nVersion:  {info.version}\n"
    text += "".join(
        f"CA pins:  {pin}\n" if not index else f"          {pin}\n" for index, pin in enumerate(info.ca_pins)
    )
    rows = [(f["authority"], f["rotation"], f["protocol"], f["status"], f["algorithm"], f["storage"]) for f in facts]
    text += "\n" + table(("authority", "rotation", "protocol", "status", "algorithm", "storage"), rows)
    value = {"cluster": info.cluster, "version": info.version, "ca_pins": info.ca_pins, "authorities": facts}
    show(options.format, value, text)


def _facts(authority: Resource) -> dict[str, Any]:
    keys = authority.spec.get("active_keys") or {}
    rotation = authority.spec.get("rotation") or {}
    state = rotation.get("phase") or rotation.get("state") or "standby"
    return {
        "authority": str(authority.spec.get("type") or authority.sub_kind),
        "cluster": authority.name,
        "rotation": str(state),
        "protocol": ",".join(name.upper() for name in ("ssh", "tls", "jwt") if keys.get(name)),
        "status": "active",
        "algorithm": str(authority.spec.get("signing_alg") or ""),
        "storage": "software",
    }
