"""A call on a bench: short names for its inputs, and its outputs as one readable line each."""

from __future__ import annotations

from collections.abc import Callable

from offhook.calls.actions import Notify, Output
from offhook.calls.call import Call
from offhook.errors import CallError
from offhook.wire.identifiers import Identifier, communication_user, phone_number
from offhook.wire.models import AnswerCallRequest, CreateCallRequest, MediaStreamingOptions, TranscriptionOptions

CALLER = phone_number("+15550001")
CALLEE = communication_user("8:acs:11111111-0000-0000-0000-000000000001_00000000-0000-0000-0000-000000000001")
OTHER = phone_number("+15550002")
THIRD = communication_user("8:acs:11111111-0000-0000-0000-000000000001_00000000-0000-0000-0000-000000000003")
FOURTH = phone_number("+15550004")

APP = "app"
CALLBACK = "https://app.test/callback"
VERSION = "2026-03-12"

Input = Callable[[Call], None]


def streaming(start: bool = True, url: str | None = "wss://app.test/ws") -> MediaStreamingOptions:
    return MediaStreamingOptions(audio_channel_type="mixed", transport_url=url, start=start)


def transcription(
    start: bool = True, url: str | None = "wss://app.test/transcripts", model: str | None = None
) -> TranscriptionOptions:
    return TranscriptionOptions(
        locale="en-US", transport_url=url, start=start, intermediate_results=True, speech_model_endpoint_id=model
    )


def answer_request(
    stream: MediaStreamingOptions | None = None,
    transcribe: TranscriptionOptions | None = None,
    answered_by: Identifier | None = None,
) -> AnswerCallRequest:
    return AnswerCallRequest(
        incoming_call_context="sealed",
        callback_uri=CALLBACK,
        operation_context="answered",
        answered_by=answered_by,
        media_streaming_options=stream,
        transcription_options=transcribe,
    )


def create_request(
    *targets: Identifier, stream: MediaStreamingOptions | None = None, source: Identifier | None = CALLEE
) -> CreateCallRequest:
    return CreateCallRequest(
        targets=targets,
        callback_uri=CALLBACK,
        source=source,
        source_caller_id_number=phone_number("+15559999"),
        source_display_name="Desk",
        operation_context="created",
        media_streaming_options=stream,
    )


def incoming(caller: Identifier = CALLER, **settings: float) -> Call:
    return Call.incoming(
        call_id="call",
        server_call_id="c2VydmVy",
        correlation_id="chain",
        caller=caller,
        callee=CALLEE,
        leg_id="leg0",
        display_name="Ann",
        now=0.0,
        ring_timeout=settings.get("ring_timeout", 30.0),
        max_hops=int(settings.get("max_hops", 10)),
    )


def created(*targets: Identifier, stream: MediaStreamingOptions | None = None) -> Call:
    return Call.create(
        call_id="call",
        server_call_id="c2VydmVy",
        correlation_id="chain",
        connection_id=APP,
        subscription_id="subscription",
        request=create_request(*targets, stream=stream),
        leg_ids=[f"leg{n}" for n in range(len(targets))],
        api_version=VERSION,
        now=0.0,
    )


# inputs, each a function of the call ---------------------------------------------------------------------------------


def answer(stream: MediaStreamingOptions | None = None, transcribe: TranscriptionOptions | None = None) -> Input:
    return lambda call: call.answer(APP, "subscription", answer_request(stream, transcribe), VERSION, 1.0)


def reject(reason: str = "none") -> Input:
    return lambda call: call.reject(reason, 1.0)


def redirect(target: Identifier = OTHER, leg: str = "leg1") -> Input:
    return lambda call: call.redirect(target, leg, 1.0)


def reannounce(callee: Identifier = THIRD) -> Input:
    return lambda call: call.reannounce(callee, 1.0)


def rings(leg: str) -> Input:
    return lambda call: call.leg_ringing(leg, 1.0)


def up(leg: str) -> Input:
    return lambda call: call.leg_answered(leg, 2.0)


def fails(leg: str, outcome: str, detail: str = "") -> Input:
    return lambda call: call.leg_failed(leg, outcome, 2.0, detail)


def leaves(leg: str, outcome: str = "") -> Input:
    return lambda call: call.leg_ended(leg, outcome, 3.0)


def hang_up() -> Input:
    return lambda call: call.hang_up(APP, 4.0)


def terminate() -> Input:
    return lambda call: call.terminate(APP, 4.0)


def start(context: str | None = "start", uri: str | None = None) -> Input:
    return lambda call: call.start_streaming(APP, context, uri, 4.0)


def stop(context: str | None = "stop", uri: str | None = None) -> Input:
    return lambda call: call.stop_streaming(APP, context, uri, 4.0)


def stream_opened(call: Call) -> None:
    call.stream_opened(APP, 4.0)


def stream_closed(call: Call) -> None:
    call.stream_closed(APP, 4.0)


def stream_closed_by_app(call: Call) -> None:
    call.stream_closed_by_app(APP, 4.0)


def stream_reestablished(call: Call) -> None:
    call.stream_reestablished(APP, 4.0)


def stream_fails(outcome: str = "stream_url_invalid", detail: str = "") -> Input:
    return lambda call: call.stream_failed(APP, outcome, detail, 4.0)


def at(now: float) -> Input:
    return lambda call: call.advance(now)


def shut_down(call: Call) -> None:
    call.shut_down(5.0)


# outputs, one line each ----------------------------------------------------------------------------------------------


def line(output: Output) -> str:
    if not isinstance(output, Notify):
        named = [getattr(output, name, None) for name in ("leg_id", "connection_id", "prompt_id", "outcome", "locale")]
        return " ".join([type(output).__name__, *(value for value in named if value)])
    event = output.event
    words = [event.name]
    roster = getattr(event, "participants", None)
    if roster is not None:
        words += [f"#{event.sequence_number}", *(names(p.identifier) + "(held)" * p.is_on_hold for p in roster)]  # type: ignore[attr-defined]
    info = event.result_information
    if info is not None and info.code != 200 or info is not None and info.sub_code:
        words.append(f"{info.code}/{info.sub_code}")
    for name in ("media_streaming", "transcription"):
        if (update := getattr(event, f"{name}_update", None)) is not None:
            words.append(getattr(update, f"{name}_status_details"))
    if event.operation_context is not None:
        words.append(f"[{event.operation_context}]")
    if output.callback_uri != CALLBACK:
        words.append(f"-> {output.callback_uri}")
    return " ".join(words)


def names(identifier: Identifier) -> str:
    known = {CALLER: "caller", CALLEE: "callee", OTHER: "other", THIRD: "third"}
    return known.get(identifier, identifier.raw_id)


def said(call: Call) -> list[str]:
    """What the call said since last asked."""
    return [line(output) for output in call.drain()]


def played(call: Call, *inputs: Input) -> list[str]:
    """Give the inputs, and return what the last one made the call say; a refusal is one line too."""
    told: list[str] = []
    call.drain()
    for given in inputs:
        call.drain()
        try:
            given(call)
        except CallError as error:
            assert not call.drain(), "a refused request changed something"
            return [f"refused: {error.outcome}"]
        told = said(call)
    return told
