"""
The pages on second factors and on shared sessions: their examples do what the text says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access import sessions, validate
from teleport_tw.access.checker import Checker
from teleport_tw.access.sessions import Participant
from teleport_tw.resources import kinds
from teleport_tw.resources.clusters import AuthPreference
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.roles import JoinMode, Principal, Role, Target
from teleport_tw.resources.roles_options import SessionMFA

DOCS = Path(__file__).resolve().parents[2] / "docs"


def examples(page: str) -> dict[str, Resource]:
    """
    @return: every YAML block of a page, by its name.
    """
    blocks = re.findall(r"\.\. code-block:: yaml\n\n((?:   .*\n|\n)+)", (DOCS / page).read_text())
    found = [Resource.from_json(yaml.safe_load(dedent(block))) for block in blocks]
    return {each.name: each for each in found}


def roles(page: str) -> Mapping[str, Role]:
    return {name: Role.parse(each) for name, each in examples(page).items() if each.kind == "role"}


class SecondFactors(SynchronousTestCase):
    """
    C{second-factors.rst}.
    """

    def test_the_policy(self) -> None:
        """Is one that can be set, and has the keys of the table."""
        preference = AuthPreference.parse(examples("second-factors.rst")["cluster-auth-preference"])
        self.assertEqual(preference.second_factors, ("otp", "webauthn"))
        text = (DOCS / "second-factors.rst").read_text()
        for key in ("rp_id", "attestation_allowed_cas", "attestation_denied_cas"):
            self.assertIn(f"``webauthn.{key}``", text)
        spec: dict[str, Any] = dict.fromkeys(re.findall(r"^``(\w+)`` {2,}", text, re.MULTILINE))
        self.assertGreater(len(spec), 5)
        bare = examples("second-factors.rst")["cluster-auth-preference"]
        AuthPreference.parse(Resource(bare.kind, bare.version, bare.metadata, spec))

    def test_the_role(self) -> None:
        """Asks in production, and for nothing that another role opens."""
        own = roles("second-factors.rst")["production"]
        checker = Checker.for_identity([own], username="alice", traits={})
        found = checker.target(Target.NODE, {"env": "production"}, {Principal.LOGINS: "root"})
        self.assertTrue(found.allowed)
        self.assertIsNot(found.mfa, SessionMFA.NO)
        self.assertFalse(checker.target(Target.NODE, {"env": "dev"}, {Principal.LOGINS: "root"}).allowed)


class SharedSessions(SynchronousTestCase):
    """
    C{shared-sessions.rst}.
    """

    def setUp(self) -> None:
        self.roles = roles("shared-sessions.rst")

    def test_they_can_be_created(self) -> None:
        """As they stand there."""
        for page in ("shared-sessions.rst", "second-factors.rst"):
            for resource in examples(page).values():
                kinds.validate(resource)
                if resource.kind == "role":
                    validate.role(resource)

    def test_helpers(self) -> None:
        """Type along with some, and watch all."""
        helper = [self.roles["helper"]]
        self.assertEqual(sessions.join_modes(helper, ["access"], "ssh"), {JoinMode.PEER, JoinMode.OBSERVER})
        self.assertEqual(sessions.join_modes(helper, ["editor"], "ssh"), {JoinMode.OBSERVER})

    def test_auditors(self) -> None:
        """Let sessions go on, as moderators, and no others do; those end without them."""
        watched, auditor = self.roles["production-watched"], self.roles["auditor"]
        modes = sessions.join_modes([auditor], ["production-watched"], "ssh")
        self.assertEqual(modes, {JoinMode.MODERATOR, JoinMode.OBSERVER})

        def with_(name: str, role: str, mode: JoinMode) -> bool:
            who = Participant(username=name, roles=(role,), traits={}, mode=mode)
            return sessions.presence([watched], "ssh", [who], owner="alice").satisfied

        self.assertTrue(with_("bob", "auditor", JoinMode.MODERATOR))
        self.assertFalse(with_("bob", "auditor", JoinMode.OBSERVER))
        self.assertFalse(with_("bob", "access", JoinMode.MODERATOR))
        self.assertFalse(with_("alice", "auditor", JoinMode.MODERATOR))
        self.assertFalse(sessions.presence([watched], "ssh", []).pause)
