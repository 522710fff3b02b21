"""
Every test runs on the reactor that the programs run on, and leaves nothing behind.

C{TELEPORT_TW_TEST_LOOP=asyncio} puts it on asyncio's own loop, as on a machine without uvloop.
"""

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from teleport_tw.base.loop import install, new_loop

# How long an example takes says how busy the machine is, and nothing of what is tested.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")

ROOT = Path(__file__).resolve().parent.parent
# Programs that tests start find the package, and the tests' doubles, wherever they run.
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))

install(asyncio.new_event_loop if os.environ.get("TELEPORT_TW_TEST_LOOP") == "asyncio" else new_loop)


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
