"""No field of a request is taken and then ignored: each is honoured, refused, or stands among those without a meaning.

The table below names every property of every request body of the REST description, and what becomes of it; a property
that it does not name fails the test. That each is at least looked at is seen by reading bodies that have them all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.request_bodies import CALLER

from offhook.service.operation_notes import MEANINGLESS
from offhook.service.operations import OPERATIONS, Operation
from offhook.wire.exclusions import EXCLUSIONS
from offhook.wire.fields import Fields
from offhook.wire.models import decode_request

ACS = Path(__file__).parents[1] / "fixtures/acs"
DESCRIPTION = json.loads(
    (ACS / "CallAutomation/stable/2026-03-12/communicationservicescallautomation.json").read_text()
)
TYPES: dict[str, Any] = DESCRIPTION["definitions"]
_SUBTYPES = {
    "MediaStreamingOptions": "WebSocketMediaStreamingOptions",
    "TranscriptionOptions": "WebSocketTranscriptionOptions",
}

_COMMON = {"operationContext": "comes back in the events", "operationCallbackUri": "where the events go"}
_STREAM = "opens the app's stream"
_VOICE = "without a meaning: there is one voice"
_OF_OTHERS = "without a meaning for other input types"
_CUSTOM = "refused with PlayFailed 400/8565 unless empty"
_TEAMS = "refused: there is no Teams Phone"
_HEARD = "how it is recognised"
_MODEL = "refused unless empty: models are the node's own"
_TEXT = "opens the app's transcript"

FIELDS: dict[str, dict[str, str]] = {
    "CreateCallRequest": {
        "targets": "who is rung", "sourceCallerIdNumber": "what phones show", "sourceDisplayName": "what phones show",
        "source": "who the app is in the call", "operationContext": _COMMON["operationContext"],
        "callbackUri": "where events go", "callIntelligenceOptions": "see the type",
        "mediaStreamingOptions": _STREAM, "transcriptionOptions": _TEXT, "teamsAppSource": "refused: there is no Teams",
    },
    "AnswerCallRequest": {
        "incomingCallContext": "which call", "callbackUri": "where events go",
        "operationContext": _COMMON["operationContext"], "callIntelligenceOptions": "see the type",
        "answeredBy": "who the app is in the call", "mediaStreamingOptions": _STREAM, "transcriptionOptions": _TEXT,
    },
    "RedirectCallRequest": {"incomingCallContext": "which call", "target": "who is rung instead"},
    "RejectCallRequest": {"incomingCallContext": "which call", "callRejectReason": "what the caller is told"},
    "ConnectRequest": {
        "callLocator": "which call", "callbackUri": "where events go", "operationContext": _COMMON["operationContext"],
        "callIntelligenceOptions": "see the type", "mediaStreamingOptions": _STREAM, "transcriptionOptions": _TEXT,
    },
    "CallLocator": {
        "kind": "which of the three", "groupCallId": "which call", "serverCallId": "which call",
        "roomId": "refused: there are no rooms",
    },
    "CallIntelligenceOptions": {"cognitiveServicesEndpoint": "without a meaning: speech is the node's own"},
    "MediaStreamingOptions": {"transportType": "only websocket", "audioChannelType": _STREAM},
    "WebSocketMediaStreamingOptions": {
        "transportUrl": _STREAM, "contentType": "only audio", "startMediaStreaming": "whether at once",
        "enableBidirectional": "whether the app is heard", "audioFormat": "16 or 24 kHz", "enableDtmfTones": "keys too",
    },
    "TranscriptionOptions": {"transportType": "only websocket", "locale": _TEXT},
    "WebSocketTranscriptionOptions": {
        "transportUrl": _TEXT, "speechModelEndpointId": _MODEL, "startTranscription": "whether at once",
        "enableIntermediateResults": _TEXT,
    },
    "TransferToParticipantRequest": {
        "targetParticipant": "to whom", "transferee": "who", **_COMMON, "customCallingContext": "goes along",
        "sourceCallerIdNumber": "what phones show",
    },
    "CustomCallingContext": {
        "voipHeaders": "go along to apps", "sipHeaders": "go along to phones", "teamsPhoneCallDetails": _TEAMS,
    },
    "TeamsPhoneCallDetails": dict.fromkeys(
        ("teamsPhoneCallerDetails", "teamsPhoneSourceDetails", "sessionId", "intent", "callTopic", "callContext",
         "transcriptUrl", "callSentiment", "suggestedActions"), _TEAMS),
    "TeamsPhoneCallerDetails": dict.fromkeys(
        ("caller", "name", "phoneNumber", "recordId", "screenPopUrl", "isAuthenticated", "additionalCallerInformation"),
        _TEAMS),
    "TeamsPhoneSourceDetails": dict.fromkeys(("source", "language", "status", "intendedTargets"), _TEAMS),
    "PlayRequest": {
        "playSources": "what is heard", "playTo": "who hears it", "interruptCallMediaOperation": "cuts what runs",
        "playOptions": "see the type", **_COMMON,
    },
    "PlaySource": {
        "kind": "which of the three", "playSourceCacheId": "how long it is kept", "file": "what is heard",
        "text": "what is heard", "ssml": "what is heard",
    },
    "FileSource": {"uri": "what is heard"},
    "TextSource": {
        "text": "what is heard", "sourceLocale": "the language", "voiceKind": _VOICE,
        "voiceName": _VOICE, "customVoiceEndpointId": _CUSTOM,
    },
    "SsmlSource": {"ssmlText": "what is heard", "customVoiceEndpointId": _CUSTOM},
    "PlayOptions": {"loop": "again and again"},
    "StartTranscriptionRequest": {"locale": _HEARD, "speechModelEndpointId": _MODEL, **_COMMON},
    "StopTranscriptionRequest": _COMMON,
    "UpdateTranscriptionRequest": {"locale": _HEARD, "speechModelEndpointId": _MODEL, **_COMMON},
    "RecognizeRequest": {
        "recognizeInputType": "tones, words or both", "playPrompt": "what is heard before",
        "playPrompts": "what is heard before", "interruptCallMediaOperation": "cuts what runs",
        "recognizeOptions": "see the type", **_COMMON,
    },
    "RecognizeOptions": {
        "interruptPrompt": "whether tones cut the prompt", "initialSilenceTimeoutInSeconds": "when it fails",
        "targetParticipant": "whose", "speechRecognitionModelEndpointId": _MODEL,
        **dict.fromkeys(("dtmfOptions", "choices", "speechOptions", "speechLanguage"), _OF_OTHERS),
    },
    "DtmfOptions": {
        "interToneTimeoutInSeconds": "when it fails", "maxTonesToCollect": "when it is done",
        "stopTones": "when it is done",
    },
    "Choice": {"label": "what is told", "phrases": "what is listened for", "tone": "what is listened for"},
    "SpeechOptions": {"endSilenceTimeoutInMs": "when it is done"},
    "ContinuousDtmfRecognitionRequest": {"targetParticipant": "whose", **_COMMON},
    "SendDtmfTonesRequest": {"tones": "which", "targetParticipant": "to whom", **_COMMON},
    "HoldRequest": {"targetParticipant": "who", "playSourceInfo": "what they hear", **_COMMON},
    "UnholdRequest": {"targetParticipant": "who", **dict.fromkeys(_COMMON, "without a meaning: it has no event")},
    "StartMediaStreamingRequest": _COMMON,
    "StopMediaStreamingRequest": _COMMON,
    "AddParticipantRequest": {
        "sourceCallerIdNumber": "what phones show", "sourceDisplayName": "what phones show", "participantToAdd": "who",
        "invitationTimeoutInSeconds": "how long it rings", **_COMMON, "customCallingContext": "goes along",
    },
    "RemoveParticipantRequest": {"participantToRemove": "who", **_COMMON},
    "MuteParticipantsRequest": {"targetParticipants": "who", "operationContext": "comes back in the answer"},
    "CancelAddParticipantRequest": {"invitationId": "which", **_COMMON},
    "MoveParticipantsRequest": {"targetParticipants": "who", "fromCall": "from where", **_COMMON},
    "StartCallRecordingRequest": {
        "callLocator": "which call", "callConnectionId": "which call", "recordingStateCallbackUri": "where events go",
        "recordingContentType": "audio; audioVideo is refused", "recordingChannelType": "mixed or a channel for each",
        "recordingFormatType": "wav or mp3; mp4 is refused", "audioChannelParticipantOrdering": "the channels",
        "channelAffinity": "the channels", "pauseOnStart": "whether it waits", "externalStorage": "see the type",
    },
    "ChannelAffinity": {"channel": "which channel", "participant": "who is on it"},
    "ExternalStorage": {"recordingStorageKind": "where it goes", "recordingDestinationContainerUrl": "where it goes"},
}  # fmt: skip
"""What becomes of each property. Those of identifiers are in test_identifiers.py."""

# Values that a reader takes, by the property's name; by the type otherwise.
VALUES: dict[str, Any] = {
    "callbackUri": "https://x/cb", "operationCallbackUri": "https://x/op", "recordingStateCallbackUri": "https://x/r",
    "transportUrl": "wss://x/ws", "uri": "https://x/a.wav", "recordingDestinationContainerUrl": "https://x/c",
    "locale": "en-US", "sourceLocale": "en-US", "speechLanguage": "en-US", "sipHeaders": {"User-To-User": "x"},
    "voipHeaders": {"a": "b"}, "ssmlText": "<speak>a</speak>", "targetParticipant": CALLER,
    "recordingContentType": "audio", "recordingFormatType": "wav", "recordingStorageKind": "azureBlobStorage",
    "initialSilenceTimeoutInSeconds": 5, "channel": 0, "recordingChannelType": "unmixed", "groupCallId": "g",
    "speechRecognitionModelEndpointId": "", "speechModelEndpointId": "", "customVoiceEndpointId": "",
    "serverCallId": "aHR0cHM6Ly94L3k=", "tones": ["one"], "stopTones": ["pound"],
}  # fmt: skip
# Which of several things a body holds: each makes a body of its own.
ONE_OF: dict[str, tuple[tuple[str, ...], ...]] = {
    "PlaySource": (("file",), ("text",), ("ssml",)),
    "CallLocator": (("serverCallId",), ("groupCallId",)),
    "StartCallRecordingRequest": (("callLocator",), ("callConnectionId",)),
    "RecognizeRequest": (("playPrompt",), ("playPrompts",)),
}
KINDS = {"serverCallId": "serverCallLocator", "groupCallId": "groupCallLocator"}
INPUTS = ("dtmf", "speech", "speechOrDtmf", "choices")


def named(schema: dict[str, Any]) -> str:
    return str(schema.get("$ref", "")).rpartition("/")[2]


def properties(name: str) -> dict[str, Any]:
    return {**TYPES[name].get("properties", {}), **TYPES[_SUBTYPES.get(name, name)].get("properties", {})}


def reachable(name: str, seen: set[str]) -> set[str]:
    """The object types that a body of a type holds."""
    if name in seen or name not in TYPES or "enum" in TYPES[name]:
        return seen
    seen.add(name)
    if name in _SUBTYPES:
        seen.add(_SUBTYPES[name])
    for schema in properties(name).values():
        for inner in (schema, schema.get("items", {}), schema.get("additionalProperties") or {}):
            for one in (inner, *inner.get("allOf", ())) if isinstance(inner, dict) else ():
                reachable(named(one), seen)
    return seen


def body_types() -> dict[str, str]:
    """Operation to the type of its body."""
    found = {}
    for methods in DESCRIPTION["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", ()):
                if parameter.get("in") == "body":
                    found[operation["operationId"].rpartition("_")[2]] = named(parameter["schema"])
    return found


BODY_TYPES = body_types()


def test_the_table_names_every_property() -> None:
    types: set[str] = set()
    for name in BODY_TYPES.values():
        reachable(name, types)
    described = {name: set(TYPES[name].get("properties", {})) for name in types}
    ours = {name: set(table) for name, table in FIELDS.items()}
    leaves = {name for name in described if not described[name]}  # they are of the common file
    assert {name: props for name, props in described.items() if name not in leaves} == ours
    assert leaves == {
        "CommunicationIdentifierModel", "CommunicationUserIdentifierModel", "MicrosoftTeamsAppIdentifierModel",
        "PhoneNumberIdentifierModel",
    }  # fmt: skip


def test_what_has_no_meaning_is_said_on_the_page() -> None:
    rows = [row for table in FIELDS.values() for row in table.items()]
    told = {field for field, becomes in rows if becomes.startswith("without a meaning")}
    assert told and told == {field for field in told if any(field in name for name in MEANINGLESS)}
    assert all(any(field in name for field in told) for name in MEANINGLESS)
    assert {"teamsAppSource", "teamsPhoneCallDetails", "roomCallLocator"} <= set(EXCLUSIONS)


def value(schema: dict[str, Any], name: str, without: frozenset[str]) -> Any:
    """Something of a schema, with every property but those of `without`."""
    if name in VALUES:
        return VALUES[name]
    kind = named(schema) or named((schema.get("allOf") or [{}])[0])
    if kind == "CommunicationIdentifierModel":
        return CALLER
    if kind == "PhoneNumberIdentifierModel":
        return {"value": "+1777"}
    if kind == "CommunicationUserIdentifierModel":
        return {"id": "8:acs:r_u"}
    if kind:
        return TYPES[kind]["enum"][0] if "enum" in TYPES[kind] else whole(kind, without)
    if schema.get("type") == "array":
        return [value(schema["items"], name + "[]", without)]
    return {"boolean": True, "integer": schema.get("minimum", 1)}.get(schema.get("type", ""), "x")


def whole(kind: str, without: frozenset[str]) -> dict[str, Any]:
    made = {name: value(schema, name, without) for name, schema in properties(kind).items() if name not in without}
    alone = next((name for options in ONE_OF.get(kind, ()) for name in options if name in made), None)
    if alone is not None and kind in ("PlaySource", "CallLocator"):
        made["kind"] = KINDS.get(alone, alone)
    return made


REFUSED = frozenset({"teamsAppSource", "teamsPhoneCallDetails", "roomId"})


def bodies(operation: Operation) -> Iterator[dict[str, Any]]:
    """Bodies that together hold every property."""
    kind = BODY_TYPES[operation.name]
    inside = reachable(kind, set())
    choices = [options for name, options in ONE_OF.items() if name in inside] or [((),)]
    for options in choices:
        for chosen in options:
            others = {name for option in options for name in option} - set(chosen)
            rest = {name for each in choices if each is not options for option in each[1:] for name in option}
            body = whole(kind, REFUSED | others | rest)
            for input_type in INPUTS if kind == "RecognizeRequest" else ("",):
                yield {**body, "recognizeInputType": input_type} if input_type else body


def paths(body: Any, path: str = "") -> Iterator[str]:
    """Every field of a body that is no part of an identifier or a map."""
    if isinstance(body, list):
        for one in body:
            yield from paths(one, path)
    elif isinstance(body, dict) and body not in (CALLER, {"value": "+1777"}, {"id": "8:acs:r_u"}):
        for name, inner in body.items():
            here = f"{path}.{name}" if path else name
            yield here
            if name not in ("sipHeaders", "voipHeaders"):
                yield from paths(inner, here)


@pytest.mark.parametrize(
    "operation", [one for one in OPERATIONS if one.request is not None], ids=lambda operation: operation.name
)
def test_every_field_is_looked_at(operation: Operation, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: set[str] = set()
    raw = Fields.raw

    def noted(self: Fields, name: str) -> Any:
        looked.add(re.sub(r"\[\d+\]", "", self.at(name)))
        return raw(self, name)

    monkeypatch.setattr(Fields, "raw", noted)
    assert operation.request is not None
    held: set[str] = set()
    for body in bodies(operation):
        held |= set(paths(body))
        decode_request(operation.request, json.dumps(body).encode())
    ignored = held - looked
    assert not ignored, f"taken and never looked at: {sorted(ignored)}"
