"""
The cluster at a glance: its name, version, CA pins, and the state of each authority.
"""

from __future__ import annotations

import argparse
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from teleport_tw.api.contract import every
from teleport_tw.clients.output import FORMATS, show, table
from teleport_tw.clients.program import Context
from teleport_tw.pki.authority import Authority
from teleport_tw.pki.keys import native_public
from teleport_tw.resources.metadata import Resource

EXAMPLES = """\
tctl status
tctl status --format=json
"""


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


def _facts(resource: Resource) -> dict[str, Any]:
    authority = Authority.parse(resource)
    keys = authority.active
    algorithms = [algorithm(native_public(key.public)) for key in keys.ssh]
    algorithms += [algorithm(key.certificate.public_key()) for key in keys.tls]
    algorithms += [algorithm(key.public) for key in keys.jwt]
    return {
        "authority": authority.type.value,
        "cluster": authority.cluster,
        "rotation": authority.phase.value,
        "protocol": ",".join(name.upper() for name in ("ssh", "tls", "jwt") if getattr(keys, name)),
        "status": "active",
        "algorithm": ",".join(dict.fromkeys(algorithms)),
        "storage": "software",
    }


def algorithm(public: object) -> str:
    """
    @param public: a key of C{cryptography}.
    @return: C{Ed25519}, C{ECDSA P-256}, C{RSA 2048}.
    """
    match public:
        case ed25519.Ed25519PublicKey():
            return "Ed25519"
        case ec.EllipticCurvePublicKey():
            return f"ECDSA P-{public.key_size}"
        case rsa.RSAPublicKey():
            return f"RSA {public.key_size}"
    return type(public).__name__
