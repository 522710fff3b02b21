"""
A cluster on this machine for trying things out; what C{./quickstart} runs once the package is installed.

All state is in one folder: configuration, data, log, process id. Run again, it continues with what is there.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from teleport_tw.base.errors import TeleportError

USUAL = {"web": 3080, "ssh": 3023, "auth": 3025, "diag": 3000}
"""The ports of the reference; where one is taken, a free one is used."""

START_SECONDS = 60.0

_CONFIGURATION = """\
# Written by ./quickstart; change what you like and run ./quickstart stop, ./quickstart.
version: v3
teleport:
  nodename: {nodename}
  data_dir: {data}
  diag_addr: 127.0.0.1:{diag}
  log:
    output: {log}
    severity: INFO
auth_service:
  enabled: yes
  cluster_name: quickstart
  listen_addr: 127.0.0.1:{auth}
  authentication:
    second_factors: [otp, webauthn]
proxy_service:
  enabled: yes
  web_listen_addr: 127.0.0.1:{web}
  listen_addr: 127.0.0.1:{ssh}
  public_addr: localhost:{web}
  ssh_public_addr: localhost:{ssh}
ssh_service:
  enabled: yes
  labels:
    env: quickstart
  commands:
  - name: kernel
    command: [uname, -r]
    period: 1h
