"""The app shell: webhooks, matching of sockets and callbacks to calls, what goes wrong (protocol.md 2, 5, 6)."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from tests.kit import shell as shell_module
from tests.kit.issued import AUDIENCE, KEY, Page, token
from tests.kit.shell import CALLER, LOUD, Agent, Shell, open_call, settle, until

from offhook.kit import (
    Call,
    Ignore,
    Redirect,
    Reject,
    TokenCheck,
)
from offhook.kit import app as app_module
from offhook.kit import life as life_module
from offhook.kit.events import CallbackEvent, IncomingCall, PlayCompleted, RecognizeCompleted
from offhook.kit.session import GONE_MS

# ------------------------------------------------------------------ answering


async def test_a_validation_is_answered(shell: Shell, agent: Agent) -> None:
    body = b'[{"eventType":"Microsoft.EventGrid.SubscriptionValidationEvent","data":{"validationCode":"x"}}]'
    answer = await shell.app.take_incoming(body)
    assert (answer.status, answer.body) == (200, b'{"validationResponse":"x"}')
    assert (await shell.app.take_incoming(b"x")).status == 400


async def test_a_call_is_answered_with_streaming(shell: Shell, agent: Agent) -> None:
    call, secret, socket = await open_call(shell, agent)
    (asked,) = shell.client.answered
    assert asked["callback"] == f"https://app.example/voice/api/callbacks/{secret}"
    options = asked["media_streaming"]._to_generated()
    assert options.transport_url == f"wss://app.example/voice/ws/{secret}"
    assert options.start_media_streaming and options.enable_bidirectional and options.enable_dtmf_tones
    assert (options.audio_format, options.audio_channel_type) == ("pcm24KMono", "mixed")
    assert (call.id, call.caller, call.callee, call.rate) == ("connection-c", CALLER, "4:+15550100002", 16000)
    agent.go.set()
    await until(lambda: shell.connection().hung_up)
    await shell.callback(secret, "CallDisconnected")
    await until(lambda: socket.code == 1000)
    await until(lambda: not shell.app._lives)


async def test_the_stream_is_as_the_app_says() -> None:
    shell = Shell(rate=16000, mixed=False, dtmf=False, stream_url="wss://media.example:8081/")
    Agent(shell.app)
    secret = await shell.rung()
    options = shell.client.answered[0]["media_streaming"]._to_generated()
    assert options.transport_url == f"wss://media.example:8081/ws/{secret}"
    assert (options.audio_format, options.audio_channel_type) == ("pcm16KMono", "unmixed")
    assert not options.enable_dtmf_tones
    await shell.close()


async def test_a_second_delivery_is_not_answered_again(shell: Shell, agent: Agent) -> None:
    await open_call(shell, agent)
    assert await shell.ring() == 200
    await settle()
    assert len(shell.client.answered) == 1


@pytest.mark.parametrize(
    ("decision", "answered", "rejected", "redirected"),
    [
        (None, 1, [], []),
        (Reject("busy"), 0, ["busy"], []),
        (Redirect("+15550100003"), 0, [], ["+15550100003"]),
        (Ignore(), 0, [], []),
        ("no decision", 0, ["none"], []),
        (ZeroDivisionError(), 0, ["none"], []),
    ],
    ids=str,
)
async def test_a_filter_decides(
    shell: Shell, agent: Agent, decision: Any, answered: int, rejected: list[str], redirected: list[str]
) -> None:
    seen: list[IncomingCall] = []

    @shell.app.on_incoming
    async def decide(incoming: IncomingCall) -> Any:
        seen.append(incoming)
        if isinstance(decision, Exception):
            raise decision
        return decision

    await shell.ring()
    client = shell.client
    await until(lambda: client.answered or not shell.app._lives)
    assert seen[0].caller.raw_id == CALLER
    assert len(client.answered) == answered
    assert [reason for _, reason in client.rejected] == rejected
    assert [target.properties["value"] for _, target in client.redirected] == redirected


async def test_a_filter_may_be_a_plain_function(shell: Shell, agent: Agent) -> None:
    shell.app.on_incoming(lambda incoming: Reject("forbidden"))
    await shell.ring()
    await until(lambda: shell.client.rejected == [("c", "forbidden")])


@pytest.mark.parametrize("said", [lambda: Redirect("nobody"), lambda: Reject("later"), asyncio.Event().wait])  # type: ignore[arg-type]
async def test_a_filter_that_cannot_be_obeyed_refuses(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, said: Any
) -> None:
    monkeypatch.setattr(life_module, "FILTER_S", 0.01)
    shell.app.on_incoming(lambda incoming: said())
    await shell.ring()
    await until(lambda: shell.client.rejected == [("c", "none")])
    assert f"the call from {CALLER} is refused" in caplog.text


async def test_announcements_are_remembered_whatever_their_size(shell: Shell, agent: Agent) -> None:
    for context in ("x" * 100_000, "\U0001f600", "x" * 100_000):
        assert await shell.ring(context) == 200
    assert sorted(map(len, shell.app._seen)) == [32, 32]


async def test_a_call_that_cannot_be_answered_is_told(
    shell: Shell, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    shell.client.error = HttpResponseError("the call is over")
    await shell.ring()
    await until(lambda: not shell.app._lives)
    assert f"a call from {CALLER} could not be answered: the call is over" in caplog.text


async def test_there_is_a_most_of_calls(shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "MOST_CALLS", 1)
    assert await shell.ring("a") == 200
    assert await shell.ring("b") == 503


# ------------------------------------------------------------------ sockets


async def test_a_socket_may_come_before_the_answer_returns(shell: Shell, agent: Agent) -> None:
    shell.client.gate.clear()
    secret = await shell.rung()
    socket = shell.dial(secret, "connection-c")
    await settle()
    assert not agent.calls and socket.code is None
    shell.client.gate.set()
    await until(lambda: agent.calls)


async def test_a_socket_that_waits_for_an_answer_is_let_go_when_there_is_none(shell: Shell, agent: Agent) -> None:
    shell.client.gate.clear()
    shell.client.error = HttpResponseError("too late")
    socket = shell.dial(await shell.rung(), "connection-c")
    await settle()
    assert socket.code is None
    shell.client.gate.set()
    await until(lambda: socket.code == 1008)


async def test_a_socket_of_nobody_is_refused(shell: Shell, agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    await open_call(shell, agent)
    socket = shell.dial("guessed", "connection-c")
    await until(lambda: socket.code == 1008)
    assert "a stream for no call of this app was closed (connection connection-c)" in caplog.text


async def test_a_socket_of_another_connection_is_refused(
    shell: Shell, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    secret = await shell.rung()
    wrong = shell.dial(secret, "connection-other")
    await until(lambda: wrong.code == 1008)
    assert "connection-other was not taken by call connection-c" in caplog.text
    shell.dial(secret)  # without the header, the secret alone says whose it is
    await until(lambda: agent.calls)


async def test_a_second_socket_goes_on_where_the_first_stopped(shell: Shell, agent: Agent) -> None:
    call, secret, first = await open_call(shell, agent)
    playback = call.play(LOUD * 10)
    frames = call.audio
    await until(lambda: first.audio == LOUD * 10)
    await first.heard(6)
    first.drop()
    await until(lambda: not call.ended.is_set() and shell.app._lives[secret]._stream is None)
    second = shell.dial(secret, "connection-c")
    await until(lambda: second.stops == 1 and second.audio)
    assert len(second.audio) == len(LOUD) * 10 - round(playback.heard_ms * 32)
    assert playback.heard_ms == 100 + GONE_MS
    await second.heard(7)
    assert playback.done and not playback.cut and playback.heard_ms == 200
    assert [(await anext(frames)).pcm for _ in range(13)] == [LOUD] * 13
    assert not call.ended.is_set() and not agent.left


async def test_a_second_socket_waits_for_the_end_of_the_first(shell: Shell, agent: Agent) -> None:
    call, secret, first = await open_call(shell, agent)
    second = shell.dial(secret, "connection-c")
    await settle()
    assert second.code is None and not second.incoming.empty()
    first.drop()
    await until(second.incoming.empty)
    assert second.code is None and not call.ended.is_set()


async def test_a_socket_that_is_dead_makes_room_for_the_next(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    call, secret, first = await open_call(shell, agent)
    frames = call.audio
    monkeypatch.setattr(life_module, "REPLACE_WAIT_S", 0.05)
    second = shell.dial(secret, "connection-c")
    await settle()
    await first.heard(1)
    await until(lambda: second.code == 1008)
    assert first.code is None and (await anext(frames)).pcm == LOUD
    third = shell.dial(secret, "connection-c")
    await until(shell.tasks[0].done)
    assert "has brought nothing for 0.05 s" in caplog.text
    third.frames()
    assert (await anext(frames)).pcm == LOUD and third.code is None and not call.ended.is_set()


async def test_sockets_of_one_call_are_bounded(shell: Shell, agent: Agent) -> None:
    _, secret, _ = await open_call(shell, agent)
    more = [shell.dial(secret, "connection-c") for _ in range(4)]
    await until(lambda: more[-1].code == 1008)
    assert [one.code for one in more[:3]] == [None] * 3


async def test_a_call_without_a_stream_is_hung_up(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(life_module, "STREAM_WAIT_S", 0.01)
    monkeypatch.setattr(life_module, "LEAVE_S", 0.01)
    await shell.rung()
    await until(lambda: shell.connection().hung_up)
    assert "has no stream after 0.01 s: it is hung up" in caplog.text
    assert "wss://app.example/voice/ws/..." in caplog.text and shell.secret() not in caplog.text
    assert not agent.calls


async def test_a_stream_that_failed_is_told_by_its_reason(
    shell: Shell, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    secret = await shell.rung()
    result = {"code": 400, "subCode": 8581, "message": "Transport url is not valid."}
    await shell.callback(secret, "MediaStreamingFailed", resultInformation=result)
    await until(lambda: shell.connection().hung_up)
    assert "400/8581 Transport url is not valid." in caplog.text


async def test_a_call_that_ends_before_its_stream(
    shell: Shell, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "offhook.kit")
    secret = await shell.rung()
    await shell.callback(secret, "CallDisconnected")
    await until(lambda: not shell.app._lives)
    assert not agent.calls and not shell.connection().hung_up
    assert "ended before its stream was open" in caplog.text
    late = shell.dial(secret, "connection-c")
    await until(lambda: late.code == 1008)


async def test_a_stream_that_does_not_come_back_ends_the_call(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(life_module, "REDIAL_WAIT_S", 0.01)
    call, _, socket = await open_call(shell, agent)
    socket.drop()
    await until(call.ended.is_set)
    agent.go.set()
    await until(lambda: shell.connection().hung_up)
    assert "was not dialled again within 0.01 s" in caplog.text


async def test_a_stream_that_fails_for_good_says_why(
    shell: Shell, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    call, secret, socket = await open_call(shell, agent)
    socket.drop()
    await until(lambda: shell.app._lives[secret]._stream is None)
    result = {"code": 500, "subCode": 8603, "message": "gone"}
    await shell.callback(secret, "MediaStreamingFailed", resultInformation=result)
    assert call.ended.is_set() and "500/8603 gone" in caplog.text
    agent.go.set()
    await until(lambda: shell.connection().hung_up)


async def test_a_stream_that_the_app_has_stopped_may_stay_away(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(life_module, "REDIAL_WAIT_S", 0.01)
    call, secret, socket = await open_call(shell, agent)
    await shell.callback(secret, "MediaStreamingStopped")
    socket.drop()
    await asyncio.sleep(0.03)
    assert not call.ended.is_set()
    await shell.callback(secret, "MediaStreamingStarted")
    again = shell.dial(secret, "connection-c")
    frames = call.audio
    await settle()
    again.frames()
    assert (await anext(frames)).pcm == LOUD
    await shell.callback(secret, "MediaStreamingStopped")
    again.drop()
    await asyncio.sleep(0.03)
    await shell.callback(secret, "MediaStreamingStarted")  # and it never comes
    await until(call.ended.is_set)


async def test_a_stream_without_metadata_does_not_hold_up_the_next(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("offhook.kit.call.GREETING_S", 0.01)
    secret = await shell.rung()
    shell.dial(secret, "connection-c", greeting=False)
    shell.dial(secret, "connection-c")
    await until(lambda: agent.calls)


# ------------------------------------------------------------------ callbacks


async def test_handlers_are_found_by_class_and_by_name(shell: Shell, agent: Agent) -> None:
    got: list[tuple[str, str]] = []

    @shell.app.on(RecognizeCompleted)
    async def typed(call: Call, event: RecognizeCompleted) -> None:
        assert event.dtmf_result is not None
        got.append(("typed", event.dtmf_result.keys))

    @shell.app.on("RecognizeCompleted")
    async def named(call: Call, event: CallbackEvent) -> None:
        got.append(("named", event.type))

    @shell.app.on("SomethingNew")
    async def new(call: Call, event: CallbackEvent) -> None:
        got.append(("new", str(event.data["x"])))

    @shell.app.on(CallbackEvent)
    async def every(call: Call, event: CallbackEvent) -> None:
        got.append(("every", event.type))

    _, secret, _ = await open_call(shell, agent)
    await shell.callback(secret, "RecognizeCompleted", dtmfResult={"tones": ["one", "pound"]})
    await shell.callback(secret, "SomethingNew", x=5)
    assert got == [
        ("typed", "1#"),
        ("named", "RecognizeCompleted"),
        ("every", "RecognizeCompleted"),
        ("new", "5"),
        ("every", "SomethingNew"),
    ]


async def test_callbacks_that_come_before_the_answer_are_kept_in_order(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(life_module, "EARLY_EVENTS", 2)
    got: list[str] = []

    @shell.app.on(CallbackEvent)
    async def every(call: Call, event: CallbackEvent) -> None:
        got.append(event.type)

    shell.client.gate.clear()
    secret = await shell.rung()
    for name in ("CallConnected", "ParticipantsUpdated", "PlayStarted"):
        await shell.callback(secret, name)
    assert not got and "PlayStarted came too early and was dropped" in caplog.text
    shell.client.gate.set()
    await until(lambda: len(got) == 2)
    await shell.callback(secret, "PlayCompleted")
    assert got == ["CallConnected", "ParticipantsUpdated", "PlayCompleted"]


async def test_a_handler_that_fails_harms_nobody(
    shell: Shell, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    @shell.app.on(PlayCompleted)
    async def failing(call: Call, event: PlayCompleted) -> None:
        raise ZeroDivisionError

    call, secret, _ = await open_call(shell, agent)
    events = call.events
    await shell.callback(secret, "PlayCompleted")
    assert "a handler of PlayCompleted failed (call connection-c from 4:+15550100001)" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert (await anext(events)).type == "PlayCompleted" and not call.ended.is_set()


async def test_handlers_are_bounded(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(life_module, "HANDLERS", 1)
    started: list[str] = []

    @shell.app.on(CallbackEvent)
    async def endless(call: Call, event: CallbackEvent) -> None:
        started.append(event.type)
        await asyncio.Event().wait()

    _, secret, _ = await open_call(shell, agent)
    await shell.callback(secret, "PlayStarted")
    await shell.callback(secret, "PlayCompleted")
    assert started == ["PlayStarted"] and "1 handlers of callbacks run; PlayCompleted has none" in caplog.text


async def test_callbacks_need_their_token() -> None:
    check = TokenCheck(AUDIENCE, jwks_uri="https://keys.example", fetch=Page(KEY))
    shell = Shell(token_check=check)
    agent = Agent(shell.app)
    call, secret, _ = await open_call(shell, agent)
    body = b'[{"type":"Microsoft.Communication.PlayCompleted","data":{}}]'
    assert (await shell.app.take_callback(secret, {}, body)).status == 401
    good = {"authorization": f"Bearer {token(exp=int(time.time()) + 300, nbf=None, iat=None)}"}
    events = call.events
    assert (await shell.app.take_callback(secret, good, b"x")).status == 400
    assert (await shell.app.take_callback(secret, good, body)).status == 200
    assert (await anext(events)).type == "PlayCompleted"
    assert (await shell.app.take_callback("unknown", good, body)).status == 200
    await shell.close()


async def test_the_keys_of_tokens_are_there_before_somebody_rings() -> None:
    page = Page(KEY)
    shell = Shell(token_check=TokenCheck(AUDIENCE, jwks_uri="https://keys.example", fetch=page))
    Agent(shell.app)
    await shell.app.start()
    await until(lambda: page.fetches)
    await shell.close()


# ------------------------------------------------------------------ agents


async def test_an_agent_that_fails_is_told_and_its_call_hung_up(
    shell: Shell, agent: Agent, caplog: pytest.LogCaptureFixture
) -> None:
    other, _, _ = await open_call(shell, agent, "other")
    call, _, _ = await open_call(shell, agent)
    agent_error = agent.go
    agent.go, agent.error = asyncio.Event(), ZeroDivisionError()
    third, _, _ = await open_call(shell, agent, "third")
    agent.go.set()
    await until(lambda: shell.connection("third").hung_up)
    assert "the agent of call connection-third from 4:+15550100001 failed: the call is hung up" in caplog.text
    assert "ZeroDivisionError" in caplog.text and shell_module.__file__ in caplog.text
    assert not other.ended.is_set() and not call.ended.is_set() and not agent_error.is_set()
    assert agent.left == [third.id]


async def test_an_agent_that_does_not_leave_is_cancelled(
    shell: Shell, agent: Agent, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(life_module, "LEAVE_S", 0.01)
    call, secret, _ = await open_call(shell, agent)
    await shell.callback(secret, "CallDisconnected")
    await until(lambda: agent.left == [call.id])
    assert "goes on 0.01 s after its end: it is cancelled" in caplog.text
    assert not shell.connection().hung_up


async def test_closing_hangs_up_and_closes_all(shell: Shell, agent: Agent) -> None:
    stopped: list[str] = []

    @shell.app.on_stop
    async def stop() -> None:
        stopped.append("stopped")

    _, _, socket = await open_call(shell, agent)
    shell.client.gate.clear()
    await shell.rung("late")  # its answer is under way
    closing = asyncio.create_task(shell.app.close())
    await settle()
    shell.client.gate.set()
    await closing
    assert shell.connection().hung_up == shell.connection("late").hung_up == 1
    assert socket.code == 1000 and agent.left == ["connection-c"]
    assert shell.client.closed and stopped == ["stopped"]
    assert await shell.ring("after") == 503
    await shell.app.close()


async def test_the_end_of_the_loop_closes_the_app() -> None:
    kept: list[Shell] = []

    async def serve() -> None:
        shell = Shell()
        kept.append(shell)
        await open_call(shell, Agent(shell.app))

    await asyncio.to_thread(asyncio.run, serve())
    assert kept[0].connection().hung_up == 1 and kept[0].client.closed


async def test_a_hook_runs_at_the_start(shell: Shell, agent: Agent, caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []

    @shell.app.on_start
    async def good() -> None:
        ran.append("good")

    @shell.app.on_start
    async def bad() -> None:
        raise ZeroDivisionError

    await shell.app.start()
    await shell.app.start()
    await settle()
    assert ran == ["good"] and "the on_start hook" in caplog.text and "bad failed" in caplog.text
