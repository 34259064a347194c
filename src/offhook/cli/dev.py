"""`offhook dev`: a local node, with everything printed that is needed to point an app at it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from offhook.cli.node_env import environment, export_lines
from offhook.cli.report import harmless, json_line, note

DEFAULT_STATE = Path("~/.offhook")
_NOT_SHOWN = frozenset(
    ("event", "name", "callId", "callConnectionId", "connection", "leg", "final", "headers", "sources")
)


def dev(
    incoming: list[str] = typer.Option(
        [], "--incoming", metavar="URL", help="Webhook for IncomingCall events; may be given more than once."
    ),
    port: int = typer.Option(8480, "--port", min=0, max=65535, help="TLS and plain HTTP on one port; 0 picks one."),
    host: str = typer.Option("127.0.0.1", "--host", help="Address to listen on; not loopback: a random key is made."),
    state: Path = typer.Option(
        DEFAULT_STATE, "--state", metavar="DIR", help="Keeps the local CA, the certificate and the keys."
    ),
    trust: list[Path] = typer.Option(
        [], "--trust", metavar="PEM", help="Further CAs for connections to your app; may be given more than once."
    ),
    mapped: list[str] = typer.Option(
        [], "--map", metavar="PUBLIC=LOCAL", help="Dial LOCAL for URLs under the origin PUBLIC (wss becomes ws)."
    ),
    sip_port: int | None = typer.Option(
        None, "--sip-port", min=0, max=65534, help="Take SIP phones of this machine there, TLS on the next; 0 picks."
    ),
    webrtc_host: str = typer.Option(
        "",
        "--webrtc-host",
        metavar="ADDRESS",
        help="Where browsers' audio comes to.  [default: as --host]",
    ),
    webrtc_port: int = typer.Option(
        0, "--webrtc-port", min=0, max=65535, help="UDP port of the audio of browsers' calls; 0 picks."
    ),
    restart_ms: int = typer.Option(
        40, "--restart-ms", min=0, max=200, help="Audio of the app that must wait before playing starts again."
    ),
    prompts: Path | None = typer.Option(
        None, "--prompts", metavar="DIR", help="Sound files that apps may play by name: file:///name.wav."
    ),
    history_days: float = typer.Option(
        7.0, "--history-days", min=0, metavar="DAYS", help="Keep calls that are over, with their sound; 0 keeps none."
    ),
    issuer: str | None = typer.Option(None, "--issuer", help="Issuer of our tokens.  [default: that of ACS]"),
    token_issuer: str = typer.Option(
        "", "--token-issuer", metavar="ISSUER", help="Take bearer tokens of this issuer (iss) too; with --token-keys."
    ),
    token_keys: str = typer.Option("", "--token-keys", metavar="URL", help="That issuer's page of keys (JWKS)."),
    speech_url: str = typer.Option(
        "", "--speech-url", metavar="URL", help="Speak by this service (OpenAI audio API); key: $OFFHOOK_SPEECH_KEY."
    ),
    console: bool = typer.Option(
        True, "--console/--no-console", help="Pages to see calls on; not loopback: a token to log in with is made."
    ),
    as_json: bool = typer.Option(False, "--json", help="One object with all addresses first, then events, as lines."),
) -> None:
    """Run a local node that speaks the Call Automation API.

    Prints the connection string (the key is fixed and documented: for this machine only) and the environment to
    paste, then one line for each event. Ctrl-C or SIGTERM ends all calls properly.

    \b
    Example:
      offhook dev --incoming http://localhost:8000/api/incomingCall
      offhook dev --sip-port 5060 --incoming http://localhost:8000/api/incomingCall
      offhook dev --map https://my.host=http://127.0.0.1:8000 --incoming https://my.host/api/incomingCall
    """
    import os

    from offhook.service.config import DevConfig
    from offhook.service.program import run

    config = DevConfig(
        host=host,
        port=port,
        incoming=list(incoming),
        state_dir=state.expanduser(),
        trust=list(trust),
        map=list(mapped),
        issuer=issuer,
        prompts=prompts,
        history_days=history_days,
        token_issuer=token_issuer,
        token_keys=token_keys,
        speech_url=speech_url,
        speech_key=os.environ.get("OFFHOOK_SPEECH_KEY", ""),
        console=console,
        json=as_json,
        sip_port=sip_port,
        webrtc_host=webrtc_host,
        webrtc_port=webrtc_port,
        restart_ms=restart_ms,
    )
    announce, event = (json_line, json_line) if as_json else (show_banner, show_event)
    raise typer.Exit(run("offhook dev", config, announce, event))


def show_banner(announced: Mapping[str, Any]) -> None:
    """The node's addresses for a person, ready to paste."""
    print("\n".join(banner(announced)), flush=True)


