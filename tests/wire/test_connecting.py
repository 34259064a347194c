"""Connect: locators in every spelling, and each that cannot be used by name (protocol.md §3.3)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from offhook.errors import UnsupportedError, WireError
from offhook.wire.connecting import CallLocator, ConnectRequest
from offhook.wire.models import MediaStreamingOptions, TranscriptionOptions, decode_request

SERVER = {"serverCallId": "aHR0cHM6Ly9h", "kind": "serverCallLocator"}
GROUP = "9A0C3B1E-0000-4000-8000-00000000000A"


def read(locator: Any, **more: Any) -> ConnectRequest:
    return decode_request(
        ConnectRequest, json.dumps({"callLocator": locator, "callbackUri": "https://x/cb", **more}).encode()
    )


@pytest.mark.parametrize(
    ("locator", "expected"),
    [
        (SERVER, CallLocator("serverCallLocator", "aHR0cHM6Ly9h")),
        (
            {**SERVER, "kind": "ServerCallLocator", "groupCallId": None},
            CallLocator("serverCallLocator", "aHR0cHM6Ly9h"),
        ),
        ({"serverCallId": "s="}, CallLocator("serverCallLocator", "s=")),
        ({"kind": "GROUPCALLLOCATOR", "groupCallId": GROUP}, CallLocator("groupCallLocator", GROUP.lower())),
    ],
)
def test_a_call_is_located(locator: dict[str, Any], expected: CallLocator) -> None:
    assert read(locator).locator == expected


@pytest.mark.parametrize(
    ("locator", "field"),
    [
        (None, "callLocator: is required"),
        ("s", "callLocator: must be an object"),
        ({}, "callLocator.kind: is required"),
        ({"kind": "other", "serverCallId": "s"}, "callLocator.kind"),
        ({"kind": "serverCallLocator", "groupCallId": GROUP}, "callLocator.serverCallId: is required"),
        ({"kind": "groupCallLocator", "groupCallId": ""}, "callLocator.groupCallId: must not be empty"),
        ({"kind": "groupCallLocator", "groupCallId": "g" * 129}, "callLocator.groupCallId: must have at most"),
        ({"serverCallId": "s", "groupCallId": "g"}, "callLocator.kind: is required"),
        ({"kind": "serverCallLocator", "serverCallId": 7}, "callLocator.serverCallId: must be a string"),
    ],
)
def test_a_locator_that_cannot_be_used_is_named(locator: Any, field: str) -> None:
    with pytest.raises(WireError) as wrong:
        read(locator)
    assert wrong.value.message.startswith(field)


def test_rooms_are_left_out_by_name() -> None:
    with pytest.raises(UnsupportedError, match=r"callLocator\.kind: roomCallLocator"):
        read({"kind": "roomCallLocator", "roomId": "r"})


def test_the_rest_is_that_of_an_answer() -> None:
    request = read(
        SERVER,
        operationContext="c",
        mediaStreamingOptions={"transportType": "websocket", "audioChannelType": "Unmixed", "transportUrl": "ws://x/"},
        transcriptionOptions={"transportType": "websocket", "locale": "en-US"},
    )
    assert (request.callback_uri, request.operation_context) == ("https://x/cb", "c")
    assert isinstance(request.media_streaming_options, MediaStreamingOptions)
    assert request.media_streaming_options.audio_channel_type == "unmixed"
    assert isinstance(request.transcription_options, TranscriptionOptions)
    with pytest.raises(WireError, match="callbackUri"):
        decode_request(ConnectRequest, json.dumps({"callLocator": SERVER}).encode())
