"""
Lists out of memory: every answer is that of the slow way, whatever has changed before.
"""

from __future__ import annotations

import random
from typing import Any

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from teleport_tw.access import languages
from teleport_tw.access.checker import Checker
from teleport_tw.api.contract import Change, Watched
from teleport_tw.base.errors import TeleportError
from teleport_tw.resources.metadata import Metadata, Resource
from teleport_tw.resources.nodes import all_labels
from teleport_tw.resources.roles import Role
from teleport_tw.web.catalogue import COLUMNS, MAX_ANSWERS, MAX_REACHED, Catalogue, Part, Question

ENVS, TEAMS = ("prod", "dev", "test", ""), ("a", "b")


def checker(**labels: Any) -> Checker:
    spec = {"allow": {"logins": ["root"], "node_labels": labels, "db_labels": labels}}
    return Checker.for_identity([Role.parse(Resource("role", "v7", Metadata("r"), spec))], username="u", traits={})


def node(name: str, hostname: str, labels: dict[str, str], revision: str = "1") -> Resource:
    metadata = Metadata(name, labels=labels, revision=revision)
    return Resource(
        "node", "v2", metadata, {"hostname": hostname, "addr": f"10.0.0.{len(hostname)}:22", "version": "1"}
    )


def database(host: str, name: str, labels: dict[str, str]) -> Resource:
    inner = {
        "kind": "db",
        "version": "v3",
        "metadata": {"name": name, "labels": labels, "description": "orders"},
        "spec": {"protocol": "postgres", "uri": "db:5432"},
    }
    spec = {"host_id": host, "hostname": "agent", "database": inner}
    return Resource("db_server", "v3", Metadata(f"{host}.{name}"), spec)


EVERYTHING, DEV, PATTERN, NOTHING = (
    checker(**{"*": ["*"]}),
    checker(env=["dev", "test"]),
    checker(team=["^[ab]$"], env="*"),
    checker(env="none"),
)
PEOPLE = (EVERYTHING, DEV, PATTERN, NOTHING)

EXPRESSIONS = (
    'labels["env"] == "prod"',
    'labels.env != "prod"',
    'labels["env"] == ""',
    '"prod" == labels["env"]',
    'hostname == "h1"',
    'name != "h1"',
    'addr == "10.0.0.2:22"',
    'search("h", "prod")',
    'search("H1")',
    '!search("a")',
    'has_prefix(hostname, "h") && labels["env"] == "dev"',
    'labels["env"] == "dev" || labels["team"] == "a" || name == "h2"',
    '!(labels["env"] == "dev" && labels["team"] == "a")',
    'exists(labels["team"])',
    'contains(split(hostname, "h"), "1")',
    'resource.spec.version == "1"',
    'resource.metadata.name == "3"',
    'description == ""',
    "true",
    'labels["env"] == labels["team"]',
)

steps = st.lists(
    st.tuples(
        st.sampled_from(("put", "beat", "drop")),
        st.integers(0, 5),
        st.integers(0, 3),
        st.sampled_from(ENVS),
        st.sampled_from(TEAMS),
    ),
    max_size=25,
)


def labels_of(env: str, team: str) -> dict[str, str]:
    return {"team": team, **({"env": env} if env else {})}


