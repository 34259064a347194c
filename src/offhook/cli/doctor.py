"""`offhook doctor`: one check a line for what keeps an app and a node from meeting, each failure with its fix."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import typer

from offhook.cli import checks
from offhook.cli.config_checks import planned
from offhook.cli.console_client import NodeAddress, NodeUnreachable, fetch, node_address
from offhook.cli.report import json_line
from offhook.errors import ConfigError
from offhook.service import checks as node_checks
from offhook.service import sip_checks
from offhook.service.checks import FAIL, Check, Network

_MARKS = {"ok": "ok  ", "fail": "FAIL", "skip": "-   "}


def doctor(
    node: str | None = typer.Option(
        None, "--node", metavar="URL", help="The node, or its connection string.  [default: http://127.0.0.1:8480]"
    ),
    webhook: str | None = typer.Option(
        None, "--webhook", metavar="URL", help="The app's event route: sent a validation event, as the node does."
    ),
    websocket: str | None = typer.Option(
        None, "--websocket", metavar="URL", help="The app's transport URL: opened and closed."
    ),
    trust: list[Path] = typer.Option(
        [], "--trust", metavar="PEM", help="Further CAs for the app's addresses, as given to the node."
    ),
    config: Path | None = typer.Option(
        None, "--config", metavar="FILE", help="The file of `offhook serve`: checked with the ports it asks for."
    ),
    as_json: bool = typer.Option(False, "--json", help="One JSON object a check on stdout."),
) -> None:
    """Check ports, TLS, clock, trust, phones and what the node must reach.

    With phones: SIP over UDP, TCP and TLS, the advertised address, the RTP range, and calls whose audio flows one way
    only. --config looks at a machine before the node runs there.

    Run it where your app runs, under `offhook exec` if the app is, so that it sees the app's environment. Without a
    running node only the port, the webhook and the WebSocket can be checked. Exit status: 1 when any check fails.

    \b
    Example:
      offhook exec -- offhook doctor --webhook http://localhost:8000/api/incomingCall --websocket ws://localhost:8000/ws
    """
    address = node_address(node)
    _check_url("--webhook", webhook, ("http", "https"))
    _check_url("--websocket", websocket, ("ws", "wss"))
    if config is not None:
        results = planned(config)
    else:
        results = asyncio.run(examine(address, webhook, websocket, list(trust)))
    for result in results:
        if as_json:
            json_line({"check": result.name, "result": result.result, "detail": result.detail, "fix": result.fix})
        else:
            print(f"{_MARKS[result.result]}  {result.name:<10} {result.detail}")
            if result.fix:
                print(f"                  fix: {result.fix}")
    raise typer.Exit(1 if any(result.result == FAIL for result in results) else 0)


def _check_url(option: str, url: str | None, schemes: tuple[str, ...]) -> None:
    if url is None:
        return
    try:
        parts = urlsplit(url)
        usable = parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError(f"{option}: '{url}' is not a {' or '.join(schemes)} URL")


async def examine(
    address: NodeAddress, webhook: str | None = None, websocket: str | None = None, trust: list[Path] | None = None
) -> list[Check]:
    """Every check, in the order in which a fix of one may heal the next."""
    try:
        status: dict[str, Any] | None = await fetch(address, "/console/api/status")
        refusal = None
    except NodeUnreachable as why:
        status, refusal = None, why
    results = [await checks.port(address, status, refusal)]
    results.append(await node_checks.tls(status))
    results.append(await checks.clock(address, status))
    results.extend(await checks.trust_variables(status))
    results.extend(await sip_checks.running(status))
    context = checks.outbound_trust(status, trust or [])
    if isinstance(context, Check):
        return [*results, context]
    if webhook is not None:
        results.append(await node_checks.webhook(webhook, Network(context)))
    if websocket is not None:
        results.append(await node_checks.websocket(websocket, Network(context)))
    return results
