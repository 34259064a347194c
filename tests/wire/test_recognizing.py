"""Bodies and events of recognising and of holding: what the SDKs sent, the published samples, refusals by field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from azure.core.messaging import CloudEvent

from offhook.errors import WireError
from offhook.wire.events import encode_callback
from offhook.wire.holding import HOLD_EVENTS, HoldRequest, UnholdRequest
from offhook.wire.models import decode_request
from offhook.wire.playing import MOST_SOURCES
from offhook.wire.recognizing import (
    MOST_PHRASES,
    RECOGNIZE_EVENTS,
    Choice,
    ChoiceResult,
    DtmfOptions,
    DtmfResult,
    RecognizeCompleted,
    RecognizeFailed,
    RecognizeRequest,
    SpeechResult,
)
from offhook.wire.results import result

ROOT = Path(__file__).parents[1] / "fixtures/acs"
DEFINITIONS = json.loads(
    (ROOT / "CallAutomation/stable/2026-03-12/communicationservicescallautomation.json").read_text()
)["definitions"]
TARGET = {"rawId": "4:+15550001"}
FILE = {"kind": "file", "file": {"uri": "https://x/a.wav"}}
KINDS: dict[str, Any] = {"recognize": RecognizeRequest, "hold": HoldRequest, "unhold": UnholdRequest}


def sent(sdk: str) -> list[tuple[str, dict[str, Any]]]:
    """Verb and body of each such request that an SDK made."""
    requests = json.loads((ROOT / f"samples/sdk-requests/{sdk}.json").read_text())["requests"]
    verbs = [(request["target"].partition("?")[0].rpartition(":")[2], request["body"]) for request in requests]
    return [(verb, body) for verb, body in verbs if verb in KINDS]


def read(verb: str, body: dict[str, Any]) -> Any:
    return decode_request(KINDS[verb], json.dumps(body).encode())


def options(kind: str = "dtmf", **given: Any) -> dict[str, Any]:
    return {"recognizeInputType": kind, "recognizeOptions": {"targetParticipant": TARGET, **given}}


@pytest.mark.parametrize("sdk", ["python-1.6.0", "js-1.6.0"])
def test_what_the_sdks_sent_is_understood(sdk: str) -> None:
    kinds = {}
    for verb, body in sent(sdk):
        one = read(verb, body)
        assert one.target_participant.raw_id == "4:+15550001"
        assert one.operation_context == body.get("operationContext")
        kinds[verb, getattr(one, "input_type", "")] = one
    assert set(kinds) == {
        ("recognize", "dtmf"), ("recognize", "speech"), ("recognize", "speechOrDtmf"), ("recognize", "choices"),
        ("hold", ""), ("unhold", ""),
    }  # fmt: skip
    assert kinds["hold", ""].source.uri == "https://x/a.wav"
    choices = kinds["recognize", "choices"]
    assert choices.choices == (Choice(label="a", phrases=("b",), tone="1"),)
    assert [source.words for source in choices.prompt] == ["t"]
    assert kinds["recognize", "speech"].end_silence == (1.0 if sdk.startswith("python") else 2.0)
    tones = kinds["recognize", "dtmf"]
    assert tones.dtmf.stop_tones == frozenset("#") and tones.initial_silence == 5
    assert tones.interrupt_prompt == bool(tones.prompt) == sdk.startswith("python")


def test_defaults() -> None:
    one = read("recognize", {**options("DTMF", dtmfOptions=None, speechOptions={}, choices=[]), "playPrompts": []})
    assert (one.initial_silence, one.dtmf) == (5, DtmfOptions(inter_tone=2, most=None, stop_tones=frozenset()))
    assert (one.prompt, one.interrupt, one.interrupt_prompt) == ((), False, False)
    assert (one.language, one.end_silence) == ("en-US", 2.0)
    assert read("recognize", options("speech", speechOptions={"endSilenceTimeoutInMs": 0})).end_silence == 2.0
    assert read("hold", {"targetParticipant": TARGET}).source is None


def test_several_prompts_come_before_the_one() -> None:
    body = {**options(), "playPrompt": FILE, "playPrompts": [FILE, FILE]}
    assert len(read("recognize", body).prompt) == 2
    assert len(read("recognize", {**options(), "playPrompt": FILE}).prompt) == 1


YES = {"label": "yes", "phrases": ["yes"]}


@pytest.mark.parametrize(
    ("verb", "body", "field"),
    [
        ("recognize", {"recognizeInputType": "dtmf"}, "recognizeOptions"),
        ("recognize", {"recognizeInputType": "dtmf", "recognizeOptions": 3}, "recognizeOptions"),
        ("recognize", {"recognizeInputType": "dtmf", "recognizeOptions": {}}, "recognizeOptions.targetParticipant"),
        ("recognize", {"recognizeOptions": {"targetParticipant": TARGET}}, "recognizeInputType"),
        ("recognize", options("smell"), "recognizeInputType"),
        ("recognize", options(initialSilenceTimeoutInSeconds=301), "recognizeOptions.initialSilenceTimeoutInSeconds"),
        ("recognize", options(initialSilenceTimeoutInSeconds=True), "recognizeOptions.initialSilenceTimeoutInSeconds"),
        ("recognize", options(dtmfOptions={"interToneTimeoutInSeconds": 0}),
         "recognizeOptions.dtmfOptions.interToneTimeoutInSeconds"),
        ("recognize", options(dtmfOptions={"maxTonesToCollect": 0}), "recognizeOptions.dtmfOptions.maxTonesToCollect"),
        ("recognize", options(dtmfOptions={"maxTonesToCollect": 1.5}),
         "recognizeOptions.dtmfOptions.maxTonesToCollect"),
        ("recognize", options(dtmfOptions={"stopTones": ["hash"]}), "recognizeOptions.dtmfOptions.stopTones[0]"),
        ("recognize", options(interruptPrompt="yes"), "recognizeOptions.interruptPrompt"),
        ("recognize", options("speech", speechLanguage=3), "recognizeOptions.speechLanguage"),
        ("recognize", options("speech", speechOptions={"endSilenceTimeoutInMs": -1}),
         "recognizeOptions.speechOptions.endSilenceTimeoutInMs"),
        ("recognize", options("speech", speechOptions={"endSilenceTimeoutInMs": 10**9}),
         "recognizeOptions.speechOptions.endSilenceTimeoutInMs"),
        ("recognize", options("speech", speechRecognitionModelEndpointId="m"),
         "recognizeOptions.speechRecognitionModelEndpointId"),
        ("recognize", options("choices"), "recognizeOptions.choices"),
        ("recognize", options("choices", choices=[{"phrases": ["a"]}]), "recognizeOptions.choices[0].label"),
        ("recognize", options("choices", choices=[YES, {"label": "b"}]), "recognizeOptions.choices[1].phrases"),
        ("recognize", options("choices", choices=[{"label": "b", "phrases": [" "]}]),
         "recognizeOptions.choices[0].phrases[0]"),
        ("recognize", options("choices", choices=[{**YES, "tone": "1"}]), "recognizeOptions.choices[0].tone"),
        ("recognize", options("choices", choices=[YES, YES]), "recognizeOptions.choices"),
        ("recognize", options("choices", choices=[{"label": x, "phrases": [], "tone": "one"} for x in "ab"]),
         "recognizeOptions.choices"),
        ("recognize", options("choices", choices=[{**YES, "phrases": ["yes", "y" * MOST_PHRASES]}]),
         "recognizeOptions.choices"),
        ("recognize", {**options(), "playPrompt": {"kind": "file"}}, "playPrompt.file"),
        ("recognize", {**options(), "playPrompts": [FILE, {"kind": "x"}]}, "playPrompts[1].kind"),
        ("recognize", {**options(), "playPrompts": [FILE] * (MOST_SOURCES + 1)}, "playPrompts"),
        ("hold", {}, "targetParticipant"),
        ("hold", {"targetParticipant": TARGET, "playSourceInfo": {"kind": "file", "file": {"uri": "ftp://x/a.wav"}}},
         "playSourceInfo.file.uri"),
        ("unhold", {"targetParticipant": TARGET, "operationCallbackUri": "x"}, "operationCallbackUri"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_named(verb: str, body: dict[str, Any], field: str) -> None:
    with pytest.raises(WireError) as refused:
        read(verb, body)
    assert refused.value.field == field
    assert field in str(refused.value)


IDS: dict[str, Any] = {"call_connection_id": "c", "server_call_id": "s", "correlation_id": "k"}
RESULTS: dict[str, Any] = {
    "dtmf": DtmfResult(tones=("five", "six", "pound")),
    "choices": ChoiceResult(label="Confirm", recognized_phrase="yes", confidence=0.91),
    "speech": SpeechResult(speech="I would like to pay my bill.", confidence=0.88),
}


def completed(kind: str) -> RecognizeCompleted:
    name = {"dtmf": "dtmf_result", "choices": "choice_result", "speech": "speech_result"}[kind]
    return RecognizeCompleted(**IDS, recognition_type=kind, **{name: RESULTS[kind]})


def test_data_fits_the_description_and_the_python_sdk_reads_it() -> None:
    events = [
        *map(completed, RESULTS),
        RecognizeFailed(**IDS, failed_play_source_index=1),
        *(event(**IDS) for event in (*RECOGNIZE_EVENTS[1:], *HOLD_EVENTS)),
    ]
    for event in events:
        (envelope,) = json.loads(encode_callback(event, event_id="i", time="2024-05-02T11:20:42Z", api_version="v"))
        assert set(envelope["data"]) - {"eventSource", "version", "publicEventType"} <= set(
            DEFINITIONS[event.name]["properties"]
        )
        parsed: CloudEvent[Any] = CloudEvent.from_dict(envelope)
        assert parsed.type == f"Microsoft.Communication.{event.name}"


@pytest.mark.parametrize(
    ("sample", "kind", "outcome"),
    [("dtmf", "dtmf", "tones_complete"), ("choice", "choices", "phrase_matched"), ("speech", "speech", "success")],
)
def test_completed_is_as_published(sample: str, kind: str, outcome: str) -> None:
    (published,) = json.loads((ROOT / f"samples/callbacks/recognize-completed-{sample}.constructed.json").read_text())
    event = completed(kind)
    written = event.to_wire()
    for name in ("recognitionType", "dtmfResult", "choiceResult", "speechResult"):
        assert written.get(name) == published["data"].get(name)
    assert result(outcome).information().to_wire() == published["data"]["resultInformation"]


def test_a_choice_by_its_tone_has_no_phrase() -> None:
    assert ChoiceResult(label="a").to_wire() == {"label": "a"}
