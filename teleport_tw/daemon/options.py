"""
What is typed after C{twistd teleport…}; also what C{teleport start} takes.

Making the options installs the project's reactor, so that it is there before C{twistd} looks for one and a plain
C{twistd web} is left as it was.
"""

from __future__ import annotations

from typing import Any

from twisted.python import usage

from teleport_tw.base.errors import TeleportError
from teleport_tw.base.garbage import keep_freed
from teleport_tw.base.logs import Logs, logs
from teleport_tw.base.loop import install
from teleport_tw.config.load import load
from teleport_tw.config.overrides import Overrides, parse_labels, parse_roles
from teleport_tw.config.sections import Configuration
from teleport_tw.pki.trust import suites


def log_of(configuration: Configuration, fallback: str | None = None) -> Logs:
    """
    @param fallback: the file where C{teleport.log.output} names none; C{None} for standard error.
    @return: what to log by, as C{teleport.log} says.
    @raise TeleportError: BAD_PARAMETER, the file cannot be written.
    """
    wanted = configuration.teleport.log
    return logs(
        format=wanted.format,
        path=fallback if wanted.output in ("stderr", "stdout", "syslog") else wanted.output,
        level=wanted.severity.lower(),
        fields=wanted.fields,
        syslog=wanted.output == "syslog",
    )


class ServiceOptions(usage.Options):
    """
    Flags of every service. What is given here wins over the file.

    @cvar roles: the services that run whatever the file says; empty for those it enables.
    """

    roles: tuple[str, ...] = ()

    optParameters = [
        ["config", "c", None, "Configuration file [/etc/teleport.yaml]"],
        ["token", None, "", "Token to join the cluster with on the first start, or a path to it"],
        ["auth-server", None, "", "Address of auth, to join it directly: host:3025"],
        ["proxy-server", None, "", "Address of a proxy, to join through it: host:443"],
        ["ca-pin", None, "", "Pins of the cluster's authority, comma-separated: sha256:..."],
        ["nodename", None, "", "Name of this host in the cluster [its host name]"],
        ["labels", None, "", "Labels of this host: env=prod,team=data"],
        ["data-dir", None, "", "Where state is kept [/var/lib/teleport]"],
        ["pid-file", None, "", "Write the number of the process here"],
        ["diag-addr", None, "", "Serve /healthz, /readyz and /metrics here: 127.0.0.1:3000"],
        ["advertise-ip", None, "", "Address that other services reach this host by"],
        ["listen-ip", "l", "", "Listen on this address only"],
    ]
    optFlags = [
        ["debug", "d", "Log at level DEBUG"],
        ["insecure", None, "Do not verify the proxy's certificate when joining; for tests only"],
    ]

    def __init__(self) -> None:
        install()
        keep_freed()
        super().__init__()  # type: ignore[no-untyped-call]

    def parseArgs(self, *rest: str) -> None:
        """
        There are no arguments beside flags.
        """
        if rest:
            raise usage.UsageError(f"{rest[0]!r} is not expected; --help shows what is")

    def postOptions(self) -> None:
        """
        Read the configuration, with every mistake at once.
        """
        try:
            self.configuration: Configuration = self.read()
            suites(self.configuration.teleport.ciphersuites)
            self.logs = log_of(self.configuration, self._fallback())
        except TeleportError as error:
            raise usage.UsageError(str(error)) from error

    def read(self) -> Configuration:
        """
        @return: what the file says now, and the command line over it.
        @raise TeleportError: NOT_FOUND; BAD_PARAMETER with every mistake.
        """
        return load(self["config"], self.overrides())

    def _fallback(self) -> str | None:
        """
        @return: the file that a daemon logs to that is told nothing, else C{None}.
        """
        parent: Any = self.parent or {}
        return parent.get("logfile") or (None if parent.get("nodaemon", True) else "twistd.log")

    def overrides(self) -> Overrides:
        """
        @return: what was given on the command line.
        """
        pins = tuple(pin.strip() for pin in self["ca-pin"].split(",") if pin.strip())
        return Overrides(
            roles=self.wanted(),
            token=self["token"],
            auth_server=self["auth-server"],
            proxy_server=self["proxy-server"],
            nodename=self["nodename"],
            data_dir=self["data-dir"],
            pid_file=self["pid-file"],
            diag_addr=self["diag-addr"],
            advertise_ip=self["advertise-ip"],
            ca_pins=pins,
            labels=parse_labels(self["labels"]),
            listen_ip=self["listen-ip"],
            debug=bool(self["debug"]),
        )

    def wanted(self) -> tuple[str, ...]:
        """
        @return: the roles to run; empty for those that the file enables.
        """
        return self.roles


class AuthOptions(ServiceOptions):
    """
    C{twistd teleport-auth}.
    """

    roles = ("auth",)
    longdesc = "The auth service: certificate authority, users, roles, tokens, audit log."


class ProxyOptions(ServiceOptions):
    """
    C{twistd teleport-proxy}.
    """

    roles = ("proxy",)
    longdesc = "The proxy service: one public port, reverse tunnels, web pages."


class AgentOptions(ServiceOptions):
    """
    C{twistd teleport-agent --ssh --db}.
    """

    longdesc = "Agents that serve this host; name at least one."
    optFlags = [
        ["ssh", None, "Serve shells, commands and files of this host"],
        ["db", None, "Serve the databases that db_service names"],
    ]

    def wanted(self) -> tuple[str, ...]:
        """
        @raise UsageError: no agent was named.
        """
        named = tuple(role for flag, role in (("ssh", "node"), ("db", "db")) if self[flag])
        if not named:
            raise usage.UsageError("say what to serve: --ssh, --db")
        return named


class AllOptions(ServiceOptions):
    """
    C{twistd teleport}.
    """

    longdesc = "The services that the configuration enables; without a file: auth, proxy and SSH agent."
    optParameters = [["roles", "r", "", "Exactly these services: auth,proxy,node,db"]]

    def wanted(self) -> tuple[str, ...]:
        """
        @raise TeleportError: a word is no role.
        """
        given: Any = self["roles"]
        return parse_roles(given) if given else ()
