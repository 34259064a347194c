"""`offhook exec` and the banner of `offhook dev`: the variables that point an app at the node."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cli.fake_node import FakeNode, serving

from offhook.cli import main
from offhook.cli.dev import banner, event_line
from offhook.cli.node_env import VARIABLES, environment, export_lines
from offhook.errors import ConfigError

STATUS: dict[str, Any] = {
    "connectionString": "endpoint=https://localhost:8480/;accesskey=a2V5",
    "endpoint": "https://localhost:8480/",
    "httpEndpoint": "http://localhost:8480",
    "accessKey": "a2V5",
    "caBundle": "/state/bundle of ours.pem",
    "caFile": "/state/ca.pem",
    "resourceId": "r",
    "issuer": "https://issuer",
    "jwksUri": "https://localhost:8480/calling/keys",
    "openIdConfiguration": "https://localhost:8480/calling/.well-known/acsopenidconfiguration",
    "incoming": [{"url": "http://localhost:8000/x", "state": "waiting", "reason": ""}],
}


def exec_(origin: str, *command: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "offhook.cli", "exec", "--node", origin, *command]
    return subprocess.run(program, capture_output=True, text=True, timeout=30, check=False)


def test_the_app_runs_with_the_variables_set_and_its_own_status() -> None:
    show = "import os, json, sys; print(json.dumps(dict(os.environ))); sys.exit(int(sys.argv[1]))"
    with serving(FakeNode(status=STATUS)) as node:
        done = exec_(node.origin, "--", sys.executable, "-c", show, "7")
    assert done.returncode == 7, done.stderr
    variables = json.loads(done.stdout)
    assert {name: variables[name] for name in VARIABLES} == {
        "ACS_CONNECTION_STRING": STATUS["connectionString"],
        "ACS_ENDPOINT": STATUS["endpoint"],
        "ACS_ACCESS_KEY": STATUS["accessKey"],
        "ACS_RESOURCE_ID": STATUS["resourceId"],
        "ACS_TOKEN_ISSUER": STATUS["issuer"],
        "ACS_JWKS_URI": STATUS["jwksUri"],
        "SSL_CERT_FILE": STATUS["caBundle"],
        "REQUESTS_CA_BUNDLE": STATUS["caBundle"],
        "NODE_EXTRA_CA_CERTS": STATUS["caFile"],
    }


def test_options_of_the_app_are_its_own() -> None:
    with serving(FakeNode(status=STATUS)) as node:
        done = exec_(node.origin, sys.executable, "-c", "import sys; print(sys.argv[1:])", "--node", "--", "-x")
    assert done.stdout.strip() == "['--node', '--', '-x']"


def test_an_unknown_command_is_127() -> None:
    with serving(FakeNode(status=STATUS)) as node:
        done = exec_(node.origin, "no-such-command-anywhere")
    assert (done.returncode, done.stderr.strip()) == (127, "offhook exec: no such command: no-such-command-anywhere")


def test_a_python_that_only_our_own_environment_has_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = Path(sys.executable)
    monkeypatch.setenv("PATH", "/nowhere")
    with serving(FakeNode(status=STATUS)) as node:
        done = exec_(node.origin, ours.name, "app.py")
    assert done.returncode == 127
    assert f"no such command: {ours.name}; {ours} is in the environment of offhook" in done.stderr


def test_no_node_is_one_line_and_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["exec", "--node", "http://127.0.0.1:1", "true"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_status_of_something_else_is_a_clear_error(capsys: pytest.CaptureFixture[str]) -> None:
    with serving(FakeNode(status={"hello": "world"})) as node:
        assert main(["exec", "--node", node.origin, "true"]) == 2
    assert "lacks accessKey, caBundle" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        environment({})


def test_the_banner_has_all_that_is_needed() -> None:
    shown = "\n".join(banner(STATUS))
    for text in (
        STATUS["connectionString"],
        "http://localhost:8000/x  (waiting)",
        "export SSL_CERT_FILE='/state/bundle of ours.pem'",
        "offhook exec -- python app.py",
        "offhook call --to",
    ):
        assert text in shown
    assert "console" not in shown
    console = "http://localhost:8480/console/"
    first = next(line for line in banner({**STATUS, "consoleUrl": console, "consoleToken": None})[1:] if line)
    assert console in first, "the first thing to open"
    assert "t0ken" in "\n".join(banner({**STATUS, "consoleUrl": console, "consoleToken": "t0ken"}))
    other = "\n".join(banner({**STATUS, "httpEndpoint": "http://localhost:9000", "incoming": []}))
    assert "offhook exec --node http://localhost:9000 --" in other
    assert "--incoming URL" in other


def test_export_lines_survive_a_shell() -> None:
    value = "it's; $(not) `run`"
    done = subprocess.run(
        ["sh", "-c", export_lines({"X": value})[0] + '; printf %s "$X"'], capture_output=True, text=True, check=True
    )
    assert done.stdout == value


@pytest.mark.parametrize(
    ("event", "line"),
    [
        (
            {"event": "subscription", "url": "http://x/", "state": "waiting", "reason": "refused"},
            "webhook http://x/: waiting (refused)",
        ),
        ({"event": "delivery", "name": "CallConnected", "callId": "c", "attempt": 1, "status": 200}, None),
        (
            {"event": "delivery", "name": "CallConnected", "callId": "12345678-9", "attempt": 2, "status": 503},
            "12345678  delivery CallConnected  attempt=2  status=503",
        ),
        (
            {"event": "stopAudio", "callConnectionId": "abcdefgh-i", "playedMs": 5, "cutMs": 0, "atSample": 9},
            "abcdefgh  stopAudio  playedMs=5  cutMs=0  atSample=9",
        ),
        (
            {"event": "stream", "name": "failed", "reason": "\x1b]0;x\x07\r\nwebhook good", "participant": "4:\u202e1"},
            "          stream failed  reason=\ufffd]0;x\ufffd\ufffd\ufffdwebhook good  participant=4:\ufffd1",
        ),
    ],
)
def test_events_for_people(event: dict[str, Any], line: str | None) -> None:
    assert event_line(event) == line


@given(
    st.dictionaries(
        st.sampled_from(["event", "name", "url", "state", "attempt", "status", "error", "callId", "x"]),
        st.one_of(st.none(), st.text(max_size=5), st.integers()),
    )
)
def test_no_event_breaks_the_line(event: dict[str, Any]) -> None:
    event_line(event)
