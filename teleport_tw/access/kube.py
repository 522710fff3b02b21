"""
Which objects inside a Kubernetes cluster roles open: C{kubernetes_resources}.

@see: reference, sections 3.1 and 3.3
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve, frozen

from teleport_tw.access import patterns
from teleport_tw.access.checker import Checker
from teleport_tw.access.decision import Decision, Finding
from teleport_tw.resources.roles import Target
from teleport_tw.resources.roles_kube import CLUSTER_WIDE, SINGULARS, KubernetesResource


@frozen(kw_only=True)
class KubernetesObject:
    """
    What a request is about. A name or namespace that is left out means all of them: a role must then open all, and
    whatever any role denies among them refuses. Who filters a list asks about each of its items instead.

    @ivar kind: plural as in the API's path, or a singular of v7.
    @ivar namespace: empty too for what lives in none.
    @ivar api_group: empty for the core group.
    """

    kind: str
    name: str = ""
    namespace: str = ""
    api_group: str = ""

    def as_api(self) -> KubernetesObject:
        """
        @return: the same, a singular replaced by plural and API group.
        """
        if self.kind not in SINGULARS:
            return self
        plural, group = SINGULARS[self.kind]
        return evolve(self, kind=plural, api_group=self.api_group or group)


def decide(checker: Checker, labels: Mapping[str, str], wanted: KubernetesObject, verb: str) -> Decision:
    """
    @param labels: the cluster's.
    """
    cluster = checker.kubernetes(labels)
    if not cluster:
        return cluster
    wanted = wanted.as_api()
    what = f"{verb} on {wanted.kind} {wanted.name!r}"
    for role in checker.roles:
        for entry in role.deny.kubernetes_resources:
            if _fits(entry, wanted, verb, deny=True):
                finding = Finding(role.name, f"denies {what}" + _aside(entry))
                return Decision(allowed=False, reason=str(finding), role=role.name, findings=(finding,))
    findings: list[Finding] = []
    for role in checker.matching(Target.KUBERNETES, labels):
        if any(_fits(entry, wanted, verb, deny=False) for entry in role.allow.kubernetes_resources):
            return evolve(cluster, reason=f"allowed by role {role.name!r}", role=role.name)
        asides = "".join(map(_aside, role.allow.kubernetes_resources))
        findings.append(Finding(role.name, f"does not allow {what}{asides}"))
    return Decision(allowed=False, reason="; ".join(map(str, findings)), findings=tuple(findings))


def _fits(entry: KubernetesResource, wanted: KubernetesObject, verb: str, *, deny: bool) -> bool:
    if verb not in entry.verbs and "*" not in entry.verbs:
        return False
    cluster_wide = wanted.kind in CLUSTER_WIDE
    if entry.contents and wanted.kind != entry.kind:
        return not cluster_wide and _named(entry.name, wanted.namespace, deny)
    if entry.kind not in ("*", wanted.kind):
        return False
    if not patterns.any_matches([entry.api_group], wanted.api_group, broken=deny):
        return False
    if cluster_wide:
        # Beside "*", a namespace says that only what lives in one is meant.
        fits = entry.kind != "*" or patterns.any_matches([entry.namespace], "", broken=deny)
    else:
        fits = _named(entry.namespace, wanted.namespace, deny)
    return fits and _named(entry.name, wanted.name, deny)


def _named(pattern: str, name: str, deny: bool) -> bool:
    return (deny and not name) or patterns.any_matches([pattern], name, broken=deny)


def _aside(entry: KubernetesResource) -> str:
    text = patterns.trouble((entry.api_group, entry.namespace, entry.name))
    return f" ({text})" if text else ""
