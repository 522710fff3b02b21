"""
The reference of the web API.
"""

from __future__ import annotations

from docutils.core import publish_string
from twisted.trial.unittest import SynchronousTestCase

from docs import endpoints
from teleport_tw.web.openapi import describe


class EndpointTests(SynchronousTestCase):
    """
    Every route there is.
    """

    def test_each_has_its_heading(self) -> None:
        """Once, with a sentence; as the description for programs has it."""
        lines = endpoints.page().splitlines()
        told = describe(endpoints.routes())["paths"]
        names = [f"{method.upper()} /webapi{path}" for path, methods in told.items() for method in methods]
        self.assertGreater(len(names), 80)
        for name in names:
            self.assertEqual(lines.count(name), 1, name)
        for route in endpoints.routes():
            self.assertTrue(route.about.endswith("."), endpoints.heading(route))

    def test_each_member_is_named(self) -> None:
        """Of queries and bodies."""
        text = endpoints.page()
        for route in endpoints.routes():
            for name in (*(route.query or {}), *(route.body.members if route.body is not None else {})):
                self.assertIn(f"``{name}``", text)

    def test_it_builds(self) -> None:
        """Without a warning."""
        publish_string(endpoints.page(), writer="html5", settings_overrides={"halt_level": 2, "report_level": 2})

    def test_what_needs_a_session(self) -> None:
        """Does not stand among what is for anybody."""
        first = endpoints.page().partition("Your account\n----")[0]
        self.assertIn("GET /webapi/ping\n", first)
        self.assertNotIn("/webapi/mfa/devices", first)
