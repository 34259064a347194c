"""Browsers as phones of a running node: who they are, what they may say, their calls from begin to end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import ClientSession, WSServerHandshakeError
from tests import live
from tests.live import CALLEE, CONNECTIONS, LiveNode, TestApp, until
from tests.service.config_text import HEAD, TOKEN, written
from tests.webrtc_page import WebRtcPage, webrtc_page
from tests.webrtc_peer import WebRtcPeer

from offhook.audio.codecs import codec
from offhook.audio.tones import dtmf_tone
from offhook.cli.console_client import fetch, node_address
from offhook.service import browsers
from offhook.service.browser_session import BrowserSession
from offhook.service.config import DevConfig
from offhook.service.process import LiveNode as Process
from offhook.service.serve_config import read

Scene = tuple[LiveNode, TestApp]
pytestmark = pytest.mark.asyncio(loop_scope="module")
TONE = dtmf_tone("5", 8000, 20)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Scene]:
    app = TestApp()
    async with app.running(), live.dev_node(tmp_path_factory.mktemp("state"), "--incoming", app.webhook) as node:
        yield node, app


@pytest_asyncio.fixture(loop_scope="module")
async def scene(running: Scene) -> Scene:
    await running[1].clear()
    return running


async def answered(node: LiveNode, app: TestApp, **more: Any) -> str:
    """The app takes the call, with a stream; its connection id."""
    streaming = live.streaming_options(app.socket, dtmf=True)
    data = await app.invited()
    return str(
        (await live.answer(node, data["incomingCallContext"], app.callback, streaming, **more))["callConnectionId"]
    )


async def answered_again(node: LiveNode, app: TestApp) -> str:
    """The app takes its second call."""
    context = (await app.invited(2))["incomingCallContext"]
    return str((await live.answer(node, context, app.callback))["callConnectionId"])


def creating(app: TestApp, page: WebRtcPage, **more: Any) -> dict[str, Any]:
    """The body of a call to the page."""
    return {
        "targets": [{"rawId": page.identity, "communicationUser": {"id": page.identity}, "kind": "communicationUser"}],
        "sourceCallerIdNumber": {"value": "+15550100009"},
        "callbackUri": app.callback,
        "mediaStreamingOptions": live.streaming_options(app.socket),
        **more,
    }


def of_browser(trace: dict[str, Any]) -> list[dict[str, Any]]:
    """What a trace says of its browser."""
    return [event for event in trace["events"] if event["kind"] == "browser"]


async def created(node: LiveNode, app: TestApp, page: WebRtcPage, **more: Any) -> str:
    """The app calls the page; its connection id."""
    status, properties = await live.rest(node, "POST", CONNECTIONS, creating(app, page, **more))
    assert status == 201, properties
    return str(properties["callConnectionId"])


async def test_a_page_dials_an_app_talks_presses_and_hangs_up(scene: Scene) -> None:
    node, app = scene
    async with webrtc_page(node) as page:
        placed = await page.dial(CALLEE, "pcmu")
        await page.heard("ringing")
        invited = await app.invited()
        assert invited["from"]["rawId"] == page.identity and invited["callerDisplayName"] == "Ada"
        assert invited["to"]["rawId"] == f"4:{CALLEE}" and not page.named("answer")
        connection = await answered(node, app)
        assert (await page.heard("answer"))["sdp"] == placed["sdp"]
        stream = await app.stream()
        assert page.peer is not None
        law = codec("PCMU", 8000)
        for _ in range(30):
            page.peer.say(law.encode(TONE))
        page.peer.press("4")
        await page.say("dtmf", call=page.call, tone="#")
        await until(lambda: len([m for m in stream.messages if m["kind"] == "DtmfData"]) == 2, "two keys")
        assert {m["dtmfData"]["data"] for m in stream.messages if m["kind"] == "DtmfData"} == {"4", "#"}
        await until(lambda: np.abs(np.frombuffer(stream.pcm, np.int16).astype(int)).max() > 2000, "the tone at the app")
        await stream.play((np.sin(np.arange(16000) / 4) * 9000).astype(np.int16).tobytes())
        heard = page.peer.heard
        await until(lambda: any(np.abs(law.decode(p.payload).astype(int)).max() > 4000 for p in heard), "the app")
        (media,) = (await fetch(node_address(node.http), "/console/api/status"))["media"]
        assert (media["kind"], media["host"], media["codec"]) == ("browser", "127.0.0.1", "PCMU")
        assert media["received"] >= 30 and media["frames"] > 0
        await page.say("hangup", call=page.call)
        ended = await page.heard("ended")
        assert (ended["endedBy"], ended["call"]) == ("caller", page.call)
        await app.event("CallDisconnected")
        trace = await live.trace(node, connection)
        assert any(e["name"] == "figures" and e["detail"].get("codec") == "PCMU" for e in trace["events"])
        offer, answer, checked, keys = of_browser(trace)
        assert [e["name"] for e in (offer, answer, checked, keys)] == [
            "offer", "answer", "ICE connected", "DTLS connected",
        ]  # fmt: skip
        assert (offer["detail"]["about"], offer["detail"]["direction"]) == ("dial", "in")
        for described in (offer, answer):
            assert "a=ice-pwd:***" in described["detail"]["text"] and "a=fingerprint" in described["detail"]["text"]
            assert described["leg"] == page.call
        assert checked["detail"]["address"].startswith("127.0.0.1:") and keys["detail"]["suite"].startswith("AEAD")


async def test_an_app_rings_a_page_sends_keys_and_hangs_up(scene: Scene) -> None:
    node, app = scene
    async with webrtc_page(node) as page:
        context = {"customCallingContext": {"voipHeaders": {"Order": "7"}, "sipHeaders": {"X-MS-Custom-A": "b"}}}
        connection = await created(node, app, page, **context)
        invite = await page.accept("opus")
        assert invite["from"] == "4:+15550100009"
        assert invite["customContext"]["voipHeaders"] == {"Order": "7"}
        connected = await app.event("CallConnected")
        assert connected["callConnectionId"] == connection
        path = f"{CONNECTIONS}/{connection}"
        target = {"rawId": page.identity, "communicationUser": {"id": page.identity}, "kind": "communicationUser"}
        body = {"tones": ["one", "pound"], "targetParticipant": target}
        status, _ = await live.rest(node, "POST", f"{path}:sendDtmfTones", body)
        assert status == 202
        await page.heard("key", 2)
        assert [m["tone"] for m in page.named("key")] == ["1", "#"]
        await app.event("SendDtmfTonesCompleted")
        assert page.peer is not None
        events = {packet.payload[0] for packet in page.peer.heard if packet.payload_type == page.peer.event}
        assert events == {1, 11}, "as telephone events at the clock of Opus"
        status, _ = await live.rest(node, "POST", f"{path}:terminate")
        ended = await page.heard("ended")
        assert (ended["code"], ended["subCode"], ended["endedBy"]) == (200, 7000, "app")


async def test_a_page_that_declines_is_busy_or_is_gone(scene: Scene) -> None:
    node, app = scene
    async with webrtc_page(node) as page:
        await created(node, app, page)
        invite = await page.heard("invite")
        await created(node, app, page)
        busy = await app.event("CreateCallFailed")
        assert (busy["resultInformation"]["code"], busy["resultInformation"]["subCode"]) == (486, 560486)
        await page.say("decline", call=invite["call"])
        declined = await app.event("CreateCallFailed", 2)
        assert (declined["resultInformation"]["code"], declined["resultInformation"]["subCode"]) == (200, 5002)
        await page.heard("ended")
        connection = await created(node, app, page)
        invite = await page.heard("invite", 2)
        await live.rest(node, "POST", f"{CONNECTIONS}/{connection}:terminate")
        assert (await page.heard("ended", 2))["call"] == invite["call"]
    await created(node, app, page)
    assert (await app.invited())["to"]["rawId"] == page.identity, "without its page, the apps that watch are rung"


async def test_a_redirected_call_an_added_and_a_transferred_one_ring_the_page(scene: Scene) -> None:
    node, app = scene
    async with webrtc_page(node) as page, webrtc_page(node) as other:
        target = {"rawId": other.identity, "communicationUser": {"id": other.identity}, "kind": "communicationUser"}
        await page.dial(CALLEE, "opus")
        body = {"incomingCallContext": (await app.invited())["incomingCallContext"], "target": target}
        assert (await live.rest(node, "POST", "/calling/callConnections:redirect", body))[0] == 204
        invite = await other.accept("opus")
        assert invite["from"] == page.identity
        await page.heard("answer")
        await until(lambda: other.peer and len(other.peer.heard) > 5, "they talk")
        await other.say("hangup", call=other.call)
        assert (await page.heard("ended"))["endedBy"] == "callee"

    async with webrtc_page(node) as page, webrtc_page(node) as other:
        target = {"rawId": other.identity, "communicationUser": {"id": other.identity}, "kind": "communicationUser"}
        await page.dial(CALLEE, "pcmu")
        connection = await answered_again(node, app)
        path = f"{CONNECTIONS}/{connection}"
        assert (await live.rest(node, "POST", f"{path}/participants:add", {"participantToAdd": target}))[0] == 202
        await other.say("decline", call=(await other.heard("invite"))["call"])
        assert (await other.heard("ended"))["code"] == 603, "as the app is told"
        other.messages.clear()
        assert (await live.rest(node, "POST", f"{path}/participants:add", {"participantToAdd": target}))[0] == 202
        await other.accept("pcmu")
        await app.event("AddParticipantSucceeded")
        assert (await live.rest(node, "POST", f"{path}/participants:remove", {"participantToRemove": target}))[0] == 202
        await other.heard("ended")
        assert (await live.rest(node, "POST", f"{path}:transferToParticipant", {"targetParticipant": target}))[0] == 202
        await until(lambda: len(other.named("invite")) == 2, "it rings again")
        other.messages.remove(other.named("invite")[0])
        other.messages.remove(other.named("answer")[0])
        await other.accept("opus")
        await app.event("CallTransferAccepted")
        await until(lambda: other.peer and len(other.peer.heard) > 5, "they talk without the app")


async def test_hold_silences_both_ways_and_keys_still_count(scene: Scene) -> None:
    node, app = scene
    async with webrtc_page(node) as page:
        await page.dial(CALLEE, "pcmu")
        await answered(node, app)
        stream = await app.stream()
        assert page.peer is not None
        await page.say("hold", call=page.call, held=True)
        await until(lambda: page.named("figures") and page.named("figures")[-1]["held"], "held in the figures")
        law, before, sent = codec("PCMU", 8000), len(stream.pcm), len(page.peer.heard)
        for _ in range(20):
            page.peer.say(law.encode(TONE))
        page.peer.press("7")
        await until(lambda: [m for m in stream.messages if m["kind"] == "DtmfData"], "the key")
        await until(lambda: len(stream.pcm) > before + 32000, "a second of sound")
        assert np.abs(np.frombuffer(stream.pcm[before:], np.int16).astype(int)).max() == 0
        assert len(page.peer.heard) == sent
        await page.say("hold", call=page.call, held=False)
        await until(lambda: len(page.peer.heard if page.peer else []) > sent + 5, "sound again")
        await page.say("mute", call=page.call, muted=True)
        await page.say("mute", call=page.call, muted="no")
        assert "muted must be" in (await page.heard("error"))["message"]
        await page.say("bye")
        connection = (await app.event("CallDisconnected"))["callConnectionId"]
        assert [e["name"] for e in of_browser(await live.trace(node, connection))][-3:] == ["hold", "unhold", "mute"]


async def test_a_page_that_comes_back_goes_on_with_its_call_on_new_media(scene: Scene) -> None:
    """Its socket is lost; it proves who it is, and brings another certificate and another codec."""
    node, app = scene
    async with webrtc_page(node) as page:
        await page.dial(CALLEE, "opus")
        await answered(node, app)
        await app.stream()
        identity, call = page.identity, page.call
        page.drop()
        ready = await page.again()
        assert ready["identity"] == identity
        assert [(c["call"], c["state"], c["direction"]) for c in ready["calls"]] == [(call, "connected", "outgoing")]
        peer = await page.restart("pcma")
        await until(lambda: len(peer.heard) > 10, "sound on the new media")
        assert peer.heard[-1].payload_type == 8 and peer.forged == 0
        await page.heard("figures", 1)
        assert page.named("figures")[-1]["codec"] == "PCMA"
        await page.say("restart", call=call, sdp="v=0")
        await page.heard("error")
        await page.say("hangup", call=call)
        await page.heard("ended")
        connection = (await app.event("CallDisconnected"))["callConnectionId"]
        assert [e["name"] for e in of_browser(await live.trace(node, connection))][4:] == [
            "socket lost", "socket back", "offer", "answer", "ICE path changed", "DTLS connected", "offer refused",
        ]  # fmt: skip


async def test_a_page_that_has_not_heard_the_answer_accepts_again(scene: Scene) -> None:
    node, app = scene
    async with webrtc_page(node) as page:
        connection = await created(node, app, page)
        page.call = (await page.heard("invite"))["call"]
        lost = WebRtcPeer("pcmu")
        page.peers.append(lost)
        offer = await lost.offer()
        await page.say("accept", call=page.call, sdp=offer)
        await page.heard("answer")
        page.drop()
        ready = await page.again()
        assert [c["state"] for c in ready["calls"]] == ["ringing"]
        page.messages.append({"kind": "invite", **ready["calls"][0]})
        await page.accept("pcmu")
        assert (await app.event("CallConnected"))["callConnectionId"] == connection
        await page.say("accept", call=page.call, sdp=offer)
        assert "already" in (await page.heard("error"))["message"]
        await page.say("bye")
        await app.event("CallDisconnected")


async def test_a_storm_of_messages_does_not_hold_up_the_media_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two of them everything else has its turn, though all came at once."""
    process = Process(DevConfig(port=0, state_dir=tmp_path, incoming=[]), lambda event: None)
    await process.start()
    node, loop = LiveNode(cast(Any, None), process.describe()), asyncio.get_running_loop()
    turns, taken = [0], list[int]()
    monkeypatch.setattr(BrowserSession, "take", lambda self, message: taken.append(turns[0]))

    def turn() -> None:
        turns[0] += 1
        if len(taken) < 500:
            loop.call_soon(turn)

    try:
        async with webrtc_page(node) as page:
            assert page.socket is not None
            turn()
            await asyncio.gather(*(page.say("ping") for _ in range(500)))
            await until(lambda: len(taken) == 500, "all are taken")
            assert len(set(taken)) == 500
    finally:
        await process.stop()


