"""Bodies of :play: what the SDKs sent, and every refusal by the path of its field (protocol.md §3.3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.errors import WireError
from offhook.wire.identifiers import phone_number
from offhook.wire.models import decode_request
from offhook.wire.playing import MOST_SOURCES, PlayRequest, PlaySource

ROOT = Path(__file__).parents[1] / "fixtures/acs"
FILE = {"kind": "file", "file": {"uri": "https://files.test/a%20b.wav?sig=x"}}


def read(**body: Any) -> PlayRequest:
    return decode_request(PlayRequest, json.dumps(body).encode())


def test_what_the_sdks_sent_is_read() -> None:
    files = sorted((ROOT / "samples/sdk-requests").glob("*.json"))
    requests = [request for file in files for request in json.loads(file.read_text())["requests"]]
    plays = [request["bodyText"].encode() for request in requests if ":play?" in request["target"]]
    assert len(plays) >= 4
    for body in plays:
        assert decode_request(PlayRequest, body).sources


def test_everything_at_once() -> None:
    request = read(
        playSources=[
            {**FILE, "playSourceCacheId": "greeting"},
            {"kind": "TEXT", "text": {"text": "Hello", "voiceName": "x"}, "file": None},
            {"kind": "ssml", "ssml": {"ssmlText": "<speak/>"}},
        ],
        playTo=[{"rawId": "4:+15550001"}],
        interruptCallMediaOperation=True,
        playOptions={"loop": True},
        operationContext="ctx",
        operationCallbackUri="https://app.test/elsewhere",
    )
    assert request == PlayRequest(
        sources=(
            PlaySource(kind="file", uri="https://files.test/a%20b.wav?sig=x", cache_id="greeting"),
            PlaySource(kind="text", words="Hello", voice="x"),
            PlaySource(kind="ssml", words="<speak/>"),
        ),
        to=(phone_number("+15550001"),),
        interrupt=True,
        loop=True,
        operation_context="ctx",
        operation_callback_uri="https://app.test/elsewhere",
    )


def test_what_is_left_out_is_plain() -> None:
    request = read(playSources=[FILE], playTo=[], playOptions=None, playSourceCacheId=None)
    assert (request.to, request.loop, request.interrupt, request.sources[0].cache_id) == ((), False, False, None)
    assert read(playSources=[{"kind": "text", "text": {"text": ""}}]).sources[0].words == ""


@pytest.mark.parametrize("uri", ["file:///a.wav", "FILE:///a.wav", "de/a b.wav", "http://x/a.wav", "../x"])
def test_a_file_may_be_one_of_the_node(uri: str) -> None:
    """Which of them may be read is decided where they are read."""
    body = json.dumps({"playSources": [{"kind": "file", "file": {"uri": uri}}]}).encode()
    assert decode_request(PlayRequest, body).sources[0].uri == uri


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "playSources"),
        ({"playSources": []}, "playSources"),
        ({"playSources": [FILE] * (MOST_SOURCES + 1)}, "playSources"),
        ({"playSources": [7]}, "playSources[0]"),
        ({"playSources": [FILE, {"file": {"uri": "https://x/"}}]}, "playSources[1].kind"),
        ({"playSources": [{"kind": "video"}]}, "playSources[0].kind"),
        ({"playSources": [{"kind": "file"}]}, "playSources[0].file"),
        ({"playSources": [{"kind": "file", "file": {}}]}, "playSources[0].file.uri"),
        ({"playSources": [{"kind": "file", "file": {"uri": "ftp://x/a.wav"}}]}, "playSources[0].file.uri"),
        ({"playSources": [{"kind": "text", "ssml": {"ssmlText": "x"}}]}, "playSources[0].text"),
        ({"playSources": [{"kind": "text", "text": {"text": 1}}]}, "playSources[0].text.text"),
        ({"playSources": [FILE], "playTo": [{}]}, "playTo[0]"),
        ({"playSources": [FILE], "playOptions": {"loop": "yes"}}, "playOptions.loop"),
        ({"playSources": [FILE], "operationCallbackUri": "ftp://x/"}, "operationCallbackUri"),
    ],
)
def test_a_refusal_names_the_field(body: dict[str, Any], field: str) -> None:
    with pytest.raises(WireError) as refused:
        read(**body)
    assert refused.value.field == field


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["kind", "file", "text", "uri", "ssml", "ssmlText", "loop"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["playSources", "playTo", "playOptions", "operationContext"]), ANY_JSON))
def test_any_body_is_read_or_refused(body: dict[str, Any]) -> None:
    try:
        assert read(**body).sources
    except WireError as error:
        assert error.field
