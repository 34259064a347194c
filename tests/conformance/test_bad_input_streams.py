"""Bad input on the app's socket, from an app that swallows its posts, and on the console: a clear error, nothing lost.

After each test the node takes a call, and its log has no traceback (fixture `still_well`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections import Counter
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from aiohttp import ClientSession
from tests.console_leg import caller, leg
from tests.live import LiveNode, TestApp, answer, audio_text, dev_node, streaming_options, trace, until
from tests.raw_socket import tcp_app

from offhook.wire.signing import http_date, sign_hmac

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.usefixtures("still_well")]

# the app's socket ---------------------------------------------------------------------------------------------------

GOOD = base64.b64encode(b"\x01\x02" * 320).decode()
MESSAGES: list[str | bytes] = [
    "", "x", "{", "null", "[]", "5", '"AudioData"', "{}", '{"kind":5}', '{"kind":null}', '{"Kind":"Nonsense","x":1}',
    '{"kind":"AudioData"}', '{"kind":"AudioData","audioData":null}', '{"kind":"AudioData","audioData":[]}',
    '{"kind":"AudioData","audioData":{"data":5}}', '{"kind":"AudioData","audioData":{"data":null}}',
    '{"kind":"AudioData","audioData":{"data":"%%%"}}', '{"kind":"AudioData","audioData":{"data":"QUJ"}}',
    '{"kind":"AudioData","audioData":{"data":"QUJD"}}', '{"kind":"AudioData","audioData":{"data":"\\ud800"}}',
    f'{{"kind":"AudioData","audioData":{{"data":"{GOOD}"', "[" * 20_000, '{"kind":' * 5_000,
    b"\xff\xfe\x00", b"\x00" * 640, b"",
]  # fmt: skip


async def test_messages_that_make_no_sense_cost_nothing_else(node: LiveNode, app: TestApp) -> None:
    async with caller(node) as one:
        data = await app.invited()
        made = await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
        stream = await app.stream()
        for message in MESSAGES:
            if isinstance(message, str):
                await stream.socket.send_str(message)
            else:
                await stream.socket.send_bytes(message)
        await stream.play(b"\x01\x02" * 3200)
        await one.heard_app(10)
        frames = len(stream.frames)
        await until(lambda: len(stream.frames) > frames + 5, "the stream goes on")
        assert len(app.streams) == 1
    page = await trace(node, made["callConnectionId"])
    problems = [e["detail"]["problem"] for e in page["events"] if e["name"] == "bad message"]
    assert any("base64" in problem for problem in problems) and any("even" in problem for problem in problems)
    figures = next(e["detail"] for e in page["events"] if e["name"] == "figures")
    assert figures["badMessages"] >= 6


async def test_audio_at_the_wrong_rate_is_played_and_said_once(node: LiveNode, app: TestApp) -> None:
    async with caller(node):
        data = await app.invited()
        made = await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
        stream = await app.stream()
        for _ in range(200):
            await stream.play(b"\x01\x02" * 480)
        await until(lambda: [line for line in node.log if "is the rate right?" in line])
    page = await trace(node, made["callConnectionId"])
    assert len([e for e in page["events"] if "is the rate right?" in str(e["detail"])]) == 1


async def test_a_stream_that_floods_is_refused_beyond_ten_minutes(node: LiveNode, app: TestApp) -> None:
    """Eleven minutes at once: the newest minute is refused, counted and said; the rest is cut by StopAudio."""
    minute = audio_text(bytes(range(1, 129)) * (16000 * 2 * 60 // 128))
    async with caller(node) as one:
        data = await app.invited()
        made = await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
        stream = await app.stream()
        for _ in range(11):
            await stream.socket.send_str(minute)
        await one.heard_app(20)
        await stream.stop()
        told = await until(
            lambda: [e for e in node.named("stopAudio") if e["callConnectionId"] == made["callConnectionId"]]
        )
        kept = told[0]["playedMs"] + told[0]["cutMs"]
        assert 600_000 <= kept < 610_000
        frames = one.frames
        await one.heard_frames(frames + 5)
    page = await trace(node, made["callConnectionId"])
    figures = next(e["detail"] for e in page["events"] if e["name"] == "figures")
    assert figures["refusedMs"] == pytest.approx(660_000 - kept, abs=1)
    assert [e for e in page["events"] if "buffer is full" in str(e["detail"])]


async def test_a_message_beyond_the_bound_ends_the_connection_not_the_call(node: LiveNode, app: TestApp) -> None:
    """Five MiB in one message: the socket is closed and dialled again."""
    async with caller(node) as one:
        data = await app.invited()
        await answer(node, data["incomingCallContext"], app.callback, streaming_options(app.socket))
        stream = await app.stream(frames=3)
        with contextlib.suppress(ConnectionError):
            await stream.socket.send_str("x" * (5 * 2**20))
        again = await app.stream(2, frames=3)
        await again.play(b"\x01\x02" * 3200)
        await one.heard_app(5)


# the app's posts ----------------------------------------------------------------------------------------------------


async def test_an_app_that_never_answers_its_posts_is_not_asked_twice(
    node: LiveNode, app: TestApp, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Every event comes once, in order, a second apart at most; the call is not held up."""
    posts: list[tuple[float, str]] = []
    loop = asyncio.get_running_loop()
    contexts: list[str] = []

    async def swallow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        size = int(head.split("content-length:")[1].split("\r\n")[0])
        event = json.loads(await reader.readexactly(size))[0]
        kind = event.get("type") or event["eventType"]
        if kind.endswith("ValidationEvent"):
            body = json.dumps({"validationResponse": event["data"]["validationCode"]})
            writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        else:
            posts.append((loop.time(), kind.rpartition(".")[2]))
            contexts.append(event["data"].get("incomingCallContext", ""))
        await reader.read()
        writer.close()

    async with AsyncExitStack() as stack:
        url = f"http://127.0.0.1:{await stack.enter_async_context(tcp_app(swallow))}/"
        mute = await stack.enter_async_context(dev_node(tmp_path_factory.mktemp("mute"), "--incoming", url))
        one = await stack.enter_async_context(caller(mute))
        await until(lambda: posts, "IncomingCall")
        began = loop.time()
        await answer(mute, contexts[0], url, streaming_options(app.socket))
        await app.stream(frames=20)
        assert loop.time() - began < 1.5
        await one.hang_up()
        await until(lambda: len(posts) == 5, "all events")
        assert [name for _, name in posts] == [
            "IncomingCall",
            "CallConnected",
            "ParticipantsUpdated",
            "MediaStreamingStarted",
            "CallDisconnected",
        ]
        gaps = np.diff([at for at, _ in posts])[1:]
        assert max(gaps) < 1.6
        assert max(Counter(name for _, name in posts).values()) == 1


