"""
The roles a cluster has from its first start on; pure.

At every start a preset gets the rules it lacks, and nothing else: a kind that an administrator named in it, in allow or
deny, is left alone, and so is a role of the same name without the label.

@see: reference, section 3.8
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import evolve

from teleport_tw.resources.metadata import Json, Metadata, Resource

LABEL, PRESET = "teleport.internal/resource-type", "preset"

_ALL = {"*": "*"}
_WRITE = ["list", "create", "read", "update", "delete"]
_SEE = ["list", "read"]


def _rule(kinds: Iterable[str], verbs: list[str], where: str = "") -> dict[str, Any]:
    rule: dict[str, Any] = {"resources": list(kinds), "verbs": verbs}
    return {**rule, "where": where} if where else rule


def _role(name: str, description: str, spec: Json) -> Resource:
    metadata = Metadata(name=name, description=description, labels={LABEL: PRESET})
    return Resource(kind="role", version="v7", metadata=metadata, spec=spec)


def presets() -> tuple[Resource, ...]:
    """
    @return: C{access}, C{editor} and C{auditor} as a new cluster has them.
    """
    traits = (
        "logins", "windows_logins", "kubernetes_groups", "kubernetes_users", "db_users", "db_names", "db_roles",
        "aws_role_arns", "azure_identities", "gcp_service_accounts",
    )  # fmt: skip
    keys = {"windows_logins": "windows_desktop_logins"}
    access = {
        "options": {
            "forward_agent": True,
            "max_session_ttl": "30h0m0s",
            "port_forwarding": True,
            "record_session": {"desktop": True},
        },
        "allow": {
            **{
                f"{target}_labels": dict(_ALL)
                for target in ("node", "app", "db", "kubernetes", "windows_desktop", "db_service", "cluster")
            },
            **{keys.get(trait, trait): [f"{{{{internal.{trait}}}}}"] for trait in traits},
            "kubernetes_resources": [{"kind": "*", "namespace": "*", "name": "*", "verbs": ["*"]}],
            "rules": [
                _rule(["event"], _SEE),
                _rule(["session"], _SEE, "contains(session.participants, user.metadata.name)"),
                _rule(["instance"], _SEE),
                _rule(["cluster_maintenance_config"], _SEE),
            ],
        },
    }
    written = (
        "user", "role", "auth_connector", "oidc", "saml", "github", "oidc_request", "saml_request", "github_request",
        "token", "trusted_cluster", "remote_cluster", "cluster_auth_preference", "cluster_networking_config",
        "session_recording_config", "cluster_audit_config", "ui_config", "network_restrictions", "login_rule", "lock",
        "access_list", "device", "bot", "bot_instance", "node", "db", "app", "kube_cluster", "windows_desktop",
        "integration", "discovery_config", "static_host_user", "installer", "cluster_alert", "access_request",
        "session_tracker", "user_task", "notification", "connection_diagnostic", "cluster_maintenance_config",
        "semaphore", "host_cert", "mfa_device",
    )  # fmt: skip
    editor = {
        "options": {"forward_agent": True, "max_session_ttl": "30h0m0s", "port_forwarding": True},
        "allow": {
            "rules": [
                _rule(written, list(_WRITE)),
                _rule(["event", "session", "instance", "cluster_name", "cert_authority"], _SEE),
            ]
        },
    }
    seen = ("session", "event", "session_tracker", "cluster_alert", "instance", "bot_instance", "notification")
    auditor = {
        "options": {"max_session_ttl": "30h0m0s"},
        "allow": {"rules": [_rule(seen, _SEE)]},
    }
    return (
        _role("access", "Access cluster resources", access),
        _role("editor", "Edit cluster configuration", editor),
        _role("auditor", "Review cluster events and replay sessions", auditor),
    )


def refreshed(stored: Resource, preset: Resource) -> Resource | None:
    """
    @return: the stored role with the rules it lacks; None when it lacks none or is nobody's preset.
    """
    if stored.metadata.labels.get(LABEL) != PRESET:
        return None
    allow, deny = dict(stored.spec.get("allow") or {}), stored.spec.get("deny") or {}
    named = {kind for rule in [*(allow.get("rules") or ()), *(deny.get("rules") or ())] for kind in rule["resources"]}
    missing = []
    for rule in preset.spec["allow"]["rules"]:
        kinds = [kind for kind in rule["resources"] if kind not in named]
        if kinds and "*" not in named:
            missing.append({**rule, "resources": kinds})
    if not missing:
        return None
    allow["rules"] = [*(allow.get("rules") or ()), *missing]
    return evolve(stored, spec={**stored.spec, "allow": allow})
