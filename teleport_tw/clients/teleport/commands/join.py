"""
Register this host's OpenSSH server with a cluster, without an agent.

sshd then trusts the users that the cluster lets through, and proves itself with a certificate of the cluster, which
lasts 30 days. C{--renew} makes the next, with what was said at first and without a token; C{--install-timer} has
systemd do so every week.
"""

from __future__ import annotations

import argparse

from teleport_tw.base.errors import bad_parameter
from teleport_tw.config.overrides import parse_labels
from teleport_tw.config.sections import DATA_DIR

EXAMPLES = """\
teleport join openssh --proxy-server=teleport.example.com:443 --token=TOKEN --ca-pin=sha256:… --install-timer
teleport join openssh --renew                     what the timer does; from cron where there is no systemd
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{teleport join openssh}.
    """
    commands = parser.add_subparsers(metavar="command", required=True)
    child = commands.add_parser("openssh", help="register this host's sshd", description=__doc__)
    child.add_argument("--proxy-server", metavar="HOST:PORT", default="", help="the cluster")
    child.add_argument("--token", default="", help="token of type node, or the path of a file that holds it")
    child.add_argument("--ca-pin", metavar="PIN", action="append", default=[], help="sha256:…, of `tctl status`")
    child.add_argument("--insecure", action="store_true", help="do not verify the proxy; for tests only")
    child.add_argument("--address", metavar="HOST[:PORT]", default="", help="where the proxy reaches sshd")
    child.add_argument("--node-name", "--nodename", dest="node_name", default="", help="[the host's name]")
    child.add_argument("--labels", metavar="KEY=VALUE,…", default="", help="what roles choose servers by")
    child.add_argument("--additional-principals", metavar="NAME,…", default="", help="further names of this host")
    child.add_argument("--openssh-config", metavar="PATH", default="/etc/ssh/sshd_config", help="[%(default)s]")
    child.add_argument("--data-dir", metavar="PATH", default=DATA_DIR, help="[%(default)s]")
    child.add_argument("--restart-sshd", choices=("yes", "no"), default="yes", help="make sshd read it [yes]")
    child.add_argument("--sshd-restart-command", metavar="COMMAND", default="", help="how, where it is not systemd's")
    child.add_argument("--sshd-check-command", metavar="COMMAND", default="sshd -t -f", help="[%(default)s]")
    child.add_argument("--renew", action="store_true", help="renew, with everything as it was said before")
    child.add_argument("--install-timer", action="store_true", help="have systemd renew every week")
    child.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """
    Joins, certifies, registers, and changes sshd's configuration.
    """
    from pathlib import Path

    from teleport_tw.base.secret import Secret
    from teleport_tw.clients.program import finish
    from teleport_tw.clients.teleport import renewal
    from teleport_tw.clients.teleport.openssh import Plan, register

    data_dir = Path(options.data_dir)
    if options.renew:
        return finish(register(renewal.recall(data_dir / "openssh")))
    if ":" not in options.proxy_server:
        raise bad_parameter("--proxy-server is HOST:PORT")
    token = options.token
    if token.startswith("/"):
        try:
            token = Path(token).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise bad_parameter(f"the token cannot be read: {error}") from error
    plan = Plan(
        proxy=options.proxy_server,
        token=Secret(token),
        pins=tuple(options.ca_pin),
        insecure=options.insecure,
        address=options.address,
        node_name=options.node_name,
        labels=parse_labels(options.labels),
        names=tuple(name.strip() for name in options.additional_principals.split(",") if name.strip()),
        sshd_config=Path(options.openssh_config),
        folder=data_dir / "openssh",
        restart=options.restart_sshd == "yes",
        restart_command=options.sshd_restart_command,
        check_command=options.sshd_check_command,
    )
    status = finish(register(plan))
    if status:
        return status
    renewal.remember(plan)
    if options.install_timer:
        print("Renewed every week by " + " and ".join(map(str, renewal.install_timer(data_dir))))
    else:
        print(f"Renew it before: {renewal.command(data_dir)} (--install-timer has systemd do so every week)")
    return 0
