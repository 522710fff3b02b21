"""
Keys of RSA that were made before: finding their primes takes longer than most tests.
"""

from __future__ import annotations

from itertools import cycle

from cryptography.hazmat.primitives.asymmetric import rsa

from teleport_tw.pki.keys import PrivateKey

MANY = 8
"""So many keys one after the other differ."""

_made: list[rsa.RSAPrivateKey] = []
_next = cycle(range(MANY))
_generate = rsa.generate_private_key


def rsa_again(bits: int = 2048) -> PrivateKey:
    """
    @return: a key of RSA, new to this test unless it asks for more than L{MANY}.
    """
    if bits != 2048:
        return PrivateKey(_generate(65537, bits))
    place = next(_next)
    if place == len(_made):
        _made.append(_generate(65537, bits))
    return PrivateKey(_made[place])
