"""docs/tutorial.md quotes the examples as they are, and its commands are those that there are."""

from __future__ import annotations

import json
import re
import shlex
from itertools import pairwise
from textwrap import indent

import pytest
from tests.examples.running import EXAMPLES, ROOT
from tests.kit.realtime_double.answers import read_answers
from typer.main import get_command

from offhook.cli.app import VERBS, build

PAGE = (ROOT / "docs/tutorial.md").read_text()
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


def quotes() -> list[tuple[str, str]]:
    """Each block of Python, and the example that was named last before it."""
    found = []
    named = ""
    for part in re.split(r"(```python\n.*?```)", PAGE, flags=re.DOTALL):
        if part.startswith("```python\n"):
            found.append((named, part.removeprefix("```python\n").removesuffix("```")))
        else:
            named = (re.findall(r"examples/(\w+\.py)", part) or [named])[-1]
    return found


@pytest.mark.parametrize(("name", "quote"), quotes(), ids=lambda value: value[:24])
def test_a_quote_is_in_its_file(name: str, quote: str) -> None:
    text = (EXAMPLES / name).read_text()
    assert any(indent(quote, " " * deep) in text for deep in (0, 4, 8)), f"this is not in examples/{name}:\n{quote}"


def test_the_five_steps_are_quoted_and_started() -> None:
    for name in ("echo.py", "announcer.py", "realtime_agent.py", "tools.py", "transfer.py"):
        assert name in {file for file, _ in quotes()}
        assert [line for line in LINES if line.endswith(f"offhook exec -- python examples/{name}")], name


def test_the_commands_are_those_that_there_are() -> None:
    known = {name: get_command(build(name)).commands[name] for name in VERBS}  # type: ignore[attr-defined]
    for line in LINES:
        words = shlex.split(line, comments=True)
        while words and "=" in words[0]:
            words.pop(0)
        if words[0] != "offhook":
            continue
        options = {name for option in known[words[1]].params for name in option.opts}
        given = words[2 : words.index("--") if "--" in words else None]
        assert {word for word in given if word.startswith("--")} <= options, line
        for name, value in pairwise(given):
            if name == "--wav":
                assert (ROOT / value).exists(), line


def test_the_double_understands_what_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.kit.realtime_double.answers.voice", lambda text: b"")  # a second each
    given = [shlex.split(line)[-1] for line in LINES if "realtime_double" in line]
    assert len(given) == 3
    for text in given:
        assert len(read_answers(text)) == len(json.loads(text))
