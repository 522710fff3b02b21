"""
A cluster started as an operator would start it, in a folder of its own, on free ports.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyotp
import yaml

ROOT = Path(__file__).resolve().parents[2]
END_SECONDS = 3.0
PATIENCE = 60.0
PASSWORD = "correct horse battery staple"


def free_ports(count: int) -> list[int]:
    """
    @return: ports that nobody listened on a moment ago.
    """
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def until(holds: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
    """
    @return: what C{holds} answered, as soon as it is true.
    """
    deadline = time.monotonic() + patience
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s in vain for {what}")
        time.sleep(0.1)


class Service:
    """
    One C{twistd} process.

    @ivar folder: holds configuration, data and log.
    @ivar command: that starts it.
    """

    def __init__(self, folder: Path, plugin: str, configuration: Mapping[str, Any], *flags: str) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.configuration = folder / "teleport.yaml"
        self.configuration.write_text(yaml.safe_dump(dict(configuration), sort_keys=False))
        self.diag = int(str(configuration["teleport"]["diag_addr"]).rpartition(":")[2])
        self.log = folder / "service.log"
        self.command = [
            *(sys.executable, "-c", "from twisted.scripts.twistd import run; run()"),
            *("-n", "--pidfile=", plugin, *flags, "-c", str(self.configuration)),
        ]
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """
        Start, and wait until it is ready.
        """
        self.launch()
        try:
            until(self.is_ready, f"{self.folder.name} to be ready")
        except AssertionError as failure:
            raise AssertionError(f"{failure}; its log ends:\n{self.log_tail()}") from None

    def launch(self) -> None:
        """
        Start only.
        """
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env=environment, cwd=self.folder
            )

    def is_ready(self) -> bool:
        """
        @return: what C{/readyz} says; fails when the process is gone.
        """
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"{self.folder.name} ended with {self.process.returncode}:\n{self.log_tail()}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.diag}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def log_tail(self) -> str:
        """
        @return: its last lines.
        """
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:]) if self.log.exists() else ""

    def stop(self, number: int = signal.SIGTERM) -> int:
        """
        @return: the exit code.
        """
        process, self.process = self.process, None
        if process is None:
            return 0
        if process.poll() is None:
            process.send_signal(number)
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                raise AssertionError(f"{self.folder.name} did not end:\n{self.log_tail()}") from None
        return process.returncode

    def end(self) -> None:
        """
        Stop, without the half minute for sessions that nobody will end.
        """
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(END_SECONDS)
        self.kill()

    def kill(self) -> None:
        """
        As a crash would.
        """
        self.stop(signal.SIGKILL)


class Cluster:
    """
    Auth, proxy and, unless told otherwise, an SSH agent in one process.
    """

    def __init__(self, *, roles: Sequence[str] = ("auth", "proxy", "node"), **sections: Mapping[str, Any]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tw-journey-"))
        self.web, self.ssh, self.auth, diag = free_ports(4)
        self.node_name = "node-1"
        configuration = {
            "version": "v3",
            "teleport": {
                "nodename": self.node_name,
                "data_dir": str(self.folder / "data"),
                "diag_addr": f"127.0.0.1:{diag}",
                **sections.get("teleport", {}),
            },
            "auth_service": {
                "enabled": "auth" in roles,
                "cluster_name": "journey",
                "listen_addr": f"127.0.0.1:{self.auth}",
                **sections.get("auth_service", {}),
            },
            "proxy_service": {
                "enabled": "proxy" in roles,
                "web_listen_addr": f"127.0.0.1:{self.web}",
                "listen_addr": f"127.0.0.1:{self.ssh}",
                "public_addr": f"localhost:{self.web}",
                "ssh_public_addr": f"localhost:{self.ssh}",
                **sections.get("proxy_service", {}),
            },
            "ssh_service": {
                "enabled": "node" in roles,
                "labels": {"env": "test"},
                **sections.get("ssh_service", {}),
            },
        }
        self.service = Service(self.folder / "main", "teleport", configuration)
        self.home = self.folder / "home"
        self.agents: list[Service] = []

    @property
    def proxy(self) -> str:
        """
        C{host:port} as users have it.
        """
        return f"localhost:{self.web}"

    def start(self) -> Cluster:
        """
        @return: itself, ready.
        """
        self.service.start()
        return self

    def close(self) -> None:
        """
        Stop everything and remove the folder.
        """
        services = (*self.agents, self.service)
        for service in services:
            service.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(
        self, *words: str, stdin: str | bytes | None = None, check: bool = True, timeout: float = PATIENCE, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """
        Run a program with C{TELEPORT_HOME} in the folder and no agent of the person who runs the tests.
        """
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("TELEPORT_", "SSH_"))}
        environment |= {"TELEPORT_HOME": str(self.home), "PYTHONPATH": str(ROOT), "HOME": str(self.folder), **env}
        text = stdin.decode() if isinstance(stdin, bytes) else stdin
        done = subprocess.run(
            words,
            input=text if text is not None else "",
            capture_output=True,
            text=True,
            env=environment,
            timeout=timeout,
            check=False,
            errors="replace",
        )
        if check and done.returncode:
            said = "\n".join((done.stdout, done.stderr, self.service.log_tail()))
            raise AssertionError(f"{' '.join(words)} ended with {done.returncode}:\n{said}")
        return done

    def program(self, name: str) -> list[str]:
        """
        @return: how one of our programs is called.
        """
        return [sys.executable, "-c", f"from teleport_tw.clients.{name}.main import main; main()"]

    def tctl(self, *words: str, **options: Any) -> str:
        """
        @return: what it printed.
        """
        return self.run(*self.program("tctl"), "-c", str(self.service.configuration), *words, **options).stdout

    def tsh(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:
        """
        Run C{tsh}.
        """
        return self.run(*self.program("tsh"), *words, **options)

    @property
    def pin(self) -> str:
        """
        The cluster's CA pin.
        """
        return str(json.loads(self.tctl("status", "--format=json"))["ca_pins"][0])

    def sign_up(self, user: str, *, roles: str = "access", logins: str = "root") -> pyotp.TOTP:
        """
        Create a user and answer the invite as the page would.

        @return: the user's authenticator.
        """
        made = json.loads(self.tctl("users", "add", user, f"--roles={roles}", f"--logins={logins}", "--format=json"))
        token = made["url"].rpartition("/")[2]
        facts = json.loads(self.http("GET", f"/webapi/users/password/token/{token}"))
        authenticator = pyotp.TOTP(facts["otpSecret"])
        body = json.dumps({"password": PASSWORD, "second_factor_token": authenticator.now()}).encode()
        self.http("PUT", f"/webapi/users/password/token/{token}", body)
        return authenticator

    def next_code(self, authenticator: pyotp.TOTP) -> str:
        """
        @return: a code that was not used yet: that of the next half minute, which is accepted already.
        """
        return str(authenticator.at(int(time.time()) + 30))

    def log_in(self, user: str, authenticator: pyotp.TOTP) -> None:
        """
        C{tsh login} with password and code.
        """
        answers = f"{PASSWORD}\n{self.next_code(authenticator)}\n"
        self.tsh("login", f"--proxy={self.proxy}", f"--user={user}", f"--ca-pin={self.pin}", stdin=answers)

    def http(self, method: str, path: str, body: bytes | None = None) -> str:
        """
        @return: the body of the answer of the proxy.
        """
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        said = {"Content-Type": "application/json"} if body else {}
        request = urllib.request.Request(f"https://{self.proxy}{path}", data=body, headers=said, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE, context=context) as answer:
            return str(answer.read().decode())

    def events(self, name: str, **wanted: Any) -> list[dict[str, Any]]:
        """
        @return: events of one type whose fields are as wanted, oldest first.
        """
        text = self.tctl("audit", "export", f"--type={name}", "--format=json")
        found: list[dict[str, Any]] = json.loads(text)
        return [event for event in found if all(event.get(key) == value for key, value in wanted.items())]

    def agent(self, name: str, **ssh_service: Any) -> Service:
        """
        A second host, which joins through the proxy with a token and knows no way to auth.

        @return: not started.
        """
        token = json.loads(self.tctl("tokens", "add", "--type=node", "--format=json"))["token"]
        (diag,) = free_ports(1)
        configuration = {
            "version": "v3",
            "teleport": {
                "nodename": name,
                "data_dir": str(self.folder / name / "data"),
                "diag_addr": f"127.0.0.1:{diag}",
                "proxy_server": self.proxy,
                "ca_pin": self.pin,
                "join_params": {"method": "token", "token_name": token},
            },
            "auth_service": {"enabled": False},
            "proxy_service": {"enabled": False},
            "ssh_service": {"enabled": True, **ssh_service},
        }
        service = Service(self.folder / name, "teleport-agent", configuration, "--ssh")
        self.agents.append(service)
        return service

    def node_listed(self, name: str) -> bool:
        """
        @return: whether auth lists the server.
        """
        listed = json.loads(self.tctl("nodes", "ls", "--format=json"))
        return any(node["spec"]["hostname"] == name for node in listed)
