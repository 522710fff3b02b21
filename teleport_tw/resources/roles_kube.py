"""
C{kubernetes_resources} of a role: objects inside a Kubernetes cluster.

v7 and older name kinds in the singular and without their API group; v8 writes both as the API does. Either is kept as
the API has it, so that a role's version makes no difference to a decision.

@see: reference, sections 3.1 and 3.3
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from teleport_tw.base.keypaths import Reader

_APPS, _RBAC = "apps", "rbac.authorization.k8s.io"

SINGULARS: Mapping[str, tuple[str, str]] = {
    "pod": ("pods", ""),
    "secret": ("secrets", ""),
    "configmap": ("configmaps", ""),
    "namespace": ("namespaces", ""),
    "service": ("services", ""),
    "serviceaccount": ("serviceaccounts", ""),
    "kube_node": ("nodes", ""),
    "persistentvolume": ("persistentvolumes", ""),
    "persistentvolumeclaim": ("persistentvolumeclaims", ""),
    "deployment": ("deployments", _APPS),
    "replicaset": ("replicasets", _APPS),
    "statefulset": ("statefulsets", _APPS),
    "daemonset": ("daemonsets", _APPS),
    "clusterrole": ("clusterroles", _RBAC),
    "kube_role": ("roles", _RBAC),
    "clusterrolebinding": ("clusterrolebindings", _RBAC),
    "rolebinding": ("rolebindings", _RBAC),
    "cronjob": ("cronjobs", "batch"),
    "job": ("jobs", "batch"),
    "certificatesigningrequest": ("certificatesigningrequests", "certificates.k8s.io"),
    "ingress": ("ingresses", "networking.k8s.io"),
}
"""Kinds of v7, each with its plural and API group in the API's paths."""

CORE = frozenset(
    {plural for plural, group in SINGULARS.values() if not group}
    | {"endpoints", "events", "limitranges", "podtemplates", "replicationcontrollers", "resourcequotas"}
)
"""Kinds of the core group, whose C{api_group} is empty."""

CLUSTER_WIDE = frozenset(
    {
        "namespaces",
        "nodes",
        "persistentvolumes",
        "clusterroles",
        "clusterrolebindings",
        "certificatesigningrequests",
    }
)
"""Kinds of L{SINGULARS} that live in no namespace."""

VERBS = (
    "get",
    "list",
    "watch",
    "create",
    "update",
    "patch",
    "delete",
    "deletecollection",
    "exec",
    "portforward",
    "*",
)


@frozen(kw_only=True)
class KubernetesResource:
    """
    Objects inside a cluster; name, namespace and API group may be literals, globs or C{^regex$}.

    @ivar kind: plural, or C{*}.
    @ivar contents: whether everything in the namespaces of that name is meant as well, as C{kind: namespace} of v7
        says.
    """

    kind: str
    name: str = "*"
    namespace: str = "*"
    api_group: str = ""
    verbs: tuple[str, ...] = ("*",)
    contents: bool = False


EVERYTHING = KubernetesResource(kind="*", api_group="*")


def read_resources(reader: Reader, version: str, *, allow: bool) -> tuple[KubernetesResource, ...]:
    """
    @param reader: on C{spec.allow} or C{spec.deny}.
    @param version: of the role; from v7 on an empty list in allow means everything, and before v6 there was no list.
    """
    found = reader.each("kubernetes_resources", lambda inner: _resource(inner, version))
    return (EVERYTHING,) if not found and allow and version != "v6" else found


def _resource(reader: Reader, version: str) -> KubernetesResource:
    verbs = reader.texts("verbs")
    for index, verb in enumerate(verbs):
        if verb not in VERBS:
            reader.wrong(f"verbs[{index}]", f"{verb!r} is none of {', '.join(VERBS)}")
    kind, group = _kind(reader, version)
    written = reader.text("kind")
    return KubernetesResource(
        kind=kind,
        name=reader.text("name", "*"),
        namespace=reader.text("namespace", "*"),
        api_group=group,
        verbs=verbs if version in ("v7", "v8") else ("*",),
        contents=written == "namespace",
    )


def _kind(reader: Reader, version: str) -> tuple[str, str]:
    """
    @return: plural and API group.
    """
    kind, group = reader.text("kind"), reader.text("api_group")
    if not kind:
        reader.wrong("kind", "is missing")
    elif version == "v8":
        if kind in SINGULARS:
            reader.wrong("kind", f"v8 names kinds as the API does: {SINGULARS[kind][0]}")
        elif not group and kind not in CORE:
            reader.wrong("api_group", "is missing; write the kind's group, or '*' for every group")
        return kind, group
    elif version != "v7":
        if kind != "pod":
            reader.wrong("kind", f"{version} knows only pod; use v7 or v8")
    elif kind != "*" and kind not in SINGULARS:
        reader.wrong("kind", f"{kind!r} is not a kind that v7 knows; use a singular name, or v8")
    if group:
        reader.wrong("api_group", "needs version v8")
    return SINGULARS.get(kind, (kind, "*"))
