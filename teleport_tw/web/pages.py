"""
The few pages that are made on the server: what goes wrong before the application is there.

They need no script and load nothing but one style sheet, so the strictest content policy holds.
"""

from __future__ import annotations

from typing import Any

from twisted.web.iweb import IRequest
from twisted.web.template import Element, Tag, XMLString, flattenString, renderer, tags

_FRAME = """
<html xmlns:t="http://twistedmatrix.com/ns/twisted.web.template/0.1" lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="referrer" content="no-referrer" />
    <title><t:transparent t:render="title" /></title>
    <link rel="stylesheet" href="/web/static/pages.css" />
    <link rel="icon" href="/web/static/icon.svg" type="image/svg+xml" />
  </head>
  <body><main>
    <p class="cluster"><t:transparent t:render="cluster" /></p>
    <h1><t:transparent t:render="title" /></h1>
    <t:transparent t:render="body" />
  </main></body>
</html>
"""


class Page(Element):
    """
    A heading and what is under it.

    @param title: of the window and the page.
    @param cluster: the cluster's name, above the heading.
    @param body: tags.
    """

    loader = XMLString(_FRAME)

    def __init__(self, title: str, cluster: str, *body: Any) -> None:
        super().__init__()
        self._title = title
        self._cluster = cluster
        self._body = body

    @renderer
    def title(self, request: IRequest | None, tag: Tag) -> str:
        """
        The heading.
        """
        return self._title

    @renderer
    def cluster(self, request: IRequest | None, tag: Tag) -> str:
        """
        Whose page it is.
        """
        return self._cluster

    @renderer
    def body(self, request: IRequest | None, tag: Tag) -> Tag:
        """
        All the rest.
        """
        return tag(*self._body)

    async def html(self) -> bytes:
        """
        @return: the document, UTF-8.
        """
        return b"<!DOCTYPE html>\n" + await flattenString(None, self)


def message(title: str, cluster: str, *paragraphs: str) -> Page:
    """
    @return: a page that only says something.
    """
    return Page(title, cluster, *(tags.p(text) for text in paragraphs))
