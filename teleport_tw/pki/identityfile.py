"""
Files that hold an identity: all in one for C{tsh -i}, or in the layouts of OpenSSH and of TLS programs.

The identity file is text, one part after the other: private key, PEM; SSH certificate, one line; TLS certificate, PEM;
then the authorities: their TLS certificates, PEM, and C{@cert-authority} lines of C{known_hosts}.

@see: reference, section 6.4
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from tempfile import mkstemp

from attrs import frozen

from teleport_tw.base.errors import RemoteProtocolError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.pki.keys import PrivateKey
from teleport_tw.protocols.ssh import keys as ssh_keys

MAX_FILE_BYTES = 1024 * 1024

_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\s.*?-----END \1-----", re.DOTALL)


@frozen(kw_only=True)
class IdentityFile:
    """
    @ivar key: PEM, one key for both certificates.
    @ivar ssh_certificate: one line; empty without one.
    @ivar tls_certificate: PEM; empty without one.
    @ivar tls_authorities: PEM certificates of host authorities.
    @ivar ssh_authorities: C{@cert-authority} lines, each with its host patterns.
    """

    key: Secret[bytes]
    ssh_certificate: str = ""
    tls_certificate: str = ""
    tls_authorities: tuple[str, ...] = ()
    ssh_authorities: tuple[str, ...] = ()

    def to_text(self) -> Secret[bytes]:
        """
        @return: the file's content.
        """
        parts = (
            self.key.reveal().decode("ascii"),
            self.ssh_certificate,
            self.tls_certificate,
            *self.tls_authorities,
            *self.ssh_authorities,
        )
        return Secret("".join(part.strip() + "\n" for part in parts if part).encode("utf-8"))

    @classmethod
    def parse(cls, content: Secret[bytes]) -> IdentityFile:
        """
        @raise TeleportError: BAD_PARAMETER, there is no private key or no certificate, or a part of it is broken.
        """
        if len(content.reveal()) > MAX_FILE_BYTES:
            raise bad_parameter("the identity file is far too long")
        try:
            text = content.reveal().decode("utf-8")
        except UnicodeDecodeError:
            raise bad_parameter("the identity file is not text") from None
        blocks = [(found[1], found[0]) for found in _BLOCK.finditer(text)]
        private = [block for label, block in blocks if label.endswith("PRIVATE KEY")]
        roots = [block for label, block in blocks if label == "CERTIFICATE"]
        lines = [line.strip() for line in _BLOCK.sub("", text).splitlines()]
        ssh_certificates = [line for line in lines if "-cert-v01@openssh.com " in line]
        if len(private) != 1:
            raise bad_parameter("an identity file holds exactly one private key")
        if len(ssh_certificates) > 1 or not (ssh_certificates or roots):
            raise bad_parameter("an identity file holds one certificate for SSH, or one for TLS, or both")
        key = Secret((private[0] + "\n").encode("utf-8"))
        PrivateKey.load(key)
        for line in ssh_certificates:
            try:
                ssh_keys.parse_line(line)
            except RemoteProtocolError as error:
                raise bad_parameter(f"the identity file's SSH certificate is broken: {error}") from error
        return cls(
            key=key,
            ssh_certificate=next(iter(ssh_certificates), ""),
            tls_certificate=roots[0] if roots else "",
            tls_authorities=tuple(roots[1:]),
            ssh_authorities=tuple(line for line in lines if line.startswith("@cert-authority ")),
        )

    @property
    def known_hosts(self) -> str:
        """
        The SSH authorities as a C{known_hosts} file.
        """
        return "".join(f"{line}\n" for line in self.ssh_authorities)

    def write(self, path: Path) -> None:
        """
        Write all in one file, readable by its owner alone; whoever reads at the same time sees the old or the new.
        """
        _write(path, self.to_text().reveal())

    def write_openssh(self, path: Path) -> tuple[Path, Path]:
        """
        @param path: of the private key; C{-cert.pub} is added for the certificate.
        @return: the two files.
        """
        certificate = path.with_name(path.name + "-cert.pub")
        _write(path, PrivateKey.load(self.key).openssh_pem().reveal())
        _write(certificate, self.ssh_certificate.strip().encode("utf-8") + b"\n")
        return path, certificate

    def write_tls(self, path: Path) -> tuple[Path, Path, Path]:
        """
        @param path: without ending; C{.key}, C{.crt} and C{.cas} are added.
        @return: the three files.
        """
        written = tuple(path.with_name(path.name + ending) for ending in (".key", ".crt", ".cas"))
        _write(written[0], self.key.reveal())
        _write(written[1], self.tls_certificate.strip().encode("utf-8") + b"\n")
        _write(written[2], "".join(root.strip() + "\n" for root in self.tls_authorities).encode("utf-8"))
        return written[0], written[1], written[2]


def read(path: Path) -> IdentityFile:
    """
    @raise TeleportError: BAD_PARAMETER, it cannot be read, others may read it, or it is no identity file.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise bad_parameter(f"{path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise bad_parameter(f"{path} holds a private key that others can read; run: chmod 600 {path}")
    return IdentityFile.parse(Secret(content))


def _write(path: Path, content: bytes) -> None:
    descriptor, temporary = mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
