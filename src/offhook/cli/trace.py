"""`offhook trace`: look at calls, those of a node and those that were exported (docs/trace.md)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import typer

from offhook.cli.console_client import NodeUnreachable, download, fetch, node_address
from offhook.cli.report import json_line, note
from offhook.cli.trace_report import show_call, show_rows
from offhook.errors import ConfigError, DamagedCall

FAILED = 4
MOST = 20_000
"""Calls that a node keeps."""
PAGE = 500
"""Calls that it lists at once."""


class Action(StrEnum):
    """What to do."""

    SHOW = "show"
    LIST = "list"
    EXPORT = "export"


def trace(
    action: Action = typer.Argument(help="show prints a call, list those of a node, export writes one to a file."),
    what: str | None = typer.Argument(
        None, metavar="[ID|FILE]", help="show: a file or folder, or an id; export: the id of a call or connection."
    ),
    node: str | None = typer.Option(
        None, "--node", metavar="URL", help="The node, or its connection string.  [default: http://127.0.0.1:8480]"
    ),
    kinds: list[str] = typer.Option(
        [], "--events", metavar="KIND", help="show: only events of this kind; may be given more than once."
    ),
    at: float | None = typer.Option(
        None, "--at", metavar="MS", help="show: only what is within a second of this moment, in ms from the answer."
    ),
    opened: bool = typer.Option(
        False, "--open", help="show: serve the page of the console for a file, on this machine only, until Ctrl-C."
    ),
    port: int = typer.Option(0, "--port", min=0, max=65535, help="--open: the port of that page; 0 picks one."),
    output: Path | None = typer.Option(
        None, "--output", "-o", metavar="FILE", help="export: where to.  [default: its id, .zip]", show_default=False
    ),
    query: str = typer.Option("", "--query", metavar="TEXT", help="list: only calls with this number, name or id."),
    limit: int = typer.Option(20, "--limit", min=1, max=MOST, help="list: how many, the newest first."),
    as_json: bool = typer.Option(False, "--json", help="What the console API gives, as JSON on stdout."),
) -> None:
    """Look at calls: everything that happened in one, on one clock.

    A call is shown from a running node by its id, or from a file that was exported, here or on another machine; what
    is shown is the same. Exit status: 0 done, 2 usage or a file that cannot be used, 4 the node cannot be asked.

    \b
    Example:
      offhook trace list
      offhook trace export 0d6b6f5e-8d5c-8001-9a54-5d9bb1f6f4a3 -o call.zip
      offhook trace show call.zip --events callback --events delivery
      offhook trace show call.zip --open
    """
    if (action is Action.LIST) == (what is not None):
        raise ConfigError("list takes no id" if what is not None else f"{action} needs the id of a call, or a file")
    if opened and action is not Action.SHOW:
        raise ConfigError("--open is for show")
    if output is not None and action is not Action.EXPORT:
        raise ConfigError("--output is for export")
    try:
        if action is Action.LIST:
            rows = asyncio.run(_rows(node, query, limit))
            _print(rows) if as_json else show_rows(rows)
        elif action is Action.EXPORT:
            _export(node, what or "", output, as_json)
        else:
            _show(node, what or "", kinds, at, as_json, port if opened else None)
    except NodeUnreachable as why:
        note(f"offhook trace: {why}")
        raise typer.Exit(FAILED) from None


def _print(rows: Iterable[dict[str, Any]]) -> None:
    for row in rows:
        json_line(row)


async def _rows(node: str | None, query: str, limit: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    while len(rows) < limit:
        most = min(limit - len(rows), PAGE)
        asked = {"limit": str(most), "q": query, "before": rows[-1]["callId"] if rows else ""}
        asked = {name: value for name, value in asked.items() if value}
        page = (await fetch(node_address(node), f"/console/api/calls?{urlencode(asked)}"))["calls"]
        rows += page
        if len(page) < most:
            break
    return rows


def _export(node: str | None, call: str, output: Path | None, as_json: bool) -> None:
    path = Path(f"{call}.zip") if output is None else output
    size = asyncio.run(download(node_address(node), _path(call, "export"), path))
    if as_json:
        json_line({"written": str(path), "bytes": size})
    else:
        print(f"{path}: {size} bytes")


def _show(node: str | None, what: str, kinds: Sequence[str], at: float | None, as_json: bool, port: int | None) -> None:
    path = Path(what)
    if node is None and (os.path.exists(path) or path.suffix.lower() == ".zip" or len(path.parts) != 1):
        page, figures, series = _of_file(path, port)
    elif port is not None:
        raise ConfigError(f"--open shows files, and there is no {what}; a node's calls are in its console, /console/")
    else:
        page, figures, series = asyncio.run(_of_node(node, what))
    if page is None:
        return
    page = {**page, "events": [event for event in page["events"] if _wanted(event, kinds, at)]}
    if as_json:
        json_line({**page, "figures": figures, "series": series})
    else:
        show_call(page, figures)


def _wanted(event: dict[str, Any], kinds: Sequence[str], at: float | None) -> bool:
    return (not kinds or event["kind"] in kinds) and (at is None or abs(event["atMs"] - at) <= 1000)


async def _of_node(node: str | None, call: str) -> tuple[dict[str, Any], Any, Any]:
    address = node_address(node)
    page = await fetch(address, _path(call))
    found = [await _perhaps(fetch(address, _path(call, name))) for name in ("figures", "series")]
    return page, found[0], found[1]


async def _perhaps(asked: Any) -> Any:
    """An answer; None for what the call does not have."""
    try:
        return await asked
    except NodeUnreachable as why:
        if why.status != 404:
            raise
        return None


def _of_file(path: Path, port: int | None) -> tuple[dict[str, Any] | None, Any, Any]:
    """What a file holds; with a port, serve it, and there is nothing to print then."""
    from offhook.service.call_archive import ArchiveBook

    try:
        book = ArchiveBook(path)
    except DamagedCall as why:
        raise ConfigError(f"{path} cannot be shown: {why}") from None
    except OSError as why:
        raise ConfigError(f"{path} cannot be shown: {why.strerror or why}") from None
    with contextlib.closing(book):
        if port is not None:
            asyncio.run(_serve(book, port))
            return None, None, None

        async def read() -> tuple[dict[str, Any], Any, Any]:
            call = book.call["callId"]
            return book.call, await book.figures(call), await book.series(call)

        return asyncio.run(read())


async def _serve(book: Any, port: int) -> None:
    from offhook.service.archive_server import ArchiveServer

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server = ArchiveServer(book)
    print(await server.start(port), flush=True)
    note("offhook trace: open that address in a browser; Ctrl-C ends this")
    try:
        await stop.wait()
    finally:
        await server.close()


def _path(call: str, name: str = "") -> str:
    return f"/console/api/calls/{quote(call, safe='')}{f'/{name}' if name else ''}"
