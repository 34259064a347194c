"""The official Python SDK has a call transcribed; each test compares the text with what the callers said."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import jiwer
import psutil
import pytest
from azure.communication.callautomation import StreamingTransportType, TranscriptionOptions
from azure.core.exceptions import HttpResponseError
from tests.conformance.python_sdk import Sdk, claims, number, sdk
from tests.console_leg import Leg, caller, phone
from tests.live import CALLEE, CALLER, CONNECTIONS, LiveNode, Stream, TestApp, dev_node, rest, until
from tests.spoken import plain, spoken

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(120)]

SENTENCE = "I would like to change my flight to Boston on Friday."
OTHER = "The weather is very nice today."
TICKS = 10_000_000  # of 100 ns in a second
SLOW = 40.0
"""Seconds that a recogniser on a busy machine may take."""


def options(app: TestApp, **changed: Any) -> TranscriptionOptions:
    given = {"transport_url": app.socket + "/transcripts", "locale": "en-US", "start_transcription": True, **changed}
    return TranscriptionOptions(transport_type=StreamingTransportType.WEBSOCKET, **given)


@contextlib.asynccontextmanager
async def talking(
    node: LiveNode, app: TestApp, given: TranscriptionOptions | None, kind: str = "async http"
) -> AsyncIterator[tuple[Sdk, Any, Leg]]:
    """An answered call: the SDK, its connection client, and the caller."""
    async with sdk(node, kind) as client, caller(node) as leg:
        context = (await app.invited())["incomingCallContext"]
        more = {} if given is None else {"transcription": given}
        made = await client(client.client.answer_call, context, app.callback, operation_context="call", **more)
        await app.event("CallConnected")
        yield client, client.connection(made.call_connection_id), leg


def said(stream: Stream, status: str = "Final") -> list[dict[str, Any]]:
    """The transcription data of one status so far."""
    data = [m["transcriptionData"] for m in stream.messages if m["kind"] == "TranscriptionData"]
    return [one for one in data if one["resultStatus"] == status]


def error(wanted: str, got: dict[str, Any]) -> float:
    """The share of words that were not understood."""
    return float(jiwer.wer(plain(wanted), plain(got["text"])))


def figures_of(event: dict[str, Any]) -> tuple[int, int]:
    """Code and sub-code of an event."""
    return event["resultInformation"]["code"], event["resultInformation"]["subCode"]


async def happened(app: TestApp, name: str, count: int = 1) -> dict[str, Any]:
    """The data of the `count`-th event of a type; the first may wait for the recogniser to be loaded."""
    await until(lambda: len(app.named(name)) >= count, name, SLOW)
    return await app.event(name, count)


async def state(client: Sdk, connection: Any) -> str:
    """The state of the transcription, as the app sees it."""
    return str((await client(connection.get_call_properties)).transcription_subscription.state)


async def refused(client: Sdk, figures: tuple[int, str], *asked: tuple[Any, dict[str, Any]]) -> None:
    """Each request is refused with this status and code."""
    for ask, arguments in asked:
        with pytest.raises(HttpResponseError) as raised:
            await client(ask, **arguments)
        code = None if raised.value.error is None else raised.value.error.code
        assert (raised.value.status_code, code) == figures, raised.value


def requests_to(connection: Any) -> list[tuple[Any, dict[str, Any]]]:
    """The three operations with what they need."""
    return [
        (connection.start_transcription, {}),
        (connection.stop_transcription, {}),
        (connection.update_transcription, {"locale": "en-GB"}),
    ]


async def finals(stream: Stream, count: int) -> list[dict[str, Any]]:
    return await until(lambda: len(said(stream)) >= count and said(stream), f"{count} texts", SLOW)  # type: ignore[no-any-return]


async def test_what_a_caller_says(node: LiveNode, app: TestApp) -> None:
    """Bit by bit and then whole, with its place in time; the socket is dialled as that of a stream."""
    async with talking(node, app, options(app, enable_intermediate_results=True)) as (client, connection, leg):
        started = await happened(app, "TranscriptionStarted")
        assert started["operationContext"] == "call" and started["resultInformation"]["code"] == 200
        assert started["transcriptionUpdate"] == {
            "transcriptionStatus": "transcriptionStarted", "transcriptionStatusDetails": "subscriptionStarted",
        }  # fmt: skip
        properties = await client(connection.get_call_properties)
        subscription = properties.transcription_subscription
        assert (subscription.state, subscription.locale) == ("active", "en-US")
        assert subscription.subscribed_result_types == ["final", "intermediate"]
        (stream,) = app.streams
        assert stream.path == "/ws/transcripts"
        assert stream.headers["x-ms-call-connection-id"] == properties.call_connection_id
        assert (await claims(node, stream.headers["authorization"]))["exp"]
        assert stream.messages == [
            {
                "kind": "TranscriptionMetadata",
                "transcriptionMetadata": {
                    "subscriptionId": subscription.id,
                    "locale": "en-US",
                    "callConnectionId": properties.call_connection_id,
                    "correlationId": properties.correlation_id,
                },
            }
        ]
        await leg.speak(spoken(SENTENCE).tobytes())
        (final,) = await finals(stream, 1)
        assert error(SENTENCE, final) < 0.2
        assert final["participantRawID"] == f"4:{CALLER}" and final["format"] == "display"
        assert 0.3 < final["confidence"] <= 1
        assert 2.5 < final["duration"] / TICKS < 4.5
        places = [(word["offset"], word["offset"] + word["duration"]) for word in final["words"]]
        assert plain(" ".join(word["text"] for word in final["words"])) == plain(final["text"])
        assert places == sorted(places) and final["offset"] <= places[0][0]
        assert places[-1][1] <= final["offset"] + final["duration"] + TICKS / 10
        before = said(stream, "Intermediate")
        assert before and all(one["offset"] == final["offset"] for one in before)
        lengths = [one["duration"] for one in before]
        assert lengths == sorted(lengths) and lengths[-1] <= final["duration"]
        assert plain(before[0]["text"]).split()[:2] == plain(SENTENCE).split()[:2]
    await app.event("CallDisconnected")
    await until(lambda: stream.closed_with == 1000, "closed")
    assert not app.named("TranscriptionStopped") and not app.named("TranscriptionFailed")


async def test_started_stopped_and_started_again(node: LiveNode, app: TestApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with its own context and callback; between stop and start nothing is heard."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(node.info["caBundle"]))
    given = options(app, start_transcription=False)
    async with talking(node, app, given, "sync connection string") as (client, connection, leg):
        assert await state(client, connection) == "inactive"
        await client(
            connection.start_transcription,
            locale="en-GB",
            operation_context="one",
            operation_callback_url=f"{app.url}/other",
        )
        started = await happened(app, "TranscriptionStarted")
        assert started["operationContext"] == "one" and app.named("TranscriptionStarted")[0]["path"] == "/other"
        assert await state(client, connection) == "active"
        assert app.streams[0].messages[0]["transcriptionMetadata"]["locale"] == "en-GB"
        await leg.speak(spoken(OTHER).tobytes())
        (final,) = await finals(app.streams[0], 1)
        assert error(OTHER, final) < 0.2 and not said(app.streams[0], "Intermediate")
        await client(connection.stop_transcription, operation_context="two")
        stopped = await happened(app, "TranscriptionStopped")
        assert stopped["operationContext"] == "two"
        assert stopped["transcriptionUpdate"]["transcriptionStatusDetails"] == "subscriptionStopped"
        await until(lambda: app.streams[0].closed_with == 1000, "closed")
        assert await state(client, connection) == "inactive"
        unheard = spoken("Nobody hears this.", 0.2)
        await leg.speak(unheard.tobytes())
        await leg.heard_frames(leg.frames + len(unheard) // 320 + 50)  # all of it, and a second
        await client(connection.start_transcription, operation_context="three")
        assert (await happened(app, "TranscriptionStarted", 2))["operationContext"] == "three"
        await leg.speak(spoken(SENTENCE).tobytes())
        (final,) = await finals(app.streams[1], 1)
        assert error(SENTENCE, final) < 0.2
        assert len(said(app.streams[0])) == 1


async def test_each_participant_by_themselves(node: LiveNode, app: TestApp) -> None:
    """Both at the same time; who is muted is not heard."""
    second = "+15550100007"
    async with (
        sdk(node, "async http") as client,
        phone(node, CALLEE, answerAfter=0.1) as one,
        phone(node, second, answerAfter=0.1) as two,
    ):
        made = await client(
            client.client.create_call,
            [number(CALLEE), number(second)],
            app.callback,
            source_caller_id_number=number("+15550100009"),
            transcription=options(app),
        )
        await app.event("ParticipantsUpdated", 2)
        await happened(app, "TranscriptionStarted")
        for leg, words in ((one, SENTENCE), (two, OTHER)):
            await leg.speak(spoken(words).tobytes())
        texts = {text["participantRawID"]: text for text in await finals(app.streams[0], 2)}
        assert error(SENTENCE, texts[f"4:{CALLEE}"]) < 0.2 and error(OTHER, texts[f"4:{second}"]) < 0.2
        connection = client.connection(made.call_connection_id)
        await client(connection.mute_participant, number(second))
        await app.event("ParticipantsUpdated", 3)
        await two.speak(spoken(SENTENCE).tobytes())
        await one.heard_frames(one.frames + 200)
        await one.speak(spoken(OTHER).tobytes())
        text = (await finals(app.streams[0], 3))[2]
        assert text["participantRawID"] == f"4:{CALLEE}" and error(OTHER, text) < 0.2
        await client(connection.hang_up, True)
        await app.event("CallDisconnected")


async def test_another_locale(node: LiveNode, app: TestApp) -> None:
    """From the next words on; one that the recogniser does not know changes nothing."""
    async with talking(node, app, options(app)) as (client, connection, leg):
        await happened(app, "TranscriptionStarted")
        await client(connection.update_transcription, locale="en-AU", operation_context="au")
        updated = await happened(app, "TranscriptionUpdated")
        assert updated["operationContext"] == "au" and updated["resultInformation"]["code"] == 200
        assert updated["transcriptionUpdate"] == {
            "transcriptionStatus": "transcriptionUpdated", "transcriptionStatusDetails": "transcriptionLocaleUpdated",
        }  # fmt: skip
        assert (await client(connection.get_call_properties)).transcription_subscription.locale == "en-AU"
        await client(connection.update_transcription, locale="fr-FR", operation_context="fr")
        failed = await happened(app, "TranscriptionFailed")
        assert failed["operationContext"] == "fr" and figures_of(failed) == (400, 8565)
        assert "fr-FR" in failed["resultInformation"]["message"]
        assert failed["transcriptionUpdate"]["transcriptionStatusDetails"] == "speechServicesConnectionError"
        assert (await client(connection.get_call_properties)).transcription_subscription.locale == "en-AU"
        await leg.speak(spoken(OTHER).tobytes())
        (final,) = await finals(app.streams[0], 1)
        assert error(OTHER, final) < 0.2


@pytest.mark.parametrize(
    ("path", "changed", "sub_code", "details"),
    [
        ("/status/401", {}, 8581, "authenticationFailure"),
        ("/status/500", {}, 8581, "streamConnectionUnsuccessful"),
        ("/ws", {"locale": "xx-XX"}, 8565, "speechServicesConnectionError"),
    ],
)
async def test_what_cannot_be_started(
    node: LiveNode, app: TestApp, path: str, changed: dict[str, Any], sub_code: int, details: str
) -> None:
    """It is told, the call lives on, and nothing of it is left."""
    url = f"ws://127.0.0.1:{app.port}{path}"
    async with talking(node, app, options(app, transport_url=url, **changed)) as (client, connection, _):
        failed = await happened(app, "TranscriptionFailed")
        assert figures_of(failed) == (400, sub_code) and failed["operationContext"] == "call"
        assert failed["transcriptionUpdate"]["transcriptionStatusDetails"] == details
        assert await state(client, connection) == "inactive"
        await until(lambda: all(stream.closed_with == 1000 for stream in app.streams), "closed")
        assert not app.named("TranscriptionStarted")
        assert (await client(connection.get_call_properties)).call_connection_state == "connected"


async def test_an_app_that_closes_that_breaks_and_that_is_gone(node: LiveNode, app: TestApp) -> None:
    async with talking(node, app, options(app)) as (client, connection, leg):
        await happened(app, "TranscriptionStarted")
        app.streams[0].drop()
        again = await happened(app, "TranscriptionStarted", 2)
        assert again["transcriptionUpdate"]["transcriptionStatusDetails"] == "streamConnectionReestablished"
        assert app.streams[1].messages[0]["kind"] == "TranscriptionMetadata"
        await leg.speak(spoken(OTHER).tobytes())
        (final,) = await finals(app.streams[1], 1)
        assert error(OTHER, final) < 0.2
        await app.streams[1].socket.close()
        await happened(app, "TranscriptionStopped")
        assert await state(client, connection) == "inactive"
        await client(connection.start_transcription, operation_context="again")
        await happened(app, "TranscriptionStarted", 3)
        app.refusing = 503
        app.streams[2].drop()
        failed = await happened(app, "TranscriptionFailed")
        assert figures_of(failed) == (500, 8578) and failed["operationContext"] == "again"
        assert failed["transcriptionUpdate"]["transcriptionStatusDetails"] == "streamConnectionInterrupted"
        assert await state(client, connection) == "inactive"


async def test_requests_that_do_not_fit_the_state(node: LiveNode, app: TestApp) -> None:
    given = options(app, start_transcription=False)
    async with talking(node, app, given) as (client, connection, _):
        start, stop, update = requests_to(connection)
        await refused(client, (400, "8500"), stop, update)
        await client(connection.start_transcription)
        await refused(client, (400, "8500"), start)
        await happened(app, "TranscriptionStarted")
        await refused(client, (400, "8500"), start)
        await client(connection.stop_transcription)
        await happened(app, "TranscriptionStopped")
        await refused(client, (400, "8500"), stop, update)


async def test_a_transcription_that_was_not_configured(node: LiveNode, app: TestApp) -> None:
    async with talking(node, app, None) as (client, connection, _):
        assert (await client(connection.get_call_properties)).transcription_subscription is None
        asked = requests_to(connection)
        await refused(client, (405, "8522"), *asked)


async def test_before_the_call_is_up_and_after_its_end(node: LiveNode, app: TestApp) -> None:
    async with sdk(node, "async http") as client, phone(node, CALLEE, never=True) as ringing:
        made = await client(
            client.client.create_call,
            number(CALLEE),
            app.callback,
            source_caller_id_number=number(CALLER),
            transcription=options(app, start_transcription=False),
        )
        await ringing.told("invite")
        connection = client.connection(made.call_connection_id)
        asked = requests_to(connection)
        await refused(client, (400, "8501"), *asked)
        await client(connection.hang_up, True)
        await refused(client, (404, "8522"), *asked)


async def test_bad_arguments_and_models_of_the_app(node: LiveNode, app: TestApp) -> None:
    """What the SDK cannot send: no locale, a model of the app's own, a URL that is none."""
    given = options(app, start_transcription=False)
    async with talking(node, app, given) as (client, connection, _):
        await client(connection.start_transcription)
        await happened(app, "TranscriptionStarted")
        path = f"{CONNECTIONS}/{(await client(connection.get_call_properties)).call_connection_id}"
        model = "a259c255-0000-4ed7-a693-dd58563b6f6a"
        for verb, body, expected, words in (
            ("updateTranscription", {}, (400, "8523"), "locale"),
            ("updateTranscription", {"locale": ""}, (400, "8523"), "locale"),
            ("updateTranscription", {"locale": "en-GB", "speechModelEndpointId": model}, (400, "8605"), "model"),
            ("startTranscription", {"locale": 7}, (400, "8523"), "locale"),
            ("startTranscription", {"operationCallbackUri": "nowhere"}, (400, "8523"), "operationCallbackUri"),
            ("stopTranscription", {"operationContext": []}, (400, "8523"), "operationContext"),
        ):
            status, answer = await rest(node, "POST", f"{path}:{verb}", body)
            assert (status, answer["error"]["code"]) == expected and words in answer["error"]["message"]
        await client(connection.stop_transcription)
        await happened(app, "TranscriptionStopped")
        status, answer = await rest(node, "POST", f"{path}:startTranscription", {"speechModelEndpointId": model})
        assert (status, answer["error"]["code"]) == (400, "8605")
        assert await state(client, connection) == "inactive"


