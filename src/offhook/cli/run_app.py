"""`offhook exec`: runs an app with the environment that points an unchanged SDK at the node."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import typer

from offhook.cli.console_client import NodeUnreachable, node_address, status
from offhook.cli.node_env import environment
from offhook.cli.report import note
from offhook.errors import ConfigError

NOT_FOUND, NOT_RUNNABLE = 127, 126


def exec_(
    command: list[str] = typer.Argument(..., metavar="CMD...", help="The app and its arguments."),
    node: str | None = typer.Option(
        None, "--node", metavar="URL", help="The node, or its connection string.  [default: http://127.0.0.1:8480]"
    ),
) -> None:
    """Run your app with the environment that points its SDK at the node.

    Sets ACS_CONNECTION_STRING, ACS_ENDPOINT, ACS_ACCESS_KEY, ACS_RESOURCE_ID, ACS_TOKEN_ISSUER, ACS_JWKS_URI and
    the trust variables SSL_CERT_FILE, REQUESTS_CA_BUNDLE and NODE_EXTRA_CA_CERTS, then becomes the app: the exit
    status is the app's own. 127: no such command.

    \b
    Example:
      offhook exec -- uvicorn app:app --port 8000
    """
    try:
        variables = environment(status(node_address(node)))
    except NodeUnreachable as why:
        raise ConfigError(str(why)) from why
    raise typer.Exit(_become(command, {**os.environ, **variables}))


def _become(command: list[str], variables: dict[str, str]) -> int:
    """Turns this process into the app; returns only when that is not possible (or on Windows, when it has ended)."""
    sys.stdout.flush()
    try:
        if os.name == "nt":
            return subprocess.run(command, env=variables, check=False).returncode
        os.execvpe(command[0], command, variables)
    except FileNotFoundError:
        note(f"offhook exec: no such command: {command[0]}{_beside_us(command[0])}")
        return NOT_FOUND
    except OSError as why:
        note(f"offhook exec: cannot run {command[0]}: {why.strerror or why}")
        return NOT_RUNNABLE


def _beside_us(name: str) -> str:
    """Where it is if it is in our own environment, which need not be activated for `offhook` to run."""
    ours = Path(sys.executable).parent
    if os.sep in name or not (ours / name).exists():
        return ""
    return f"; {ours / name} is in the environment of offhook: name it so, or activate that:  . {ours / 'activate'}"
