"""
Every test runs on the reactor that the programs run on, and leaves nothing behind.

C{TELEPORT_TW_TEST_LOOP=asyncio} puts it on asyncio's own loop, as on a machine without uvloop.
"""

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from hypothesis import settings
from twisted.internet.main import installReactor

from teleport_tw.base.loop import Reactor, new_loop
from teleport_tw.pki.keys import PrivateKey
from tests.doubles.keys import rsa_again

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("untimed", deadline=None)
settings.register_profile("quick", deadline=None, max_examples=30)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent
# Programs that tests start find the package, and the tests' doubles, wherever they run.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))


class _Reactor(Reactor):
    """
    Trial lets the reactor turn twice after every test, so that what is about to end can end; Twisted's takes a
    hundredth of a second for each turn. Where nothing is left, there is nothing to wait for.
    """

    def iterate(self, delay: float = 0) -> None:
        twisted: Any = self  # untyped
        if twisted.getDelayedCalls() or twisted.getWriters() or set(twisted.getReaders()) - twisted._internalReaders:
            super().iterate(delay)  # type: ignore[no-untyped-call]
        else:
            self.loop.call_later(delay, self.loop.stop)
            self.loop.run_forever()


installReactor(_Reactor(asyncio.new_event_loop if os.environ.get("TELEPORT_TW_TEST_LOOP") == "asyncio" else new_loop))


@pytest.fixture(scope="session", autouse=True)
def _keys_made_before() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PrivateKey, "generate_rsa", rsa_again)
        yield


@pytest.fixture(scope="session", autouse=True)
def _folder_of_its_own() -> Iterator[None]:
    """
    C{TestCase.mktemp} makes its files under the current folder.
    """
    before = os.getcwd()
    with tempfile.TemporaryDirectory(prefix="tw-tests-") as folder:
        os.chdir(folder)
        yield
        os.chdir(before)


PYENV_LOCK = Path.home() / ".pyenv" / "shims" / ".pyenv-shim"


@pytest.fixture(scope="session", autouse=True)
def _logins_wait_for_nobody() -> Iterator[None]:
    """
    Logins of tests read the profile of whoever runs them. Where that sets up pyenv, a login that was killed in the
    middle of it leaves a lock behind, at which every later one waits for a minute: it goes while they wait.
    """
    done = Event()

    def watch() -> None:
        while not done.wait(1):
            with suppress(OSError):
                if time.time() - PYENV_LOCK.stat().st_mtime > 5:
                    PYENV_LOCK.unlink()

    watcher = Thread(target=watch, daemon=True)
    watcher.start()
    yield
    done.set()
    watcher.join()
