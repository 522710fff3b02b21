"""
Join tokens: with which roles a host may enter the cluster, and how it proves that it may.

C{spec.max_uses} bounds how often a token of method C{token} admits a host: absent or 0 without bound, 1 for a token
that works once. The field is ours; the reference has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime

from attrs import field, frozen

from teleport_tw.base.secret import Secret
from teleport_tw.resources.fields import Fields, without_empty
from teleport_tw.resources.metadata import Metadata, Resource

KIND = "token"
VERSION = "v2"

ROLES = frozenset(
    {
        "Node", "Proxy", "Auth", "App", "Db", "Kube", "WindowsDesktop", "Discovery", "Bot", "Trusted_cluster",
        "Instance", "MDM", "Okta", "Relay",
    }
)  # fmt: skip
"""As tokens spell them; any case is read."""

METHODS = frozenset(
    {
        "token", "ec2", "iam", "azure", "gcp", "github", "gitlab", "circleci", "kubernetes", "spacelift",
        "terraform_cloud", "tpm", "bitbucket", "oracle", "azure_devops", "bound_keypair", "env0",
    }
)  # fmt: skip

_SPELLING = {role.lower(): role for role in ROLES} | {"windows_desktop": "WindowsDesktop"}


@frozen(kw_only=True)
class Token:
    """
    @ivar name: the secret itself for method C{token}.
    @ivar roles: spelled as in L{ROLES}.
    @ivar max_uses: zero for any number.
    @ivar suggested_labels: what the joining host should take as its labels.
    """

    name: str = field(repr=False)
    roles: tuple[str, ...]
    join_method: str = "token"
    bot_name: str = ""
    max_uses: int = 0
    suggested_labels: Mapping[str, tuple[str, ...]] = field(factory=dict)
    labels: Mapping[str, str] = field(factory=dict)
    expires: datetime | None = None
    revision: str = ""

    @classmethod
    def parse(cls, resource: Resource) -> Token:
        """
        @raise TeleportError: BAD_PARAMETER naming every wrong key; the token itself is not in the text.
        """
        spec = Fields.of(resource, KIND)
        spec.only(
            "roles", "join_method", "bot_name", "max_uses", "suggested_labels", "suggested_agent_matcher_labels",
            "aws_iid_ttl", "allow", *METHODS,
        )  # fmt: skip
        method = spec.text("join_method", "token", among=METHODS)
        roles = []
        for role in spec.texts("roles", needed=True):
            if role.lower() in _SPELLING:
                roles.append(_SPELLING[role.lower()])
            else:
                spec.must_be("roles", f"a list of {', '.join(sorted(ROLES))}, not {role!r}")
        bot_name = spec.text("bot_name")
        if ("Bot" in roles) != bool(bot_name):
            spec.wrong.append("spec.bot_name and the role Bot go together")
        if method == "token" and 0 < len(resource.name) < MIN_SECRET:
            spec.wrong.append(f"metadata.name is the secret and must have at least {MIN_SECRET} characters")
        token = cls(
            name=resource.name,
            roles=tuple(dict.fromkeys(roles)),
            join_method=method,
            bot_name=bot_name,
            max_uses=spec.number("max_uses"),
            suggested_labels=spec.texts_map("suggested_labels"),
            labels=resource.metadata.labels,
            expires=resource.metadata.expires,
            revision=resource.revision,
        )
        spec.done(resource if method != "token" else Resource(KIND, VERSION, Metadata(name=mask(resource.name))))
        return token

    def to_resource(self) -> Resource:
        """
        @return: the noun as stored.
        """
        spec = without_empty(
            (
                ("roles", list(self.roles)),
                ("join_method", self.join_method),
                ("bot_name", self.bot_name),
                ("max_uses", self.max_uses or None),
                ("suggested_labels", {name: list(values) for name, values in self.suggested_labels.items()}),
            )
        )
        metadata = Metadata(name=self.name, labels=self.labels, expires=self.expires, revision=self.revision)
        return Resource(kind=KIND, version=VERSION, metadata=metadata, spec=spec)


def handle_of(token: Secret[str]) -> str:
    """
    @return: what a page calls a token by, of no use to join.
    """
    return hashlib.sha256(b"token " + token.reveal().encode("utf-8", "replace")).hexdigest()[:32]


MIN_SECRET = 8
"""Characters of a token chosen by hand; those we make have 32."""

_SHOWN = 4


def mask(name: str) -> str:
    """
    @return: the token as lists show it, all but its end hidden: C{****9f3c}.
    """
    return "*" * max(len(name) - _SHOWN, 0) + name[-_SHOWN:] if len(name) > 2 * _SHOWN else "*" * len(name)