# the console --------------------------------------------------------------------------------------------------------


async def test_the_console_says_what_is_wrong_and_stays_open(node: LiveNode) -> None:
    place = {"kind": "place", "to": "4:+15550100002", "from": "4:+15550100001"}
    wrong: list[tuple[Any, str]] = [
        ("{", "bad message"),
        ("[]", "object"),
        ('"place"', "object"),
        ({"kind": "dance"}, "unknown kind"),
        ({"kind": ["place"]}, "unknown kind"),
        ({"kind": "place"}, "from"),
        ({**place, "to": ""}, "to"),
        ({**place, "to": 5}, "to"),
        ({**place, "from": None}, "from"),
        ({**place, "lead": "soon"}, "lead"),
        ({**place, "lead": -1}, "lead"),
        ({**place, "duration": 1e99}, "duration"),
        ({**place, "duration": [1]}, "duration"),
        ({**place, "tone": "loud"}, "tone"),
        ({**place, "tone": 0}, "tone"),
        ({**place, "rate": 11025}, "rate"),
        ({**place, "dtmf": "1"}, "dtmf"),
        ({**place, "dtmf": [["a", "1"]]}, "dtmf"),
        ({**place, "dtmf": [[1, "X"]]}, "tone"),
        ({**place, "dtmf": [1]}, "bad message"),
        ({"kind": "register"}, "identity"),
        ({"kind": "register", "identity": "4:+1", "reject": "maybe"}, "reject"),
        ({"kind": "register", "identity": "4:+1", "answerAfter": "soon"}, "answerAfter"),
        ({"kind": "register", "identity": "4:+1", "answerAfter": -1}, "answerAfter"),
        ("[" * 100_000, "bad message"),
    ]
    async with leg(node) as one:
        for number, (message, word) in enumerate(wrong, 1):
            await one.socket.send_str(message if isinstance(message, str) else json.dumps(message))
            error = await one.told("error", number)
            assert word in error["message"], (message, error)
        await one.speak(b"123")
        assert "even" in (await one.told("error", len(wrong) + 1))["message"]
        assert not [said for said in one.said if said["kind"] != "error"]


async def test_a_key_that_is_wrong_opens_no_console(node: LiveNode) -> None:
    """An open node takes requests of this machine without a signature; one that is there must be right."""
    path, date = "/console/api/status", http_date(time.time())
    wrong = sign_hmac("GET", path, urlsplit(node.http).netloc, date, b"", b"another key")
    async with ClientSession() as session, session.get(f"{node.http}{path}", headers=wrong) as response:
        assert response.status == 401
        assert (await response.json())["error"]["code"] == "7509"


async def test_two_phones_cannot_be_one(node: LiveNode) -> None:
    async with leg(node) as one, leg(node) as other:
        await one.send(kind="register", identity="4:+15550100055")
        await one.told("registered")
        await other.send(kind="register", identity="4:+15550100055")
        assert "another phone" in (await other.told("error"))["message"]