async def test_a_socket_that_stays_away_ends_the_call_as_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of calls that are up, that ring at the page, and that the page has placed."""
    monkeypatch.setattr(browsers, "RESUME_SECONDS", 0.3)
    app = TestApp()
    async with app.running():
        process = Process(DevConfig(port=0, state_dir=tmp_path, incoming=[app.webhook]), lambda event: None)
        await process.start()
        node = LiveNode(cast(Any, None), process.describe())
        await until(lambda: app.validations, "the webhook is valid")
        try:
            async with webrtc_page(node) as page:
                await page.dial(CALLEE, "pcmu")
                await answered(node, app)
                await app.stream()
                page.drop()
                information = (await app.event("CallDisconnected"))["resultInformation"]
                assert (information["code"], information["subCode"]) == (410, 301005)
            async with webrtc_page(node) as page:
                await created(node, app, page)
                await page.heard("invite")
                page.drop()
                information = (await app.event("CreateCallFailed"))["resultInformation"]
                assert (information["code"], information["subCode"]) == (404, 8544)
            async with webrtc_page(node) as page:
                await page.dial(CALLEE, "pcmu")
                page.drop()
                await until(lambda: not process.node.calls, "the call is over")
            assert process.browsers is not None and process.browsers.description["browsers"] == 0
        finally:
            await process.stop()


async def test_a_second_page_takes_the_identity_over(scene: Scene) -> None:
    node, _ = scene
    async with webrtc_page(node) as page, webrtc_page(node) as other:
        await other.open(session=page.ready["session"], secret=page.ready["secret"])
        assert other.identity == page.identity
        assert page.socket is not None
        await until(lambda: page.socket is not None and page.socket.closed, "the first is closed")
        assert page.socket.close_code == 4001
        await other.open(session=page.ready["session"], secret="\ud800" * 64)
        assert other.identity != page.identity
        await other.open(session=page.ready["session"], secret="0" * 64)
        assert other.identity != page.identity, "who cannot prove an identity gets a new one"
        gone = other.identity
        assert (await live.rest(node, "DELETE", f"/identities/{gone}", api_version="2023-10-01"))[0] == 204
        await other.say("ping")
        await until(lambda: other.socket and other.socket.closed, "who is no more is no phone")
        await other.again()
        assert other.identity != gone, "nor has anybody one that an app has deleted"


WRONG: list[tuple[str | bytes, str]] = [
    ("{", "JSON"),
    ("[]", "JSON object"),
    (json.dumps({"kind": "dial"}), "to must be"),
    (json.dumps({"kind": "dial", "to": "nobody", "sdp": "v=0"}), "neither a phone number"),
    (json.dumps({"kind": "dial", "to": "8:orgid:11111111", "sdp": "v=0"}), "cannot be called"),
    (json.dumps({"kind": "dial", "to": "8:acs:a\ud800", "sdp": "v=0"}), "cannot be called"),
    (json.dumps({"kind": "dial", "to": "+1555", "sdp": "hello"}), "no session description"),
    (json.dumps({"kind": "dial", "to": "+1555", "sdp": 7}), "sdp must be"),
    (json.dumps({"kind": "dial", "to": "1" * 300, "sdp": "v=0"}), "at most 256"),
    (json.dumps({"kind": "hangup", "call": "x"}), "no such call"),
    (json.dumps({"kind": "dtmf", "call": None, "tone": "1"}), "no such call"),
    (json.dumps({"kind": "hold"}), "no such call"),
    (json.dumps({"kind": ["hangup"]}), "unknown kind"),
    (json.dumps({"kind": "hello"}), "unknown kind"),
    (b"\0\1", "text"),
]


async def test_wrong_messages_are_answered_and_do_no_harm(scene: Scene) -> None:
    node, app = scene
    async with webrtc_page(node) as page:
        assert page.socket is not None
        for count, (message, said) in enumerate(WRONG, 1):
            if isinstance(message, bytes):
                await page.socket.send_bytes(message)
            else:
                await page.socket.send_str(message)
            assert said in (await page.heard("error", count))["message"]
        await page.say("ping")
        await page.heard("pong")
        assert not app.incoming
        await page.dial(CALLEE, "opus")
        await app.invited()
        await page.say("dial", to="+1555", sdp="v=0")
        assert "already" in (await page.heard("error", len(WRONG) + 1))["message"]
        await page.say("accept", call=page.call, sdp="v=0")
        assert "none that rings" in (await page.heard("error", len(WRONG) + 2))["message"]


async def test_pages_of_other_sites_and_strange_hellos_are_refused(scene: Scene) -> None:
    node, _ = scene
    url = node.http + "/console/api/phone"
    async with ClientSession() as session:
        for origin in ("http://evil.example", "null", "http://[", node.http.replace("http", "ftp") + "1"):
            with pytest.raises(WSServerHandshakeError) as refused:
                await session.ws_connect(url, headers={"Origin": origin})
            assert refused.value.status == 403
        for first in ('{"kind":"dial"}', '{"kind":"hello","name":7}', "no"):
            async with session.ws_connect(url, headers={"Origin": node.http}) as socket:
                await socket.send_str(first)
                assert (await socket.receive_json())["kind"] == "error"
                assert (await socket.receive()).data == 1008
        async with session.ws_connect(url, headers={"Origin": node.http}) as socket:
            await socket.send_str('{"kind":"hello","name":"' + "x" * 300_000 + '"}')
            assert (await socket.receive()).data == 1009


async def test_the_node_says_where_browsers_send_their_media(scene: Scene) -> None:
    webrtc = scene[0].info["webrtc"]
    assert webrtc["port"] > 0 and webrtc["candidates"] == ["127.0.0.1"]


async def test_browsers_are_bounded_and_the_longest_idle_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browsers, "MOST_SESSIONS", 2)
    monkeypatch.setattr(browsers, "HELLO_SECONDS", 0.2)
    process = Process(DevConfig(port=0, state_dir=tmp_path, incoming=[]), lambda event: None)
    await process.start()
    node = LiveNode(cast(Any, None), process.describe())
    try:
        async with webrtc_page(node) as first, webrtc_page(node) as second, webrtc_page(node) as third:
            assert first.socket is not None and third.ready and second.socket is not None
            await until(lambda: first.socket and first.socket.closed, "the one that was idle for longest")
            assert first.socket.close_code == 4002 and not second.socket.closed
            assert process.browsers is not None and process.browsers.description["browsers"] == 2
            async with ClientSession() as session:
                url, headers = node.http + "/console/api/phone", {"Origin": node.http}
                async with session.ws_connect(url, headers=headers) as silent:
                    assert "hello" in (await silent.receive_json())["message"]
                    assert (await silent.receive()).data == 1008
    finally:
        await process.stop()


async def test_on_a_node_for_others_a_page_must_have_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        f'{HEAD}[node]\nhost = "127.0.0.1"\nport = 0\nstate_dir = "{tmp_path / "state"}"\n'
        f'[console]\ntoken = "{TOKEN}"\n'
        '[webrtc]\nhost = "127.0.0.1"\nport = 0\nturn = ["turn:turn.example.com"]\nturn_secret = "shared"\n'
    )
    process = Process(read(written(tmp_path, text), {}), lambda event: None)
    await process.start()
    http = str(process.describe()["httpEndpoint"])
    try:
        async with ClientSession() as session:
            headers = {"Origin": http, "X-Offhook-Console": "1"}
            with pytest.raises(WSServerHandshakeError) as refused:
                await session.ws_connect(f"{http}/console/api/phone", headers=headers)
            assert refused.value.status == 401
            async with session.post(f"{http}/console/api/login", json={"token": TOKEN}, headers=headers) as answer:
                assert answer.status < 300, await answer.text()
            async with session.ws_connect(f"{http}/console/api/phone", headers=headers) as socket:
                await socket.send_json({"kind": "hello"})
                ready = await socket.receive_json()
                (turn,) = ready["iceServers"]
                assert turn["urls"] == ["turn:turn.example.com"] and turn["username"].endswith(ready["session"])
                await socket.send_json({"kind": "ping"})
                assert await socket.receive_json() == {"kind": "pong"}
                monkeypatch.setattr(browsers, "TURN_SECONDS", 0)
                await socket.send_json({"kind": "ping"})
                assert await socket.receive_json() == {"kind": "pong"}
                renewed = await socket.receive_json()
                assert renewed["kind"] == "servers" and renewed["iceServers"][0]["urls"] == turn["urls"]
                async with session.post(f"{http}/console/api/logout", json={}, headers=headers) as answer:
                    assert answer.status < 300, await answer.text()
                await socket.send_json({"kind": "ping"})
                assert (await socket.receive()).data == 1008, "who has logged out is no phone any more"
    finally:
        await process.stop()