class CatalogueTests(SynchronousTestCase):
    """
    One index kept, and the same computed anew.
    """

    def expected(self, present: dict[str, Resource], who: Checker, question: Question) -> list[str]:
        """
        One after the other, as auth does it.
        """

        def fits(resource: Resource) -> bool:
            labels = all_labels(resource)
            places = [
                resource.name,
                str(resource.spec["hostname"]),
                str(resource.spec["addr"]),
                *labels,
                *labels.values(),
            ]
            if not who.can_see_node(labels).allowed:
                return False
            if not all(any(word.casefold() in place.casefold() for place in places) for word in question.words):
                return False
            if not question.expression:
                return True
            bindings = {
                "labels": labels,
                "name": resource.spec["hostname"],
                "hostname": resource.spec["hostname"],
                "addr": resource.spec["addr"],
                "description": "",
                "resource": resource.to_json(),
            }
            return languages.compiled(languages.QUERY, question.expression).holds(bindings)

        def rank(resource: Resource) -> tuple[str, str]:
            labels = all_labels(resource)
            column: dict[str, str] = {
                "name": str(resource.spec["hostname"]),
                "addr": str(resource.spec["addr"]),
                "labels": "\n".join(f"{name}={labels[name]}" for name in sorted(labels)),
            }
            return column[question.sort], resource.name

        return [resource.name for resource in sorted(filter(fits, present.values()), key=rank)]

    @settings(max_examples=60, deadline=None)
    @given(
        steps, st.sampled_from(PEOPLE), st.sampled_from(("", *EXPRESSIONS)), st.sampled_from(("name", "addr", "labels"))
    )
    def test_kept_up_to_date(self, steps: Any, who: Checker, expression: str, sort: str) -> None:
        """After any changes, asked between them or not, the list is what it would be computed anew."""
        catalogue, present = Catalogue(), dict[str, Resource]()
        question = Question(expression=expression, sort=sort)
        for number, (what, name, host, env, team) in enumerate(steps):
            key = str(name)
            if what == "put":
                present[key] = node(key, f"h{host}", labels_of(env, team), str(number))
                catalogue.learn(Watched(Change.PUT, present[key]))
            elif key in present and what == "beat":
                present[key] = present[key].with_revision(str(number))
                catalogue.learn(Watched(Change.PUT, present[key]))
            elif key in present:
                catalogue.learn(Watched(Change.DELETE, present.pop(key)))
            if number % 3 == 0:
                self.assertEqual(self.names(catalogue, who, question), self.expected(present, who, question))
        self.assertEqual(self.names(catalogue, who, question), self.expected(present, who, question))

    def names(self, catalogue: Catalogue, who: Checker, question: Question, **more: Any) -> list[str]:
        return [entry.key for entry in self.page(catalogue, who, question, **more).entries]

    def page(self, catalogue: Catalogue, who: Checker, question: Question, **more: Any) -> Part:
        asked = {"limit": 100, "start": "", "descending": False, **more}
        return catalogue.page(who, asked.pop("kinds", ("node",)), question, **asked)

    def filled(self, count: int = 40) -> tuple[Catalogue, dict[str, Resource]]:
        chance = random.Random(7)
        catalogue, present = Catalogue(), {}
        for number in range(count):
            labels = labels_of(chance.choice(ENVS), chance.choice(TEAMS))
            present[str(number)] = node(str(number), f"h{chance.randrange(9)}", labels)
            catalogue.learn(Watched(Change.PUT, present[str(number)]))
        return catalogue, present

    def test_expressions(self) -> None:
        """The quick ways of comparing give the same answers as the language itself."""
        catalogue, present = self.filled()
        for who in PEOPLE:
            for expression in EXPRESSIONS:
                question = Question(expression=expression)
                self.assertEqual(
                    self.names(catalogue, who, question), self.expected(present, who, question), expression
                )

    def test_search(self) -> None:
        """All words must occur, each somewhere, in any case."""
        catalogue, present = self.filled()
        for words in (("H1",), ("prod", "h"), ("env",), ("zzz",), ("10.0.0.2",)):
            question = Question(words=words)
            self.assertEqual(self.names(catalogue, EVERYTHING, question), self.expected(present, EVERYTHING, question))

    def test_bad_expressions(self) -> None:
        """What cannot be read or compared is the asker's mistake."""
        catalogue, _ = self.filled()
        for expression in ("(((", "none == 1", 'labels["env"] == 5', "name == labels", '"a"', "!hostname", "search(5)"):
            self.assertRaises(TeleportError, self.page, catalogue, EVERYTHING, Question(expression=expression))

    def test_pages(self) -> None:
        """Pages in either order join to the whole, also while things come and go in between."""
        catalogue, present = self.filled()
        for descending in (False, True):
            for kinds in (("node",), ("node", "db")):
                found, start = list[str](), ""
                while True:
                    part = self.page(
                        catalogue, DEV, Question(), limit=3, start=start, descending=descending, kinds=kinds
                    )
                    found += [entry.key for entry in part.entries]
                    start = part.next_start
                    if not start:
                        break
                whole = self.expected(present, DEV, Question())
                self.assertEqual(found, whole[::-1] if descending else whole)
                self.assertEqual(part.total, len(whole))
        first = self.page(catalogue, EVERYTHING, Question(), limit=5)
        catalogue.learn(Watched(Change.DELETE, present[first.entries[-1].key]))
        second = self.page(catalogue, EVERYTHING, Question(), limit=5, start=first.next_start)
        self.assertFalse({entry.key for entry in first.entries} & {entry.key for entry in second.entries})
        for start in ("x", "W10=", "WzEsMiwzXQ==", "bnVsbA=="):
            self.assertRaises(TeleportError, self.page, catalogue, EVERYTHING, Question(), start=start)

    def test_databases(self) -> None:
        """One that several agents serve is listed once, for as long as one of them does."""
        catalogue = Catalogue()
        one, two = database("host-1", "orders", {"env": "dev"}), database("host-2", "orders", {"env": "dev"})
        for each in (one, two, database("host-1", "other", {"env": "prod"})):
            catalogue.learn(Watched(Change.PUT, each))
        question = Question(sort="protocol")
        self.assertEqual(self.names(catalogue, EVERYTHING, question, kinds=("db",)), ["orders", "other"])
        self.assertEqual(self.names(catalogue, DEV, question, kinds=("db",)), ["orders"])
        self.assertEqual(self.names(catalogue, EVERYTHING, Question(words=("postgres",)), kinds=("db",)), [])
        self.assertEqual(self.names(catalogue, EVERYTHING, Question(sort="description"), kinds=("db",))[0], "orders")
        gone = Resource("db_server", "", Metadata(one.name))
        catalogue.learn(Watched(Change.DELETE, gone))
        self.assertEqual(self.names(catalogue, DEV, question, kinds=("db",)), ["orders"])
        catalogue.learn(Watched(Change.DELETE, two))
        self.assertEqual(self.names(catalogue, DEV, question, kinds=("db",)), [])
        broken = evolve(one, spec={"database": {"metadata": 5}})
        catalogue.learn(Watched(Change.PUT, broken))
        self.assertEqual(len(self.names(catalogue, EVERYTHING, Question(), kinds=("db",))), 2)

    def test_bounds(self) -> None:
        """Neither questions nor sets of roles are kept without end."""
        catalogue, _ = self.filled()
        index = catalogue.indices["node"]
        for number in range(MAX_ANSWERS + 20):
            self.page(catalogue, EVERYTHING, Question(words=(str(number),)))
        self.assertEqual(len(index._answers), MAX_ANSWERS)
        for number in range(MAX_REACHED + 5):
            self.page(catalogue, checker(env=[str(number), "dev"]), Question())
        self.assertEqual(len(index._reached), MAX_REACHED)
        self.assertLessEqual(len(index._answers), MAX_ANSWERS)
        for column in COLUMNS:
            self.assertEqual(len(self.names(catalogue, EVERYTHING, Question(sort=column))), 40, column)
