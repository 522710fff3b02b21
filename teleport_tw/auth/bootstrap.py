"""
What a cluster needs before it serves: a name, authorities, preset roles, settings, and auth's own certificate.

Done at every start; what is there stays, but for settings that the configuration file writes out.
"""

from __future__ import annotations

import os
import re
import socket
import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from attrs import frozen

from teleport_tw.api.contract import PublicKeys
from teleport_tw.auth import issuance
from teleport_tw.auth.presets import presets, refreshed
from teleport_tw.auth.signing import NEEDED, Signing
from teleport_tw.backends.interface import Backend
from teleport_tw.base.errors import Kind, TeleportError, bad_parameter
from teleport_tw.base.secret import Secret
from teleport_tw.base.timing import format_duration
from teleport_tw.config import sections
from teleport_tw.pki import authority
from teleport_tw.pki.authority import Authority
from teleport_tw.pki.identity import SystemRole
from teleport_tw.pki.keys import PrivateKey, spki_pem
from teleport_tw.pki.keystore import SoftwareKeystore
from teleport_tw.resources import clusters
from teleport_tw.resources.metadata import Json, Metadata, Resource
from teleport_tw.resources.tokens import Token
from teleport_tw.stores.authorities import Authorities
from teleport_tw.stores.resources import ResourceStore

_CLUSTER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")
"""It becomes part of file names, host names and certificates."""


@frozen(kw_only=True)
class OwnIdentity:
    """
    Certificate and key of one of auth's own.
    """

    chain: bytes
    key: Secret[bytes]


async def cluster_name(resources: ResourceStore, configured: str) -> str:
    """
    @param configured: empty for what the host is called.
    @return: the name, which never changes after the first start.
    @raise TeleportError: BAD_PARAMETER, the file says another name than the cluster has.
    """
    stored = await resources.find(clusters.NAME, clusters.SINGLETONS[clusters.NAME])
    if stored is not None:
        name = clusters.ClusterName.parse(stored).cluster
        if configured and configured != name:
            raise bad_parameter(
                f"auth_service.cluster_name is {configured!r}, but this cluster was started as {name!r}; the name is "
                "in every certificate and cannot change"
            )
        return name
    name = configured or socket.gethostname()
    if not _CLUSTER.fullmatch(name) or name in (role.value for role in SystemRole):
        raise bad_parameter(
            f"{name[:80]!r} cannot be the name of a cluster: write auth_service.cluster_name like a host name; "
            "names of roles such as Proxy are taken"
        )
    made = clusters.ClusterName(cluster=name, id=str(uuid.uuid4())).to_resource()
    try:
        await resources.create(made)
    except TeleportError as error:
        if error.kind is not Kind.ALREADY_EXISTS:
            raise
        return await cluster_name(resources, configured)
    return name


async def load_authorities(backend: Backend, cluster: str, signing: Signing, now: datetime) -> None:
    """
    Make those that are missing; another auth may be doing the same.
    """
    store = Authorities(backend)
    found = []
    for type_ in NEEDED:
        try:
            resource = await store.get(type_.value, cluster, with_secrets=True)
        except TeleportError as error:
            if error.kind is not Kind.NOT_FOUND:
                raise
            try:
                await store.create(authority.create(type_, cluster, SoftwareKeystore(), now).to_resource())
            except TeleportError as race:
                if race.kind is not Kind.ALREADY_EXISTS:
                    raise
            resource = await store.get(type_.value, cluster, with_secrets=True)
        found.append(Authority.parse(resource))
    signing.load(found)


async def load_presets(resources: ResourceStore) -> None:
    """
    Make the preset roles, or add what they lack.
    """
    for preset in presets():
        stored = await resources.find("role", preset.name)
        if stored is None:
            try:
                await resources.create(preset)
            except TeleportError as error:
                if error.kind is not Kind.ALREADY_EXISTS:
                    raise
        elif (better := refreshed(stored, preset)) is not None:
            try:
                await resources.update(better)
            except TeleportError as error:
                if error.kind is not Kind.COMPARE_FAILED:
                    raise


