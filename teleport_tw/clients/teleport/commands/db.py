"""
Serve databases from this host: start an agent, or print its configuration.
"""

from __future__ import annotations

import argparse
import base64
import os

from teleport_tw.base.errors import bad_parameter
from teleport_tw.clients.teleport.commands.configure import joining, put
from teleport_tw.clients.teleport.commands.start import hand_over
from teleport_tw.config import sample
from teleport_tw.config.load import load_text
from teleport_tw.config.overrides import parse_labels
from teleport_tw.config.read_databases import PROTOCOLS

EXAMPLES = """\
teleport db configure create --token=/etc/token --proxy=t.example.com --name=pg --protocol=postgres --uri=db:5432
teleport db configure create --token=/etc/token --proxy=t.example.com --dynamic-resources-labels=env=prod -o file
teleport db start --token=/etc/token --proxy=t.example.com --name=pg --protocol=postgres --uri=localhost:5432
"""

LATER = (
    *("rds-discovery", "rdsproxy-discovery", "redshift-discovery", "redshift-serverless-discovery"),
    *("elasticache-discovery", "memorydb-discovery"),
    *("azure-mysql-discovery", "azure-postgres-discovery", "azure-redis-discovery"),
)
"""Flags of the reference that look for databases in clouds."""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{teleport db start|configure create}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    start = commands.add_parser("start", help="serve databases in the foreground", description=__doc__)
    start.add_argument("-c", "--config", default="", metavar="FILE", help="configuration, in place of the other flags")
    _flags(start)
    start.set_defaults(run=run_start)
    inner = commands.add_parser("configure", help="print a configuration").add_subparsers(
        metavar="command", required=True
    )
    create = inner.add_parser("create", help="print a configuration", description=__doc__)
    _flags(create)
    create.set_defaults(run=run_create)


def _flags(parser: argparse.ArgumentParser) -> None:
    joining(parser)
    parser.add_argument("--name", default="", help="of the database in the cluster")
    parser.add_argument("--protocol", default="", metavar="NAME", help=", ".join(PROTOCOLS))
    parser.add_argument("--uri", default="", metavar="HOST:PORT", help="where the database listens")
    parser.add_argument("--description", default="", help="for people")
    parser.add_argument("--ca-cert-file", default="", metavar="FILE", help="who signs the database's certificate")
    parser.add_argument(
        "--dynamic-resources-labels",
        default="",
        metavar="KEY=VALUE,…",
        help="serve db resources with these labels; * = * is all",
    )
    for name in LATER:
        parser.add_argument(f"--{name}", default=None, help=argparse.SUPPRESS)


def run_create(options: argparse.Namespace) -> int:
    """
    Needs no cluster.
    """
    return put(written(options), options.output)


def run_start(options: argparse.Namespace) -> int:
    """
    What C{twistd -n teleport --roles=db} does.
    """
    if options.config:
        hand_over(["-c", options.config, "--roles=db"])
    else:
        text = written(options)
        load_text(text, name="what was typed")
        os.environ["TELEPORT_CONFIG"] = base64.b64encode(text.encode()).decode()
        hand_over([])
    return 0


def written(options: argparse.Namespace) -> str:
    """
    @return: the configuration.
    @raise TeleportError: BAD_PARAMETER, something is missing.
    """
    wanted = [name for name in LATER if getattr(options, name.replace("-", "_")) is not None]
    if wanted:
        raise bad_parameter(f"--{wanted[0]} is not served by this version yet; name the databases")
    if not options.token:
        raise bad_parameter("--token is missing; `tctl tokens add --type=db` makes one")
    proxy = options.proxy or options.auth_server
    if not proxy or options.auth_server:
        raise bad_parameter("databases are served through a proxy: --proxy=HOST:PORT")
    said = {key: getattr(options, key) for key in ("name", "protocol", "uri")}
    missing = [f"--{key}" for key, value in said.items() if not value]
    if len(missing) < len(said) and missing:
        raise bad_parameter(f"{' and '.join(missing)} of the database is missing")
    if missing and not options.dynamic_resources_labels:
        raise bad_parameter("say which database: --name, --protocol and --uri; or --dynamic-resources-labels")
    more = {key: getattr(options, key) for key in ("description", "labels", "ca_cert_file")}
    return sample.db_configure(
        token=options.token,
        proxy_server=proxy,
        ca_pins=tuple(options.ca_pin),
        data_dir=options.data_dir,
        nodename=options.node_name,
        databases=() if missing else ({**said, **more},),
        resources=parse_labels(options.dynamic_resources_labels),
    )
