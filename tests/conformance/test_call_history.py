"""A real call, seen afterwards: the same in the node, in a file on an empty machine, and in the next node; and its
events sent again. A SIP phone calls, an app on the Python SDK answers (docs/trace.md)."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from tests.conformance.python_sdk import media_streaming, number, sdk, tone
from tests.live import OFFHOOK, LiveNode, TestApp, dev_node, running_node, until
from tests.sip_phone import BYE, TestPhone

from offhook.wire.signing import http_date, sign_hmac

pytestmark = pytest.mark.asyncio(loop_scope="module")

SECRET = "s3cr3t-t0ken"


async def ask(node: LiveNode, path: str, method: str = "GET") -> tuple[int, Any]:
    """A signed request to the console API: status and JSON."""
    path = f"/console/api/calls{path}"
    key = base64.b64decode(node.key)
    signed = sign_hmac(method, path, urlsplit(node.http).netloc, http_date(time.time()), b"", key)
    async with ClientSession() as session, session.request(method, node.http + path, headers=signed) as answer:
        return answer.status, await answer.json()


async def offhook(*words: str, cwd: Path) -> Any:
    """A command in a fresh process with an empty home, its JSON."""
    env = {**os.environ, "HOME": str(cwd), "OFFHOOK_ACCESS_KEY": ""}
    process = await asyncio.create_subprocess_exec(
        *OFFHOOK, *words, "--json", cwd=cwd, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


@dataclass
class Seen:
    """A call that is over, as the node that had it gave it."""

    state: Path
    app: TestApp
    page: dict[str, Any]
    figures: dict[str, Any]
    series: dict[str, Any]
    peaks: list[Any]
    archive: Path

    @property
    def call(self) -> str:
        return str(self.page["callId"])

    def of(self, kind: str, name: str = "") -> list[dict[str, Any]]:
        return [event for event in self.page["events"] if event["kind"] == kind and name in ("", event["name"])]


def peaks_of(page: dict[str, Any]) -> list[str]:
    """The paths of both waveforms of every leg."""
    return [
        f"/{page['callId']}/peaks?leg={leg['legId']}&side={side}&fromMs=0&toMs=1000&bins=200"
        for leg in page["legs"]
        for side in ("said", "heard")
    ]


async def one_call(node: LiveNode, app: TestApp, phone: TestPhone) -> str:
    """The phone calls, the app answers by the SDK, plays a tone with a mark and cuts it; the connection id."""
    line = phone.call(node.info["sip"]["udp"])
    async with sdk(node, "async http") as client:
        data = await app.invited()
        answered = await client(
            client.client.answer_call,
            data["incomingCallContext"],
            f"{app.callback}?token={SECRET}&of=alice",
            media_streaming=media_streaming(f"{app.socket}?sig={SECRET}"),
        )
        connection = client.connection(answered.call_connection_id)
        stream = await app.stream(frames=10)
        await stream.play(tone(440, 3.0, 16000))
        await until(lambda: line.peak()[1] > 3000 if len(line.heard) > 50 else False, "the app's tone at the phone")
        await stream.stop()
        with pytest.raises(Exception, match="8522|8523|participant|400|404"):
            await client(connection.remove_participant, number("+15550199999"))
        line.leg.hang_up(BYE)
        await app.event("CallDisconnected")
    return str(answered.call_connection_id)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def seen(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Seen]:
    """A call of a node that is no more, exported while it was; its state directory is there."""
    root, app, phone = tmp_path_factory.mktemp("history"), TestApp(), TestPhone()
    async with app.running():
        async with dev_node(root / "state", "--incoming", app.webhook, "--sip-port", "0") as node, phone.running():
            await until(lambda: app.validations, "validation")
            call = await one_call(node, app, phone)

            async def delivered() -> bool:
                rows = (await ask(node, f"/{call}"))[1]["events"]
                return any(row["kind"] == "delivery" and row["name"] == "CallDisconnected" for row in rows)

            while not await delivered():
                await asyncio.sleep(0.05)
            status, page = await ask(node, f"/{call}")
            assert status == 200
            figures, series = (await ask(node, f"/{call}/figures"))[1], (await ask(node, f"/{call}/series"))[1]
            peaks = [(await ask(node, path))[1] for path in peaks_of(page)]
            archive = root / "call.zip"
            written = await offhook("trace", "export", call, "-o", str(archive), "--node", node.http, cwd=root)
            assert written == {"written": str(archive), "bytes": archive.stat().st_size}
        yield Seen(root / "state", app, page, figures, series, peaks, archive)


async def test_everything_that_happened_is_in_it(seen: Seen) -> None:
    assert seen.page["from"] == {"rawId": "4:+15550100007", "displayName": "Test Phone"}
    assert (seen.page["state"], seen.page["direction"], seen.page["endedBy"]) == ("ended", "incoming", "caller")
    names = [event["name"] for event in seen.page["events"] if event["kind"] == "sip"]
    assert names[:3] == ["INVITE", "100 INVITE", "180 INVITE"] and names[-2:] == ["BYE", "200 BYE"], names
    answer = seen.of("rest", "AnswerCall")[0]["detail"]
    assert answer["status"] == 200 and answer["responseBody"]["callConnectionId"] == seen.page["callConnectionId"]
    assert answer["requestBody"]["mediaStreamingOptions"]["transportType"] == "websocket"
    refused = seen.of("rest", "RemoveParticipant")[0]["detail"]
    assert refused["status"] >= 400 and refused["responseBody"]["error"]["message"]
    (incoming,) = seen.of("callback", "IncomingCall")
    assert incoming["detail"]["body"][0]["data"]["callerDisplayName"] == "Test Phone"
    for event in seen.of("callback"):
        tries = [row for row in seen.of("delivery") if row["detail"]["eventId"] == event["detail"]["eventId"]]
        assert [row["detail"]["status"] for row in tries] == [200], event["name"]
    assert [event["name"] for event in seen.of("stream")][:2] == ["connected", "opened"]
    (cut,) = seen.of("stopAudio")
    assert cut["detail"]["cutMs"] > 0 and cut["leg"] == seen.page["legs"][0]["legId"]
    order = [event["atMs"] for event in seen.page["events"]]
    assert order == sorted(order) and order[0] < 0 < order[-1]


async def test_no_secret_is_in_it_nor_on_disk(seen: Seen) -> None:
    assert SECRET not in json.dumps([seen.page, seen.figures, seen.series])
    kept = [path for path in (seen.state / "calls").rglob("*") if path.suffix in (".json", ".jsonl")]
    assert kept and not [path for path in kept if SECRET in path.read_text() or "Bearer ey" in path.read_text()]
    assert seen.of("callback", "CallConnected")[0]["detail"]["uri"].endswith("?token=***&of=alice")


async def test_a_file_shows_the_same_on_an_empty_machine(seen: Seen, tmp_path: Path) -> None:
    archive = Path(shutil.copy(seen.archive, tmp_path / "from-afar.zip"))
    page = await offhook("trace", "show", str(archive), cwd=tmp_path)
    assert page.pop("figures") == seen.figures
    assert page.pop("series") == seen.series
    assert page.pop("imported") is True
    assert page == {name: value for name, value in seen.page.items() if name != "imported"}
    assert not (tmp_path / ".offhook").exists(), "nothing of a node was needed"
    process = await asyncio.create_subprocess_exec(
        *OFFHOOK, "trace", "show", str(archive), "--open", cwd=tmp_path, env={**os.environ, "HOME": str(tmp_path)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 15)).decode().strip()
        api = f"{url.partition('/console/')[0]}/console/api/calls"
        async with ClientSession() as session:
            for path, known in zip(peaks_of(seen.page), seen.peaks, strict=True):
                async with session.get(api + path) as answer:
                    assert await answer.json() == known
    finally:
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    assert any(value for value in seen.peaks[1]["peaks"]), "something was heard"


async def test_the_next_node_has_it_and_sends_its_events_again(seen: Seen) -> None:
    app = seen.app
    async with dev_node(seen.state, "--incoming", app.webhook) as node:
        await until(lambda: len(node.named("subscription")) > 0, "validation")
        status, page = await ask(node, f"/{seen.call}")
        assert status == 200 and page == seen.page
        assert [row["callId"] for row in (await ask(node, "?state=ended"))[1]["calls"]] == [seen.call]
        assert (await ask(node, f"/{seen.call}/figures"))[1] == seen.figures
        assert [(await ask(node, path))[1] for path in peaks_of(page)] == seen.peaks

        (incoming,) = seen.of("callback", "IncomingCall")
        app.incoming.clear()
        status, sent = await ask(node, f"/{seen.call}/events/{incoming['seq']}/resend", "POST")
        assert (status, sent["status"], sent["error"]) == (200, 200, None) and "is over" in sent["note"]
        assert app.incoming == incoming["detail"]["body"], "body and event id are those of the first time"
        page = (await ask(node, f"/{seen.call}"))[1]
        last = page["events"][-1]
        assert (last["kind"], last["detail"]["resent"], last["detail"]["status"]) == ("delivery", True, 200)

        for seq, status, problem in (
            (9999, 404, "has no event 9999"),
            (seen.of("leg")[0]["seq"], 400, "only a callback"),
            (seen.of("callback", "CallConnected")[0]["seq"], 409, "secrets of its URL"),
        ):
            answer = await ask(node, f"/{seen.call}/events/{seq}/resend", "POST")
            assert answer[0] == status and problem in answer[1]["error"]["message"], answer


async def test_an_event_of_a_call_in_memory_is_sent_again_with_its_secrets(tmp_path: Path) -> None:
    app, phone = TestApp(), TestPhone()
    async with app.running(), dev_node(tmp_path, "--incoming", app.webhook, "--sip-port", "0") as node:
        async with phone.running():
            await until(lambda: app.validations, "validation")
            call = await one_call(node, app, phone)
        page = (await ask(node, f"/{call}"))[1]
        event = next(row for row in page["events"] if row["name"] == "CallConnected" and row["kind"] == "callback")
        app.events.clear()
        first = app.tokens[0]
        app.tokens.clear()
        status, sent = await ask(node, f"/{call}/events/{event['seq']}/resend", "POST")
        assert (status, sent["status"]) == (200, 200)
        assert [one["id"] for one in app.events] == [event["detail"]["eventId"]]
        assert app.tokens[0].startswith("Bearer ") and app.tokens[0] != first, "the token is new"


async def test_a_call_of_a_node_that_was_killed_is_there_as_far_as_it_went(tmp_path: Path) -> None:
    app, phone = TestApp(), TestPhone()
    async with app.running():
        words = ("dev", "--port", "0", "--json", "--state", str(tmp_path), "--incoming", app.webhook)
        async with running_node(*words, "--sip-port", "0") as node, phone.running():
            await until(lambda: app.validations, "validation")
            phone.call(node.info["sip"]["udp"])
            data = await app.invited()
            async with sdk(node, "async http") as client:
                options = {"media_streaming": media_streaming(app.socket)}
                await client(client.client.answer_call, data["incomingCallContext"], app.callback, **options)
            await app.stream(frames=50)

            def written() -> bool:
                events = any(b"MediaStreamingStarted" in path.read_bytes() for path in tmp_path.glob("calls/*/*.jsonl"))
                return events and any(path.stat().st_size > 20_000 for path in tmp_path.glob("calls/*/01-said.wav"))

            await until(written, "its events and its sound are on disk")
            node.process.kill()
            await node.process.wait()
        async with dev_node(tmp_path) as node:
            rows: list[dict[str, Any]] = []
            while not rows:
                rows = (await ask(node, ""))[1]["calls"]
            page = (await ask(node, f"/{rows[0]['callId']}"))[1]
    assert (rows[0]["state"], page["interrupted"], page["endedBy"]) == ("ended", True, "service")
    assert page["legs"][0]["audio"][0]["samples"] > 16000 // 2, "its sound is there too"
    assert [event["name"] for event in page["events"] if event["kind"] == "sip"][0] == "INVITE"