"""


@frozen
class Place:
    """
    The folder of a trial cluster.
    """

    root: Path

    @property
    def configuration(self) -> Path:
        """
        C{teleport.yaml}.
        """
        return self.root / "teleport.yaml"

    @property
    def log(self) -> Path:
        """
        What the services say.
        """
        return self.root / "teleport.log"

    @property
    def pid_file(self) -> Path:
        """
        Of the one process.
        """
        return self.root / "twistd.pid"

    def pid(self) -> int:
        """
        @return: the running process; zero when there is none.
        """
        try:
            pid = int(self.pid_file.read_text())
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (OSError, ValueError):
            return 0
        return pid if str(self.configuration).encode() in words else 0

    def ports(self) -> dict[str, int]:
        """
        @return: as chosen when the cluster was made.
        """
        found: dict[str, int] = json.loads((self.root / "ports.json").read_text())
        return found


def choose_ports() -> dict[str, int]:
    """
    @return: the usual port for each purpose, or a free one.
    """
    chosen = {}
    with contextlib.ExitStack() as held:
        for purpose, usual in USUAL.items():
            for port in (usual, 0):
                listener = socket.socket()
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    listener.bind(("127.0.0.1", port))
                except OSError:
                    listener.close()
                    continue
                held.enter_context(listener)
                chosen[purpose] = listener.getsockname()[1]
                break
    return chosen


def prepare(place: Place) -> None:
    """
    Write the configuration, once.
    """
    if place.configuration.exists():
        return
    place.root.mkdir(mode=0o700, exist_ok=True)
    ports = choose_ports()
    nodename = socket.gethostname().partition(".")[0] or "localhost"
    text = _CONFIGURATION.format(nodename=nodename, data=place.root / "data", log=place.log, **ports)
    (place.root / "ports.json").write_text(json.dumps(ports))
    place.configuration.write_text(text)


def start(place: Place) -> None:
    """
    Start the services in the background and wait until they are ready.

    @raise TeleportError: they are not, after L{START_SECONDS}; the log's end is shown.
    """
    twistd = str(Path(sys.executable).with_name("twistd"))
    command = [twistd, f"--pidfile={place.pid_file}", f"--logfile={place.root / 'twistd.log'}", "teleport"]
    subprocess.run([*command, "-c", str(place.configuration)], check=True, cwd=place.root)
    url = f"http://127.0.0.1:{place.ports()['diag']}/readyz"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2) as answer:
                if answer.status == 200:
                    return
        except (OSError, urllib.error.URLError):
            pass
        time.sleep(0.1)
    print(_tail(place.log) or _tail(place.root / "twistd.log"), file=sys.stderr)
    raise SystemExit(f"quickstart: the cluster did not become ready; its log is {place.log}")


def _tail(path: Path) -> str:
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-20:])
    except OSError:
        return ""


def stop(place: Place) -> bool:
    """
    @return: whether something ran.
    """
    pid = place.pid()
    if not pid:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + START_SECONDS
    while place.pid() and time.monotonic() < deadline:
        time.sleep(0.05)
    return True


def program(name: str) -> str:
    """
    @return: how to call a program of the package from here.
    """
    path = Path(sys.executable).with_name(name)
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def tctl(place: Place, *words: str) -> subprocess.CompletedProcess[str]:
    """
    Run C{tctl} as the administrator of this host.
    """
    return subprocess.run(
        [program("tctl"), "-c", str(place.configuration), *words], capture_output=True, text=True, check=False
    )


def first_user(place: Place, name: str) -> str:
    """
    Create the user, or a new link for one who has not signed up yet.

    @return: the link; empty when the user has signed up already.
    """
    marker = place.root / f"user-{name}.json"
    logins = sorted({"root", getpass.getuser()}) if os.getuid() == 0 else [getpass.getuser()]
    known = tctl(place, "get", f"user/{name}", "--format=json")
    if known.returncode:
        made = tctl(
            place,
            "users",
            "add",
            name,
            "--roles=access,editor,auditor",
            f"--logins={','.join(logins)}",
            "--format=json",
        )
        if made.returncode:
            raise SystemExit(made.stderr.strip())
        marker.write_text(made.stdout)
    if not marker.exists():
        return ""
    return str(json.loads(marker.read_text())["url"])


def pending(link: str) -> bool:
    """
    @return: whether the link was not used yet.
    """
    import ssl

    insecure = ssl._create_unverified_context()  # noqa: S323 our own address
    try:
        with urllib.request.urlopen(link.replace("localhost", "127.0.0.1"), timeout=5, context=insecure) as answer:  # noqa: S310
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def tell(place: Place, user: str, link: str) -> None:
    """
    Say what to type next.
    """
    ports = place.ports()
    status = tctl(place, "status", "--format=json")
    pin = json.loads(status.stdout)["ca_pins"][0] if status.returncode == 0 else ""
    login = getpass.getuser()
    tsh, own_tctl = program("tsh"), program("tctl")
    print(f"\nThe cluster 'quickstart' runs; its web address is https://localhost:{ports['web']}\n")
    if os.getuid():
        print(f"Started by {login}, who is not root: sessions can only run as {login}.\n")
    step = 1
    if link and pending(link):
        print(f"{step}. Open this link in a browser (it will warn: the certificate is the cluster's own),")
        print(f"   choose a password, and an authenticator app or a key:\n\n   {link}\n")
        step += 1
    elif link:
        print(f"If {user} has not signed up yet, this prints a new link: {program('tctl')} -c", end=" ")
        print(f"{_relative(place.configuration)} users reset {user}\n")
    print(f"{step}. Sign in:\n\n   {tsh} login --proxy=localhost:{ports['web']} --user={user} --ca-pin={pin}\n")
    node = socket.gethostname().partition(".")[0] or "localhost"
    print(f"{step + 1}. Look around:\n\n   {tsh} ls\n   {tsh} ssh {login}@{node}\n   {tsh} recordings ls\n")
    print(f"{step + 2}. Administer it:\n\n   {own_tctl} -c {_relative(place.configuration)} audit ls\n")
    print("./quickstart stop ends it; ./quickstart continues with the same cluster.")


def _relative(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def main(arguments: Sequence[str] | None = None) -> None:
    """
    The program behind C{./quickstart}.
    """
    parser = argparse.ArgumentParser(prog="quickstart")
    parser.add_argument("action", nargs="?", choices=("start", "stop", "status", "purge"), default="start")
    parser.add_argument("--user", default="admin", help="the first user's name [admin]")
    parser.add_argument("--folder", type=Path, default=Path(".quickstart"), help="[.quickstart]")
    options = parser.parse_args(arguments)
    place = Place(options.folder.resolve())
    try:
        if options.action == "status":
            pid = place.pid()
            print(f"running, process {pid}, log {place.log}" if pid else "not running")
            sys.exit(0 if pid else 1)
        if options.action in ("stop", "purge"):
            print("stopped" if stop(place) else "not running")
            if options.action == "purge":
                shutil.rmtree(place.root, ignore_errors=True)
            return
        prepare(place)
        if not place.pid():
            start(place)
        tell(place, options.user, first_user(place, options.user))
    except TeleportError as error:
        sys.exit(f"quickstart: {error}")


if __name__ == "__main__":
    main()
