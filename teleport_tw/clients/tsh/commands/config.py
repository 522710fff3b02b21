"""
Print the lines for ~/.ssh/config with which OpenSSH reaches your servers.
"""

from __future__ import annotations

import argparse
import shutil
import sys

from teleport_tw.base.addresses import split_address
from teleport_tw.base.errors import bad_parameter
from teleport_tw.clients.home import home
from teleport_tw.clients.profile import Profile, ProfileFolder
from teleport_tw.clients.tsh.context import signed_in

HOST_ALGORITHMS = ",".join(
    (
        "ssh-ed25519-cert-v01@openssh.com",
        "ecdsa-sha2-nistp256-cert-v01@openssh.com",
        "rsa-sha2-512-cert-v01@openssh.com",
        "rsa-sha2-256-cert-v01@openssh.com",
    )
)

EXAMPLES = """\
tsh config >> ~/.ssh/config
ssh root@node-1.example.com
tsh config --jump          by the proxy's SSH port: tsh is not needed at run time
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """
    C{tsh config}.
    """
    parser.add_argument("-p", "--port", type=int, default=3022, help="put down for servers [3022]")
    parser.add_argument("--jump", action="store_true", help="go by ProxyJump over the proxy's SSH port")
    parser.add_argument("-c", "--cluster", default="", metavar="NAME", help="another cluster")
    parser.set_defaults(run=run, offline=True)


def run(options: argparse.Namespace) -> int:
    """
    Reads the profile only.
    """
    if options.identity:
        raise bad_parameter("tsh config describes a login; for scripts use: tctl auth sign --format=openssh")
    signed = signed_in(options)
    print(block(ProfileFolder(home()), signed.profile, options.port, jump=options.jump), end="")
    return 0


def block(folder: ProfileFolder, profile: Profile, port: int, *, jump: bool) -> str:
    """
    @return: for C{ssh_config}.
    @raise TeleportError: BAD_PARAMETER, the proxy has no SSH port to jump over.
    """
    paths = folder.paths(profile)
    cluster, proxy = profile.cluster, profile.name
    common = (
        f'    UserKnownHostsFile "{folder.known_hosts}"\n'
        f'    IdentityFile "{paths.ssh_key}"\n'
        f'    CertificateFile "{paths.ssh_certificate}"\n'
        f"    PubkeyAcceptedAlgorithms +ssh-rsa-cert-v01@openssh.com\n"
        f"    HostKeyAlgorithms {HOST_ALGORITHMS}\n"
    )
    head = f"# Begin generated Teleport configuration for {proxy} by tsh\n\n"
    tail = f"\n# End generated Teleport configuration for {proxy}\n"
    hosts = f"# Common flags for all {cluster} hosts\nHost *.{cluster} {proxy}\n{common}\n"
    if jump:
        if not profile.ssh_proxy_addr:
            raise bad_parameter(f"{proxy} has no SSH port; leave --jump away")
        jump_host, jump_port = split_address(profile.ssh_proxy_addr, 3023)
        return (
            f"{head}# Common flags for all {cluster} hosts\nHost *.{cluster} {cluster}-proxy\n{common}\n"
            f"# The proxy, which leads to all of them\nHost {cluster}-proxy\n    HostName {jump_host}\n"
            f"    Port {jump_port}\n    User {profile.user}\n\n"
            f"Host *.{cluster}\n    Port {port}\n    ProxyJump {cluster}-proxy\n{tail}"
        )
    command = f"{_tsh()} proxy ssh --cluster={cluster} --proxy={profile.web_proxy_addr} %r@%h:%p"
    return (
        f"{head}{hosts}# Flags for all {cluster} hosts except the proxy\nHost *.{cluster} !{proxy}\n"
        f"    Port {port}\n    ProxyCommand {command}\n{tail}"
    )


def _tsh() -> str:
    found = shutil.which("tsh")
    return f'"{found}"' if found else f'"{sys.executable}" -m teleport_tw.clients.tsh.main'
