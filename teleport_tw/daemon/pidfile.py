"""
The file that says which process runs the services: C{teleport.pid_file}.
"""

from __future__ import annotations

import os
from pathlib import Path

from twisted.application.service import Service
from twisted.logger import Logger


class PidFile(Service):
    """
    Is there while the process runs. Written after C{twistd} has become a daemon, so the number is the daemon's.
    """

    _log = Logger()

    def __init__(self, path: str) -> None:
        """
        @param path: the folder must be there; a file that a crash left behind is written over.
        """
        self._path = Path(path)

    def startService(self) -> None:
        """
        One number and a line end. Services run also where it cannot be written, which is logged.
        """
        super().startService()  # type: ignore[no-untyped-call]
        draft = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            draft.write_text(f"{os.getpid()}\n", encoding="ascii")
            draft.chmod(0o644)
            draft.replace(self._path)
        except OSError as error:
            self._log.error("the pid file {path} cannot be written: {error}", path=str(self._path), error=str(error))

    def stopService(self) -> None:
        """
        Another process's file is left alone.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        try:
            if self._path.read_text(encoding="ascii").strip() == str(os.getpid()):
                self._path.unlink()
        except (OSError, UnicodeDecodeError):
            return
