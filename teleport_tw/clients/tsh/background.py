"""
C{ssh -f}: the command goes on in the background once it is signed in and its ports are open.

A process with a loop cannot be forked, so another one is started with the same words; it says through a pipe when it
is ready.
"""

from __future__ import annotations

import os
import subprocess
import sys

_VARIABLE = "TELEPORT_TW_READY_FD"


def is_child() -> bool:
    """
    @return: whether this is the process in the background.
    """
    return _VARIABLE in os.environ


def start() -> int:
    """
    Start the process and wait until it is ready.

    @return: zero; or its exit code, if it has ended before.
    """
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    child = subprocess.Popen(
        [sys.executable, "-m", "teleport_tw.clients.tsh.main", *sys.argv[1:]],
        stdin=subprocess.DEVNULL,
        env={**os.environ, _VARIABLE: str(writing)},
        pass_fds=(writing,),
        start_new_session=True,
    )
    os.close(writing)
    ready = os.read(reading, 1)
    os.close(reading)
    return 0 if ready else child.wait()


def ready() -> None:
    """
    Say that it is ready, if somebody waits for it.
    """
    descriptor = os.environ.pop(_VARIABLE, "")
    if descriptor.isdecimal():
        os.write(int(descriptor), b"1")
        os.close(int(descriptor))
