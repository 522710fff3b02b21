"""
The packets of a login, to bytes and back.

@see: MySQL 8.4 source documentation, I{Connection Phase Packets}.
"""

from __future__ import annotations

from teleport_tw.base.errors import RemoteProtocolError
from teleport_tw.base.secret import Secret
from teleport_tw.protocols.mysql import wire
from teleport_tw.protocols.mysql.capabilities import EXTENDED_SHIFT, Capability, offered
from teleport_tw.protocols.mysql.errors import SQLSTATE, Errno
from teleport_tw.protocols.mysql.messages import (
    UTF8MB4_GENERAL_CI,
    AuthMore,
    AuthSwitch,
    Err,
    Greeting,
    HandshakeResponse,
    Ok,
    SslRequest,
)
from teleport_tw.protocols.mysql.wire import Fields, malformed

PROTOCOL_VERSION = 10
SCRAMBLE_BYTES = 20
DEFAULT_VERSION = "8.0.0-Teleport"
"""What a proxy greets with while it does not know the server."""

OK, MORE, SWITCH, EOF, ERR = 0x00, 0x01, 0xFE, 0xFE, 0xFF
"""First bytes of packets."""

_MARIADB = "5.5.5-"
_LOW = 0xFFFF
_WORD = 0xFFFFFFFF
_FILLER = 10
_TRACK_SCHEMA = 1
_NOT_A_SERVERS = 1 << 31


# --- greeting --------------------------------------------------------------------------------------------------


def encode_greeting(greeting: Greeting) -> bytes:
    """
    Protocol version 10: C{uint8} 10; version, NUL; C{uint32} connection id; 8 bytes of scramble; NUL; C{uint16} lower
    capabilities; C{uint8} character set; C{uint16} status; C{uint16} upper capabilities; C{uint8} length of the
    scramble with its NUL; 6 bytes of zero; 4 bytes of zero or MariaDB's capabilities; the rest of the scramble, NUL;
    name of the plugin, NUL.

    @return: the payload.
    """
    version = (_MARIADB if greeting.is_mariadb else "") + greeting.version
    capabilities = int(greeting.capabilities)
    return b"".join(
        (
            bytes((PROTOCOL_VERSION,)),
            version.encode("utf-8", "surrogateescape"),
            b"\0",
            (greeting.connection_id & _WORD).to_bytes(4, "little"),
            greeting.scramble[:8],
            b"\0",
            (capabilities & _LOW).to_bytes(2, "little"),
            bytes((greeting.charset & 0xFF,)),
            greeting.status.to_bytes(2, "little"),
            (capabilities >> 16 & _LOW).to_bytes(2, "little"),
            bytes((len(greeting.scramble) + 1,)),
            bytes(6),
            (capabilities >> EXTENDED_SHIFT & _WORD).to_bytes(4, "little"),
            greeting.scramble[8:],
            b"\0",
            greeting.plugin.encode(),
            b"\0",
        )
    )


def parse_greeting(payload: bytes) -> Greeting | Err:
    """
    @return: an error where the server refuses to talk to us at all.
    @raise RemoteProtocolError: neither of them, or a version that nobody has spoken since 1998.
    """
    if payload[:1] == bytes((ERR,)):
        return parse_error(payload)
    fields = Fields(payload)
    spoken = fields.number(1)
    if spoken != PROTOCOL_VERSION:
        raise malformed(f"a greeting of protocol version {spoken}")
    version = fields.until_nul().decode("utf-8", "surrogateescape")
    connection_id = fields.number(4)
    scramble = fields.take(8)
    fields.take(1)
    capabilities = fields.number(2)
    charset, status, size, plugin = UTF8MB4_GENERAL_CI, 0, 0, b""
    if len(fields):
        charset = fields.number(1)
        status = fields.number(2)
        capabilities |= fields.number(2) << 16
        size = fields.number(1)
        fields.take(6)
        extended = fields.number(4)
        if not capabilities & Capability.LONG_PASSWORD:
            capabilities |= extended << EXTENDED_SHIFT
        if capabilities & Capability.SECURE_CONNECTION:
            # the length counts the NUL, and old servers say zero; the part is never shorter than 13
            scramble += fields.take(max(13, size - 8)).rstrip(b"\0")
        if capabilities & Capability.PLUGIN_AUTH:
            # MySQL before 5.5.10 leaves the NUL out
            plugin = fields.rest().partition(b"\0")[0]
    is_mariadb = "mariadb" in version.lower()
    return Greeting(
        version=version.removeprefix(_MARIADB) if is_mariadb else version,
        connection_id=connection_id,
        scramble=scramble,
        capabilities=Capability(capabilities),
        charset=charset,
        status=status,
        plugin=plugin.decode("ascii", "replace") or "mysql_native_password",
        is_mariadb=is_mariadb,
    )


