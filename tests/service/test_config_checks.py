"""What must fit together in the configuration file: twice the same, ports, identities, rules that nothing can meet."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.service.config_text import HEAD, SIP, TRUNK, one, said, user

WEBHOOK = '[[webhook]]\nname = "{name}"\nurl = "{url}"\n'


def number(text: str) -> str:
    return f'[[number]]\nnumber = "{text}"\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (number("+1555") + number("+1555"), ["[[number]] 2 number", "[[number]] 1"]),
        (number("+1555") + number("1555"), ["[[number]] 2 number", "'1555'"]),
        (number("support") + number("Support"), ["[[number]] 2 number", "'Support'"]),
        (user("anna") + user("Anna"), ["[[user]] 2 name", "'Anna'", "[[user]] 1"]),
        (user("a", "+15550001") + user("b", "15550001"), ["[[user]] 2 number", "the number of [[user]] 1"]),
        (user("15550001") + user("b", "+15550001"), ["[[user]] 2 number", "the name of [[user]] 1"]),
        (TRUNK + TRUNK, ["[[trunk]] 2 name", "'carrier'"]),
        (WEBHOOK.format(name="a", url="https://x") + WEBHOOK.format(name="a", url="https://y"), ["[[webhook]] 2 name"]),
    ],
)
def test_what_is_given_twice(tmp_path: Path, text: str, words: list[str]) -> None:
    told = one(tmp_path, HEAD + SIP + text)
    assert all(word in told for word in words), told


@pytest.mark.parametrize(
    "text",
    [
        user("+15550001", "+15550001") + user("b"),
        WEBHOOK.format(name="", url="https://x") + WEBHOOK.format(name="", url="https://y"),
        number("+1555") + number("+1555*"),
    ],
)
def test_what_is_not(tmp_path: Path, text: str) -> None:
    assert said(tmp_path, HEAD + SIP + text) == []


@pytest.mark.parametrize(
    ("node", "sip", "clash"),
    [
        ('host = "127.0.0.1"\nport = 5060', 'host = "127.0.0.1"', True),
        ('host = "localhost"\nport = 5061', 'host = "127.0.0.1"', True),
        ("port = 5060", 'host = "127.0.0.1"', True),
        ('host = "127.0.0.1"\nport = 5061', 'host = "0.0.0.0"\nadvertise = "192.0.2.1"', True),
        ('host = "127.0.0.1"\nport = 5060', 'host = "127.0.0.2"', False),
        ('host = "127.0.0.1"\nport = 5062', 'host = "127.0.0.1"', False),
        ('host = "127.0.0.1"\nport = 0', 'host = "127.0.0.1"\nport = 0', False),
    ],
)
def test_ports_that_meet(tmp_path: Path, node: str, sip: str, clash: bool) -> None:
    problems = said(tmp_path, f"{HEAD}[node]\n{node}\n[sip]\n{sip}\n")
    assert [problem.where for problem in problems] == ["[node] port"] * clash


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (SIP + 'rtp_ports = "5000-6000"\n', ["[sip] rtp_ports", "5060"]),
        (SIP + TRUNK + 'prefixes = ["+1*"]\n', ["[[trunk]] 1 prefixes", 'destinations = ["+1*"]']),
        (SIP + 'destinations = ["+1*"]\n', ["[sip] destinations", "'+1*' is carried by no trunk"]),
        (SIP + 'destinations = ["+1555*"]\n' + TRUNK + 'prefixes = ["+1"]\n', ["[[trunk]] 1 prefixes", '"+1*"']),
        (SIP + '[[trunk]]\nname = "t"\nallow = ["0.0.0.0/0"]\n', ["[[trunk]] 1 allow", "everybody"]),
        (
            SIP + TRUNK + 'allow = ["192.0.2.1"]\n[[trunk]]\nname = "u"\nallow = ["192.0.2.1"]\n',
            ["[[trunk]] 2 allow", "[[trunk]] 1"],
        ),
        ('[sip]\nadvertise = "127.0.0.1"\n', ["[sip] advertise", "this machine only"]),
        (SIP + 'codecs = ["L16"]\n', ["[sip] codecs", "nothing to offer"]),
        (WEBHOOK.format(name="", url="http://127.0.0.1:8000/x"), ["[[webhook]] 1 url", "allow_targets"]),
        (WEBHOOK.format(name="", url="http://localhost:8000/x"), ["[[webhook]] 1 url", "allow_targets"]),
        (
            WEBHOOK.format(name="a", url="https://x") + WEBHOOK.format(name="b", url="https://x"),
            ["[[webhook]] 2 url", "[[webhook]] 1", "twice"],
        ),
    ],
)
def test_what_can_hardly_be_meant_is_hinted_at(tmp_path: Path, text: str, words: list[str]) -> None:
    problems = said(tmp_path, HEAD + text)
    assert problems and not any(problem.fatal for problem in problems)
    assert all(word in str(problems[0]) for word in ["hint: ", *words]), problems


@pytest.mark.parametrize(
    "text",
    [
        SIP + 'destinations = ["+1555*"]\n' + TRUNK + 'prefixes = ["+1*"]\n',
        SIP + 'destinations = ["*"]\n' + TRUNK + 'prefixes = ["+15550001"]\n',
        SIP + 'destinations = ["+15550001"]\n' + TRUNK + 'prefixes = ["+*"]\n',
        SIP + 'destinations = ["+112"]\n' + TRUNK + 'prefixes = ["112"]\n',
        '[node]\nallow_targets = ["127.0.0.0/8"]\n' + WEBHOOK.format(name="", url="http://localhost/x"),
        "[node]\nallow_private_targets = true\n" + WEBHOOK.format(name="", url="http://10.0.0.1/x"),
    ],
)
def test_what_can_be_met_is_not(tmp_path: Path, text: str) -> None:
    assert said(tmp_path, HEAD + text) == []


def test_codecs_whose_library_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("offhook.legs.sip.is_there", lambda name, clock: name != "OPUS")
    assert "offhook[opus]" in one(tmp_path, HEAD + SIP + 'codecs = ["opus"]\n')
    assert said(tmp_path, HEAD + SIP + 'codecs = ["opus", "PCMU"]\n') == []
