"""The console's API against a running node: a call in the list, its page, its events, and what changes, as it does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from tests.console_leg import caller
from tests.console_page import API, Page
from tests.live import LiveNode, TestApp, answer, until

from offhook.cli.console_client import fetch, node_address

pytestmark = pytest.mark.asyncio(loop_scope="module")
DOCS = Path(__file__).parents[2] / "docs" / "console.md"


@pytest_asyncio.fixture(loop_scope="module")
async def page(node: LiveNode) -> AsyncIterator[Page]:
    async with ClientSession() as session:
        yield Page(session, node.http)


async def test_a_call_is_seen_live_and_afterwards(node: LiveNode, app: TestApp, page: Page) -> None:
    async with page.feed("stream") as rows:
        async with caller(node, displayName="Ada") as leg:

            def last(call: str) -> dict[str, Any]:
                found = [row for row in rows.named("row") if row["callId"] == call]
                return found[-1] if found else {}

            data = await app.invited()
            placed = await leg.told("placed")
            call = placed["callId"]
            async with page.feed(f"calls/{call}/stream") as feed:
                await until(lambda: feed.named("call"), "the call's own facts")
                assert feed.named("call")[0]["state"] == "ringing" and "events" not in feed.named("call")[0]
                properties = await answer(node, data["incomingCallContext"], app.callback)
                await until(lambda: feed.named("call")[-1]["state"] == "connected", "the answer")
                await until(lambda: [e for e in feed.named("event") if e["name"] == "CallConnected"], "an event")
                await until(lambda: last(call).get("state") == "connected", "its row")
                status, found = await page.get("calls?state=live&q=ada")
                assert status == 200 and call in [row["callId"] for row in found["calls"]]
                await leg.hang_up()
                await until(lambda: feed.over, "the end of the stream")
                await _is_whole(page, call, feed.events)
            assert feed.named("end") == [{"callId": call}]
            await _from_the_middle(page, call, properties["callConnectionId"])
        await until(lambda: last(call)["ended"], "its last row")
        states = list(dict.fromkeys(row["state"] for row in rows.named("row") if row["callId"] == call))
        assert states == ["ringing", "connected", "ended"]
    assert await fetch(node_address(node.http), f"{API}/calls/{call}") == (await page.get(f"calls/{call}"))[1]


async def _is_whole(page: Page, call: str, told: list[tuple[str, Any, str]]) -> None:
    """The stream told every event of the page, with its number as its id."""
    status, whole = await page.get(f"calls/{call}")
    assert status == 200 and whole["ended"] and whole["from"]["displayName"] == "Ada"
    last = {event["seq"]: event for name, event, _ in told if name == "event"}
    assert last == {event["seq"]: event for event in whole["events"]}
    assert all(str(event["seq"]) == number for name, event, number in told if name == "event")


async def _from_the_middle(page: Page, call: str, connection: str) -> None:
    """Later events alone, by either id, asked for in either way."""
    _, whole = await page.get(f"calls/{call}")
    numbers = sorted(event["seq"] for event in whole["events"])
    _, rest = await page.get(f"calls/{connection}/events?after={numbers[1]}")
    assert [event["seq"] for event in rest["events"]] == numbers[2:]
    for path, headers in ((f"?after={numbers[1]}", {}), ("", {"Last-Event-ID": str(numbers[1])})):
        async with page.feed(f"calls/{connection}/stream{path}", **headers) as feed:
            await feed.ended()
        assert [event["seq"] for event in feed.named("event")] == numbers[2:]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("calls?limit=0", 400, ["limit", "1 to 500", "'0'"]),
        ("calls?limit=1e2", 400, ["limit"]),
        ("calls?limit=%D9%A3", 400, ["limit"]),
        ("calls?limit=1&limit=2", 400, ["limit", "more than once"]),
        ("calls?state=over", 400, ["state", "live or ended"]),
        ("calls?colour=red", 400, ["colour", "state, q, limit, before"]),
        (f"calls?q={'x' * 201}", 400, ["q", "200"]),
        ("calls/none", 404, ["/console/api/calls"]),
        (f"calls/{'x' * 201}", 404, ["200"]),
        ("calls/none/events?after=-1", 400, ["after"]),
        ("calls/none/stream?after=x", 400, ["after"]),
        ("calls/none/stream", 404, ["/console/api/calls"]),
        ("calls/none/peaks?leg=a&side=up&fromMs=0&toMs=1&bins=1", 400, ["side", "said or heard"]),
        ("calls/none/peaks?leg=a&side=said&fromMs=nan&toMs=1&bins=1", 400, ["fromMs", "nan"]),
        ("calls/none/peaks?leg=a&side=said&fromMs=0&toMs=inf&bins=1", 400, ["toMs", "inf"]),
        ("calls/none/peaks?leg=a&side=said&fromMs=2&toMs=1&bins=1", 400, ["toMs", "greater"]),
        ("calls/none/peaks?leg=a&side=said&fromMs=0&toMs=1&bins=4001", 400, ["bins", "4000"]),
        ("calls/none/peaks?side=said&fromMs=0&toMs=1&bins=1", 400, ["leg", "legId"]),
        ("calls/none/sound.wav?leg=a&side=both&fromMs=0&toMs=600001", 400, ["600 s", "export"]),
        ("calls/none/sound.wav?leg=a&side=both&fromMs=0&toMs=600", 404, []),
        ("calls/none/export", 404, []),
        ("calls/none/figures?x=1", 400, ["'x'", "none"]),
        ("nothing", 404, ["docs/console.md"]),
        ("", 404, ["docs/console.md"]),
    ],
)
async def test_what_cannot_be_asked_is_refused_by_name(page: Page, path: str, status: int, words: list[str]) -> None:
    told, body = await page.get(path)
    assert told == status, body
    assert set(body) == {"error"} and set(body["error"]) == {"code", "message"}
    assert not [word for word in words if word not in body["error"]["message"]], body


async def test_setup_shows_what_an_app_needs_and_tries_its_webhook(node: LiveNode, app: TestApp, page: Page) -> None:
    status, setup = await page.get("setup")
    assert status == 200 and setup["connectionString"] == node.connection_string and not setup["login"]
    assert setup["environment"]["ACS_CONNECTION_STRING"] == node.connection_string
    assert [webhook["url"] for webhook in setup["incoming"]] == [app.webhook]
    known = app.validations
    status, rows = await page.post("setup/check", {"url": None})
    assert status == 200 and app.validations == known + 1
    assert {row["name"]: row["ok"] for row in rows} == {"tls": True, "webhook": True}
    status, rows = await page.post("setup/check", {"url": f"{app.url}/status/404"})
    assert [(row["ok"], "404" in row["detail"], bool(row["fix"])) for row in rows] == [(False, True, True)]
    status, rows = await page.post("setup/check", {"url": app.socket})
    assert [(row["name"], row["ok"]) for row in rows] == [("websocket", True)]
    app.streams.clear()


@pytest.mark.parametrize(
    "url",
    [
        1,
        "",
        "x" * 2049,
        "ftp://example.com/",
        "http://",
        "file:///etc/passwd",
        "http://a\nb/",
        "http://[::1",
        "gopher:x",
    ],
)
async def test_urls_that_nothing_is_tried_at(page: Page, url: Any) -> None:
    status, body = await page.post("setup/check", {"url": url})
    assert status == 400 and "url" in body["error"]["message"]
