"""`offhook recording`: the recordings of a node, which official SDKs do not fetch (docs/recording.md)."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import formatdate
from enum import StrEnum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import typer

from offhook.cli.console_client import NodeAddress, NodeUnreachable, fetch, node_address
from offhook.cli.report import json_line, note
from offhook.errors import ConfigError, OffhookError
from offhook.wire.signing import sign_hmac

FAILED = 4
_PIECE = 1 << 16
_IDLE = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)


class Action(StrEnum):
    """What to do."""

    LIST = "list"
    GET = "get"
    RM = "rm"


def recording(
    action: Action = typer.Argument(help="list shows all, get fetches the files of one, rm deletes one."),
    id: str | None = typer.Argument(None, help="get, rm: the id that list shows, or the recordingId of the API."),
    output: Path | None = typer.Option(
        None,
        "--output",
        metavar="FILE",
        help="get: where to write it; a second file of it gets -1 before its ending.  [default: its id]",
        show_default=False,
    ),
    node: str | None = typer.Option(
        None, "--node", metavar="URL", help="The node, or its connection string.  [default: http://127.0.0.1:8480]"
    ),
    as_json: bool = typer.Option(False, "--json", help="JSON lines on stdout: one for each recording, or file."),
) -> None:
    """List, fetch and delete recordings of a node.

    Only those that are over are there. The official SDKs fetch recordings from Microsoft's hosts alone; this command,
    or any HTTP client that signs its requests, fetches them here. Exit status: 0 done, 2 usage, 4 failed.

    \b
    Example:
      offhook recording list
      offhook recording get 0d6b6f5e-8d5c-8001-9a54-5d9bb1f6f4a3 --output call.wav
      offhook recording rm 0d6b6f5e-8d5c-8001-9a54-5d9bb1f6f4a3
    """
    address = node_address(node)
    if (action is Action.LIST) == (id is not None):
        raise ConfigError("list takes no id" if id is not None else f"{action} needs the id of a recording")
    if output is not None and action is not Action.GET:
        raise ConfigError("--output is for get")
    try:
        asyncio.run(_run(address, action, id or "", output, as_json))
    except (NodeUnreachable, OffhookError) as why:
        note(f"offhook recording: {why}")
        raise typer.Exit(FAILED) from None


async def _run(address: NodeAddress, action: Action, id: str, output: Path | None, as_json: bool) -> None:
    rows = (await fetch(address, "/console/api/recordings"))["recordings"]
    if action is Action.LIST:
        _show(rows, as_json)
        return
    row = next((row for row in rows if id in (row["id"], row["recordingId"])), None)
    if row is None:
        raise OffhookError(f"no recording {id}: see  offhook recording list")
    for number, file in enumerate(row["files"]):
        if action is Action.RM:
            async with _asked(address, "DELETE", file["deleteLocation"]):
                told: dict[str, Any] = {"deleted": file["documentId"]}
        else:
            path = _path(output, row, number)
            told = {"written": str(path), "bytes": await _get(address, file["contentLocation"], path)}
        if as_json:
            json_line(told)
        elif action is Action.GET:
            print(f"{told['written']}: {told['bytes']} bytes")


def _path(output: Path | None, row: dict[str, Any], number: int) -> Path:
    path = Path(f"{row['id']}.{row['format']}") if output is None else output
    return path if number == 0 else path.with_name(f"{path.stem}-{number}{path.suffix}")


def _show(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        for row in rows:
            json_line(row)
        return
    if not rows:
        note("no recordings")
        return
    heads = ("id", "started", "length", "size", "kind")
    lines = [heads, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _cells(row: dict[str, Any]) -> tuple[str, str, str, str, str]:
    seconds = row["durationMs"] / 1000
    marks = [row["channelType"], row["format"], *(["cut off"] if row["interrupted"] else []), row["problem"]]
    return (
        row["id"],
        row["started"][:19].replace("T", " "),
        f"{seconds // 60:.0f}:{seconds % 60:04.1f}",
        f"{row['bytes'] / 1e6:.1f} MB",
        " ".join(filter(None, marks)),
    )


async def _get(address: NodeAddress, url: str, path: Path) -> int:
    """Fetch a file into a draft beside `path`, so that a half of it never stands there. The bytes."""
    draft = path.with_name(f".{path.name}.part")
    try:
        async with _asked(address, "GET", url) as response:
            size, done = response.content_length or 0, 0
            with draft.open("wb") as file:
                async for piece in response.content.iter_chunked(_PIECE):
                    await asyncio.to_thread(file.write, piece)
                    done += len(piece)
                    _progress(path, done, size)
        draft.replace(path)
    except OSError as why:
        raise OffhookError(f"cannot write {path}: {why.strerror or why}") from why
    finally:
        draft.unlink(missing_ok=True)
    return done


def _progress(path: Path, done: int, size: int) -> None:
    if sys.stderr.isatty() and size:
        end = "\n" if done == size else ""
        sys.stderr.write(f"\r{path.name}: {100 * done // size} % of {size / 1e6:.1f} MB{end}")
        sys.stderr.flush()


@asynccontextmanager
async def _asked(address: NodeAddress, method: str, url: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """A signed request for a path of the node. OffhookError for anything but 200."""
    target = urlsplit(url).path
    headers = sign_hmac(method, target, address.host, formatdate(usegmt=True), b"", address.key)
    trust = ssl.create_default_context() if address.origin.startswith("https:") else True
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust), timeout=_IDLE) as session:
        try:
            async with session.request(method, address.origin + target, headers=headers) as response:
                if response.status != 200:
                    raise OffhookError(f"{target} was answered with HTTP {response.status}: was it deleted meanwhile?")
                yield response
        except (aiohttp.ClientError, TimeoutError) as why:
            raise OffhookError(f"{address.origin} broke off: {why or type(why).__name__}") from why
