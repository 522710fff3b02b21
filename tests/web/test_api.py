"""
The JSON endpoints, as users with different roles.
"""

from __future__ import annotations

import csv
import io
import json
from typing import Any
from urllib.parse import quote

from teleport_tw.resources.metadata import Metadata, Resource
from tests.proxy.world import until
from tests.web.live import SITE, LiveCase

HTML = "<img src=x onerror=alert(1)>"
ROLE = """kind: role
version: v7
metadata:
  name: dev
spec:
  allow:
    logins: [dev]
    node_labels:
      env: dev
"""


class ApiTests(LiveCase):
    """
    What is asked for, and who may not.
    """

    async def known(self, kind: str, name: str) -> None:
        await until(lambda: any(each.name == name for each in self.copy.list(kind)))

    async def test_lists(self) -> None:
        """A user sees what the roles reach: sorted by any column either way, searched, filtered, a page at a time."""
        await self.role(
            "dev", allow={"logins": ["dev", "{{internal.logins}}"], "node_labels": {"env": ["dev", "test"]}}
        )
        for number in range(7):
            await self.node(f"id-{number}", f"host-{number}", env=("dev", "test", "prod")[number % 3], n=str(number))
        await self.known("node", "id-6")
        alice, _ = await self.person("alice", "dev")

        async def names(query: str = "") -> list[str]:
            answer = await alice.ask("GET", f"{SITE}/nodes?{query}")
            self.assertEqual(answer.status, 200, answer.body)
            return [each["hostname"] for each in answer.json["items"]]

        self.assertEqual(await names(), ["host-0", "host-1", "host-3", "host-4", "host-6"])
        self.assertEqual(await names("sort=hostname:desc&limit=2"), ["host-6", "host-4"])
        self.assertEqual(await names("sort=labels:asc&limit=2"), ["host-0", "host-3"])
        self.assertEqual(await names("search=HOST+test"), ["host-1", "host-4"])
        self.assertEqual(
            await names("query=" + quote('labels["env"] == "dev" && labels["n"] != "3"')), ["host-0", "host-6"]
        )
        self.assertEqual(await names("query=" + quote('hostname == "host-2"')), [])
        first = (await alice.ask("GET", f"{SITE}/nodes?limit=3")).json
        self.assertEqual((first["totalCount"], len(first["items"])), (5, 3))
        self.assertEqual(await names(f"limit=3&startKey={quote(first['startKey'])}"), ["host-4", "host-6"])
        item = first["items"][0]
        self.assertEqual(item["sshLogins"], ["dev", "root"])
        self.assertEqual(item["labels"], [{"name": "env", "value": "dev"}, {"name": "n", "value": "0"}])
        unified = (await alice.ask("GET", f"{SITE}/resources?kinds=node;db")).json
        self.assertEqual(unified["totalCount"], 5)

    async def test_a_role_changes(self) -> None:
        """What a list shows follows the roles as they are now, and the nodes."""
        await self.role("dev", allow={"logins": ["dev"], "node_labels": {"env": "dev"}})
        await self.node("id-1", "one", env="dev")
        await self.node("id-2", "two", env="prod")
        alice, _ = await self.person("alice", "dev")

        async def names() -> list[str]:
            return [each["hostname"] for each in (await alice.ask("GET", f"{SITE}/nodes")).json["items"]]

        self.assertEqual(await names(), ["one"])
        await self.role("dev", allow={"logins": ["dev"], "node_labels": {"*": "*"}})
        await until(lambda: self.copy.get("role", "dev").spec["allow"]["node_labels"] == {"*": "*"})
        self.assertEqual(await names(), ["one", "two"])
        await self.node("id-1", "renamed", env="dev")
        await until(lambda: self.copy.get("node", "id-1").spec["hostname"] == "renamed")
        self.assertEqual(await names(), ["renamed", "two"])
        await self.admin.delete("node", "id-2")
        await until(lambda: len(self.copy.list("node")) == 1)
        self.assertEqual(await names(), ["renamed"])

    async def test_refused(self) -> None:
        """Who may not is told 403 in auth's words, whatever is asked; what is not understood is told 400."""
        await self.role("none", allow={"node_labels": {"*": "*"}, "logins": ["root"]})
        alice, _ = await self.person("alice", "none")
        for method, path, body in (
            ("GET", "/webapi/users", None),
            ("POST", "/webapi/users", {"name": "eve", "roles": ["access"]}),
            ("PUT", "/webapi/users/alice", {"roles": ["editor"]}),
            ("DELETE", "/webapi/users/alice", None),
            ("POST", "/webapi/users/alice/reset", {}),
            ("GET", "/webapi/roles", None),
            ("POST", "/webapi/roles", {"yaml": ROLE}),
            ("DELETE", "/webapi/roles/editor", None),
            ("GET", "/webapi/tokens", None),
            ("POST", "/webapi/token", {"roles": ["Node"]}),
            ("POST", f"{SITE}/locks", {"targets": {"user": "root"}}),
            ("GET", f"{SITE}/events/search", None),
            ("GET", f"{SITE}/events/tail", None),
            ("GET", f"{SITE}/events/export?format=csv", None),
        ):
            answer = await alice.ask(method, path, body)
            self.assertEqual(answer.status, 403, (path, answer.body))
            self.assertNotIn("Traceback", answer.body.decode())
        self.assertIn("access denied", (await alice.ask("GET", "/webapi/users")).error)
        for path in (
            f"{SITE}/nodes?limit=0",
            f"{SITE}/nodes?limit=501",
            f"{SITE}/nodes?limit=x",
            f"{SITE}/nodes?limit=%C2%B2",
            f"{SITE}/nodes?sort=password:asc",
            f"{SITE}/nodes?sort=hostname:up",
            f"{SITE}/nodes?query=(((",
            f"{SITE}/nodes?startKey=AAAA",
            f"{SITE}/nodes?startKey=" + quote("W10="),
            f"{SITE}/nodes?unknown=1",
            f"{SITE}/nodes?limit=1&limit=2",
            f"{SITE}/nodes?search=%ff",
            f"{SITE}/resources?kinds=user",
        ):
            answer = await alice.ask("GET", path)
            self.assertEqual(answer.status, 400, (path, answer.body))
        self.assertEqual((await alice.ask("GET", "/webapi/sites/other.example/nodes")).status, 404)
        self.assertEqual((await alice.ask("GET", "/webapi/sites/example.com/nodes")).status, 200)

    async def test_bodies(self) -> None:
        """What is no JSON, or not what is described, is refused before anybody is asked about it."""
        root, _ = await self.person("root", "editor")
        for body in (
            b"",
            b"{",
            b"[]",
            b"null",
            b'"x"',
            b"\xff\xfe",
            b"[" * 50_000,
            b'{"a":' * 20_000,
            b'{"name": "x", "roles": ["access"], "admin": true}',
            b'{"name": 5, "roles": ["access"]}',
            b'{"name": "x", "roles": "access"}',
            b'{"name": "x", "roles": [null]}',
            b'{"name": "", "roles": ["access"]}',
            b'{"name": "\\ud800", "roles": ["access"]}',
            b'{"name": "x", "roles": ["access"], "ttl": NaN}',
            b'{"roles": ["access"]}',
            b'{"name": "x", "roles": ["access"], "traits": {"logins": "root"}}',
            json.dumps({"name": "x" * 300, "roles": ["access"]}).encode(),
        ):
            answer = await root.ask("POST", "/webapi/users", body, Content_Type="application/json")
            self.assertEqual(answer.status, 400, (body[:40], answer.body))
            self.assertNotIn("Traceback", answer.body.decode())
        big = await root.ask("POST", "/webapi/users", b"{" + b" " * 200_000 + b"}")
        self.assertEqual(big.status, 413)

    async def test_users(self) -> None:
        """A user is made with a link, changed, given a new link, and deleted."""
        root, _ = await self.person("root", "editor")
        made = await root.ask(
            "POST", "/webapi/users", {"name": "bob", "roles": ["access"], "traits": {"logins": ["bob"]}}
        )
        self.assertEqual(made.status, 200, made.body)
        self.assertTrue(made.json["url"].startswith("https://proxy.example.com:443/web/invite/"))
        again = await root.ask("POST", "/webapi/users", {"name": "bob", "roles": ["access"]})
        self.assertEqual(again.status, 409)
        (bob,) = [each for each in (await root.ask("GET", "/webapi/users")).json["items"] if each["name"] == "bob"]
        self.assertEqual((bob["roles"], bob["traits"], bob["isLocked"]), (["access"], {"logins": ["bob"]}, False))
        await self.admin.create(Resource("lock", "v2", Metadata("l"), {"target": {"user": "bob"}, "message": "why"}))
        some = {"target": {"user": "root", "mfa_device": "d"}}
        await self.admin.create(Resource("lock", "v2", Metadata("m"), some))
        rows = {each["name"]: each for each in (await root.ask("GET", "/webapi/users")).json["items"]}
        self.assertEqual((rows["bob"]["isLocked"], rows["bob"]["lockMessage"]), (True, "why"))
        self.assertFalse(rows["root"]["isLocked"])
        await self.admin.delete("lock", "l")
        changed = await root.ask("PUT", "/webapi/users/bob", {"roles": ["auditor"], "revision": bob["revision"]})
        self.assertEqual((changed.status, changed.json["roles"]), (200, ["auditor"]))
        late = await root.ask("PUT", "/webapi/users/bob", {"roles": ["access"], "revision": bob["revision"]})
        self.assertEqual(late.status, 412)
        self.assertEqual((await root.ask("PUT", "/webapi/users/bob", {"roles": ["none-such"]})).status, 404)
        reset = await root.ask("POST", "/webapi/users/bob/reset")
        self.assertIn("/web/reset/", reset.json["url"])
        self.assertEqual((await root.ask("DELETE", "/webapi/users/bob")).status, 200)
        self.assertEqual((await root.ask("GET", "/webapi/users/bob")).status, 404)

    async def test_roles(self) -> None:
        """A role is written as YAML; mistakes are told with their line, and nobody's change is lost."""
        root, _ = await self.person("root", "editor")
        made = await root.ask("POST", "/webapi/roles", {"yaml": ROLE})
        self.assertEqual((made.status, made.json["name"]), (200, "dev"))
        other = made.json["yaml"].replace("[dev]", "[dev, root]").replace("- dev", "- root")
        self.assertEqual((await root.ask("PUT", "/webapi/roles/dev", {"yaml": other})).status, 200)
        self.assertEqual((await root.ask("PUT", "/webapi/roles/dev", {"yaml": other})).status, 412)
        self.assertEqual((await root.ask("PUT", "/webapi/roles/dev", {"yaml": ROLE})).status, 200)
        self.assertEqual((await root.ask("PUT", "/webapi/roles/none", {"yaml": ROLE})).status, 400)
        written = await root.ask("POST", "/webapi/yaml/stringify/role", {"resource": made.json["object"]})
        self.assertEqual(written.json, {"yaml": made.json["yaml"]})
        wrong = await root.ask("POST", "/webapi/yaml/stringify/user", {"resource": made.json["object"]})
        self.assertEqual(wrong.status, 400)
        self.assertEqual(
            (await root.ask("POST", "/webapi/roles", {"yaml": ROLE.replace("role", "user", 1)})).status, 400
        )
        self.assertEqual((await root.ask("POST", "/webapi/roles", {})).status, 400)

        async def lines(text: str) -> list[int]:
            answer = await root.ask("POST", "/webapi/yaml/parse/role", {"yaml": text})
            self.assertEqual(answer.status, 200, answer.body)
            return [each["line"] for each in answer.json["errors"]]

        self.assertEqual(await lines(ROLE), [])
        self.assertEqual(await lines(ROLE.replace("[dev]", "5")), [7])
        self.assertEqual(await lines(ROLE.replace("name: dev", "name: ''")), [4])
        self.assertEqual(await lines(ROLE.replace("v7", "v70")), [2])
        self.assertEqual(await lines(ROLE.replace("env: dev", "env: '^([$'")), [9])
        self.assertEqual(await lines(ROLE + "  options:\n    none_such: 1\n"), [11])
        self.assertEqual(await lines(ROLE.replace("spec:", "spec: [")), [7])
        self.assertEqual(len(await lines("")), 1)
        self.assertEqual(len(await lines(ROLE.replace("role", "user", 1))), 1)
        self.assertEqual((await root.ask("POST", "/webapi/yaml/parse/none", {"yaml": ""})).status, 400)
        self.assertEqual((await root.ask("DELETE", "/webapi/roles/dev")).status, 200)

    async def test_tokens(self) -> None:
        """A token's value is shown once, to who made it; lists mask it, and it is deleted without being named."""
        root, _ = await self.person("root", "editor")
        made = (await root.ask("POST", "/webapi/token", {"roles": ["Node"], "ttl": "1h"})).json
        self.assertIn(f"--token={made['id']}", made["command"])
        self.assertIn(f"--ca-pin={made['caPin'][0]}", made["command"])
        listed = await root.ask("GET", "/webapi/tokens")
        self.assertNotIn(made["id"].encode(), listed.body)
        (token,) = [each for each in listed.json["items"] if each["handle"] == made["handle"]]
        self.assertTrue(token["id"].startswith("*") and made["id"].endswith(token["id"].lstrip("*")))
        joined = f"/webapi/token/{made['handle']}/joined"
        self.assertEqual((await root.ask("GET", joined)).json, {"items": []})
        stranger = self.browser()
        refused = await stranger.ask("POST", "/webapi/host/credentials", {"token": "wrong" * 5, "role": "Node"})
        self.assertGreaterEqual(refused.status, 400)
        self.assertEqual((await root.ask("GET", joined)).json, {"items": []})
        self.assertEqual((await root.ask("DELETE", f"/webapi/tokens/{made['handle']}")).status, 200)
        self.assertEqual((await root.ask("DELETE", f"/webapi/tokens/{made['handle']}")).status, 404)

    async def test_events(self) -> None:
        """The log is searched, followed, and exported whole; a name that is a formula stays text in a spreadsheet."""
        root, _ = await self.person("root", "editor", "auditor")
        began = (await root.ask("GET", f"{SITE}/events/tail")).json
        self.assertEqual(began["events"], [])
        await root.ask("POST", "/webapi/users", {"name": "=1+1", "roles": ["access"]})
        await root.ask("POST", f"{SITE}/locks", {"targets": {"user": "x"}, "message": HTML})
        told = (await root.ask("GET", f"{SITE}/events/tail?startKey={quote(began['startKey'])}")).json
        seen = [each["event"] for each in told["events"]]
        while "lock.created" not in seen:
            told = (await root.ask("GET", f"{SITE}/events/tail?startKey={quote(told['startKey'])}")).json
            seen += [each["event"] for each in told["events"]]
        self.assertEqual(len(seen), len(set(seen)) + (seen.count("user.create") - 1 if "user.create" in seen else 0))
        page = (await root.ask("GET", f"{SITE}/events/search?include=lock.created&limit=1")).json
        self.assertEqual([each["event"] for each in page["events"]], ["lock.created"])
        rows = list(csv.reader(io.StringIO((await root.ask("GET", f"{SITE}/events/export?format=csv")).body.decode())))
        self.assertEqual(rows[0][:3], ["time", "code", "event"])
        self.assertFalse([cell for row in rows for cell in row if cell.startswith("=")])
        lines = (await root.ask("GET", f"{SITE}/events/export?format=json")).body.decode().splitlines()
        self.assertEqual(len(lines), len(rows) - 1)
        self.assertEqual((await root.ask("GET", f"{SITE}/events/search?from=yesterday")).status, 400)

    async def test_exported_by_a_ticket(self) -> None:
        """The browser fetches the log itself: once, and nobody else does; who may not is told before."""
        root, _ = await self.person("root", "editor", "auditor")
        other, _ = await self.person("eve", "auditor")
        ticket = f"{SITE}/events/export/ticket?format=csv&include=user.create"
        first, second = [(await root.ask("POST", ticket)).json["url"] for _ in range(2)]
        got = await root.ask("GET", first)
        names = {row["event"] for row in csv.DictReader(io.StringIO(got.body.decode()))}
        self.assertEqual((got.status, names), (200, {"user.create"}))
        self.assertEqual((await root.ask("GET", first)).status, 404)
        self.assertEqual((await other.ask("GET", second)).status, 404)
        nobody, _ = await self.person("mallory", "requester")
        self.assertEqual((await nobody.ask("POST", ticket)).status, 403)

    async def test_sessions(self) -> None:
        """A session is listed with who is in it, and with the ways in that the roles allow."""
        await self.role(
            "watch",
            allow={"join_sessions": [{"name": "a", "roles": ["access"], "kinds": ["ssh"], "modes": ["observer"]}]},
        )
        await self.cluster.user("bob", "access")
        spec: dict[str, Any] = {
            "kind": "ssh", "state": "running", "hostname": HTML, "address": "id-1", "login": "root", "host_user": "bob",
            "participants": [{"id": "1", "user": "bob", "mode": "peer"}],
        }  # fmt: skip
        await self.admin.upsert(
            Resource("session_tracker", "v1", Metadata("5d1f6d6e-0000-4000-8000-000000000001"), spec)
        )
        alice, _ = await self.person("alice", "watch")
        eve, _ = await self.person("eve", "access")
        (session,) = (await alice.ask("GET", f"{SITE}/sessions")).json["sessions"]
        self.assertEqual((session["login"], session["modes"], session["moderated"]), ("root", ["observer"], False))
        self.assertEqual(session["participants"], [{"user": "bob", "mode": "peer"}])
        self.assertEqual((await eve.ask("GET", f"{SITE}/sessions")).json["sessions"], [])

    async def test_names_are_data(self) -> None:
        """HTML in names comes back as JSON, which no browser takes for a page."""
        await self.role("dev", allow={"logins": ["dev"], "node_labels": {"*": "*"}})
        await self.node("id-1", HTML, note=HTML)
        alice, _ = await self.person("alice", "dev")
        await self.known("node", "id-1")
        answer = await alice.ask("GET", f"{SITE}/nodes")
        self.assertEqual(answer.json["items"][0]["hostname"], HTML)
        self.assertEqual(answer.headers["content-type"], "application/json")
        self.assertEqual(answer.headers["x-content-type-options"], "nosniff")
        refused = await alice.ask("GET", f"/webapi/users/{quote(HTML)}")
        self.assertEqual(refused.headers["content-type"], "application/json")
        page = await alice.ask("GET", f"/web/{quote(HTML)}")
        self.assertNotIn(HTML.encode(), page.body)

    async def test_paths(self) -> None:
        """Neither dots nor encoded slashes lead anywhere else, and no method but the table's own is taken."""
        alice, _ = await self.person("alice", "access")
        for path in (
            "/webapi/../etc/passwd",
            "/webapi/sites/-current-/%2e%2e/%2e%2e/users",
            "/web/app/../../../etc/passwd",
            "/web/app/%2e%2e/%2e%2e/etc/passwd",
            f"/web/app/{self.site.assets.version}/../site.py",
            "/webapi//users",
            "/webapi/none",
        ):
            answer = await alice.ask("GET", path)
            self.assertIn(answer.status, (301, 302, 308, 400, 404), path)
            self.assertNotIn(b"root:", answer.body)
        for method in ("PATCH", "TRACE", "OPTIONS", "PROPFIND"):
            self.assertEqual((await alice.ask(method, "/webapi/users")).status, 405, method)

    async def test_described(self) -> None:
        """Every route is told once, and needs what is told; under both prefixes the same."""
        answer = await self.browser().ask("GET", "/webapi/openapi.json")
        told = answer.json
        self.assertEqual(told, (await self.browser().ask("GET", "/v1/webapi/openapi.json")).json)
        names = [each["operationId"] for path in told["paths"].values() for each in path.values()]
        self.assertEqual(len(names), len(set(names)))
        listed = [route for route in self.site.routes if route.listed]
        self.assertEqual(len(names), len(listed))
        for path, methods in told["paths"].items():
            for method, each in methods.items():
                if each["security"] and "bearer" in each["security"][0] and method == "get":
                    asked = await self.browser().ask("GET", "/webapi" + path.replace("{", "").replace("}", ""))
                    self.assertEqual(asked.status, 401, path)

    async def test_searched_with_anything(self) -> None:
        """No text that is searched for, and no start of a page, is more than text to what looks for it."""
        root, _ = await self.person("root", "editor", "auditor")
        for text in ("a\0b", "\0", '"', '""*', "a OR b", "NEAR(", "%", "\x1b[2J", "ß" * 100):
            for path in (f"{SITE}/recordings/search?text=", f"{SITE}/events/search?search=", f"{SITE}/nodes?search="):
                answer = await root.ask("GET", path + quote(text))
                self.assertIn(answer.status, (200, 400), (path, text))
        for start in ("x", "1-²", "9" * 40 + "-1", "1-" + "9" * 40, "-", "1-1-1"):
            answer = await root.ask("GET", f"{SITE}/events/search?startKey={quote(start)}")
            self.assertEqual(answer.status, 400, start)
