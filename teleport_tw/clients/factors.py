"""
Answering a challenge at a terminal: a code that is typed, a security key that is touched, whichever comes first.
"""

from __future__ import annotations

import select
import signal
import sys
import termios
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any, TypeVar

from attrs import define, field

from teleport_tw.api.contract import Challenge, MfaAnswer
from teleport_tw.base.errors import Kind, TeleportError, access_denied, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.clients.login import Asker
from teleport_tw.clients.securitykeys import SecurityKey, plugged_in

RECOVERY_CODE_LENGTH = 12
"""What is longer than an authenticator's code is one of the codes for who lost everything else."""

LOOK_SECONDS = 0.1

INTERRUPTED = "interrupted; nothing was done"

T = TypeVar("T")


def code_of(text: str) -> MfaAnswer:
    """
    @param text: what was typed: six digits, or a recovery code.
    """
    plain = text.strip().replace(" ", "")
    if len(plain) >= RECOVERY_CODE_LENGTH:
        return MfaAnswer(recovery=Secret(plain))
    return MfaAnswer(otp=Secret(plain))


@define
class Answering:
    """
    The person and the keys of this machine.

    @ivar origin: C{https://} and the proxy's address, which a key signs.
    @ivar mode: of C{--mfa-mode}: C{auto}, whatever there is; C{otp}, codes only; C{cross-platform}, keys only.
    @ivar keys: finds security keys.
    @ivar recovery: whether a recovery code would do as well.
    """

    asker: Asker
    origin: str
    mode: str = "auto"
    keys: Callable[[], Sequence[SecurityKey]] = field(default=plugged_in)
    recovery: bool = True

    @property
    def _or_recovery(self) -> str:
        return ", or a recovery code" if self.recovery else ""

    def answer(self, challenge: Challenge, why: str = "") -> MfaAnswer:
        """
        @param why: said before the question; empty for nothing.
        @raise TeleportError: ACCESS_DENIED, nothing here can answer it, with what would.
        """
        options = challenge.webauthn if self.mode != "otp" else None
        codes = challenge.otp and self.mode != "cross-platform"
        found = list(self.keys()) if options is not None else []
        if why:
            sys.stderr.write(f"{why}\n")
        if options is not None and found:
            if codes and self.asker.interactive:
                return self._either(challenge, options, found)
            return self._touched(challenge, self.sign(options, found, Event()))
        if codes or challenge.otp:
            return code_of(
                self.asker.secret(f"Enter a code from your authenticator app{self._or_recovery}:\n").reveal()
            )
        if options is None:
            raise access_denied("you have no second factor that this cluster takes: tsh mfa ls shows yours")
        raise access_denied(
            "your second factors are security keys and passkeys, and none is plugged in here: plug one in, or sign in "
            "by a browser (tsh login --auth=browser), or add an authenticator app in the account page"
        )

    def sign(self, options: Mapping[str, Any], keys: Sequence[SecurityKey], cancelled: Event) -> Mapping[str, Any]:
        """
        Ask every key at once; the first that is touched answers.
        """
        if len(keys) == 1:
            return keys[0].sign(options, self.origin, cancelled)
        touches = [_Touch(key, options, self.origin, cancelled) for key in keys]
        while not any(touch.done.wait(LOOK_SECONDS) for touch in touches) and not cancelled.is_set():
            pass
        cancelled.set()
        for touch in touches:
            if touch.said is not None:
                return touch.said
        raise touches[0].problem or access_denied("no security key was touched")

    def _touched(self, challenge: Challenge, said: Mapping[str, Any]) -> MfaAnswer:
        return MfaAnswer(webauthn=dict(said), challenge=challenge.id)

    def _either(self, challenge: Challenge, options: Mapping[str, Any], keys: Sequence[SecurityKey]) -> MfaAnswer:
        sys.stderr.write("Touch your security key, or enter a code from your authenticator app:\n")
        cancelled = Event()
        touches = [_Touch(key, options, self.origin, cancelled) for key in keys]
        try:
            with unseen():
                while True:
                    for touch in touches:
                        if touch.said is not None:
                            return self._touched(challenge, touch.said)
                    if all(touch.done.is_set() for touch in touches):
                        raise touches[0].problem or access_denied("no security key was touched")
                    if select.select([sys.stdin], [], [], LOOK_SECONDS)[0]:
                        line = sys.stdin.readline()
                        if not line:
                            raise bad_parameter("nobody answers the question for a second factor")
                        return code_of(line)
        finally:
            cancelled.set()

    def register(self, options: Mapping[str, Any]) -> MfaAnswer:
        """
        @param options: C{PublicKeyCredentialCreationOptions} as JSON.
        @return: what the one new key says of itself.
        """
        found = list(self.keys())
        if len(found) != 1:
            hint = "plug it in" if not found else "leave only the new one plugged in"
            raise access_denied(f"{len(found) or 'no'} security keys are plugged in: {hint} and try again")
        return MfaAnswer(webauthn=dict(found[0].register(options, self.origin)))


def asked(question: Callable[[], T]) -> T:
    """
    Block for an answer, which Ctrl-C ends.

    @raise TeleportError: ACCESS_DENIED, it did.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return question()
    except KeyboardInterrupt as error:
        raise TeleportError(Kind.ACCESS_DENIED, INTERRUPTED) from error
    finally:
        signal.signal(signal.SIGINT, before)


class _Touch(Thread):
    """
    Waits for one key.
    """

    def __init__(self, key: SecurityKey, options: Mapping[str, Any], origin: str, cancelled: Event) -> None:
        super().__init__(daemon=True)
        self._ask: Callable[[], Mapping[str, Any]] = lambda: key.sign(options, origin, cancelled)
        self.said: Mapping[str, Any] | None = None
        self.problem: TeleportError | None = None
        self.done = Event()
        self.start()

    def run(self) -> None:
        """
        In the thread.
        """
        try:
            self.said = self._ask()
        except TeleportError as error:
            self.problem = error
        finally:
            self.done.set()


@contextmanager
def unseen() -> Iterator[None]:
    """
    What is typed is not shown; undone at the end. Nothing where standard input is no terminal.
    """
    try:
        descriptor = sys.stdin.fileno()
        before = termios.tcgetattr(descriptor)
    except (termios.error, OSError):
        yield
        return
    hidden = [*before]
    hidden[3] &= ~termios.ECHO
    termios.tcsetattr(descriptor, termios.TCSADRAIN, hidden)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
