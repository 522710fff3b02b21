"""
The noun C{role}: what its holders may reach and do, as typed frozen views of a resource.

Versions v3 to v8 are read; v3 opens every label map its author left out, later ones leave it shut. Patterns,
templates and expressions stay text here; L{teleport_tw.access} gives them meaning and checks them.

@see: reference, section 3
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen

from teleport_tw.base.keypaths import Mistake, Reader, refuse
from teleport_tw.base.timing import NEVER, Duration
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.roles_kube import KubernetesResource, read_resources
from teleport_tw.resources.roles_options import Options, read_options

KIND = "role"
VERSIONS = ("v3", "v4", "v5", "v6", "v7", "v8")
IMPLICIT_ROLE = "default-implicit-role"

Labels = Mapping[str, tuple[str, ...]]
"""Label name to the values (literal, glob or C{^regex$}) of which one must match."""


class Target(Enum):
    """
    What label selectors choose among; the value is the prefix of the role's keys.
    """

    NODE = "node"
    APP = "app"
    DATABASE = "db"
    DATABASE_SERVICE = "db_service"
    KUBERNETES = "kubernetes"
    DESKTOP = "windows_desktop"
    GROUP = "group"
    CLUSTER = "cluster"
    WORKLOAD_IDENTITY = "workload_identity"


class Principal(Enum):
    """
    The lists of names a role lets its holder use on a target; the value is the role's key.
    """

    LOGINS = "logins"
    HOST_GROUPS = "host_groups"
    HOST_SUDOERS = "host_sudoers"
    AWS_ROLE_ARNS = "aws_role_arns"
    AZURE_IDENTITIES = "azure_identities"
    GCP_SERVICE_ACCOUNTS = "gcp_service_accounts"
    DB_USERS = "db_users"
    DB_NAMES = "db_names"
    DB_ROLES = "db_roles"
    KUBERNETES_GROUPS = "kubernetes_groups"
    KUBERNETES_USERS = "kubernetes_users"
    WINDOWS_LOGINS = "windows_desktop_logins"
    DESKTOP_GROUPS = "desktop_groups"


class JoinMode(Enum):
    """
    What somebody may do in another's session.
    """

    OBSERVER = "observer"
    PEER = "peer"
    MODERATOR = "moderator"


@frozen
class Selector:
    """
    Chooses targets by label map and by expression.
    """

    labels: Labels = field(factory=dict)
    expression: str = ""

    def __bool__(self) -> bool:
        return bool(self.labels or self.expression)


@frozen(kw_only=True)
class Rule:
    """
    Verbs over kinds of resources of the cluster.

    @ivar where: an expression that must hold; empty for none.
    """

    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    where: str = ""
    actions: tuple[str, ...] = ()


@frozen
class DatabasePermission:
    """
    Grants on database objects chosen by labels.
    """

    match: Labels
    permissions: tuple[str, ...]


@frozen
class Spiffe:
    """
    SPIFFE identities that may be issued.
    """

    path: str
    dns_sans: tuple[str, ...] = ()
    ip_sans: tuple[str, ...] = ()


@frozen
class AccountAssignment:
    """
    A permission set of an AWS account.
    """

    account: str
    permission_set: str


@frozen
class Impersonate:
    """
    Whose certificates may be had.
    """

    users: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    where: str = ""


@frozen
class ClaimMapping:
    """
    Roles that follow from a trait's value; C{$1} in a role stands for the value's first group.
    """

    claim: str
    value: str
    roles: tuple[str, ...]


@frozen(kw_only=True)
class Threshold:
    """
    How many reviews decide a request, counting those that C{filter} lets through.
    """

    name: str = ""
    filter: str = ""
    approve: int = 1
    deny: int = 1


@frozen(kw_only=True)
class RequestConditions:
    """
    What may be asked for.

    @ivar max_duration: zero means the cluster's own bound.
    """

    roles: tuple[str, ...] = ()
    search_as_roles: tuple[str, ...] = ()
    claims_to_roles: tuple[ClaimMapping, ...] = ()
    thresholds: tuple[Threshold, ...] = ()
    suggested_reviewers: tuple[str, ...] = ()
    annotations: Labels = field(factory=dict)
    max_duration: Duration = NEVER
    reason_required: bool = False
    kubernetes_kinds: tuple[str, ...] = ()


@frozen(kw_only=True)
class ReviewConditions:
    """
    Whose requests may be reviewed.
    """

    roles: tuple[str, ...] = ()
    claims_to_roles: tuple[ClaimMapping, ...] = ()
    preview_as_roles: tuple[str, ...] = ()
    where: str = ""


@frozen(kw_only=True)
class RequireJoin:
    """
    Who must be present in the holder's sessions.

    @ivar pause: leaving pauses the session; otherwise it ends.
    """

    name: str
    filter: str
    kinds: tuple[str, ...]
    modes: tuple[JoinMode, ...]
    count: int = 1
    pause: bool = False


@frozen(kw_only=True)
class JoinSessions:
    """
    Whose sessions the holder may join, and how.

    @ivar roles: of the sessions' owners.
    """

    name: str
    roles: tuple[str, ...]
    kinds: tuple[str, ...]
    modes: tuple[JoinMode, ...]


@frozen(kw_only=True)
class Conditions:
    """
    C{spec.allow} or C{spec.deny}.
    """

    selectors: Mapping[Target, Selector] = field(factory=dict)
    principals: Mapping[Principal, tuple[str, ...]] = field(factory=dict)
    kubernetes_resources: tuple[KubernetesResource, ...] = ()
    db_permissions: tuple[DatabasePermission, ...] = ()
    mcp_tools: tuple[str, ...] = ()
    spiffe: tuple[Spiffe, ...] = ()
    github_organizations: tuple[str, ...] = ()
    account_assignments: tuple[AccountAssignment, ...] = ()
    impersonate: Impersonate = Impersonate()
    request: RequestConditions = RequestConditions()
    review: ReviewConditions = ReviewConditions()
    require_session_join: tuple[RequireJoin, ...] = ()
    join_sessions: tuple[JoinSessions, ...] = ()
    rules: tuple[Rule, ...] = ()

    def selector(self, target: Target) -> Selector:
        """
        @return: an empty one where nothing was said.
        """
        return self.selectors.get(target, _NOTHING)

    def names(self, principal: Principal) -> tuple[str, ...]:
        """
        @return: empty where nothing was said.
        """
        return self.principals.get(principal, ())


_NOTHING = Selector()


@frozen(kw_only=True)
class Role:
    """
    One role.

    @ivar labels: the resource's own, for C{impersonate_role.metadata.labels}.
    """

    name: str
    version: str = "v7"
    options: Options = field(factory=Options)
    allow: Conditions = Conditions()
    deny: Conditions = Conditions()
    labels: Mapping[str, str] = field(factory=dict)

    @classmethod
    def parse(cls, resource: Resource) -> Role:
        """
        @raise TeleportError: BAD_PARAMETER, naming the key path of every mistake.
        """
        reader = Reader(resource.spec, "spec")
        if resource.kind != KIND:
            reader.mistakes.append(Mistake("kind", f"{resource.kind!r} is not the kind role"))
        version = resource.version or "v7"
        if version not in VERSIONS:
            reader.mistakes.append(Mistake("version", f"{version!r} is none of {', '.join(VERSIONS)}"))
        if not resource.name:
            reader.mistakes.append(Mistake("metadata.name", "is missing"))
        role = cls(
            name=resource.name,
            version=version,
            options=reader.inside("options", read_options),
            allow=reader.inside("allow", lambda inner: _conditions(inner, version, allow=True)),
            deny=reader.inside("deny", lambda inner: _conditions(inner, version, allow=False)),
            labels=dict(resource.metadata.labels),
        )
        reader.finish()
        refuse(f"role {resource.name!r}", reader.mistakes)
        return role


EVERYTHING: Labels = {"*": ("*",)}
_OPENED_BY_V3 = (Target.NODE, Target.APP, Target.DATABASE, Target.KUBERNETES, Target.CLUSTER)


def _conditions(reader: Reader, version: str, *, allow: bool) -> Conditions:
    selectors = {}
    for target in Target:
        key = f"{target.value}_labels"
        if allow and version == "v3" and target in _OPENED_BY_V3 and not reader.has(key):
            labels = EVERYTHING
        else:
            labels = reader.lists(key)
        if "*" in labels and labels["*"] != ("*",):
            reader.wrong(f"{key}.*", "only '*': '*' may have a star for its key")
        selector = Selector(labels, reader.text(f"{key}_expression"))
        if selector:
            selectors[target] = selector
    reader.ignore("namespaces")
    mcp = reader.section("mcp")
    conditions = Conditions(
        selectors=selectors,
        principals={principal: names for principal in Principal if (names := reader.texts(principal.value))},
        kubernetes_resources=read_resources(reader, version, allow=allow),
        db_permissions=reader.each(
            "db_permissions", lambda inner: DatabasePermission(inner.lists("match"), inner.texts("permissions"))
        ),
        mcp_tools=mcp.texts("tools"),
        spiffe=reader.each(
            "spiffe", lambda inner: Spiffe(inner.text("path"), inner.texts("dns_sans"), inner.texts("ip_sans"))
        ),
        github_organizations=tuple(
            name for orgs in reader.each("github_permissions", lambda inner: inner.texts("orgs")) for name in orgs
        ),
        account_assignments=reader.each(
            "account_assignments", lambda inner: AccountAssignment(inner.text("account"), inner.text("permission_set"))
        ),
        impersonate=reader.inside(
            "impersonate",
            lambda inner: Impersonate(inner.texts("users"), inner.texts("roles"), inner.text("where")),
        ),
        request=reader.inside("request", _request),
        review=reader.inside("review_requests", _review),
        require_session_join=reader.each("require_session_join", _require_join),
        join_sessions=reader.each("join_sessions", _join),
        rules=reader.each("rules", _rule),
    )
    mcp.finish()
    return conditions


def _rule(reader: Reader) -> Rule:
    rule = Rule(
        resources=reader.texts("resources"),
        verbs=reader.texts("verbs"),
        where=reader.text("where"),
        actions=reader.texts("actions"),
    )
    for key, found in (("resources", rule.resources), ("verbs", rule.verbs)):
        if not found:
            reader.wrong(key, "is missing")
    return rule


def _claims(reader: Reader) -> tuple[ClaimMapping, ...]:
    return reader.each(
        "claims_to_roles", lambda inner: ClaimMapping(inner.text("claim"), inner.text("value"), inner.texts("roles"))
    )


def _threshold(reader: Reader) -> Threshold:
    return Threshold(
        name=reader.text("name"),
        filter=reader.text("filter"),
        approve=reader.number("approve", 1),
        deny=reader.number("deny", 1),
    )


def _request(reader: Reader) -> RequestConditions:
    reason = reader.section("reason")
    conditions = RequestConditions(
        roles=reader.texts("roles"),
        search_as_roles=reader.texts("search_as_roles"),
        claims_to_roles=_claims(reader),
        thresholds=reader.each("thresholds", _threshold),
        suggested_reviewers=reader.texts("suggested_reviewers"),
        annotations=reader.lists("annotations"),
        max_duration=reader.duration("max_duration", NEVER),
        reason_required=reason.choice("mode", {"": False, "optional": False, "required": True}, False),
        kubernetes_kinds=reader.each("kubernetes_resources", lambda inner: inner.text("kind")),
    )
    reason.finish()
    return conditions


def _review(reader: Reader) -> ReviewConditions:
    return ReviewConditions(
        roles=reader.texts("roles"),
        claims_to_roles=_claims(reader),
        preview_as_roles=reader.texts("preview_as_roles"),
        where=reader.text("where"),
    )


def _modes(reader: Reader) -> tuple[JoinMode, ...]:
    words = [mode.value for mode in JoinMode]
    found = []
    for index, word in enumerate(reader.texts("modes") or ("observer",)):
        if word == "*":
            found += list(JoinMode)
        elif word in words:
            found.append(JoinMode(word))
        else:
            reader.wrong(f"modes[{index}]", f"must be one of {', '.join(words)}")
    return tuple(found)


def _require_join(reader: Reader) -> RequireJoin:
    return RequireJoin(
        name=reader.text("name"),
        filter=reader.text("filter"),
        kinds=reader.texts("kinds"),
        modes=_modes(reader),
        count=reader.number("count", 1, least=1),
        pause=reader.choice("on_leave", {"": False, "terminate": False, "pause": True}, False),
    )


def _join(reader: Reader) -> JoinSessions:
    return JoinSessions(
        name=reader.text("name"), roles=reader.texts("roles"), kinds=reader.texts("kinds"), modes=_modes(reader)
    )
