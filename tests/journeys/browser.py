"""
What a browser does at the proxy's web port, by hand: cookies, JSON, and WebSockets on a blocking socket.
"""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import struct
import urllib.error
import urllib.request
from collections.abc import Mapping
from http.cookiejar import CookieJar
from typing import Any
from urllib.parse import urlencode

from attrs import define, field

from teleport_tw.web.envelope import CLOSED, RAW, SESSION, Envelope
from tests.journeys.cluster import PASSWORD, PATIENCE, Cluster

CHUNK = 256 * 1024
ACKNOWLEDGE_BYTES = 32 * 1024


def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    return context


@define(eq=False)
class Browser:
    """
    One person at one proxy.

    @ivar bearer: what the page holds once signed in.
    """

    cluster: Cluster
    bearer: str = ""
    cookies: CookieJar = field(factory=CookieJar)
    _opener: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        https = urllib.request.HTTPSHandler(context=_context())
        self._opener = urllib.request.build_opener(https, urllib.request.HTTPCookieProcessor(self.cookies))

    @property
    def origin(self) -> str:
        """
        Of our own pages.
        """
        return f"https://{self.cluster.proxy}"

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """
        @return: status and body.
        """
        told = {"Origin": self.origin, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.bearer:
            told.setdefault("Authorization", f"Bearer {self.bearer}")
        request = urllib.request.Request(self.origin + path, data=body, method=method, headers=told)
        try:
            with self._opener.open(request, timeout=PATIENCE) as answer:
                return int(answer.status), answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def json(self, method: str, path: str, value: Any = None) -> Any:
        """
        @return: what the answer says; it must be a good one.
        """
        body = None if value is None else json.dumps(value).encode()
        status, text = self.ask(method, path, body, Content_Type="application/json")
        if status != 200:
            raise AssertionError(f"{method} {path}: {status} {text[:500]!r}")
        return json.loads(text)

    def sign_in(self, user: str, code: str) -> None:
        """
        With password and the code of an authenticator app.
        """
        told = self.json("POST", "/webapi/sessions/web", {"user": user, "pass": PASSWORD, "second_factor_token": code})
        self.bearer = str(told["token"])

    def nodes(self) -> dict[str, str]:
        """
        @return: host name to id.
        """
        listed = self.json("GET", "/webapi/sites/-current-/nodes?limit=100")
        return {each["hostname"]: each["id"] for each in listed["items"]}

    def socket(self, path: str) -> Socket:
        """
        @return: a WebSocket.
        """
        raw = socket.create_connection(("127.0.0.1", self.cluster.web), timeout=PATIENCE)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream = _context().wrap_socket(raw, server_hostname="localhost")
        cookies = "; ".join(f"{each.name}={each.value}" for each in self.cookies)
        headers = {"Host": self.cluster.proxy, "Origin": self.origin, "Cookie": cookies}
        return Socket(stream, path, headers, self.bearer)

    def terminal(self, server: str, login: str = "root", **params: Any) -> Terminal:
        """
        @return: with a shell that stands.
        """
        asked = {"server_id": server, "login": login, "term": {"w": 80, "h": 24}, **params}
        path = f"/webapi/sites/-current-/connect/ws?{urlencode({'params': json.dumps(asked)})}"
        terminal = Terminal(self.socket(path))
        terminal.begin()
        return terminal


class Socket:
    """
    A WebSocket, after the handshake; RFC 6455.
    """

    def __init__(self, stream: socket.socket, path: str, headers: Mapping[str, str], bearer: str = "") -> None:
        """
        @param stream: connected, with TLS where there is some.
        @param bearer: for L{greet}.
        """
        self.stream, self._bearer, self.code = stream, bearer, 0
        key = base64.b64encode(os.urandom(16)).decode()
        told = {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key,
            "Sec-WebSocket-Version": "13",
            **headers,
        }
        lines = [f"GET {path} HTTP/1.1", *(f"{name}: {value}" for name, value in told.items())]
        stream.sendall("\r\n".join([*lines, "", ""]).encode())
        self._buffer = bytearray()
        while b"\r\n\r\n" not in self._buffer:
            self._receive()
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise AssertionError(f"no WebSocket: {head!r} {rest[:500]!r}")
        self._buffer = bytearray(rest)

    def _receive(self) -> None:
        data = self.stream.recv(CHUNK)
        if not data:
            raise ConnectionError("the WebSocket's connection was closed")
        self._buffer += data

    def fileno(self) -> int:
        """
        For C{select}.
        """
        return self.stream.fileno()

    def message(self) -> str | bytes | None:
        """
        @return: the next one; None when the proxy has closed.
        """
        while True:
            kind, payload = self._frame()
            if kind == 9:
                self.send(payload, 10)
            elif kind == 8:
                self.code = int.from_bytes(payload[:2], "big")
                self.send(payload[:2], 8)
                return None
            elif kind == 1:
                return payload.decode()
            elif kind == 2:
                return payload

    def _frame(self) -> tuple[int, bytes]:
        buffer = self._buffer
        while len(buffer) < 2:
            self._receive()
        head, length = 2, buffer[1] & 127
        if length > 125:
            head, form = (4, ">H") if length == 126 else (10, ">Q")
            while len(buffer) < head:
                self._receive()
            (length,) = struct.unpack_from(form, buffer, 2)
        while len(buffer) < head + length:
            self._receive()
        kind, payload = buffer[0] & 15, bytes(buffer[head : head + length])
        del buffer[: head + length]
        return kind, payload

    def send(self, data: bytes, kind: int = 2) -> None:
        """
        @param kind: 1 text, 2 binary, 8 close, 9 ping, 10 pong.
        """
        size = len(data)
        if size < 126:
            head = struct.pack(">BB", 128 | kind, 128 | size)
        elif size < 65536:
            head = struct.pack(">BBH", 128 | kind, 254, size)
        else:
            head = struct.pack(">BBQ", 128 | kind, 255, size)
        self.stream.sendall(head + bytes(4) + data)  # a mask of zeros leaves the bytes as they are

    def greet(self, **more: Any) -> dict[str, Any]:
        """
        @return: the answer to the first message.
        """
        self.send(json.dumps({"token": self._bearer, **more}).encode(), 1)
        answer = self.message()
        assert isinstance(answer, str), answer
        found: dict[str, Any] = json.loads(answer)
        return found

    def close(self) -> None:
        """
        As a network that goes away.
        """
        self.stream.close()


@define(eq=False)
class Terminal:
    """
    A terminal in a page.

    @ivar shown: output that nobody asked for yet.
    @ivar others: every other envelope.
    """

    socket: Socket
    shown: bytearray = field(factory=bytearray)
    others: list[Envelope] = field(factory=list)
    received: int = 0
    typed: int = 0
    _told: int = 0

    def begin(self) -> None:
        """
        Say who we are, and wait for the shell.
        """
        answer = self.socket.greet()
        if answer["status"] != "ok":
            raise AssertionError(f"refused: {answer}")
        while not self.told(SESSION):
            if not self.read():
                raise AssertionError(f"no session: {self.others}")

    def told(self, type: str) -> list[dict[str, Any]]:
        """
        All envelopes of a type.
        """
        return [each.json() for each in self.others if each.type == type]

    def type(self, data: bytes) -> None:
        """
        As a person does.
        """
        self.socket.send(Envelope(RAW, data, offset=self.typed, received=self.received).encode())
        self.typed += len(data)

    def read(self) -> bool:
        """
        Take one message.

        @return: whether there was one.
        """
        message = self.socket.message()
        if message is None:
            return False
        assert isinstance(message, bytes), message
        envelope = Envelope.decode(message)
        if envelope.type != RAW:
            self.others.append(envelope)
            return True
        self.received += len(envelope.payload)
        self.shown += envelope.payload
        if self.received - self._told >= ACKNOWLEDGE_BYTES:
            self._told = self.received
            self.socket.send(Envelope(RAW, offset=self.typed, received=self.received).encode())
        return True

    def until(self, text: bytes) -> bytes:
        """
        @return: output up to and with C{text}, which is forgotten.
        """
        while text not in self.shown:
            if not self.read():
                raise AssertionError(f"{text!r} was not shown, but {bytes(self.shown[-500:])!r}")
        end = self.shown.index(text) + len(text)
        found = bytes(self.shown[:end])
        del self.shown[:end]
        return found

    def closing(self) -> dict[str, Any]:
        """
        Wait for the end.

        @return: how it ended.
        """
        while not self.told(CLOSED):
            if not self.read():
                raise AssertionError("the proxy said no word")
        return self.told(CLOSED)[0]
