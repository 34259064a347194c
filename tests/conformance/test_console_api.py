"""The console's API against a running node: a call in the list, its page, its events, and what changes, as it does."""

from __future__ import annotations

import io
import json
import wave
import zipfile
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


async def test_a_call_is_heard_exported_and_told_again(node: LiveNode, app: TestApp, page: Page) -> None:
    async with caller(node, tone=440) as leg:
        data = await app.invited()
        call = (await leg.told("placed"))["callId"]
        await answer(node, data["incomingCallContext"], app.callback)
        await leg.heard_frames(30)
        await _sound(page, call)
        await leg.hang_up()
    await app.event("CallDisconnected")
    await _sound(page, call)
    async with page.session.get(f"{page.origin}{API}/calls/{call}/export") as response:
        assert response.headers["Content-Disposition"] == f'attachment; filename="offhook-call-{call}.zip"'
        with zipfile.ZipFile(io.BytesIO(await response.read())) as archive:
            kept = json.loads(archive.read(next(name for name in archive.namelist() if name.endswith("call.json"))))
    assert kept["callId"] == call and kept["ended"]
    _, whole = await page.get(f"calls/{call}")
    seq = next(e["seq"] for e in whole["events"] if (e["kind"], e["name"]) == ("callback", "CallConnected"))
    status, told = await page.post(f"calls/{call}/events/{seq}/resend")
    assert status == 200 and told["status"] == 200 and told["error"] is None
    await app.event("CallConnected", 2)
    other = next(e["seq"] for e in whole["events"] if e["kind"] == "leg")
    status, told = await page.post(f"calls/{call}/events/{other}/resend")
    assert status == 400 and told["error"]["message"]


async def _sound(page: Page, call: str) -> None:
    """What the leg said is there to be seen and heard, whether the call goes on or is over."""
    _, whole = await page.get(f"calls/{call}")
    (leg,) = whole["legs"]
    said = next(track for track in leg["audio"] if track["side"] == "said")
    span = f"leg={leg['legId']}&fromMs={said['beginMs']}&toMs={said['beginMs'] + 400}"
    status, wave_of = await page.get(f"calls/{call}/peaks?{span}&side=said&bins=20")
    assert status == 200 and len(wave_of["peaks"]) == 40 and max(wave_of["peaks"]) > 10
    for side, channels in (("said", 1), ("both", 2)):
        status, body = await page.get(f"calls/{call}/sound.wav?{span}&side={side}")
        with wave.open(io.BytesIO(body)) as file:
            assert (status, file.getnchannels(), file.getframerate()) == (200, channels, said["rate"])
            assert file.getnframes() == pytest.approx(said["rate"] * 0.4, abs=said["rate"] // 50)
    for path in ("series", "figures"):
        assert (await page.get(f"calls/{call}/{path}"))[0] == 200


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
