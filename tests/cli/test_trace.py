"""`offhook trace`: what is shown of a file, in which form; and that no file moves the cursor."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import zipfile
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from aiohttp import ClientSession
from tests.live import OFFHOOK

from offhook.cli import trace as command
from offhook.cli.app import run
from offhook.cli.report import harmless
from offhook.cli.trace_report import show_rows
from offhook.service.call_archive import pack
from offhook.service.call_facts import turn_note
from offhook.service.clock import ManualClock
from offhook.service.masking import Body
from offhook.service.trace import About, Traces
from offhook.wire.turns import TurnReport

EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31mname\x7f\u202e\r\n"


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    clock = ManualClock(start=100.0, wall=1_700_000_000.0)
    traces = Traces(clock, lambda *note: None)
    trace = traces.begin("call-1", About("server", "correlation", "incoming", "4:+1555", EVIL, "4:+1666"))
    traces.connect(trace, "connection-1")
    traces.leg(trace, "leg", "4:+1555", "sip", EVIL)
    traces.joined(trace, "leg", 16000)
    traces.note(trace, "rest", "Play", status=202, more={"requestBody": Body.of(b'{"loop": true}')})
    clock.advance(5.0)
    traces.note(trace, "sip", EVIL, leg="leg", text=f"BYE sip:{EVIL} SIP/2.0\r\n", peer=EVIL)
    traces.over(trace, "caller", 0, 560000, EVIL)
    traces.end(trace)
    path = tmp_path / "call.zip"
    pack(path, trace.page(), None, {"figures": [{"label": EVIL, "value": 12.5, "unit": "ms"}]})
    return path


def shown(capfd: pytest.CaptureFixture[str], *words: str) -> str:
    assert run(["trace", *words]) == 0
    return capfd.readouterr().out


def test_people_see_who_called_and_what_happened(
    exported: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    text = shown(capfd, "show", str(exported))
    (line,) = [line for line in text.splitlines() if "Play" in line]
    assert "status=202" in line, "what goes into a pipe has an event a line"
    for words in ("call-1", "4:+1555", "by the caller: 0/560000", "12.5 ms", "Play", "status=202", "BYE sip:"):
        assert words in text


def test_turns_have_a_table_of_their_own(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    traces = Traces(ManualClock(start=100.0, wall=1_700_000_000.0), lambda *note: None)
    trace = traces.begin("call-1", About())
    report = TurnReport(3, "answer", "heard", 1000, 1620, 1700, 1702, 1740, 5740, 4000, 2, 1, 23)
    traces.note(trace, "turn", "heard", connection="connection-1", **turn_note(report, 0.0, 0))
    traces.note(trace, "turn", "ended", spans="\x1b[2J", number=EVIL)
    pack(tmp_path / "call.zip", trace.page(), None, None)
    lines = shown(capfd, "show", str(tmp_path / "call.zip")).splitlines()
    (head,) = [n for n, line in enumerate(lines) if line.split()[:3] == ["turn", "what", "outcome"]]
    assert lines[head + 1].split() == ["3", "answer", "heard", "1.000", "620", "80", "2", "38", "740", "4000", "23"]
    assert "\x1b" not in "".join(lines)


def test_nothing_of_a_call_reaches_the_terminal_as_a_command(exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = shown(capfd, "show", str(exported))
    assert not [c for c in text if (ord(c) < 32 and c != "\n") or c in "\x7f\x9b\u202e"]
    assert harmless("a\x1b[31mb\u2066c\x85") == "a\ufffd[31mb\ufffdc\ufffd"


def test_programs_get_what_the_console_gives(exported: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = shown(capfd, "show", str(exported), "--json")
    assert not [c for c in text if (ord(c) < 32 and c != "\n") or c in "\x7f\x9b\u202e"], "JSON moves no cursor either"
    page = json.loads(text)
    assert page["callId"] == "call-1" and page["imported"] is True
    assert page["from"]["displayName"] == EVIL
    assert page["events"][0]["detail"]["requestBody"] == {"loop": True}
    assert page["figures"] == {"figures": [{"label": EVIL, "value": 12.5, "unit": "ms"}]}
    assert page["series"] is None


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        ((), ["rest", "sip"]),
        (("--events", "rest"), ["rest"]),
        (("--events", "rest", "--events", "sip"), ["rest", "sip"]),
        (("--at", "4500"), ["sip"]),
        (("--at", "2500"), []),
    ],
)
def test_events_can_be_chosen(
    exported: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...], kinds: list[str]
) -> None:
    page = json.loads(shown(capfd, "show", str(exported), "--json", *options))
    assert [event["kind"] for event in page["events"]] == kinds


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("show",), "needs the id of a call"),
        (("export",), "needs the id of a call"),
        (("list", "x"), "list takes no id"),
        (("list", "--open"), "--open is for show"),
        (("show", "x.zip", "-o", "y"), "--output is for export"),
        (("show", "nowhere.zip"), "there is no such file"),
        (("show", "./some/folder"), "there is no such file"),
        (("show", "x" * 5000 + ".zip"), "File name too long"),
        (("list", "--limit", "20001"), "20000"),
        (("show", "README.md"), "no zip"),
        (("show", "some-id", "--open"), "--open shows files"),
        (("look", "x"), "look"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(
    capfd: pytest.CaptureFixture[str], words: tuple[str, ...], problem: str
) -> None:
    assert run(["trace", *words]) == 2
    out, err = capfd.readouterr()
    assert not out and err.count("\n") == 1 and problem in err


def test_a_hostile_file_is_a_line_too(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"../{EVIL}/call.json", "{}")
    assert run(["trace", "show", str(path)]) == 2
    out, err = capfd.readouterr()
    assert not out and "\x1b" not in err and "path" in err


def test_a_list_is_as_long_as_is_asked_for_though_a_node_gives_less_at_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    async def fetch(address: Any, path: str) -> Any:
        query = dict(parse_qsl(urlsplit(path).query))
        asked.append(query)
        first = int(query["before"]) + 1 if "before" in query else 0
        return {"calls": [{"callId": str(number)} for number in range(first, min(first + int(query["limit"]), 1234))]}

    monkeypatch.setattr(command, "fetch", fetch)
    for limit, pages in ((700, 2), (5000, 3), (500, 1)):
        asked.clear()
        rows = shown(capfd, "list", "--json", "--query", "Ada", "--limit", str(limit)).splitlines()
        assert [json.loads(row)["callId"] for row in rows] == [str(number) for number in range(min(limit, 1234))]
        assert len(asked) == pages and {query["q"] for query in asked} == {"Ada"}


def test_no_node_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(["trace", "list", "--node", "http://127.0.0.1:9"]) == 4
    assert "nothing listens there" in capfd.readouterr().err


async def test_the_page_of_a_file_is_served_on_this_machine_until_it_is_ended(exported: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *OFFHOOK, "trace", "show", str(exported), "--open",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 15)).decode().strip()
        assert url.startswith("http://127.0.0.1:") and url.endswith("/console/calls/call-1")
        api = f"{url.partition('/console/')[0]}/console/api/calls"

        async def asked(path: str, **options: Any) -> tuple[int, Any]:
            async with ClientSession() as session, session.get(f"{api}{path}", **options) as answer:
                return answer.status, await answer.json()

        async with ClientSession() as session:
            async with session.get(url) as page:
                assert page.status == 200 and "text/html" in page.headers["Content-Type"]
                assert "script-src 'self'" in page.headers["Content-Security-Policy"]
            async with session.get(url.partition("console/")[0]) as front:
                assert front.status == 200 and front.url.path == "/console/"
            async with session.post(f"{api}/call-1/events/1/resend", headers={"X-Offhook-Console": "1"}) as refused:
                assert refused.status in (400, 403, 409), "nothing can be sent"
        status, page = await asked("/call-1")
        assert status == 200 and [event["seq"] for event in page["events"]] == [1, 2] and page["imported"]
        assert (await asked("/call-1/figures"))[0] == 200
        assert (await asked("/another"))[0] == 404
        assert [row["callId"] for row in (await asked(""))[1]["calls"]] == ["call-1"]
        assert (await asked("/call-1", headers={"Host": "evil.example"}))[0] == 421, "a name bound to our address"
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_ids_in_a_list_can_be_copied(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """However narrow the terminal."""
    monkeypatch.setenv("COLUMNS", "80")
    call = "ca9deb31-ae31-8001-b1a6-b0396f9711dc"
    party = {"rawId": f"8:acs:{call}_{call}", "displayName": None}
    row = {"callId": call, "startedAt": "2026-11-26T03:00:28.261Z", "from": party, "to": party, "state": "ended"}
    show_rows([{**row, "durationMs": 2000.0, "events": 19}])
    shown = capsys.readouterr().out
    assert call in shown and max(map(len, shown.splitlines())) <= 80 and len(shown.splitlines()) <= 8
