"""Beginnings of configuration files, and what is said of a file."""

from __future__ import annotations

import base64
from pathlib import Path

from offhook.service.config_file import Problem
from offhook.service.serve_config import check

KEY, OTHER_KEY = (base64.b64encode(bytes(range(n, n + 64))).decode() for n in (1, 2))
TOKEN = "eN1-vC9_tR4wKq7xZs2m"
HEAD = f'[resource]\nkey1 = "{KEY}"\n'
SIP = '[sip]\nhost = "127.0.0.1"\n'
TRUNK = '[[trunk]]\nname = "carrier"\nhost = "carrier.example"\n'


def user(name: str, number: str = "") -> str:
    """A [[user]]."""
    return f'[[user]]\nname = "{name}"\npassword = "12345678"\nnumber = "{number}"\n'


def written(folder: Path, text: str) -> Path:
    """A file of this text."""
    path = folder / "offhook.toml"
    path.write_text(text)
    return path


def said(folder: Path, text: str) -> list[Problem]:
    """What is wrong with a file."""
    config, problems = check(written(folder, text), {})
    assert (config is None) == any(problem.fatal for problem in problems)
    assert not any(KEY in str(problem) for problem in problems), "a key is told to nobody"
    return problems


def one(folder: Path, text: str, *, fatal: bool = True) -> str:
    """The one thing that is wrong with a file."""
    problems = said(folder, text)
    assert [problem.fatal for problem in problems] == [fatal], problems
    assert problems[0].fix
    return str(problems[0])
