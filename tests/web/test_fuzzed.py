"""
The API under requests that are made up from its own description, good ones and bad ones.
"""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode

from tests.web.live import HOST, Answer, Browser, LiveCase

pytestmark = pytest.mark.long

EACH = {GenerationMode.POSITIVE: 6, GenerationMode.NEGATIVE: 6}
"""Requests of each sort for each operation."""

OWN = ("delete_sessions_web",)
"""What would end the one who asks."""

AWAKE = ("get_sites_site_events_tail",)
"""What may take half a minute by design."""


def cases(operation: Any, mode: GenerationMode, count: int) -> list[Any]:
    """
    @return: made up by schemathesis, the same ones each time.
    """
    found: list[Any] = []

    @seed(4)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        verbosity=Verbosity.quiet,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def collect(case: Any) -> None:
        found.append(case)

    with contextlib.suppress(Unsatisfiable):  # there is nothing to get wrong
        collect()
    return found[:count]


def operations(description: dict[str, Any]) -> Iterator[Any]:
    for result in schemathesis.openapi.from_dict(description).get_all_operations():
        yield result.ok()


class FuzzedTests(LiveCase):
    """
    As an administrator, and as nobody.
    """

    timeout = 200

    async def test_described_requests(self) -> None:
        """
        Nothing that can be asked makes the proxy fail: each answer has a described status, is JSON that fits its
        description where it is JSON, shows no stack trace, and what is badly formed is never done.
        """
        root, _ = await self.person("root", "editor", "auditor", "access")
        description = (await root.ask("GET", "/webapi/openapi.json")).json
        seen: dict[int, int] = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for operation in operations(description):
                told = operation.definition.raw
                if told["operationId"] in AWAKE:
                    continue
                for mode, count in EACH.items():
                    for number, case in enumerate(cases(operation, mode, count)):
                        answer = await self.send(root, case, told, number)
                        self.check(told, case, answer)
                        seen[answer.status] = seen.get(answer.status, 0) + 1
        self.assertGreater(seen[200], 30)
        self.assertGreater(seen[400], 100)

    async def send(self, root: Browser, case: Any, told: Any, number: int) -> Answer:
        if "site" in (case.path_parameters or {}):
            case.path_parameters["site"] = "-current-"
        asked = case.as_transport_kwargs(base_url=f"https://{HOST}/webapi")
        fields = {name: asked.get(name) for name in ("method", "url", "params", "data", "json", "headers")}
        with_body = requests.Request(**fields).prepare()
        body = with_body.body.encode() if isinstance(with_body.body, str) else with_body.body or None
        who = Browser(self.http) if told["operationId"] in OWN else root
        who.address = f"198.51.{number % 100}.{abs(hash(told['operationId'])) % 250}"
        target = urlsplit(with_body.url)
        path = target.path + (f"?{target.query}" if target.query else "")
        kind = with_body.headers.get("Content-Type", "")
        return await who.ask(case.method, path, body if isinstance(body, bytes) else None, Content_Type=str(kind))

    def check(self, told: Any, case: Any, answer: Answer) -> None:
        asked = f"{case.method} {case.formatted_path} {case.query} {case.body!r:.300}"
        where = f"{asked} -> {answer.status} {answer.body[:300]!r}"
        self.assertLess(answer.status, 500, where)
        if answer.status in (400, 413, 431) and not answer.body:
            return  # no HTTP, or more of it than is taken: refused before anything has looked at it
        self.assertNotIn(b"Traceback", answer.body, where)
        self.assertNotIn(b"teleport_tw/", answer.body, where)
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff", where)
        if answer.status != 200:
            self.assertIsInstance(json.loads(answer.body)["error"]["message"], str)
            if answer.status != 405:  # another method than the one described
                self.assertIn(str(answer.status), told["responses"], where)
            return
        (media,) = told["responses"]["200"]["content"]
        schema = told["responses"]["200"]["content"][media]["schema"]
        if media == "application/json":
            jsonschema_rs.validate(schema, answer.json)
