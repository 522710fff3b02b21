"""
How a proxy hands a client's connection on to auth on another host, and says whose it is.

The proxy ends mutual TLS at auth's own port with the ALPN name L{ALPN}, showing its host certificate; within, it sends
one header of the PROXY protocol (version 2) and from then on the client's bytes as they come, which are TLS again: the
client's own, with auth, and none of the proxy's business. So nobody but a proxy tells auth a client's address, and the
proxy reads nothing of what the client says.
"""

from __future__ import annotations

ALPN = "teleport-relay"
"""Offered to auth's own port by a proxy."""
