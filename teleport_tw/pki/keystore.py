"""
Where the private keys of authorities are kept in software; opened by auth alone.

A resource holds a I{reference} to each private key: with L{SoftwareKeystore} the key itself as PEM, with a hardware
module the name of an object in it. Everything else asks a L{Keystore<teleport_tw.pki.keys.Keystore>} for a signer.
"""

from __future__ import annotations

from typing import ClassVar

from attrs import define, field

from teleport_tw.base.errors import bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.pki.kept import Kept
from teleport_tw.pki.keys import Algorithm, PrivateKey, Signer


def _load(reference: Secret[str]) -> PrivateKey:
    return PrivateKey.load(Secret(reference.reveal().encode("utf-8")))


@define(eq=False)
class SoftwareKeystore:
    """
    Keys as PEM within the resources themselves; reading one of RSA takes as long as many signatures, so the last few
    are kept read.

    @cvar key_type: how its references are marked in a resource.
    """

    key_type: ClassVar[str] = "RAW"
    _signers: Kept[Secret[str], PrivateKey] = field(factory=lambda: Kept(_load, most=32), init=False, repr=False)

    def generate(self, algorithm: Algorithm) -> Secret[str]:
        """
        @return: PKCS#8 PEM of a new key.
        """
        match algorithm:
            case Algorithm.ED25519:
                key = PrivateKey.generate_ssh()
            case Algorithm.ECDSA_P256:
                key = PrivateKey.generate_tls()
            case Algorithm.RSA_2048:
                key = PrivateKey.generate_rsa()
        reference = Secret(key.pem().reveal().decode("ascii"))
        self._signers.put(reference, key)
        return reference

    def signer(self, reference: Secret[str] | None) -> Signer:
        """
        @param reference: PEM.
        @raise TeleportError: BAD_PARAMETER, it is missing or not a key.
        """
        if not reference:
            raise bad_parameter("the authority's private key is not here; only auth holds it")
        return self._signers.of(reference)
