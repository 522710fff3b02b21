"""
Whether a server is the one that was meant: by certificate of the cluster's host authority only, and never a question.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from ipaddress import ip_address
from typing import TYPE_CHECKING

from attrs import frozen

from teleport_tw.base.errors import TeleportError, access_denied
from teleport_tw.base.timing import utc_now
from teleport_tw.conch.exchange import HostProof
from teleport_tw.pki.checks import check, check_host, read_known_hosts
from teleport_tw.protocols.ssh.certificate import CertificateType
from teleport_tw.protocols.ssh.keys import PublicKey

if TYPE_CHECKING:
    from teleport_tw.conch.transport import VerifyHost


@frozen
class HostTrust:
    """
    Believes the servers of one cluster.

    @ivar keys: of the authority of its hosts.
    """

    cluster: str
    keys: tuple[PublicKey, ...]
    _now: Callable[[], datetime] = utc_now

    @classmethod
    def of_known_hosts(cls, cluster: str, text: str) -> HostTrust:
        """
        @param text: C{@cert-authority} lines; those that name the cluster are taken.
        @raise TeleportError: ACCESS_DENIED, none does: nobody could be believed.
        """
        named = {cluster, f"*.{cluster}"}
        keys = tuple(key for patterns, key in read_known_hosts(text) if named & set(patterns))
        if not keys:
            raise access_denied(f"it is not known whom to believe about servers of {cluster}; log in again")
        return cls(cluster, keys)

    def verifier(self, names: Sequence[str]) -> VerifyHost:
        """
        @param names: any of which the server may prove to have: what was dialled, and its UUID where that is known.
        @return: for L{teleport_tw.conch.transport.ClientSettings}.
        """

        async def verify(proof: HostProof) -> None:
            self.check(proof, names)

        return verify

    def check(self, proof: HostProof, names: Sequence[str]) -> None:
        """
        @raise TeleportError: ACCESS_DENIED.
        """
        if not proof.certified:
            raise access_denied(
                f"{names[0]} shows no certificate of the cluster and is not trusted", details="a bare host key"
            )
        problem: TeleportError | None = None
        try:
            certificate, _ = check(proof.blob, CertificateType.HOST, self._believed, self._now())
            for name in self._accepted(names):
                try:
                    check_host(certificate, name)
                except TeleportError as error:
                    problem = problem or error
                else:
                    return
        except TeleportError as error:
            problem = error
        assert problem is not None, "there is a name"
        raise access_denied(
            f"the server that answered is not {names[0]}: its host certificate was refused ({problem.details})",
            details=problem.details,
        ) from problem

    def _believed(self, key: PublicKey) -> PublicKey | None:
        return key if key in self.keys else None

    def _accepted(self, names: Sequence[str]) -> list[str]:
        cluster, found = self.cluster, []
        for name in names:
            found.append(name)
            if not _is_address(name) and not name.endswith(f".{cluster}"):
                found.append(f"{name}.{cluster}")
            else:
                found.append(name.removesuffix(f".{cluster}"))
        return list(dict.fromkeys(filter(None, found)))


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def host_part(target: str) -> str:
    """
    @param target: C{host[:port]}; IPv6 in brackets where there is a port.
    @return: the host.
    """
    if target.startswith("["):
        return target[1:].partition("]")[0]
    return target.rpartition(":")[0] if target.count(":") == 1 else target
