"""The table of verbs and how one is looked up, run and its errors turned into exit statuses."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup

from offhook import __version__
from offhook.errors import ConfigError

WIDTH = 100


@dataclass(frozen=True)
class Verb:
    """One command: where its function lives and the line that `offhook --help` shows for it."""

    module: str
    function: str
    summary: str
    settings: dict[str, Any] | None = None

    def load(self) -> Callable[..., Any]:
        """Imports the verb's module and returns its function."""
        found: Callable[..., Any] = getattr(importlib.import_module(self.module), self.function)
        return found


VERBS: dict[str, Verb] = {
    "dev": Verb("offhook.cli.dev", "dev", "Run a local node that speaks the Call Automation API."),
    "serve": Verb("offhook.cli.serve", "serve", "Run a node for others to reach, from a configuration file."),
    "config": Verb("offhook.cli.config", "config", "Make and check the configuration file of serve."),
    "exec": Verb(
        "offhook.cli.run_app",
        "exec_",
        "Run your app with the environment that its SDK needs.",
        {"allow_interspersed_args": False},  # what follows the command's name belongs to the command
    ),
    "call": Verb("offhook.cli.call", "call", "Place a simulated call into a running node."),
    "phone": Verb("offhook.cli.phone", "phone", "Be a simulated phone that the app can call."),
    "echo": Verb("offhook.cli.echo", "echo", "Run the sample app: it answers and echoes the caller."),
    "demo": Verb("offhook.cli.demo", "demo", "Node, sample app and caller in one go, with figures and picture."),
    "recording": Verb("offhook.cli.recordings", "recording", "List, fetch and delete recordings of a node."),
    "trace": Verb("offhook.cli.trace", "trace", "Look at calls: everything that happened in one, on one clock."),
    "doctor": Verb("offhook.cli.doctor", "doctor", "Check ports, TLS, clock, trust and what the node must reach."),
}

_ABOUT = """Self-hosted call automation: run voice apps written on the Azure Communication Services SDK,
unchanged, against your own machine.

\b
Start here:
  offhook demo                                              everything once, with a picture of the call
  offhook dev --incoming http://localhost:8000/api/incomingCall
  offhook exec -- python app.py                             your app, in a second terminal
  offhook call --to +15550100002 --text "Hello"             a caller, in a third one
"""


class _InTableOrder(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name in VERBS if name in self.commands]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"offhook {__version__}")
        raise typer.Exit


def _stub() -> None:
    """Stands for a verb that is only listed."""


def build(chosen: str | None) -> typer.Typer:
    """The program with the verb `chosen` loaded; all others are listed by name and summary only."""
    app = typer.Typer(
        cls=_InTableOrder,
        help=_ABOUT,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"max_content_width": WIDTH},
    )

    @app.callback()
    def offhook(
        version: bool = typer.Option(
            False, "--version", is_eager=True, callback=_version, help="Print the version and exit."
        ),
    ) -> None:
        pass

    for name, verb in VERBS.items():
        function = verb.load() if name == chosen else _stub
        app.command(name, short_help=verb.summary, context_settings=verb.settings or {})(function)
    return app


def _chosen(argv: list[str]) -> str | None:
    return next((word for word in argv if not word.startswith("-")), None)


def run(argv: list[str]) -> int:
    """Runs `argv` and returns the exit status; every expected error is a line on stderr."""
    name = _chosen(argv)
    told_by = f"offhook {name}" if name in VERBS else "offhook"
    try:
        command = typer.main.get_command(build(name))
        status = command.main(args=argv, prog_name="offhook", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    except ConfigError as wrong:
        return _refuse(told_by, str(wrong))
    except ModuleNotFoundError as missing:
        if (missing.name or "").split(".")[0] == "offhook":
            raise
        return _refuse(told_by, f"this command needs {missing.name}: run  pip install 'offhook[server]'")
    except Exception as wrong:
        tell = getattr(wrong, "format_message", None)  # the usage errors of the parser; their module is not public
        if tell is None:
            raise
        message = tell().strip() or "a command is missing"
        if type(wrong).__name__ == "NoArgsIsHelpError":
            print(message)
            return 2
        return _refuse(told_by, f"{' '.join(message.split())} (see  {told_by} --help)")
    return status if isinstance(status, int) else 0


def _refuse(told_by: str, message: str) -> int:
    for line in message.splitlines():
        print(f"{told_by}: {line}", file=sys.stderr)
    return 2
