"""
Security keys that are plugged into this machine, driven over USB by C{fido2}.

Options and answers are JSON, as browsers have them, so that auth sees no difference between a page and a terminal.
"""

from __future__ import annotations

import getpass
import sys
from collections.abc import Mapping, Sequence
from threading import Event
from typing import Any, Protocol

from attrs import frozen

from teleport_tw.base.errors import Kind, TeleportError, access_denied


class SecurityKey(Protocol):
    """
    One key; both calls block until it is touched.
    """

    def register(self, options: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
        """
        @param options: C{PublicKeyCredentialCreationOptions} as JSON.
        @param origin: C{https://} and the proxy's address.
        @return: C{PublicKeyCredential} as JSON.
        @raise TeleportError: it was not touched, or has nothing to say.
        """
        ...

    def sign(self, options: Mapping[str, Any], origin: str, cancelled: Event) -> Mapping[str, Any]:
        """
        @param options: C{PublicKeyCredentialRequestOptions} as JSON.
        @param cancelled: ends the wait for the touch.
        """
        ...


def plugged_in() -> Sequence[SecurityKey]:
    """
    @return: the keys of this machine; none where it has no USB at all.
    """
    try:
        from fido2.hid import CtapHidDevice

        return [HidKey(device) for device in CtapHidDevice.list_devices()]
    except (OSError, ImportError, NotImplementedError):
        return []


@frozen
class HidKey:
    """
    @ivar device: of C{fido2}.
    """

    device: Any

    def register(self, options: Mapping[str, Any], origin: str) -> Mapping[str, Any]:
        """
        See L{SecurityKey.register}.
        """
        from fido2.webauthn import PublicKeyCredentialCreationOptions

        wanted = PublicKeyCredentialCreationOptions.from_dict(dict(options))
        return self._do(lambda client: client.make_credential(wanted), origin)

    def sign(self, options: Mapping[str, Any], origin: str, cancelled: Event) -> Mapping[str, Any]:
        """
        See L{SecurityKey.sign}.
        """
        from fido2.webauthn import PublicKeyCredentialRequestOptions

        wanted = PublicKeyCredentialRequestOptions.from_dict(dict(options))
        return self._do(lambda client: client.get_assertion(wanted, event=cancelled).get_response(0), origin)

    def _do(self, ask: Any, origin: str) -> Mapping[str, Any]:
        from fido2.client import ClientError, DefaultClientDataCollector, Fido2Client

        client = Fido2Client(self.device, DefaultClientDataCollector(origin), user_interaction=_interaction())
        try:
            return dict(ask(client))
        except ClientError as error:
            raise access_denied(_word(error), details=str(error)) from error
        except OSError as error:
            raise TeleportError(Kind.CONNECTION_PROBLEM, f"the security key does not answer: {error}") from error


def _word(error: Any) -> str:
    from fido2.client import ClientError

    words = {
        ClientError.ERR.TIMEOUT: "the security key was not touched in time",
        ClientError.ERR.DEVICE_INELIGIBLE: "this security key is not one of yours, or is registered already",
        ClientError.ERR.CONFIGURATION_UNSUPPORTED: "this security key cannot do that: it has no PIN, or keeps no keys",
    }
    return words.get(error.code, "the security key did not answer the question")


def _interaction() -> Any:
    """
    @return: says what to do at the terminal, and asks for the key's PIN where it has one.
    """
    from fido2.client import UserInteraction

    class AtTheTerminal(UserInteraction):
        def prompt_up(self) -> None:
            sys.stderr.write("Touch your security key.\n")

        def request_pin(self, permissions: Any, rp_id: str | None) -> str | None:
            return getpass.getpass("Enter the PIN of your security key:\n", sys.stderr) or None

        def request_uv(self, permissions: Any, rp_id: str | None) -> bool:
            return True

    return AtTheTerminal()
