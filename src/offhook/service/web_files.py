"""The console's pages: files of the package, read once and given out from memory, so that no path leads elsewhere."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import web

TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "json": "application/json",
    "svg": "image/svg+xml",
    "png": "image/png",
    "ico": "image/x-icon",
    "woff2": "font/woff2",
}
"""What is given out, by the end of its name; any other file is not."""
_VIEWS: Final = re.compile(r"|calls(/[^/]*)?|(phone|setup|login)/?")
"""Paths of the one page, which its script tells apart."""


@dataclass(frozen=True, slots=True)
class _Stored:
    body: bytes
    content_type: str
    tag: str


class WebFiles:
    """Everything under /console/ that is no data."""

    def __init__(self, folder: Traversable | None = None) -> None:
        """`folder`: the package's own `web` unless given."""
        root = files("offhook").joinpath("web") if folder is None else folder
        self._stored = dict(_read(root, "")) if root.is_dir() else {}

    def answer(self, name: str, known: str = "") -> web.Response | None:
        """The file of a path below /console/, or the page for a path of its own. None: there is nothing.

        `known`: the request's If-None-Match; what has not changed is not sent again.
        """
        stored = self._stored.get(name) or (self._stored.get("index.html") if _VIEWS.fullmatch(name) else None)
        if stored is None:
            return None
        headers = {"ETag": stored.tag, "Cache-Control": "no-cache"}
        if stored.tag in {tag.strip().removeprefix("W/") for tag in known.split(",")}:
            return web.Response(status=304, headers=headers)
        return web.Response(body=stored.body, headers={"Content-Type": stored.content_type, **headers})


def _read(folder: Traversable, under: str) -> Iterator[tuple[str, _Stored]]:
    for item in folder.iterdir():
        name = f"{under}{item.name}"
        if item.is_dir():
            yield from _read(item, f"{name}/")
        elif (content_type := TYPES.get(name.rpartition(".")[2])) is not None:
            body = item.read_bytes()
            yield name, _Stored(body, content_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