def settings(config: sections.AuthService) -> Mapping[str, Json]:
    """
    @return: the specs of the singletons as the file has them, defaults included.
    """
    login = config.authentication
    keys: dict[str, Any] = {
        "rp_id": login.webauthn_rp_id,
        "attestation_allowed_cas": list(login.attestation_allowed_cas),
        "attestation_denied_cas": list(login.attestation_denied_cas),
    }
    webauthn = {key: value for key, value in keys.items() if value}
    return {
        clusters.AUTH_PREFERENCE: {
            "type": login.type,
            "second_factors": list(login.second_factors),
            "connector_name": login.connector_name,
            "require_session_mfa": {"no": False, "yes": True}.get(login.require_session_mfa, login.require_session_mfa),
            "mfa_grace": format_duration(login.mfa_grace),
            "disconnect_expired_cert": config.disconnect_expired_cert,
            "allow_local_auth": login.local_auth,
            "message_of_the_day": config.message_of_the_day,
            "locking_mode": login.locking_mode,
            "default_session_ttl": format_duration(login.default_session_ttl),
            "signature_algorithm_suite": login.signature_algorithm_suite,
        }
        | ({} if login.second_factors else {"second_factor": "off"})
        | ({"webauthn": webauthn} if webauthn else {})
        | ({"allow_passwordless": login.passwordless} if login.passwordless is not None else {})
        | ({"allow_headless": login.headless} if login.headless is not None else {}),
        clusters.NETWORKING: {
            "client_idle_timeout": format_duration(config.client_idle_timeout),
            "idle_timeout_message": config.client_idle_timeout_message,
            "web_idle_timeout": format_duration(config.web_idle_timeout),
            "keep_alive_interval": format_duration(config.keep_alive_interval),
            "keep_alive_count_max": config.keep_alive_count_max,
            "session_control_timeout": format_duration(config.session_control_timeout),
            "routing_strategy": 1 if config.routing_strategy == "most_recent" else 0,
            "proxy_listener_mode": 1 if config.proxy_listener_mode == "multiplex" else 0,
            "case_insensitive_routing": config.case_insensitive_routing,
            "ssh_dial_timeout": format_duration(config.ssh_dial_timeout),
        },
        clusters.RECORDING: {
            "mode": config.session_recording.value,
            "proxy_checks_host_keys": config.proxy_checks_host_keys,
        },
    }


_WRITTEN_BY: Mapping[str, frozenset[str]] = {
    clusters.AUTH_PREFERENCE: frozenset({"authentication", "disconnect_expired_cert", "message_of_the_day"}),
    clusters.NETWORKING: frozenset(
        {
            "client_idle_timeout",
            "client_idle_timeout_message",
            "web_idle_timeout",
            "keep_alive_interval",
            "keep_alive_count_max",
            "session_control_timeout",
            "routing_strategy",
            "proxy_listener_mode",
            "case_insensitive_routing",
            "ssh_dial_timeout",
        }
    ),
    clusters.RECORDING: frozenset({"session_recording", "proxy_checks_host_keys"}),
}
"""Keys of C{auth_service} that make a setting the file's own."""


async def load_settings(resources: ResourceStore, config: sections.AuthService) -> None:
    """
    What the file writes out wins at every start; what was set by hand otherwise stays.
    """
    for kind, spec in settings(config).items():
        written = bool(_WRITTEN_BY[kind] & config.written)
        stored = await resources.find(kind, clusters.SINGLETONS[kind])
        origin = stored.metadata.labels.get(clusters.ORIGIN_LABEL) if stored is not None else ""
        if stored is not None and not written and origin == "dynamic":
            continue
        labels = {clusters.ORIGIN_LABEL: "config-file" if written else "defaults"}
        metadata = Metadata(name=clusters.SINGLETONS[kind], labels=labels)
        wanted = Resource(kind=kind, version=clusters.VERSION, metadata=metadata, spec=spec)
        if stored is None or (stored.spec, dict(stored.metadata.labels)) != (spec, labels):
            await resources.upsert(wanted)


def static_tokens(config: sections.AuthService) -> tuple[Token, ...]:
    """
    @return: the file's own join tokens.
    @raise TeleportError: BAD_PARAMETER, a role in them is unknown.
    """
    found = []
    for written in config.tokens:
        metadata = Metadata(name=written.token.reveal())
        spec = {"roles": list(written.roles), "join_method": "token"}
        found.append(Token.parse(Resource(kind="token", version="v2", metadata=metadata, spec=spec)))
    return tuple(found)


def own_identity(
    signing: Signing, cluster: str, host_id: str, role: SystemRole, names: tuple[str, ...], now: datetime
) -> OwnIdentity:
    """
    @return: a new key and certificate for auth itself, or for the administrator on its host.
    """
    key = PrivateKey.generate_tls()
    certificates = issuance.issue_member(
        signing,
        cluster=cluster,
        host_id=host_id,
        roles=(role,),
        names=names,
        keys=PublicKeys(tls=spki_pem(key.public)),
        now=now,
    )
    return OwnIdentity(chain=certificates.tls, key=key.pem())


def write_private(path: Path, data: bytes) -> None:
    """
    Replace a file at once, readable by its owner alone.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(temporary, path)


def host_uuid(data_dir: Path) -> str:
    """
    @return: the id kept in C{host_uuid}, made on the first start.
    """
    path = data_dir / "host_uuid"
    try:
        return str(uuid.UUID(path.read_text().strip()))
    except (FileNotFoundError, ValueError):
        made = str(uuid.uuid4())
        write_private(path, f"{made}\n".encode())
        return made
