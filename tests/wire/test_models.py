"""REST bodies: what the SDKs send is read, what is wrong is named, what we answer fits the description."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.errors import UnsupportedError, WireError
from offhook.wire.identifiers import communication_user, parse_raw_id, phone_number
from offhook.wire.models import (
    API_VERSIONS,
    AnswerCallRequest,
    CallConnectionProperties,
    CallParticipant,
    CreateCallRequest,
    GetParticipantsResponse,
    MediaStreamingOptions,
    MediaStreamingSubscription,
    RedirectCallRequest,
    RejectCallRequest,
    Request,
    StartMediaStreamingRequest,
    StopMediaStreamingRequest,
    TranscriptionOptions,
    TranscriptionSubscription,
    decode_request,
    encode,
    error_body,
    error_of,
)
from offhook.wire.results import result

ROOT = Path(__file__).parents[1] / "fixtures/acs"
REQUESTS: dict[str, type[Request]] = {
    "/calling/callConnections": CreateCallRequest,
    "/calling/callConnections:answer": AnswerCallRequest,
    "/calling/callConnections:redirect": RedirectCallRequest,
    "/calling/callConnections:reject": RejectCallRequest,
    "/calling/callConnections/cc-1:startMediaStreaming": StartMediaStreamingRequest,
    "/calling/callConnections/cc-1:stopMediaStreaming": StopMediaStreamingRequest,
}
STREAMING = {"transportType": "websocket", "audioChannelType": "mixed", "transportUrl": "wss://x/ws"}
CREATE: dict[str, Any] = {"targets": [{"rawId": "4:+1"}], "callbackUri": "https://x/cb"}
ANSWER: dict[str, Any] = {"incomingCallContext": "ctx", "callbackUri": "https://x/cb"}


def body_of(value: Any) -> bytes:
    return json.dumps(value).encode()


def captured() -> list[tuple[type[Request], bytes]]:
    found = []
    for file in sorted((ROOT / "samples/sdk-requests").glob("*.json")):
        for request in json.loads(file.read_text())["requests"]:
            kind = REQUESTS.get(request["target"].partition("?")[0])
            if kind is not None and request["method"] == "POST":
                found.append((kind, (request.get("bodyText") or "").encode()))
    return found


def test_every_captured_body_of_a_built_operation_is_read() -> None:
    requests = captured()
    assert {kind for kind, _ in requests} == set(REQUESTS.values())
    assert len(requests) == 16
    for kind, body in requests:
        decode_request(kind, body)


def test_create_is_read_whole() -> None:
    (body,) = [
        body for kind, body in captured() if kind is CreateCallRequest and b'"kind"' not in body and b"dn" in body
    ]
    request = decode_request(CreateCallRequest, body)
    assert request.targets == (phone_number("+15550001"), communication_user("8:acs:res_user"))
    assert request.callback_uri == "https://x/cb"
    assert request.source_caller_id_number == phone_number("+15550001")
    assert (request.source_display_name, request.operation_context) == ("dn", "oc")
    assert request.cognitive_services_endpoint == "https://cog"
    assert request.media_streaming_options == MediaStreamingOptions(
        audio_channel_type="mixed",
        transport_url="wss://x/ws",
        start=True,
        bidirectional=True,
        sample_rate=24000,
        dtmf_tones=True,
    )
    assert request.transcription_options == TranscriptionOptions(
        locale="en-US", transport_url="wss://x/t", start=False, intermediate_results=True
    )


def custom(headers: Any) -> bytes:
    return body_of({**CREATE, "customCallingContext": {"sipHeaders": headers, "voipHeaders": {}}})


def test_custom_headers_are_read_as_the_sdks_name_them() -> None:
    """The JavaScript SDK puts its prefix before a key that has it already."""
    given = {"user-to-user": "a;encoding=hex", "X-MS-Custom-one": "1", "X-MS-Custom-X-MS-Custom-two": ""}
    read = decode_request(CreateCallRequest, custom(given)).sip_headers
    assert read == (("User-To-User", "a;encoding=hex"), ("X-MS-Custom-one", "1"), ("X-MS-Custom-two", ""))
    assert decode_request(CreateCallRequest, custom(None)).sip_headers == ()


@pytest.mark.parametrize(
    "headers",
    [
        {"Subject": "x"},
        {"X-MS-Custom-": "x"},
        {"X-MS-Custom-a b": "x"},
        {"X-MS-Custom-" + "a" * 65: "x"},
        {"User-To-User": "a\r\nContact: <sip:x>"},
        {"User-To-User": "a" * 1025},
        {"User-To-User": 7},
        {"User-To-User": None},
        {f"X-MS-Custom-{n}": "x" for n in range(17)},
        ["X-MS-Custom-one"],
    ],
)
def test_custom_headers_that_cannot_be_sent_are_named(headers: Any) -> None:
    with pytest.raises(WireError, match="customCallingContext.sipHeaders"):
        decode_request(CreateCallRequest, custom(headers))


@pytest.mark.parametrize("name", ["CreateCall", "AnswerCall"])
def test_the_published_examples_are_read(name: str) -> None:
    path = ROOT / f"CallAutomation/stable/2026-03-12/examples/{name}.json"
    parameters = json.loads(path.read_text())["parameters"]
    body = parameters["createCallRequest" if name == "CreateCall" else "answerCallRequest"]
    kind: type[Request] = CreateCallRequest if name == "CreateCall" else AnswerCallRequest
    decode_request(kind, body_of(body))


def streaming(**changes: Any) -> MediaStreamingOptions:
    body = {**ANSWER, "mediaStreamingOptions": {**STREAMING, **changes}}
    options = decode_request(AnswerCallRequest, body_of(body)).media_streaming_options
    assert options is not None
    return options


def test_defaults_of_streaming() -> None:
    assert streaming() == MediaStreamingOptions(audio_channel_type="mixed", transport_url="wss://x/ws")
    nulls = streaming(audioFormat=None, contentType=None, startMediaStreaming=None, transportUrl=None)
    assert nulls == MediaStreamingOptions(audio_channel_type="mixed")
    assert nulls.sample_rate == 16000


@pytest.mark.parametrize("spelling", ["pcm24KMono", "Pcm24KMono", "PCM24KMONO"])
def test_enums_in_any_case(spelling: str) -> None:
    options = streaming(
        audioFormat=spelling, audioChannelType="UnMixed", transportType="WebSocket", contentType="AUDIO"
    )
    assert (options.sample_rate, options.audio_channel_type) == (24000, "unmixed")
    reject = decode_request(RejectCallRequest, body_of({"incomingCallContext": "c", "callRejectReason": "Busy"}))
    assert reject.call_reject_reason == "busy"


@pytest.mark.parametrize(
    "url", ["wss://host", "ws://127.0.0.1:8000/ws?x=4:+1425#f", "WSS://Host.example:8443/a%2Fb", "ws://[::1]:9/x"]
)
def test_urls_stay_letter_by_letter(url: str) -> None:
    assert streaming(transportUrl=url).transport_url == url
    callback = url.replace("wss", "https").replace("ws", "http").replace("WSS", "HTTPS")
    assert decode_request(CreateCallRequest, body_of({**CREATE, "callbackUri": callback})).callback_uri == callback


def test_no_body_reads_as_empty_where_nothing_is_required() -> None:
    assert decode_request(StartMediaStreamingRequest, b"") == StartMediaStreamingRequest()
    assert decode_request(StopMediaStreamingRequest, b"{}") == StopMediaStreamingRequest()
    with pytest.raises(WireError, match="incomingCallContext: is required"):
        decode_request(AnswerCallRequest, b"")


def test_unknown_fields_are_ignored() -> None:
    assert decode_request(CreateCallRequest, body_of({**CREATE, "new": {"a": [1]}})).targets


WRONG: list[tuple[type[Request], Any, str, str]] = [
    (CreateCallRequest, {"callbackUri": "https://x"}, "targets", "is required"),
    (CreateCallRequest, {**CREATE, "targets": []}, "targets", "must not be empty"),
    (CreateCallRequest, {**CREATE, "targets": {}}, "targets", "must be an array, not an object"),
    (CreateCallRequest, {**CREATE, "targets": [{"rawId": "4:+1"}, {}]}, "targets[1]", "names nobody"),
    (CreateCallRequest, {"targets": CREATE["targets"]}, "callbackUri", "is required"),
    (CreateCallRequest, {**CREATE, "callbackUri": ""}, "callbackUri", "must not be empty"),
    (CreateCallRequest, {**CREATE, "callbackUri": "/cb"}, "callbackUri", "http:// or https://"),
    (CreateCallRequest, {**CREATE, "callbackUri": "ftp://x/cb"}, "callbackUri", "http:// or https://"),
    (CreateCallRequest, {**CREATE, "callbackUri": "https:///cb"}, "callbackUri", "names no host"),
    (CreateCallRequest, {**CREATE, "callbackUri": "https://x/c b"}, "callbackUri", "percent-encode"),
    (CreateCallRequest, {**CREATE, "callbackUri": "https://x/\r\nA: b"}, "callbackUri", "percent-encode"),
    (CreateCallRequest, {**CREATE, "callbackUri": 7}, "callbackUri", "must be a string, not a number"),
    (CreateCallRequest, {**CREATE, "operationContext": ["x"]}, "operationContext", "must be a string"),
    (CreateCallRequest, {**CREATE, "sourceCallerIdNumber": "+1"}, "sourceCallerIdNumber", "must be an object"),
    (CreateCallRequest, {**CREATE, "callIntelligenceOptions": 1}, "callIntelligenceOptions", "must be an object"),
    (AnswerCallRequest, {"callbackUri": "https://x"}, "incomingCallContext", "is required"),
    (AnswerCallRequest, {**ANSWER, "incomingCallContext": 5}, "incomingCallContext", "must be a string"),
    (AnswerCallRequest, {**ANSWER, "answeredBy": {}}, "answeredBy.id", "is required"),
    (RedirectCallRequest, {"incomingCallContext": "c"}, "target", "is required"),
    (
        RejectCallRequest,
        {"incomingCallContext": "c", "callRejectReason": "no"},
        "callRejectReason",
        "'no' is not one of",
    ),
    (StartMediaStreamingRequest, {"operationCallbackUri": "x"}, "operationCallbackUri", "https://"),
]


@pytest.mark.parametrize(("kind", "body", "field", "text"), WRONG)
def test_errors_name_the_field_and_the_fix(kind: type[Request], body: Any, field: str, text: str) -> None:
    with pytest.raises(WireError) as caught:
        decode_request(kind, body_of(body))
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")
    assert text in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audioFormat": "pcm8K"}, "mediaStreamingOptions.audioFormat: 'pcm8K' is not one of pcm16KMono, pcm24KMono"),
        ({"audioChannelType": None}, "mediaStreamingOptions.audioChannelType: is required; one of mixed, unmixed"),
        ({"transportType": "tcp"}, "mediaStreamingOptions.transportType: 'tcp' is not websocket"),
        ({"contentType": "video"}, "mediaStreamingOptions.contentType: 'video' is not audio"),
        ({"startMediaStreaming": "yes"}, "mediaStreamingOptions.startMediaStreaming: must be true or false"),
        ({"enableBidirectional": 1}, "mediaStreamingOptions.enableBidirectional: must be true or false"),
        ({"transportUrl": "https://x/ws"}, "'https://x/ws' must be an absolute URL that starts with ws:// or wss://"),
        ({"transportUrl": "wss://"}, "mediaStreamingOptions.transportUrl: 'wss://' names no host"),
        ({"transportUrl": "wss://x:99999/"}, "mediaStreamingOptions.transportUrl: 'wss://x:99999/' is not a URL"),
        ({"transportUrl": "wss://[::1/"}, "mediaStreamingOptions.transportUrl: 'wss://[::1/' is not a URL"),
        ({"transportUrl": ""}, "mediaStreamingOptions.transportUrl"),
    ],
)
def test_errors_of_streaming_options(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(WireError) as caught:
        streaming(**changes)
    assert message in str(caught.value)
    assert str(caught.value).startswith("mediaStreamingOptions.")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("piiRedactionOptions", {"enable": True}),
        ("enableSentimentAnalysis", True),
        ("summarizationOptions", {"enableEndCallSummary": True}),
        ("locales", ["en-US", "de-DE"]),
    ],
)
def test_what_only_a_preview_has_is_refused_by_name(name: str, value: Any) -> None:
    options = {"transportType": "websocket", "locale": "en-US", name: value}
    with pytest.raises(UnsupportedError, match=f"transcriptionOptions.{name}: {name} is not supported"):
        decode_request(AnswerCallRequest, body_of({**ANSWER, "transcriptionOptions": options}))
    off = {**options, name: None if name != "enableSentimentAnalysis" else False}
    assert decode_request(AnswerCallRequest, body_of({**ANSWER, "transcriptionOptions": off})).transcription_options


def test_errors_of_transcription_options() -> None:
    body = {**ANSWER, "transcriptionOptions": {"transportType": "websocket"}}
    with pytest.raises(WireError, match=r"^transcriptionOptions\.locale: is required"):
        decode_request(AnswerCallRequest, body_of(body))


@pytest.mark.parametrize("body", [b"{", b"nonsense", b"[]", b'"x"', b"null", b"\xff\xfe", b"{}{}", b"[" * 100_000])
def test_bodies_that_are_no_json_object(body: bytes) -> None:
    with pytest.raises(WireError, match="The request body"):
        decode_request(CreateCallRequest, body)


def test_long_values_are_cut_in_messages() -> None:
    with pytest.raises(WireError) as caught:
        streaming(audioFormat="x" * 100_000)
    assert len(str(caught.value)) < 300


@given(st.binary(max_size=200), st.sampled_from(sorted(REQUESTS.values(), key=lambda kind: kind.__name__)))
def test_any_bytes_are_a_request_or_the_one_error(body: bytes, kind: type[Request]) -> None:
    try:
        decode_request(kind, body)
    except WireError:
        pass


NAMES = ["targets", "callbackUri", "incomingCallContext", "mediaStreamingOptions", "transportUrl", "audioFormat"] + [
    "audioChannelType", "transportType", "rawId", "target", "operationContext", "transcriptionOptions", "locale"
]  # fmt: skip
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.sampled_from(
    ["https://x/cb", "wss://x", "websocket", "mixed", "4:+1", "pcm16KMono", "ws://[", "https://:5"]
)  # fmt: skip
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=15,
)


@given(
    st.dictionaries(st.sampled_from(NAMES), TREES),
    st.sampled_from(sorted(REQUESTS.values(), key=lambda kind: kind.__name__)),
)
def test_any_object_is_a_request_or_an_error_with_a_field(value: dict[str, Any], kind: type[Request]) -> None:
    try:
        decode_request(kind, body_of(value))
    except WireError as error:
        assert error.field


def test_properties_are_written_in_full() -> None:
    properties = CallConnectionProperties(
        call_connection_id="id",
        call_connection_state="connected",
        callback_uri="https://x/cb?callerId=4:+1425",
        correlation_id="k",
        targets=(phone_number("+1"),),
        server_call_id="s==",
        source=communication_user("8:acs:r_u"),
        source_caller_id_number=phone_number("+2"),
        source_display_name="dn",
        answered_by=communication_user("8:acs:r_a"),
        answered_for=phone_number("+3"),
        media_streaming_subscription=MediaStreamingSubscription(id="m", state="active"),
        transcription_subscription=TranscriptionSubscription(id="t", state="inactive", locale="en-US"),
    )
    wire = json.loads(encode(properties))
    assert wire == {
        "callConnectionId": "id",
        "callConnectionState": "connected",
        "callbackUri": "https://x/cb?callerId=4:+1425",
        "correlationId": "k",
        "targets": [{"kind": "phoneNumber", "rawId": "4:+1", "phoneNumber": {"value": "+1"}}],
        "serverCallId": "s==",
        "source": {"kind": "communicationUser", "rawId": "8:acs:r_u", "communicationUser": {"id": "8:acs:r_u"}},
        "sourceCallerIdNumber": {"value": "+2"},
        "sourceDisplayName": "dn",
        "answeredBy": {"id": "8:acs:r_a"},
        "answeredFor": {"value": "+3"},
        "mediaStreamingSubscription": {"id": "m", "state": "active", "subscribedContentTypes": ["audio"]},
        "transcriptionSubscription": {
            "id": "t",
            "state": "inactive",
            "subscribedResultTypes": ["final"],
            "locale": "en-US",
        },
    }
    path = ROOT / "CallAutomation/stable/2026-03-12/communicationservicescallautomation.json"
    described = json.loads(path.read_text())["definitions"]["CallConnectionProperties"]["properties"]
    assert set(wire) == set(described)


def test_what_is_not_known_is_left_out() -> None:
    properties = CallConnectionProperties(
        call_connection_id="id", call_connection_state="connecting", callback_uri="u", correlation_id="k", targets=()
    )
    assert set(json.loads(encode(properties))) == {
        "callConnectionId", "callConnectionState", "callbackUri", "correlationId", "targets"
    }  # fmt: skip


def test_participants() -> None:
    page = GetParticipantsResponse(
        value=(
            CallParticipant(identifier=parse_raw_id("4:+1")),
            CallParticipant(identifier=phone_number("+2"), is_muted=True),
        )
    )
    assert json.loads(encode(page)) == {
        "value": [
            {
                "identifier": {"kind": "phoneNumber", "rawId": f"4:+{n}", "phoneNumber": {"value": f"+{n}"}},
                "isMuted": n == 2,
                "isOnHold": False,
            }
            for n in (1, 2)
        ]
    }


def test_error_envelopes() -> None:
    assert json.loads(error_body("8522", "Call not found.")) == {
        "error": {"code": "8522", "message": "Call not found."}
    }
    assert json.loads(error_of(result("invalid_argument"), "callbackUri: x")) == {
        "error": {"code": "8523", "message": "The request is not valid. callbackUri: x"}
    }


def test_a_lone_surrogate_is_still_json() -> None:
    assert json.loads(error_body("1", "\ud800")) == {"error": {"code": "1", "message": "\ud800"}}


def test_versions_are_those_of_the_released_sdks() -> None:
    for version in (
        "2023-10-15",
        "2024-04-15",
        "2024-09-15",
        "2024-11-15-preview",
        "2025-05-15",
        "2025-06-15",
        "2026-03-12",
    ):
        assert version in API_VERSIONS