async def test_a_model_of_the_apps_own_with_the_call(node: LiveNode, app: TestApp) -> None:
    async with caller(node):
        body = {
            "incomingCallContext": (await app.invited())["incomingCallContext"],
            "callbackUri": app.callback,
            "transcriptionOptions": {"transportType": "websocket", "transportUrl": app.socket},
        }
        status, answer = await rest(node, "POST", f"{CONNECTIONS}:answer", body)
        assert (status, answer["error"]["code"]) == (400, "8523")
        assert "transcriptionOptions.locale" in answer["error"]["message"]
        more = {"locale": "en-US", "startTranscription": True, "speechModelEndpointId": "m"}
        body["transcriptionOptions"] = {**body["transcriptionOptions"], **more}
        assert (await rest(node, "POST", f"{CONNECTIONS}:answer", body))[0] == 200
        failed = await happened(app, "TranscriptionFailed")
        assert figures_of(failed) == (400, 8605)
        assert failed["transcriptionUpdate"]["transcriptionStatusDetails"] == "badRequest"
        assert not app.streams


async def test_last_words_do_not_hold_up_a_node_that_stops(app: TestApp, tmp_path: Path) -> None:
    """The call is over and its recogniser stuck: the app's socket is closed in order all the same."""
    async with dev_node(tmp_path, "--incoming", app.webhook) as node, contextlib.AsyncExitStack() as at_last:
        await until(lambda: node.named("subscription"), "validation")
        async with talking(node, app, options(app)) as (_, _, leg):
            await happened(app, "TranscriptionStarted")
            (speech,) = psutil.Process(node.process.pid).children(recursive=True)
            speech.suspend()
            at_last.callback(lambda: speech.is_running() and speech.kill())
            await leg.speak(spoken(f"{SENTENCE} {OTHER}", 0.0).tobytes())
            await leg.heard_frames(leg.frames + 150)
            await leg.hang_up()
            await app.event("CallDisconnected")
            assert app.streams[0].closed_with is None
        assert await node.stop() == 0
        await until(lambda: app.streams[0].closed_with == 1000, "closed")
