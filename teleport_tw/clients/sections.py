"""
Sections of ours in files of others: C{~/.pg_service.conf} and C{~/.my.cnf}.

Both are lists of C{[name]} headers with C{key = value} lines below. What somebody else wrote stays as it is, byte for
byte: line ends, comments, spaces, even what is no proper line at all.

@see: PostgreSQL 17 manual, I{The Connection Service File}; MySQL 8.4 manual, I{Using Option Files}
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from teleport_tw.base.errors import bad_parameter
from teleport_tw.clients.profile import write_private

_HEADER = re.compile(rb"[ \t]*\[([^\]\r\n]*)\]")

MARK = b"# Written by tsh db login; removed by tsh db logout."

MAX_BYTES = 1 << 20
"""Such files are written by hand; what is larger is something else."""


def with_section(content: bytes, name: str, values: Mapping[str, str]) -> bytes:
    """
    @param content: of the file; may be empty.
    @param values: keys to values, none of them with a line end.
    @return: the file with this section and no other of the same name; in the place of the old one, else at the end.
    """
    end = b"\r\n" if content.count(b"\r\n") * 2 > content.count(b"\n") else b"\n"
    written = [b"[" + _line(name) + b"]", MARK, *(_line(key) + b"=" + _line(value) for key, value in values.items())]
    section = b"".join(line + end for line in written)
    before, found, after = _around(content, name)
    if found is None:
        glue = b"" if not before or before.endswith((b"\n", b"\r")) else end
        gap = b"" if not before or (before + glue).endswith(end * 2) else end
        return before + glue + gap + section
    # Blank lines under the old section are what separates the next.
    space = found[len(found.rstrip(b"\r\n \t")) :]
    kept = space.partition(b"\n")[2] if b"\n" in space else b""
    return before + section + (kept if after else b"") + after


def without_section(content: bytes, name: str) -> bytes:
    """
    @return: the file without this section, and without the blank lines that set it off at the end.
    """
    before, found, after = _around(content, name)
    if found is None:
        return content
    if after:
        return before + after
    line = before.rstrip(b"\r\n")
    rest = before[len(line) :]
    first = rest.find(b"\n") + 1
    return line + rest[:first] if line else b""


def _around(content: bytes, name: str) -> tuple[bytes, bytes | None, bytes]:
    """
    @return: what stands before the section, the section, and what stands behind it.
    """
    lines = content.splitlines(keepends=True)
    headers = [
        (index, found[1].strip()) for index, line in enumerate(lines) if (found := _HEADER.match(line)) is not None
    ]
    wanted = name.encode()
    for position, (index, header) in enumerate(headers):
        if header == wanted:
            end = headers[position + 1][0] if position + 1 < len(headers) else len(lines)
            end = _back(lines, index, end)
            return b"".join(lines[:index]), b"".join(lines[index:end]), b"".join(lines[end:])
    return content, None, b""


def _back(lines: list[bytes], start: int, end: int) -> int:
    """
    Comments right above the next header belong to that one.
    """
    if end == len(lines):
        return end
    while end - 1 > start and lines[end - 1].lstrip().startswith((b"#", b";")) and MARK not in lines[end - 1]:
        end -= 1
    return end


def _line(text: str) -> bytes:
    if any(character in text for character in "\r\n\0"):
        raise bad_parameter(f"{text!r} cannot stand in a configuration file")
    return text.encode()


def store(path: Path, name: str, values: Mapping[str, str]) -> None:
    """
    @raise TeleportError: BAD_PARAMETER, the file cannot be read or is no such file.
    """
    content = _read(path)
    changed = with_section(content, name, values)
    if changed != content:
        _replace(path, changed)


def remove(path: Path, name: str) -> None:
    """
    A file that held nothing else is removed as well.
    """
    content = _read(path)
    changed = without_section(content, name)
    if changed == content:
        return
    if changed:
        _replace(path, changed)
    else:
        path.unlink()


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise bad_parameter(f"{path} is larger than {MAX_BYTES} bytes; is it the right file?")
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise bad_parameter(f"cannot read {path}: {error.strerror}") from error


def _replace(path: Path, content: bytes) -> None:
    """
    In the place of the file that is meant, where the path is a link; with the access rights it had.
    """
    target = path.resolve()
    mode = target.stat().st_mode & 0o777 if target.exists() else 0o600
    write_private(target, content)
    os.chmod(target, mode)
