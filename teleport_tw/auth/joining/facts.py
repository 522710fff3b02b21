"""
What auth's own port tells anybody: which cluster it is, and its authorities' public keys; pure.
"""

from __future__ import annotations

import json
from urllib.parse import parse_qs, unquote, urlsplit

from teleport_tw.auth.signing import Signing
from teleport_tw.base.errors import not_found
from teleport_tw.pki.authority import AuthorityType
from teleport_tw.pki.export import authority_of, export

_SITES = "/webapi/sites/"
_EXPORT = "/auth/export"


def tell(target: str, signing: Signing, cluster: str, version: str) -> tuple[str, bytes]:
    """
    @param target: of a GET: path and query.
    @return: content type and body.
    @raise TeleportError: NOT_FOUND; BAD_PARAMETER, there is no such form of an authority.
    """
    parts = urlsplit(target)
    if parts.path == "/webapi/find":
        facts = {"server_version": version, "min_client_version": version, "cluster_name": cluster, "fips": False}
        return "application/json", json.dumps(facts).encode()
    if parts.path.startswith(_SITES) and parts.path.endswith(_EXPORT):
        named = parts.path.removeprefix(_SITES).removesuffix(_EXPORT)
        if unquote(named) == cluster:
            form = (parse_qs(parts.query).get("type") or ["host"])[0]
            body = export(signing.authority(AuthorityType(authority_of(form))), form)
            return ("application/octet-stream" if form.endswith("der") else "text/plain"), body
    raise not_found(f"{parts.path[:80]!r} is not served here; the proxy's port has the rest")
