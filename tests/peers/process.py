"""
A server of another project as a process of the test: started, waited for, ended by its id.
"""

from __future__ import annotations

import atexit
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

from tests.peers.certificates import ServerFiles, authorities

PATIENCE = 60.0

P = TypeVar("P", bound="Peer")


class Missing(Exception):
    """
    This machine has no such server; says what to install.
    """


def found(program: str, package: str, *folders: str) -> str:
    """
    @param folders: to look in beside C{PATH}.
    @return: the path of a program.
    @raise Missing: it is not there.
    """
    path = os.pathsep.join((*folders, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    where = shutil.which(program, path=path)
    if where is None:
        raise Missing(f"{program} is not installed (Debian: {package})")
    return where


def free_port() -> int:
    """
    @return: a port of loopback that nobody listened on a moment ago.
    """
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


class Peer:
    """
    One server, with a folder of its own.

    @cvar name: of the product.
    @cvar account: that it runs as where the tests are run by root: the one its package made.
    @cvar ending: the signal that ends it without waiting for its clients.
    @ivar folder: holds all it has.
    @ivar port: where it listens, on 127.0.0.1.
    @ivar files: its TLS files.
    """

    name: ClassVar[str] = ""
    account: ClassVar[str] = "nobody"
    ending: ClassVar[signal.Signals] = signal.SIGTERM

    def __init__(self, files: ServerFiles | None = None) -> None:
        """
        @param files: else certified by the authorities of this run of the tests.
        """
        self.require()
        self.files = files or authorities().server()
        self.folder = Path(tempfile.mkdtemp(prefix=f"tw-{self.name}-"))
        self.certificate, self.key, self.clients = self.files.written(self.folder)
        self.log = self.folder / "server.log"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._prepared = False

    @classmethod
    def require(cls) -> None:
        """
        @raise Missing: it is not installed.
        """
        raise NotImplementedError

    @classmethod
    def missing(cls) -> str:
        """
        @return: for C{skipIf}: why it cannot be started here, or nothing.
        """
        try:
            cls.require()
        except Missing as reason:
            return str(reason)
        return ""

    def prepare(self) -> None:
        """
        Write configuration and first data.
        """

    def command(self) -> Sequence[str]:
        """
        @return: what stays in the foreground and listens on L{port}.
        """
        raise NotImplementedError

    def is_ready(self) -> bool:
        """
        @return: whether it answers.
        """
        raise NotImplementedError

    def furnish(self) -> None:
        """
        What is done once, when it answers first.
        """

    def start(self) -> Self:
        """
        Start, or start again with what it has.

        @return: itself, answering.
        """
        for _ in range(3):  # somebody may take the free port in between
            self.port = self.port or free_port()
            if not self._prepared:
                self.prepare()
            self._hand_over()
            self.launch()
            if self._answers():
                if not self._prepared:
                    self._prepared = True
                    self.furnish()
                return self
            self.stop()
            self.port = self.port if self._prepared else 0
        raise AssertionError(f"{self.name} does not start:\n{self.tail()}")

    def launch(self) -> None:
        """
        Start only.
        """
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [*self._tied(), *self.command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
                env=self.environment(),
            )

    def environment(self) -> Mapping[str, str]:
        """
        @return: what the server's process gets.
        """
        return {"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}

    def run(self, *words: str, stdin: str = "") -> str:
        """
        Run a program of the server's package as the server's account.

        @return: what it printed.
        """
        done = subprocess.run(
            [*self._tied(), *words],
            input=stdin,
            capture_output=True,
            text=True,
            cwd=self.folder,
            env=self.environment(),
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise AssertionError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def stop(self, number: signal.Signals | None = None) -> None:
        """
        End it and wait; its data stay.
        """
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(number or self.ending)
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def kill(self) -> None:
        """
        As a crash would.
        """
        self.stop(signal.SIGKILL)

    def close(self) -> None:
        """
        End it and remove all it had.
        """
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def tail(self) -> str:
        """
        @return: the last lines of its log.
        """
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:]) if self.log.exists() else ""

    def _answers(self) -> bool:
        deadline = time.monotonic() + PATIENCE
        while self.process is not None and self.process.poll() is None and time.monotonic() < deadline:
            if self.is_ready():
                return True
            time.sleep(0.05)
        return False

    def _tied(self) -> Sequence[str]:
        """
        As another account, and not outliving the tests.
        """
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            return ()
        end = ["--pdeathsig", self.ending.name.removeprefix("SIG")]
        account = self._owner()
        if account is None:
            return [setpriv, *end]
        return [setpriv, "--reuid", str(account.pw_uid), "--regid", str(account.pw_gid), "--clear-groups", *end]

    def _owner(self) -> pwd.struct_passwd | None:
        if os.getuid() != 0:
            return None
        try:
            return pwd.getpwnam(self.account)
        except KeyError:
            return pwd.getpwnam("nobody")

    def _hand_over(self) -> None:
        owner = self._owner()
        if owner is None:
            return
        for path in (self.folder, *self.folder.rglob("*")):
            if path.stat().st_uid == 0:
                os.chown(path, owner.pw_uid, owner.pw_gid)


@cache
def _shared(kind: type[Peer], owner: str) -> Peer:
    peer = kind().start()
    atexit.register(peer.close)
    return peer


def shared(kind: type[P], owner: str = "") -> P:
    """
    One server for all tests of this process that do not stop it, with the authorities of this run.

    @param owner: who furnishes it; tests of other owners, or of none, do not see its accounts and databases.
    @return: started; it ends with the process.
    """
    peer: Any = _shared(kind, owner)
    return peer  # type: ignore[no-any-return]


def until(holds: Callable[[], Any], what: str) -> Any:
    """
    @return: what C{holds} answered, as soon as it is true.
    """
    deadline = time.monotonic() + PATIENCE
    while not (answer := holds()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {PATIENCE:g} s in vain for {what}")
        time.sleep(0.05)
    return answer
