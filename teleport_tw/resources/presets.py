"""
The roles that every cluster starts with.

@see: reference, section 3.8
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.roles import IMPLICIT_ROLE

PRESET_LABEL = "teleport.internal/resource-type"
_ALL = {"*": "*"}
_READ = ["list", "read"]
_WRITE = ["list", "create", "read", "update", "delete"]


def _role(name: str, description: str, spec: Mapping[str, Any]) -> Resource:
    labels = {PRESET_LABEL: "preset"}
    return Resource("role", "v7", Metadata(name, description=description, labels=labels), spec)


def _rule(resources: list[str], verbs: list[str], where: str = "") -> dict[str, Any]:
    rule: dict[str, Any] = {"resources": resources, "verbs": verbs}
    return {**rule, "where": where} if where else rule


ACCESS = _role(
    "access",
    "Access cluster resources",
    {
        "options": {
            "forward_agent": True,
            "ssh_port_forwarding": {"local": {"enabled": True}, "remote": {"enabled": True}},
            "max_session_ttl": "30h",
            "record_session": {"desktop": True},
        },
        "allow": {
            "node_labels": _ALL,
            "app_labels": _ALL,
            "db_labels": _ALL,
            "db_service_labels": _ALL,
            "kubernetes_labels": _ALL,
            "windows_desktop_labels": _ALL,
            "cluster_labels": _ALL,
            "logins": ["{{internal.logins}}"],
            "windows_desktop_logins": ["{{internal.windows_logins}}"],
            "kubernetes_users": ["{{internal.kubernetes_users}}"],
            "kubernetes_groups": ["{{internal.kubernetes_groups}}"],
            "kubernetes_resources": [{"kind": "*", "namespace": "*", "name": "*", "verbs": ["*"]}],
            "db_users": ["{{internal.db_users}}"],
            "db_names": ["{{internal.db_names}}"],
            "db_roles": ["{{internal.db_roles}}"],
            "aws_role_arns": ["{{internal.aws_role_arns}}"],
            "azure_identities": ["{{internal.azure_identities}}"],
            "gcp_service_accounts": ["{{internal.gcp_service_accounts}}"],
            "rules": [
                _rule(["event"], _READ),
                _rule(["session"], _READ, "contains(session.participants, user.metadata.name)"),
                _rule(["instance", "cluster_maintenance_config"], _READ),
            ],
        },
    },
)

_EDITED = (
    "user role bot token lock node app app_server db db_server db_service kube_cluster kube_server kube_service "
    "windows_desktop windows_desktop_service dynamic_windows_desktop oidc saml github auth_connector oidc_request "
    "saml_request github_request trusted_cluster remote_cluster cluster_name cluster_config cluster_auth_preference "
    "cluster_networking_config session_recording_config cluster_audit_config cluster_maintenance_config ui_config "
    "network_restrictions installer login_rule access_list user_group device host_cert cert_authority semaphore "
    "server_info static_host_user access_monitoring_rule integration discovery_config health_check_config "
    "access_request session_tracker cluster_alert bot_instance user_task notification connection_diagnostic mfa_device"
)

_MANAGED = (
    "user role bot token lock node app db dynamic_windows_desktop oidc saml github trusted_cluster "
    "cluster_auth_preference cluster_networking_config cluster_maintenance_config session_recording_config ui_config "
    "installer login_rule access_list device static_host_user access_monitoring_rule integration discovery_config "
    "health_check_config okta_import_rule workload_identity autoupdate_config autoupdate_version"
)

EDITOR = _role(
    "editor",
    "Edit cluster configuration",
    {
        "options": {
            "forward_agent": True,
            "ssh_port_forwarding": {"local": {"enabled": True}, "remote": {"enabled": True}},
            "max_session_ttl": "30h",
        },
        "allow": {
            "rules": [
                _rule(_EDITED.split(), [*_WRITE, "use"]),
                _rule(["device"], ["enroll", "create_enroll_token"]),
                _rule(["cert_authority"], ["rotate"]),
                _rule(["event", "session", "instance"], _READ),
            ],
        },
    },
)

AUDITOR = _role(
    "auditor",
    "Review cluster events and replay sessions",
    {
        "options": {"max_session_ttl": "30h"},
        "allow": {
            "rules": [
                _rule(
                    [
                        "session",
                        "event",
                        "session_tracker",
                        "cluster_alert",
                        "instance",
                        "bot_instance",
                        "notification",
                    ],
                    _READ,
                ),
                _rule(["audit_query", "security_report"], [*_READ, "use"]),
            ],
        },
    },
)

REQUESTER = _role(
    "requester",
    "Request elevated permissions for resources",
    {"allow": {"request": {"search_as_roles": ["access", "group-access"]}}},
)

REVIEWER = _role(
    "reviewer",
    "Review requests for resources",
    {
        "allow": {
            "review_requests": {"roles": ["access", "group-access"], "preview_as_roles": ["access", "group-access"]}
        }
    },
)

GROUP_ACCESS = _role(
    "group-access",
    "Access user groups",
    {"allow": {"group_labels": _ALL, "rules": [_rule(["user_group"], _READ)]}},
)

DEVICE_ADMIN = _role(
    "device-admin",
    "Manage trusted devices",
    {"allow": {"rules": [_rule(["device"], [*_WRITE, "create_enroll_token", "enroll"])]}},
)

DEVICE_ENROLL = _role(
    "device-enroll",
    "Enroll trusted devices",
    {"allow": {"rules": [_rule(["device"], ["enroll"])]}},
)

REQUIRE_TRUSTED_DEVICE = _role(
    "require-trusted-device",
    "Access cluster resources from trusted devices only",
    {
        "options": {**ACCESS.spec["options"], "device_trust_mode": "required"},
        "allow": {key: value for key, value in ACCESS.spec["allow"].items() if key != "rules"},
    },
)

_SEEN: dict[str, Any] = {
    f"{target}_labels": _ALL for target in ("node", "app", "db", "kubernetes", "windows_desktop", "group")
}

LIST_ACCESS_REQUEST_RESOURCES = _role(
    "list-access-request-resources",
    "See all resources that can be requested, and reach none",
    {"allow": _SEEN},
)

_PLUGIN_RULES = [
    _rule(["access_request"], _READ),
    _rule(["access_plugin_data"], ["update"]),
    _rule(["access_monitoring_rule", "access_list", "notification"], _READ),
    _rule(["user"], ["read"]),
]

ACCESS_PLUGIN = _role(
    "access-plugin",
    "Tell people of access requests",
    {"allow": {"rules": _PLUGIN_RULES, "review_requests": {"preview_as_roles": [LIST_ACCESS_REQUEST_RESOURCES.name]}}},
)

ACCESS_PLUGIN_WITH_REVIEW = _role(
    "access-plugin-with-review",
    "Tell people of access requests, and review them by their answers",
    {
        "allow": {
            "rules": _PLUGIN_RULES,
            "review_requests": {"roles": ["*"], "preview_as_roles": [LIST_ACCESS_REQUEST_RESOURCES.name]},
        }
    },
)

TERRAFORM_PROVIDER = _role(
    "terraform-provider",
    "Manage resources by Terraform",
    {
        "allow": {
            "node_labels": _ALL,
            "app_labels": _ALL,
            "db_labels": _ALL,
            "rules": [_rule(_MANAGED.split(), _WRITE)],
        }
    },
)

IMPLICIT = Resource(
    "role",
    "v7",
    Metadata(IMPLICIT_ROLE, description="What every user may do", labels={PRESET_LABEL: "system"}),
    {
        # Said here because a role that says nothing allows the first and asks for the second.
        "options": {"port_forwarding": False, "record_session": {"desktop": False}},
        "allow": {
            "rules": [
                _rule(
                    [
                        "node",
                        "proxy",
                        "auth_server",
                        "cluster_auth_preference",
                        "cluster_name",
                        "app",
                        "app_server",
                        "db",
                        "db_server",
                        "db_service",
                        "kube_cluster",
                        "kube_server",
                        "windows_desktop",
                        "ui_config",
                    ],
                    _READ,
                ),
                _rule(["cert_authority", "remote_cluster", "reverse_tunnel"], ["list", "readnosecrets"]),
                _rule(["session_tracker"], _READ, "contains(session_tracker.participants, user.metadata.name)"),
            ],
        },
    },
)
"""Added to every user's roles; not stored."""

PRESETS = (
    ACCESS,
    EDITOR,
    AUDITOR,
    REQUESTER,
    REVIEWER,
    GROUP_ACCESS,
    DEVICE_ADMIN,
    DEVICE_ENROLL,
    REQUIRE_TRUSTED_DEVICE,
    LIST_ACCESS_REQUEST_RESOURCES,
    ACCESS_PLUGIN,
    ACCESS_PLUGIN_WITH_REVIEW,
    TERRAFORM_PROVIDER,
)
"""Stored at the first start of auth."""
