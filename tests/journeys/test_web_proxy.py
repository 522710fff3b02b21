"""
The API at a proxy that is another process than auth: calls of users go over gRPC, with their own certificates.
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from typing import Any, ClassVar

import pytest
from twisted.trial.unittest import SynchronousTestCase

from tests.journeys.cluster import PASSWORD, Cluster, Service, free_ports, until

pytestmark = pytest.mark.servers

SITE = "/webapi/sites/-current-"


class WebProxyTests(SynchronousTestCase):
    """
    Auth here, the proxy there.
    """

    cluster: ClassVar[Cluster]

    def setUp(self) -> None:
        self.cluster = cluster = Cluster(roles=("auth",)).start()
        self.addCleanup(cluster.close)
        web, ssh_port, diag = free_ports(3)
        token = json.loads(cluster.tctl("tokens", "add", "--type=proxy", "--format=json"))["token"]
        configuration = {
            "version": "v3",
            "teleport": {
                "nodename": "proxy-1",
                "data_dir": str(cluster.folder / "proxy-data"),
                "diag_addr": f"127.0.0.1:{diag}",
                "auth_server": f"127.0.0.1:{cluster.auth}",
                "join_params": {"token_name": token, "method": "token"},
                "ca_pin": [cluster.pin],
            },
            "auth_service": {"enabled": False},
            "ssh_service": {"enabled": False},
            "proxy_service": {
                "enabled": True,
                "web_listen_addr": f"127.0.0.1:{web}",
                "listen_addr": f"127.0.0.1:{ssh_port}",
                "public_addr": f"localhost:{web}",
            },
        }
        self.proxy = Service(cluster.folder / "proxy", "teleport", configuration)
        self.addCleanup(self.proxy.stop)
        self.proxy.start()
        cluster.web = web
        self.cookies: dict[str, str] = {}
        self.bearer = ""

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """
        @return: status and JSON.
        """
        context = ssl._create_unverified_context()
        request = urllib.request.Request(f"https://{self.cluster.proxy}{path}", method=method)
        request.add_header("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        request.add_header("X-CSRF-Token", self.cookies.get("__Host-csrf", ""))
        request.add_header("Authorization", f"Bearer {self.bearer}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        try:
            answer = urllib.request.urlopen(request, context=context, timeout=60)
        except urllib.error.HTTPError as error:
            answer = error  # type: ignore[assignment]  # it is an answer too
        with answer:
            for told in answer.headers.get_all("Set-Cookie") or ():
                name, _, value = told.partition(";")[0].partition("=")
                self.cookies[name] = value
            return answer.status, json.loads(answer.read())

    def created(self, name: str) -> list[Any]:
        """
        @return: the log's events of a user's creation.
        """
        status, found = self.ask("GET", f"{SITE}/events/search?include=user.create")
        self.assertEqual(status, 200)
        return [event for event in found["events"] if event["name"] == name]

    def test_as_the_user(self) -> None:
        """Signing in, lists, the log, a change and a refusal: all as the user whose session it is."""
        authenticator = self.cluster.sign_up("root", roles="editor,auditor")
        code = authenticator.at(int(time.time()) + 30)
        proof = {"user": "root", "password": PASSWORD, "second_factor_token": code}
        status, answer = self.ask("POST", "/webapi/mfa/login/finishsession", proof)
        self.assertEqual(status, 200, answer)
        self.bearer = answer["token"]
        self.assertEqual(self.ask("GET", f"{SITE}/context")[1]["roles"], ["editor", "auditor"])
        self.assertEqual(self.ask("GET", f"{SITE}/nodes"), (200, {"items": [], "startKey": "", "totalCount": 0}))
        self.assertEqual(self.ask("POST", "/webapi/users", {"name": "bob", "roles": ["access"]})[0], 200)
        (event,) = until(lambda: self.created("bob"), "the event of bob's creation")
        self.assertEqual(event["user"], "root")
        self.assertEqual(self.ask("POST", "/webapi/users", {"name": "bob", "roles": ["access"]})[0], 409)
        self.assertEqual(self.ask("GET", f"{SITE}/sessions")[0], 200)
        self.cluster.tctl("lock", "--user=root", "--message=no more")
        self.assertIn(self.ask("GET", "/webapi/users")[0], (401, 403))
        self.assertEqual(self.ask("DELETE", "/webapi/sessions/web")[0], 200)
        self.assertEqual(self.ask("GET", "/webapi/users")[0], 401)
