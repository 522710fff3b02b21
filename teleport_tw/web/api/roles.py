"""
Roles: as forms and as YAML.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from teleport_tw.access import validate
from teleport_tw.resources import kinds
from teleport_tw.resources.metadata import Json, Resource
from teleport_tw.resources.roles import KIND
from teleport_tw.resources.text import dump
from teleport_tw.web.api.admin import MAX_YAML, MFA, WRITTEN, all_of, mistakes, shown, store, written
from teleport_tw.web.routes import Call, Reply, Route
from teleport_tw.web.shapes import FREE, Many, Table, Text, Whole

NOTHING = Table()
ITEMS = Table(members={"items": Many(of=FREE, most=100_000)}, needs=("items",))


@frozen
class Roles:
    """
    All calls run as the user.
    """

    def routes(self) -> Sequence[Route]:
        """See L{teleport_tw.web.site.Pages}."""
        error = Table(members={"message": Text(most=8192), "line": Whole()}, needs=("message", "line"))
        return (
            Route(method="GET", path="/roles", handler=self.list, about="All roles.", answer=ITEMS),
            Route(method="POST", path="/roles", handler=self.create, about="A new role.", body=WRITTEN, answer=FREE),
            Route(method="GET", path="/roles/<name>", handler=self.get, about="One role.", answer=FREE),
            Route(
                method="PUT",
                path="/roles/<name>",
                handler=self.update,
                about="Another content for a role.",
                body=WRITTEN,
                answer=FREE,
            ),
            Route(
                method="DELETE",
                path="/roles/<name>",
                handler=self.delete,
                about="Delete a role.",
                body=Table(members=MFA),
                answer=NOTHING,
            ),
            Route(
                method="POST",
                path="/yaml/parse/<kind>",
                handler=self.parse,
                about="What is wrong with a resource that is being written, line by line.",
                body=Table(members={"yaml": Text(most=MAX_YAML)}, needs=("yaml",)),
                answer=Table(members={"errors": Many(of=error), "resource": FREE}, needs=("errors",)),
            ),
            Route(
                method="POST",
                path="/yaml/stringify/<kind>",
                handler=self.stringify,
                about="A resource that is being written, as YAML.",
                body=Table(members={"resource": FREE}, needs=("resource",)),
                answer=Table(members={"yaml": Text()}, needs=("yaml",)),
            ),
        )

    async def list(self, call: Call) -> Reply:
        """
        C{GET /webapi/roles}.
        """
        return {"items": [_row(role) for role in await all_of(call.api, KIND)]}

    async def get(self, call: Call) -> Reply:
        """
        C{GET /webapi/roles/:name}.
        """
        return shown(await call.api.get(KIND, call.path["name"]))

    async def create(self, call: Call) -> Reply:
        """
        C{POST /webapi/roles}.
        """
        return shown(await call.api.create(written(call.body, KIND)))

    async def update(self, call: Call) -> Reply:
        """
        C{PUT /webapi/roles/:name}.
        """
        return shown(await store(call.api, written(call.body, KIND, call.path["name"])))

    async def delete(self, call: Call) -> Reply:
        """
        C{DELETE /webapi/roles/:name}.
        """
        await call.api.delete(KIND, call.path["name"])
        return {}

    async def parse(self, call: Call) -> Reply:
        """
        C{POST /webapi/yaml/parse/:kind}; nothing is stored.
        """
        kind = kinds.lookup(call.path["kind"]).name

        def check(resource: Resource) -> None:
            written({"object": resource.to_json()}, kind)
            validate.role(resource) if kind == KIND else kinds.validate(resource)

        resource, errors = mistakes(call.body["yaml"], check)
        return {"errors": errors, **({"resource": resource.to_json()} if resource is not None else {})}

    async def stringify(self, call: Call) -> Reply:
        """
        C{POST /webapi/yaml/stringify/:kind}; nothing is stored, and nothing is checked but the shape.
        """
        kind = kinds.lookup(call.path["kind"]).name
        return {"yaml": dump([written({"object": call.body["resource"]}, kind)])}


def _row(role: Resource) -> Json:
    allow = role.spec.get("allow")
    logins = allow.get("logins") if isinstance(allow, Mapping) else None
    return {
        "kind": KIND,
        "name": role.name,
        "description": role.metadata.description,
        "version": role.version,
        "logins": [str(login) for login in logins or ()],
        "internal": role.metadata.labels.get("teleport.internal/resource-type", ""),
        "revision": role.revision,
    }
