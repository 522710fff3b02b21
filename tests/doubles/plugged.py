"""
A security key in a file, for programs in processes of their own: importing this plugs it in.

C{TEST_SECURITY_KEY} names the file; it keeps what the key knows between two runs.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event
from typing import Any

from attrs import asdict
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from teleport_tw.base.addresses import split_address
from teleport_tw.clients import securitykeys
from teleport_tw.dial.web import WebClient, no_trust
from tests.doubles.authenticator import Authenticator, Credential

_FILE = Path(os.environ["TEST_SECURITY_KEY"])


def _load(origin: str) -> Authenticator:
    known = pickle.loads(_FILE.read_bytes()) if _FILE.exists() else []
    found: list[Any] = [Credential(**{**each, "key": load_der_private_key(each["key"], None)}) for each in known]
    return Authenticator(origin, credentials=found)


def _save(key: Authenticator) -> None:
    form = (Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    known = [{**asdict(each, recurse=False), "key": each.key.private_bytes(*form)} for each in key.credentials]
    _FILE.write_bytes(pickle.dumps(known))


class FileKey:
    """
    The key.
    """

    def register(self, options: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
        """Remembers it."""
        key = _load(origin)
        said = key.register(options)
        _save(key)
        return said

    def sign(self, options: Mapping[str, Any], origin: str, cancelled: Event) -> Mapping[str, Any]:
        """Touched at once."""
        key = _load(origin)
        said = key.sign(options)
        _save(key)
        return said


def _plugged_in() -> Sequence[securitykeys.SecurityKey]:
    return [FileKey()]


securitykeys.plugged_in = _plugged_in


def sign_up(proxy: str, token: str, password: str) -> None:
    """
    Answer an invite with this key, as the page would.
    """
    path = f"/webapi/users/password/token/{token}"

    def ask(method: str, where: str, value: Mapping[str, Any]) -> Any:
        client = WebClient(*split_address(proxy, 0), no_trust())
        status, body = client.ask(method, where, json.dumps(value).encode())
        assert status == 200, body
        return json.loads(body)

    begun = ask("POST", f"{path}/registerchallenge", {"device_type": "webauthn"})
    shown = FileKey().register(begun["webauthn"]["publicKey"], f"https://{proxy}")
    proof = {"ticket": begun["id"], "webauthn_creation_response": shown}
    ask("PUT", path, {"password": password, "device_name": "key", **proof})
