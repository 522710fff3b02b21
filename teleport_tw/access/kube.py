"""
Which objects inside a Kubernetes cluster roles open: C{kubernetes_resources}.

@see: reference, section 3.3
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from teleport_tw.access import labels as matching
from teleport_tw.access import patterns
from teleport_tw.access.checker import Checker
from teleport_tw.access.decision import Decision, Finding
from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.roles import KubernetesResource, Target


@frozen(kw_only=True)
class KubernetesObject:
    """
    What a request is about.

    @ivar kind: singular as in v7; a plural of v8 is matched by its own spelling.
    @ivar namespace: empty for what lives in none.
    """

    kind: str
    name: str
    namespace: str = ""
    api_group: str = ""


def decide(checker: Checker, labels: Mapping[str, str], wanted: KubernetesObject, verb: str) -> Decision:
    """
    @param labels: the cluster's.
    """
    cluster = checker.kubernetes(labels)
    if not cluster:
        return cluster
    for role in checker.roles:
        if any(_fits(each, wanted, verb, deny=True) for each in role.deny.kubernetes_resources):
            finding = Finding(role.name, f"denies {verb} on {wanted.kind} {wanted.name!r}")
            return Decision(allowed=False, reason=str(finding), role=role.name, findings=(finding,))
    for role in checker.roles:
        if not matching.allows(role.allow.selector(Target.KUBERNETES), labels, checker.traits):
            continue
        if any(_fits(each, wanted, verb, deny=False) for each in role.allow.kubernetes_resources):
            return Decision(allowed=True, reason=f"allowed by role {role.name!r}", role=role.name, mfa=cluster.mfa)
    return Decision(allowed=False, reason=f"no role allows {verb} on {wanted.kind} {wanted.name!r}")


def _fits(entry: KubernetesResource, wanted: KubernetesObject, verb: str, *, deny: bool) -> bool:
    if verb not in entry.verbs and "*" not in entry.verbs:
        return False
    try:
        if entry.kind == "namespace" and wanted.kind != "namespace":
            return bool(wanted.namespace) and patterns.matches(entry.name, wanted.namespace)
        if entry.kind not in ("*", wanted.kind) or not patterns.matches(entry.api_group or "", wanted.api_group):
            return False
        in_namespace = not wanted.namespace or patterns.matches(entry.namespace, wanted.namespace)
        return in_namespace and patterns.matches(entry.name, wanted.name)
    except TeleportError:
        return deny
