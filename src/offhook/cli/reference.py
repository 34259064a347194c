"""docs/cli.md, made from the commands' own help: `python -m offhook.cli.reference > docs/cli.md`."""

from __future__ import annotations

import sys

import typer

from offhook.cli.app import VERBS, WIDTH, build

_HEAD = """# The command line

Made from the commands' own help by `python -m offhook.cli.reference`; a test compares the two.

Every command takes `--help`. With `--json` results and events are JSON objects, one a line, on stdout; logs go to
stderr. Exit status 2 is a usage or configuration error, told in one line.

`--node` takes the node's URL, or the whole connection string of a node that has a key of its own (one that listens on
more than this machine); `OFFHOOK_ACCESS_KEY` gives the key instead.
"""


def help_text(name: str | None) -> str:
    """The help of one command, or of the program, at a fixed width."""
    group = typer.main.get_command(build(name))
    context = typer.Context(group, info_name="offhook", terminal_width=WIDTH)
    if name is not None:
        group = group.commands[name]  # type: ignore[attr-defined]
        context = typer.Context(group, info_name=name, parent=context, terminal_width=WIDTH)
    return "\n".join(line.rstrip() for line in group.get_help(context).splitlines())


def page() -> str:
    """The whole page."""
    parts = [_HEAD, f"```\n{help_text(None)}\n```\n"]
    parts.extend(f"## offhook {name}\n\n```\n{help_text(name)}\n```\n" for name in VERBS)
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(page())