def banner(announced: Mapping[str, Any]) -> list[str]:
    """The lines of the banner, from the node's status object."""
    node = announced["httpEndpoint"]
    lines = [
        "Offhook is ready.",
        "",
        *_console_lines(announced),
        f"  connection string  {announced['connectionString']}",
        f"  endpoint           {announced['endpoint']}  (TLS, our own CA)",
        f"  plain HTTP         {node}",
        f"  token issuer       {announced['issuer']}",
        f"  keys               {announced['jwksUri']}",
        *_sip_lines(announced.get("sip")),
        "",
        "Incoming calls go to",
        *(_incoming_lines(announced.get("incoming") or []) or ["  nobody yet: start with --incoming URL"]),
        "",
        "To use it, paste this where your app runs, or run the app under  offhook exec:",
        *(f"  {line}" for line in export_lines(environment(announced))),
        "",
        "Next, in another terminal:",
        f"  offhook exec{_node_option(node)} -- python app.py",
        f"  offhook call{_node_option(node)} --to +15550100002 --tone 440",
        "",
    ]
    return lines


def _console_lines(announced: Mapping[str, Any]) -> list[str]:
    if not announced.get("consoleUrl"):
        return []
    token = announced.get("consoleToken")
    return [
        f"  console            {announced['consoleUrl']}  (see calls, and call from the browser)",
        *([f"  console token      {token}"] if token else []),
        "",
    ]


def _sip_lines(sip: Mapping[str, Any] | None) -> list[str]:
    if not sip:
        return []
    where = f"{sip['host']}:{sip['udp']}"
    return [
        f"  SIP                {where}  (UDP and TCP), {sip['host']}:{sip['tls']}  (TLS)",
        "",
        f"A softphone on this machine: account anything@{where}, no password, then dial any number.",
        "It is rung by create_call with the same user: digits are a phone number, other names show on registration.",
    ]


def _node_option(node: str) -> str:
    return "" if node.rstrip("/").endswith(":8480") else f" --node {node.rstrip('/')}"


def _incoming_lines(incoming: list[Any]) -> list[str]:
    lines = []
    for webhook in incoming:
        fields = webhook if isinstance(webhook, Mapping) else {"url": webhook}
        state = fields.get("state", "waiting for its first answer")
        lines.append(f"  {fields.get('url')}  ({state})")
    return lines


def event_line(event: Mapping[str, Any]) -> str | None:
    """One event for a person; None for what only programs care about (posts that went well). Texts may be anybody's."""
    line = _event_line(event)
    return None if line is None else harmless(line)


def _event_line(event: Mapping[str, Any]) -> str | None:
    kind = event.get("event")
    if kind == "subscription":
        reason = f" ({event['reason']})" if event.get("reason") else ""
        return f"webhook {event.get('url')}: {event.get('state')}{reason}"
    if kind == "delivery" and event.get("attempt") == 1 and not event.get("error") and event.get("status", 500) < 300:
        return None
    call = str(event.get("callId") or event.get("callConnectionId") or "")[:8]
    words = " ".join(str(event[key]) for key in ("event", "name") if event.get(key))
    shown = (f"{key}={event[key]}" for key in event if key not in _NOT_SHOWN and event[key] not in (None, ""))
    return "  ".join(filter(None, (call.ljust(8), words, *shown)))


def show_event(event: Mapping[str, Any]) -> None:
    """Prints one event of the node as a line."""
    line = event_line(event)
    if line is None:
        return
    try:
        print(line, flush=True)
    except BrokenPipeError:
        note("offhook dev: nobody reads our output any more")
