"""
The administrator on auth's own host: C{tctl} without a login.

Auth keeps a short-lived administrator's certificate in its data directory, readable by the owner alone, and serves gRPC
on a UNIX socket beside it. Who may read that directory may do everything anyway.
"""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

from teleport_tw.api.client import RpcApi, connect
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.rpc.client import ClientTls

MAX_SOCKET_PATH = 100
"""Bytes; the kernel takes 107."""


@frozen
class AdminFiles:
    """
    Where things are, given C{teleport.data_dir}.
    """

    data_dir: Path

    @property
    def socket(self) -> Path:
        """
        gRPC's UNIX socket.

        @raise TeleportError: BAD_PARAMETER, the directory's path is too long for one.
        """
        path = self.data_dir.absolute() / "auth.sock"
        if len(str(path).encode()) > MAX_SOCKET_PATH:
            raise bad_parameter(f"teleport.data_dir is too long a path: {path} may have {MAX_SOCKET_PATH} bytes")
        return path

    @property
    def chain(self) -> Path:
        """The certificate, PEM."""
        return self.data_dir / "admin" / "cert.pem"

    @property
    def key(self) -> Path:
        """Its private key, PEM."""
        return self.data_dir / "admin" / "key.pem"

    @property
    def roots(self) -> Path:
        """The host authority, PEM."""
        return self.data_dir / "admin" / "ca.pem"


def connect_admin(data_dir: Path, *, timeout: float = 30) -> RpcApi:
    """
    @param data_dir: C{teleport.data_dir} of the running auth.
    @raise TeleportError: CONNECTION_PROBLEM, auth never ran here; ACCESS_DENIED, the files may not be read.
    """
    files = AdminFiles(data_dir)
    try:
        tls = ClientTls(
            chain=files.chain.read_bytes(), key=Secret(files.key.read_bytes()), roots=files.roots.read_bytes()
        )
    except FileNotFoundError as error:
        raise TeleportError(
            Kind.CONNECTION_PROBLEM, f"no auth service runs with {data_dir}; start it, or name its file with -c"
        ) from error
    except PermissionError as error:
        raise TeleportError(
            Kind.ACCESS_DENIED, f"{error.filename} may be read by the user that auth runs as alone; run as that user"
        ) from error
    return connect(f"unix:{files.socket}", tls, timeout=timeout)
