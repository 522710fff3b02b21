"""
The page and its files, from memory.

C{static/index.html} is the one page; every address below C{/web} that is none of a file gets it, and the page's own
router reads the rest. In it two words are replaced: C{__NONCE__}, of this answer's content policy, and C{__BASE__}, the
folder that holds this version's files. Before its C{<script type="module">} come links to the modules that
C{app/main.js} imports, so that the browser asks for all of them at once.

Files are served as C{/web/app/<version>/<path below static/>}. The version is a hash of all of them, so a file never
changes under its address and browsers keep it for ever; after an upgrade the page names other addresses.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from posixpath import normpath
from typing import Any

from attrs import define, field, frozen

from teleport_tw.base.errors import not_found

ROOT = "/web/app"
INDEX = "index.html"
MAIN = "app/main.js"
NONCE, BASE = "__NONCE__", "__BASE__"
_MODULE = '<script type="module"'

MAX_BYTES = 16 * 1024 * 1024
"""Of all files; what is beyond is not served. The whole application takes a tenth."""

TYPES: Mapping[str, str] = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "json": "application/json",
    "map": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "woff2": "font/woff2",
    "wasm": "application/wasm",
    "txt": "text/plain; charset=utf-8",
    "html": "text/html; charset=utf-8",
}
"""What is served at all, by the name's ending."""

_PACKED = frozenset({"png", "woff2", "ico"})
_IMPORT = re.compile(r"""(?:^|[;}\s])(?:import|export)\b(?:[^'";()]*?\bfrom)?\s*["']([^"'\n]+)["']""")
_MAP = re.compile(r"""<script\s+type="importmap"[^>]*>(.*?)</script>""", re.DOTALL)


@frozen
class File:
    """
    @ivar packed: by gzip; empty where that is no smaller.
    """

    content: bytes
    packed: bytes
    content_type: bytes

    @classmethod
    def of(cls, name: str, content: bytes) -> File:
        """
        @param name: whose ending says what it is.
        """
        ending = name.rpartition(".")[2]
        packed = b"" if ending in _PACKED else gzip.compress(content, 9, mtime=0)
        return cls(content, packed if len(packed) < len(content) else b"", TYPES[ending].encode())


@define(eq=False)
class Assets:
    """
    What stands below a folder, read once.

    @ivar folder: C{static/} of this package.
    """

    folder: Traversable = field(factory=lambda: files("teleport_tw.web").joinpath("static"))
    version: str = field(default="", init=False)
    _files: dict[str, File] = field(factory=dict, init=False)
    _page: str = field(default="", init=False)

    def __attrs_post_init__(self) -> None:
        self.reload()

    def reload(self) -> None:
        """
        Read everything anew.

        @raise ValueError: there is too much of it, or its import map cannot be read.
        """
        found: dict[str, File] = {}
        digest, total, page = hashlib.sha256(), 0, ""
        for path, content in sorted(_below(self.folder, "")):
            total += len(content)
            if total > MAX_BYTES:
                raise ValueError(f"the files of the web application have more than {MAX_BYTES} bytes")
            digest.update(path.encode() + b"\0" + hashlib.sha256(content).digest())
            if path == INDEX:
                page = content.decode("utf-8")
            else:
                found[path] = File.of(path, content)
        self._files, self.version = found, digest.hexdigest()[:12]
        links = (f'<link rel="modulepreload" href="{self.base}/{path}" />\n    ' for path in self._imported(page))
        self._page = page.replace(_MODULE, "".join(links) + _MODULE, 1).replace(BASE, self.base)

    @property
    def base(self) -> str:
        """
        Below what all files are, without a slash at its end.
        """
        return f"{ROOT}/{self.version}"

    @property
    def has_page(self) -> bool:
        """
        Whether there is an application at all.
        """
        return bool(self._page) and MAIN in self._files

    def page(self, request: Any, connect: str = "") -> bytes:
        """
        The one page, with a nonce of its own.

        @param connect: further origins that the page may speak to.
        """
        nonce = secrets.token_urlsafe(18)
        request.setHeader(b"Content-Security-Policy", page_policy(nonce, connect).encode("ascii"))
        request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
        content = self._page.replace(NONCE, nonce).encode()
        if not accepts_gzip(request):
            return content
        request.setHeader(b"Content-Encoding", b"gzip")
        request.setHeader(b"Vary", b"Accept-Encoding")
        return gzip.compress(content, 6, mtime=0)

    def file(self, request: Any, name: str) -> bytes:
        """
        @param name: version and path.
        @raise TeleportError: NOT_FOUND; also for another version's, which would not fit together with this one's.
        """
        version, _, path = name.partition("/")
        found = self._files.get(path) if version == self.version else None
        if found is None:
            raise not_found("there is no such file")
        request.setHeader(b"Cache-Control", b"public, max-age=31536000, immutable")
        return _sent(request, found)

    def plain(self, request: Any, path: str) -> bytes:
        """
        A file under a name without version, for pages made on the server.

        @raise TeleportError: NOT_FOUND.
        """
        found = self._files.get(path)
        if found is None:
            raise not_found("there is no such file")
        request.setHeader(b"Cache-Control", b"public, max-age=3600")
        return _sent(request, found)

    def _imported(self, page: str) -> list[str]:
        """
        @return: all modules that the first one needs, itself included, nearest first.
        """
        named = _import_map(page)
        waiting, seen = [MAIN], []
        while waiting:
            path = waiting.pop(0)
            found = self._files.get(path)
            if found is None or path in seen:
                continue
            seen.append(path)
            for target in _IMPORT.findall(found.content.decode("utf-8", "replace")):
                if target.startswith("."):
                    waiting.append(normpath(f"{path.rpartition('/')[0]}/{target}"))
                elif target in named:
                    waiting.append(named[target])
        return seen


def page_policy(nonce: str, connect: str = "") -> str:
    """
    @return: Content-Security-Policy of the page: its own files and what carries the nonce, and nothing else.
    """
    return (
        f"default-src 'none'; script-src 'self' 'nonce-{nonce}'; style-src 'self' 'nonce-{nonce}'; "
        f"img-src 'self' data:; font-src 'self'; connect-src 'self'{connect and ' ' + connect}; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )


def accepts_gzip(request: Any) -> bool:
    """
    @return: whether the client said so.
    """
    told = (request.getHeader(b"Accept-Encoding") or b"").lower()
    words = (word.replace(b" ", b"").partition(b";") for word in told.split(b","))
    return any(name == b"gzip" and quality not in (b"q=0", b"q=0.0") for name, _, quality in words)


def _sent(request: Any, found: File) -> bytes:
    request.setHeader(b"Content-Type", found.content_type)
    request.setHeader(b"Vary", b"Accept-Encoding")
    if found.packed and accepts_gzip(request):
        request.setHeader(b"Content-Encoding", b"gzip")
        return found.packed
    return found.content


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, bytes]]:
    for each in folder.iterdir():
        name = f"{path}{each.name}"
        if each.name.startswith((".", "_")):
            continue
        if each.is_dir():
            yield from _below(each, f"{name}/")
        elif each.name.rpartition(".")[2] in TYPES:
            yield name, each.read_bytes()


def _import_map(page: str) -> dict[str, str]:
    """
    @return: path below the folder by bare name, as the page's import map has it.
    """
    found = _MAP.search(page)
    if found is None:
        return {}
    try:
        imports = json.loads(found[1]).get("imports") or {}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"the import map of {INDEX} is not JSON: {error}") from error
    return {name: str(path).removeprefix(f"{BASE}/") for name, path in imports.items()}
