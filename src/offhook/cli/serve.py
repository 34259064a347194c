"""`offhook serve`: a node for others to reach, from a configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from offhook.cli.dev import show_event
from offhook.cli.report import json_line, note


def serve(
    config: Path = typer.Option(..., "--config", metavar="FILE", help="Made by  offhook config init ."),
    as_json: bool = typer.Option(False, "--json", help="One object with all addresses first, then events, as lines."),
) -> None:
    """Run a node from a configuration file.

    SIGTERM: no new calls are taken, live ones may go on for drain_seconds; a second one ends them at once. SIGHUP: the
    access keys are read anew; everything else needs a restart.

    \b
    Example:
      offhook config init offhook.toml
      offhook serve --config offhook.toml
    """
    from offhook.service.program import run
    from offhook.service.serve_config import read

    settings = read(config)
    for hint in settings.hints:
        note(f"{config}: {hint}")
    announce, event = (json_line, json_line) if as_json else (show_banner, show_event)
    raise typer.Exit(run("offhook serve", settings, announce, event, settings.again))


def show_banner(announced: Mapping[str, Any]) -> None:
    """Where the node is, without its keys: this goes to logs."""
    sip = announced.get("sip")
    lines = [
        "Offhook is ready.",
        f"  endpoint      {announced['endpoint']}",
        f"  for apps      endpoint={announced['endpoint']};accesskey=KEY   KEY: key1 or key2 of [resource]",
        f"  certificate   {_certificate(announced)}",
        f"  token issuer  {announced['issuer']}, keys at {announced['jwksUri']}",
        f"  console       {announced.get('consoleUrl') or 'none: set token in [console]'}",
        f"  health        {announced['endpoint']}healthz, figures at {announced['endpoint']}metrics",
    ]
    if sip:
        lines.append(f"  SIP           {sip['host']}: UDP {sip['udp']}, TCP {sip['tcp']}, TLS {sip['tls']}")
    if webrtc := announced.get("webrtc"):
        lines.append(f"  browsers      audio to UDP {webrtc['port']} of {', '.join(webrtc['candidates'])}")
    webhooks = announced.get("incoming") or []
    lines += [f"  webhook       {webhook['url']}  ({webhook['state']})" for webhook in webhooks]
    print("\n".join(lines), flush=True)


def _certificate(announced: Mapping[str, Any]) -> str:
    """Whose it is, and what makes programs trust it that do not yet."""
    shown = announced.get("tlsCertificate") or "of our own CA"
    return f"{shown}; programs that do not trust it:  SSL_CERT_FILE={announced['caBundle']}"
