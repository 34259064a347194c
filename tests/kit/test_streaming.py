"""The .NET-named entry points: what they read and the exact texts they write (protocol.md 2.4, 2.6)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.kit import AudioData, AudioMetadata, DtmfData, OutStreamingData, StreamingData, WireError
from offhook.wire.streaming import AppAudio, StopAudio, parse_app_message

SAMPLES = Path(__file__).parents[1] / "fixtures/acs/samples/websocket"


def variants(name: str, emitter: str) -> str:
    rows = json.loads((SAMPLES / name).read_text())
    return next(str(row["text"]) for row in rows if emitter in row["emitter"])


def test_audio_is_written_as_the_dotnet_sdk_does() -> None:
    wanted = variants("out-audio-variants.json", "GetAudioDataForOutbound")
    assert OutStreamingData.get_audio_data_for_outbound(b"ABCD") == wanted.replace("QUJD", "QUJDRA==")


def test_stop_is_written_as_the_dotnet_sdk_does() -> None:
    assert OutStreamingData.get_stop_audio_for_outbound() == variants("out-stop-variants.json", ".NET")
    assert parse_app_message(OutStreamingData.get_stop_audio_for_outbound()) == StopAudio()


@given(st.binary(max_size=2000))
def test_what_is_written_is_heard(pcm: bytes) -> None:
    for form in (pcm, bytearray(pcm), memoryview(pcm)):
        if len(pcm) & 1:
            with pytest.raises(WireError, match="whole PCM16 samples"):
                OutStreamingData.get_audio_data_for_outbound(form)
        else:
            assert parse_app_message(OutStreamingData.get_audio_data_for_outbound(form)) == AppAudio(pcm)


def test_the_services_messages_have_their_types() -> None:
    read = {path.name: StreamingData.parse(path.read_text()) for path in SAMPLES.glob("in-*.json")}
    assert isinstance(read["in-audio-metadata-16k.json"], AudioMetadata)
    assert isinstance(read["in-audio-data.json"], AudioData)
    assert isinstance(read["in-dtmf-data.json"], DtmfData)
    assert read["in-audio-data-mixed-silent.constructed.json"].is_silent  # type: ignore[union-attr]


def test_an_unknown_kind_is_a_wire_error() -> None:
    with pytest.raises(WireError, match="Nonsense"):
        StreamingData.parse('{"kind":"Nonsense"}')
