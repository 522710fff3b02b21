"""
Certificates made on the spot, for tests of the transport alone.
"""

from __future__ import annotations

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from teleport_tw.base.secret import Secret


class Root:
    """
    An authority of one test.
    """

    def __init__(self, name: str = "root") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name(name)
        self.pem = self._sign(self.name, self.key, [], True).public_bytes(Encoding.PEM)

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePrivateKey, names: list[str], ca: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(
                    [x509.DNSName(name) for name in names] + [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
                ),
                False,
            )
        return builder.sign(self.key, SHA256())

    def leaf(self, common_name: str, *names: str) -> tuple[bytes, Secret[bytes]]:
        """
        @return: certificate and key, PEM.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_name(common_name), key, list(names), False)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return certificate.public_bytes(Encoding.PEM), Secret(pem)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def common_name(pem: bytes) -> str:
    """
    @return: of the certificate's subject.
    """
    certificate = x509.load_pem_x509_certificate(pem)
    return str(certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
