"""
What C{docs/roles.rst} says of roles, asked of the code that decides.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from enum import Enum
from pathlib import Path
from textwrap import dedent
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access import languages, traits, validate
from teleport_tw.access.checker import Checker
from teleport_tw.access.options import merge
from teleport_tw.base.timing import format_duration
from teleport_tw.resources import kinds
from teleport_tw.resources.metadata import Resource
from teleport_tw.resources.roles import Role

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "roles.rst").read_text()
ROW = re.compile(r"^``(\w+)`` +(\w+(?: \w+)?) {2,}(\w+) +(yes|no|see below)$", re.MULTILINE)
PAIRS: dict[str, tuple[Any, Any]] = {
    "shortest": ("1h", "2h"),
    "lowest": (3, 5),
    "any yes": (True, False),
    "all yes": (True, False),
}
STRICT = {"lock": ("best_effort", "strict"), "request_access": ("optional", "always")}
STRICT |= {"device_trust_mode": ("optional", "required"), "require_session_mfa": ("no", "hardware_key")}


def examples() -> Iterator[dict[str, Any]]:
    """
    @return: every YAML block of the page.
    """
    for block in re.findall(r"\.\. code-block:: yaml\n\n((?:   .*\n|\n)+)", PAGE):
        yield yaml.safe_load(dedent(block))


def role(name: str, **options: Any) -> Role:
    """
    @return: with nothing but options.
    """
    return Role.parse(
        Resource.from_json({"kind": "role", "version": "v7", "metadata": {"name": name}, "spec": {"options": options}})
    )


def shown(value: Any) -> str:
    """
    @return: as the table has it.
    """
    if isinstance(value, timedelta):
        return format_duration(value).replace("0m0s", "") if value else "never"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return str(value.value) if isinstance(value.value, str) else value.name.lower()
    return str(value)


class RolesPageTests(SynchronousTestCase):
    """
    Examples, tables and names.
    """

    def test_examples_are_taken(self) -> None:
        """
        Each as C{tctl create} takes it.
        """
        found = list(examples())
        self.assertGreater(len(found), 4)
        for each in found:
            resource = Resource.from_json(each)
            kinds.validate(resource)
            if resource.kind == "role":
                validate.role(resource)

    def test_the_first_example_decides_as_the_page_says(self) -> None:
        """
        Labels are and-ed, values or-ed; deny wins.
        """
        dev = Role.parse(Resource.from_json(next(examples())))
        had = {"logins": ("alice", "root"), "team": ("data",)}
        checker = Checker.for_identity([dev], username="alice", traits=had)
        good = {"env": "dev", "team": "data", "region": "us-east-1"}
        self.assertTrue(checker.node(good, "alice").allowed)
        self.assertTrue(checker.node({**good, "region": "eu-9"}, "ubuntu").allowed)
        for labels, login in (
            (good, "root"),
            (good, "bob"),
            ({**good, "tier": "vault"}, "alice"),
            ({**good, "team": "web"}, "alice"),
            ({**good, "region": "us-north-1"}, "alice"),
            ({"env": "dev"}, "alice"),
        ):
            self.assertFalse(checker.node(labels, login).allowed, (labels, login))

    def test_the_table_of_options_is_true(self) -> None:
        """
        What holds when nobody says anything, and when two roles differ.
        """
        rows = ROW.findall(PAGE)
        self.assertGreater(len(rows), 15)
        nothing = merge([role("a")])
        for name, several, default, _ in rows:
            self.assertEqual(shown(getattr(nothing, name)), default, name)
            if several not in PAIRS and several != "strictest":
                continue
            laxer, stricter = STRICT[name] if several == "strictest" else PAIRS[several]
            merged = shown(getattr(merge([role("a", **{name: laxer}), role("b", **{name: stricter})]), name))
            wanted = {"shortest": "1h", "lowest": "3", "any yes": "yes", "all yes": "no"}.get(several, str(stricter))
            self.assertEqual(merged, wanted, name)

    def test_templates_are_taken(self) -> None:
        """
        Every one of the table, with what it says of it.
        """
        had = {"logins": ("a",), "team": ("t",), "some-claim": ("c",), "email": ("x@y",), "group": ("env-p", "q")}
        found = re.findall(r"^``(\S*\{\{.+?\}\}\S*?)`` {2,}", PAGE, re.MULTILINE)
        self.assertEqual([traits.fill(each, had) for each in found], [("a",), ("dev-t",), ("c",), ("x",), ("p",)])

    def test_functions_are_known(self) -> None:
        """
        Those of each place, and those of all.
        """
        section = PAGE.partition("The expression language")[2]
        places = {
            "``where`` of rules": languages.WHERE,
            "``node_labels_expression`` and": languages.LABELS,
            "``tsh ls --query``": languages.QUERY,
            "everywhere": languages.WHERE,
        }
        for heading, language in places.items():
            body = section.partition(f"\n{heading}")[2].partition("\n")[2]
            body = re.split(r"\n(?=\S)", body)[0]
            names = [name.removesuffix("()") for name in re.findall(r"``([^`]+)``", body)]
            self.assertTrue(names, heading)
            for name in names:
                known = name in language.functions or name in language.fields
                self.assertTrue(known, f"{heading}: {name}")