def proxy_greeting(connection_id: int, scramble: bytes, version: str = DEFAULT_VERSION) -> bytes:
    """
    What a proxy says to whoever connects, when it cannot know yet which server is meant.

    @param connection_id: told to the user with its highest bit set: servers count from 1 and never come that far, so
        that whoever kills by it kills nobody else.
    @param scramble: 20 random bytes, none of them NUL.
    @return: the packet, whole; the stream to the agent opens with it.
    """
    greeting = Greeting(
        version=version,
        connection_id=connection_id | _NOT_A_SERVERS,
        scramble=scramble,
        capabilities=offered(None) | Capability.SSL,
        is_mariadb="mariadb" in version.lower(),
    )
    return wire.packets(encode_greeting(greeting), 0)


# --- response --------------------------------------------------------------------------------------------------


def encode_ssl_request(request: SslRequest) -> bytes:
    """
    The first 32 bytes of a handshake response: C{uint32} capabilities; C{uint32} longest packet; C{uint8} character
    set; 19 bytes of zero; 4 bytes of zero or MariaDB's capabilities.

    @return: the payload.
    """
    capabilities = int(request.capabilities)
    return b"".join(
        (
            (capabilities & _WORD).to_bytes(4, "little"),
            (request.max_packet & _WORD).to_bytes(4, "little"),
            bytes((request.charset & 0xFF,)),
            bytes(19),
            (capabilities >> EXTENDED_SHIFT).to_bytes(4, "little"),
        )
    )


def encode_response(response: HandshakeResponse) -> bytes:
    """
    The 32 bytes of L{encode_ssl_request}; user name, NUL; length-prefixed authentication; by capabilities: database,
    NUL; name of the plugin, NUL; attributes; C{uint8} level of zstd.

    @return: the payload.
    """
    capabilities, auth = response.capabilities, response.auth.reveal()
    parts = [
        encode_ssl_request(
            SslRequest(capabilities=capabilities, charset=response.charset, max_packet=response.max_packet)
        ),
        response.username.encode("utf-8", "surrogateescape"),
        b"\0",
    ]
    if capabilities & Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA:
        parts.append(wire.string(auth))
    elif capabilities & Capability.SECURE_CONNECTION:
        parts += [bytes((len(auth),)), auth]
    else:
        parts += [auth, b"\0"]
    if capabilities & Capability.CONNECT_WITH_DB:
        parts += [response.database.encode("utf-8", "surrogateescape"), b"\0"]
    if capabilities & Capability.PLUGIN_AUTH:
        parts += [response.plugin.encode(), b"\0"]
    if capabilities & Capability.CONNECT_ATTRS:
        parts.append(wire.attributes(response.attributes))
    if capabilities & Capability.ZSTD_COMPRESSION_ALGORITHM:
        parts.append(bytes((response.zstd_level,)))
    return b"".join(parts)


SSL_REQUEST_BYTES = 32


def parse_response(payload: bytes) -> SslRequest | HandshakeResponse:
    """
    @raise RemoteProtocolError: it is neither, or of a protocol of before 4.1.
    """
    fields = Fields(payload)
    capabilities = fields.number(4)
    if not capabilities & Capability.PROTOCOL_41:
        raise RemoteProtocolError("the client speaks a protocol of before MySQL 4.1", code=Errno.NOT_SUPPORTED_YET)
    max_packet = fields.number(4)
    charset = fields.number(1)
    fields.take(19)
    extended = fields.number(4)
    if not capabilities & Capability.LONG_PASSWORD:
        capabilities |= extended << EXTENDED_SHIFT
    taken = Capability(capabilities)
    if not len(fields):
        return SslRequest(capabilities=taken, charset=charset, max_packet=max_packet)
    username = _text(fields.until_nul())
    if taken & Capability.PLUGIN_AUTH_LENENC_CLIENT_DATA:
        auth = fields.string()
    elif taken & Capability.SECURE_CONNECTION:
        auth = fields.take(fields.number(1))
    else:
        auth = fields.until_nul()
    # what follows is left out by clients whose flags promise it, and servers take that
    database = _text(fields.until_nul()) if taken & Capability.CONNECT_WITH_DB and len(fields) else ""
    plugin = _text(fields.rest_until_nul()) if taken & Capability.PLUGIN_AUTH else ""
    attributes = _attributes(fields) if taken & Capability.CONNECT_ATTRS and len(fields) else {}
    level = fields.number(1) if taken & Capability.ZSTD_COMPRESSION_ALGORITHM and len(fields) else 3
    return HandshakeResponse(
        capabilities=taken,
        username=username,
        auth=Secret(auth),
        database=database,
        plugin=plugin,
        attributes=attributes,
        charset=charset,
        max_packet=max_packet,
        zstd_level=level,
    )


