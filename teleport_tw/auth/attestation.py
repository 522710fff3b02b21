"""
Which makers' security keys a cluster takes: by the certificates that keys show of where they were made.

A key attests with a private key that its maker put into it, and with certificates that lead to an authority of the
maker's. Lists of authorities allow some and deny others; a key that shows none, or certifies itself, could be anybody's
software and is refused while there is any list.

@see: WebAuthn Level 3, sections 6.5 and 7.1 (steps 21 to 25)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from attrs import frozen
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from fido2.attestation.apple import AppleAttestation
from fido2.attestation.base import Attestation
from fido2.attestation.packed import PackedAttestation
from fido2.attestation.tpm import TpmAttestation
from fido2.attestation.u2f import FidoU2FAttestation

from teleport_tw.pki.trust import read_bundle

MAX_CHAIN = 8
"""Certificates that a key may show; makers use two or three."""

_FORMATS: Mapping[str, type[Attestation]] = {
    kind.FORMAT: kind for kind in (PackedAttestation, FidoU2FAttestation, TpmAttestation, AppleAttestation)
}
"""Those of keys and platforms; what Android's SafetyNet said was said by a service that is closed."""


class Untrusted(Exception):
    """
    The key does not prove to be of a maker that is allowed; the text is for its user and the audit trail.
    """


@frozen
class Makers:
    """
    Who may have made a key.

    @ivar allowed: authorities to one of which a key must lead; none for any that is not denied.
    @ivar denied: authorities to none of which it may lead, whatever is allowed.
    """

    allowed: tuple[x509.Certificate, ...] = ()
    denied: tuple[x509.Certificate, ...] = ()

    @classmethod
    def of(cls, allowed: Sequence[str], denied: Sequence[str]) -> Makers:
        """
        @param allowed: PEM, one or more certificates each.
        @raise TeleportError: BAD_PARAMETER, one cannot be read.
        """
        return cls(*(tuple(each for text in pems for each in read_bundle(text.encode())) for pems in (allowed, denied)))

    @property
    def asked(self) -> bool:
        """
        Whether keys are to attest at all.
        """
        return bool(self.allowed or self.denied)

    def check(self, attestation: Any, client_data_hash: bytes, now: datetime) -> None:
        """
        @param attestation: C{fido2}'s attestation object, of a registration that is good otherwise.
        @raise Untrusted: it proves nothing, or the wrong thing.
        """
        if not self.asked:
            return
        chain = _proven(attestation, client_data_hash)
        if not chain:
            raise Untrusted("it does not show who made it")
        if _leads_to(chain, self.denied):
            raise Untrusted("its maker is not accepted here")
        if self.allowed and not _leads_to(chain, self.allowed, now):
            raise Untrusted("its maker is not one of those accepted here")


def _proven(attestation: Any, client_data_hash: bytes) -> tuple[x509.Certificate, ...]:
    """
    @return: what the key showed, its own certificate first, once its signature has been checked; empty without.
    """
    kind = _FORMATS.get(attestation.fmt)
    if kind is None:
        return ()
    try:
        found = kind().verify(attestation.att_stmt, attestation.auth_data, client_data_hash)
        if len(found.trust_path) > MAX_CHAIN:
            raise Untrusted("it shows too many certificates")
        return tuple(map(x509.load_der_x509_certificate, found.trust_path))
    except Untrusted:
        raise
    except Exception as error:  # whatever fido2, CBOR and X.509 raise at garbage
        raise Untrusted(f"what it says of its maker cannot be verified: {type(error).__name__}") from error


def _leads_to(
    chain: Sequence[x509.Certificate], authorities: Sequence[x509.Certificate], now: datetime | None = None
) -> bool:
    """
    @param now: certificates on the way must be valid then; C{None} where dates do not matter.
    """
    for certificate, following in zip(chain, (*chain[1:], None), strict=True):
        if now is not None and not _valid(certificate, now):
            return False
        for authority in authorities:
            if certificate == authority:
                return True
            if _issued(certificate, authority) and (now is None or _valid(authority, now)):
                return True
        if following is None or not (_may_issue(following) and _issued(certificate, following)):
            return False
    return False


def _valid(certificate: x509.Certificate, now: datetime) -> bool:
    return certificate.not_valid_before_utc <= now <= certificate.not_valid_after_utc


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _may_issue(certificate: x509.Certificate) -> bool:
    """
    Whether it is an authority's: else whoever has the key of one device could certify others.
    """
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False
