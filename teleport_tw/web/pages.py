"""
The few pages that are made on the server: sign-up, reset, and what goes wrong on the way.

They need no script and load nothing but one style sheet, so the strictest content policy holds.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import segno
from twisted.web.iweb import IRequest
from twisted.web.template import Element, Tag, XMLString, flattenString, renderer, tags

from teleport_tw.api.contract import SetupPurpose, SetupTicket

MIN_PASSWORD = 12
MAX_PASSWORD = 128

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


def setup(ticket: SetupTicket, cluster: str, problem: str = "") -> Page:
    """
    The form behind an invite or reset link: a new password, then the authenticator.

    @param problem: what was wrong with the answer before, for the user.
    """
    inviting = ticket.purpose is SetupPurpose.INVITE
    title = f"Welcome, {ticket.username}" if inviting else f"A new password for {ticket.username}"
    return Page(
        title,
        cluster,
        tags.p(problem, class_="problem", role="alert") if problem else "",
        tags.form(*_fields(ticket), method="post", autocomplete="off"),
    )


def _fields(ticket: SetupTicket) -> Iterator[Tag]:
    otp = bool(ticket.otp_secret)
    yield tags.section(
        tags.h2("1. Choose a password") if otp else "",
        tags.input(type="hidden", name="username", value=ticket.username, autocomplete="username"),
        _labelled("password", "Password", type="password", autocomplete="new-password", **_LENGTHS),
        _labelled("again", "The same again", type="password", autocomplete="new-password", **_LENGTHS),
        tags.p(f"At least {MIN_PASSWORD} characters.", class_="hint"),
    )
    if otp:
        yield tags.section(
            tags.h2("2. Set up your authenticator"),
            tags.p("Scan this with an authenticator app, then type the six digits it shows."),
            tags.img(src=qr(ticket.otp_uri.reveal()), alt="QR code for an authenticator app", class_="qr"),
            tags.details(
                tags.summary("The camera does not work?"),
                tags.p("Type this key into the app: ", tags.code(_grouped(ticket.otp_secret.reveal()))),
            ),
            _labelled(
                "otp",
                "Six digits",
                type="text",
                inputmode="numeric",
                pattern="[0-9]{6}",
                maxlength="6",
                autocomplete="one-time-code",
            ),
        )
    yield tags.button(
        "Create the account" if ticket.purpose is SetupPurpose.INVITE else "Set the password", type="submit"
    )


_LENGTHS = {"minlength": str(MIN_PASSWORD), "maxlength": str(MAX_PASSWORD)}


def _labelled(name: str, text: str, **attributes: str) -> Tag:
    return tags.label(tags.span(text), tags.input(id=name, name=name, required="required", **attributes))


def _grouped(secret: str) -> str:
    return " ".join(secret[index : index + 4] for index in range(0, len(secret), 4))


def qr(text: str) -> str:
    """
    @return: a QR code of C{text} as a C{data:} address of an SVG picture.
    """
    return str(segno.make(text, error="m", micro=False).svg_data_uri(scale=4, border=2))


def done(username: str, cluster: str, proxy: str) -> Page:
    """
    What to do next.

    @param proxy: C{host:port} as users reach it.
    """
    return Page(
        "You are set up",
        cluster,
        tags.p("Sign in from a terminal:"),
        tags.pre(f"tsh login --proxy={shlex.quote(proxy)} --user={shlex.quote(username)}"),
        tags.p("and look around:"),
        tags.pre("tsh ls\ntsh ssh <login>@<server>"),
    )


def static(name: str) -> bytes | None:
    """
    @return: a file of C{static/}; C{None} where there is none of that plain name.
    """
    if not name or "/" in name or name.startswith("."):
        return None
    found = files("teleport_tw.web").joinpath("static", name)
    return found.read_bytes() if found.is_file() else None
