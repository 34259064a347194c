"""`offhook config`: make the file of `offhook serve`, check it, make a key."""

from __future__ import annotations

import base64
import os
import secrets
from enum import StrEnum
from pathlib import Path

import typer

from offhook.cli.report import json_line, note
from offhook.errors import ConfigError

KEY_BYTES = 64
TOKEN_BYTES = 24


class Action(StrEnum):
    """What to do."""

    INIT = "init"
    CHECK = "check"
    KEY = "key"
    TOKEN = "token"


def config(
    action: Action = typer.Argument(help="init writes an example, check reads one, key and token print new secrets."),
    path: Path = typer.Argument(Path("offhook.toml"), help="The file."),
    force: bool = typer.Option(False, "--force", help="init: write over a file that is there."),
    as_json: bool = typer.Option(False, "--json", help="check: one JSON object a problem on stdout."),
) -> None:
    """Make and check the configuration file of `offhook serve`.

    Exit status of check: 0 when the file can be used, 2 otherwise. Each problem is one line with its fix; a hint is
    about what can be used, but is hardly meant.

    \b
    Example:
      offhook config init offhook.toml
      offhook config check offhook.toml
    """
    if action is Action.KEY:
        print(_key())
    elif action is Action.TOKEN:
        print(secrets.token_urlsafe(TOKEN_BYTES))
    elif action is Action.INIT:
        _init(path, force=force)
    else:
        raise typer.Exit(_check(path, as_json=as_json))


def _init(path: Path, *, force: bool) -> None:
    from offhook.assets import example_config

    text = example_config().replace("@KEY1@", _key()).replace("@KEY2@", _key())
    text = text.replace("@TOKEN@", secrets.token_urlsafe(TOKEN_BYTES))
    if not force and path.exists():
        raise ConfigError(f"{path} is there already: give another name, or --force")
    # It holds keys: nobody else may read it, from its first moment on, whatever the rights of a file before it.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise ConfigError(f"{path} cannot be written ({error.strerror or error})") from None
    note(f"{path} is written, with two new access keys and a console token. Next:  offhook config check {path}")


def _check(path: Path, *, as_json: bool) -> int:
    from offhook.service.serve_config import check

    read, problems = check(path, os.environ)
    for problem in problems:
        if as_json:
            row = {"where": problem.where, "problem": problem.what, "fix": problem.fix, "fatal": problem.fatal}
            json_line(row)
        else:
            print(f"{path}: {problem}")
    if read is None:
        return 2
    plan = read.plan()
    if as_json:
        json_line({"ok": True, "webhooks": len(plan.watchers), "trunks": len(plan.sip.trunks) if plan.sip else 0})
    else:
        sip = f"SIP on {plan.sip.host}:{plan.sip.port}" if plan.sip else "no SIP"
        print(f"{path}: good: REST on {plan.host}:{plan.port}, {len(plan.watchers)} webhooks, {sip}")
    return 0


def _key() -> str:
    return base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode()