def _attributes(fields: Fields) -> dict[str, str]:
    inner = Fields(fields.string())
    found = {}
    while len(inner):
        key = _text(inner.string())
        found[key] = _text(inner.string())
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


# --- what a server answers --------------------------------------------------------------------------------------


def encode_ok(ok: Ok, first: int = OK) -> bytes:
    """
    C{uint8} 0x00, or 0xFE at the end of rows; length-encoded rows affected and last insert id; C{uint16} status;
    C{uint16} warnings; text.

    @return: the payload, without state changes.
    """
    return b"".join(
        (
            bytes((first,)),
            wire.length(ok.affected),
            wire.length(ok.last_insert_id),
            ok.status.to_bytes(2, "little"),
            ok.warnings.to_bytes(2, "little"),
            ok.info.encode("utf-8", "surrogateescape"),
        )
    )


def parse_ok(payload: bytes, tracked: bool = False) -> Ok:
    """
    @param tracked: whether both sides have C{SESSION_TRACK}, which changes the layout.
    @raise RemoteProtocolError: it ends early.
    """
    fields = Fields(payload, 1)
    affected, last_insert_id = fields.length(), fields.length()
    status, warnings = fields.number(2), fields.number(2)
    info, schema = b"", None
    if not tracked:
        info = fields.rest()
    elif len(fields):
        info = fields.string()
        if status & 0x4000 and len(fields):
            schema = _schema(Fields(fields.string()))
    return Ok(
        affected=affected,
        last_insert_id=last_insert_id,
        status=status,
        warnings=warnings,
        info=_text(info),
        schema=schema,
    )


def _schema(changes: Fields) -> str | None:
    schema = None
    while len(changes):
        kind, data = changes.number(1), changes.string()
        if kind == _TRACK_SCHEMA:
            schema = _text(Fields(data).string())
    return schema


def encode_error(error: Err) -> bytes:
    """
    C{uint8} 0xFF; C{uint16} number; C{#} and five characters of SQLSTATE; text.

    @return: the payload.
    """
    text = error.message.encode("utf-8", "replace")
    return b"\xff" + error.errno.to_bytes(2, "little") + b"#" + error.state.encode("ascii", "replace")[:5] + text


def error(errno: int, message: str) -> bytes:
    """
    @return: the payload of an error, with the SQLSTATE that belongs to its number.
    """
    return encode_error(Err(errno=errno, message=message, state=SQLSTATE.get(errno, "HY000")))


def parse_error(payload: bytes) -> Err:
    """
    @raise RemoteProtocolError: it ends early.
    """
    fields = Fields(payload, 1)
    errno = fields.number(2)
    state = "HY000"
    if fields.peek() == ord("#"):
        state = _text(fields.take(6))[1:]
    return Err(errno=errno, message=_text(fields.rest()), state=state)


def encode_switch(switch: AuthSwitch) -> bytes:
    """
    C{uint8} 0xFE; name of the plugin, NUL; its data, which a scramble ends with a NUL.

    @return: the payload.
    """
    return b"\xfe" + switch.plugin.encode() + b"\0" + switch.data


def encode_more(more: AuthMore) -> bytes:
    """
    C{uint8} 0x01; the data.

    @return: the payload.
    """
    return b"\x01" + more.data


Answer = Ok | Err | AuthSwitch | AuthMore


def parse_answer(payload: bytes, capabilities: Capability) -> Answer:
    """
    @return: what a server says to a login.
    @raise RemoteProtocolError: something else.
    """
    first = payload[0] if payload else -1
    if first == OK:
        return parse_ok(payload, bool(capabilities & Capability.SESSION_TRACK))
    if first == ERR:
        return parse_error(payload)
    if first == MORE:
        return AuthMore(payload[1:])
    if first == SWITCH:
        if len(payload) == 1:
            # a server of before 4.1 asks for the scramble of its day; it is no protection
            return AuthSwitch("mysql_old_password", b"")
        fields = Fields(payload, 1)
        return AuthSwitch(_text(fields.until_nul()), fields.rest())
    raise malformed(f"{payload[:1].hex() or 'nothing'} as the answer to a login")
