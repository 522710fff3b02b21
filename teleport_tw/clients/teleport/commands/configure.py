"""
Print a sample configuration.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from teleport_tw.base.errors import bad_parameter
from teleport_tw.config import sample
from teleport_tw.config.load import DEFAULT_PATH
from teleport_tw.config.overrides import parse_labels, parse_roles
from teleport_tw.config.sections import DATA_DIR

EXAMPLES = """\
teleport configure --cluster-name=example.com --public-addr=teleport.example.com:443 -o file
teleport configure --test=/etc/teleport.yaml
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{teleport configure}.
    """
    parser.add_argument("--cluster-name", default="", help="name of the cluster, which never changes")
    parser.add_argument("--public-addr", metavar="HOST:PORT", default="", help="what users type")
    parser.add_argument("-r", "--roles", default="", help="services to enable: auth,proxy,node [all]")
    parser.add_argument("--cert-file", metavar="PATH", default="", help="the proxy's certificate for browsers, PEM")
    parser.add_argument("--key-file", metavar="PATH", default="", help="its key, PEM")
    parser.add_argument("--test", metavar="FILE", default="", help="print nothing; say what is wrong with a file")
    joining(parser)
    parser.set_defaults(run=run)


def joining(parser: argparse.ArgumentParser) -> None:
    """
    What every host's configuration may name.
    """
    parser.add_argument("--token", default="", help="token to join with, or the path of a file that holds it")
    parser.add_argument("--proxy", "--proxy-server", dest="proxy", metavar="HOST:PORT", default="", help="the cluster")
    parser.add_argument("--auth-server", metavar="HOST:PORT", default="", help="auth, to join it directly")
    parser.add_argument("--ca-pin", metavar="PIN", action="append", default=[], help="sha256:…, of `tctl status`")
    parser.add_argument("--data-dir", metavar="PATH", default=DATA_DIR, help=f"[{DATA_DIR}]")
    parser.add_argument("--node-name", "--nodename", dest="node_name", default="", help="name of this host")
    parser.add_argument("--labels", metavar="KEY=VALUE,…", default="", help="labels of this host")
    parser.add_argument(
        "-o",
        "--output",
        metavar="WHERE",
        default="stdout",
        help=f"stdout, file ({DEFAULT_PATH}), or a path; nothing is overwritten [stdout]",
    )


def run(options: argparse.Namespace) -> int:
    """
    Needs no cluster.
    """
    if options.test:
        return check(options.test)
    roles = parse_roles(options.roles) if options.roles else (sample.AUTH, sample.PROXY, sample.SSH)
    text = sample.configure(
        cluster_name=options.cluster_name,
        public_addr=options.public_addr,
        data_dir=options.data_dir,
        roles=roles,
        token=options.token,
        auth_server=options.auth_server,
        proxy_server=options.proxy,
        ca_pins=tuple(options.ca_pin),
        nodename=options.node_name,
        labels=parse_labels(options.labels),
        cert_file=options.cert_file,
        key_file=options.key_file,
    )
    return put(text, options.output)


def check(path: str) -> int:
    """
    Every mistake at once, as an error; keys that have no effect, as warnings.

    @raise TeleportError: NOT_FOUND; BAD_PARAMETER with every mistake.
    """
    from teleport_tw.config.effects import warnings
    from teleport_tw.config.load import load_file
    from teleport_tw.pki.trust import suites

    configuration = load_file(path)
    suites(configuration.teleport.ciphersuites)
    for warning in warnings(configuration):
        print(f"WARNING: {warning}", file=sys.stderr)
    print(f"{path} is good.")
    return 0


def put(text: str, where: str) -> int:
    """
    @param where: C{stdout}, C{file}, a path or C{file://} and a path.
    @raise TeleportError: BAD_PARAMETER, something is there already, or it cannot be written.
    """
    if where == "stdout":
        sys.stdout.write(text)
        return 0
    path = Path(DEFAULT_PATH if where == "file" else where.removeprefix("file://"))
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise bad_parameter(f"{path} exists already; write elsewhere with -o, or move it away") from error
    except OSError as error:
        raise bad_parameter(f"{path} cannot be written: {error.strerror}") from error
    path.chmod(0o600)
    print(f"Wrote {path}; start with: teleport start -c {path}")
    return 0
