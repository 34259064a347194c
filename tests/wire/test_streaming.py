"""The stream messages: every known spelling in, the exact texts out (protocol.md 2.4-2.6)."""

from __future__ import annotations

import base64
import itertools
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from offhook.errors import WireError
from offhook.wire import streaming
from offhook.wire.streaming import (
    AppAudio,
    AudioData,
    AudioMetadata,
    DtmfData,
    FrameWriter,
    Mark,
    MarkData,
    StopAudio,
    TranscriptionData,
    TranscriptionMetadata,
    audio_metadata,
    dtmf_data,
    mark_data,
    parse_app_message,
    parse_service_message,
    timestamp,
)

SAMPLES = Path(__file__).parents[1] / "fixtures/acs/samples/websocket"
PCM = b"ABCDEF"
D = base64.b64encode(PCM).decode()


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text())


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def casings(word: str) -> list[str]:
    """Every way to write each letter of a short word, else the ways whole parts get written."""
    if len(word) <= 4:
        return ["".join(letters) for letters in itertools.product(*((c.lower(), c.upper()) for c in word))]
    return [word, word[0].upper() + word[1:], word.lower(), word.upper(), word.swapcase()]


# ------------------------------------------------------------------------------------------- writing


def test_audio_data_is_written_as_documented() -> None:
    wanted = sample("in-audio-data.json")
    inner = wanted["audioData"]
    pcm = base64.b64decode(inner["data"])
    built = FrameWriter(inner["participantRawID"]).build(pcm, inner["timestamp"].encode(), False)
    assert built == compact(wanted)
    mixed = sample("in-audio-data-mixed-silent.constructed.json")
    inner = mixed["audioData"]
    built = FrameWriter(None).build(base64.b64decode(inner["data"]), inner["timestamp"].encode(), True)
    assert built == compact(mixed)
    assert b"participantRawID" not in built


@pytest.mark.parametrize("name", ["in-audio-metadata-16k.json", "in-audio-metadata-24k.constructed.json"])
def test_metadata_is_written_as_documented(name: str) -> None:
    wanted = sample(name)
    inner = wanted["audioMetadata"]
    assert audio_metadata(inner["subscriptionId"], inner["sampleRate"]) == compact(wanted)


def test_dtmf_is_written_as_documented() -> None:
    assert dtmf_data("3") == compact(sample("in-dtmf-data.json"))
    full = json.loads(dtmf_data("#", b"2024-11-15T19:16:12.925Z", "4:+15550001"))
    assert full == {
        "kind": "DtmfData",
        "dtmfData": {"data": "#", "timestamp": "2024-11-15T19:16:12.925Z", "participantRawID": "4:+15550001"},
    }


def test_a_mark_is_written() -> None:
    assert mark_data('a"b', "Cancelled") == b'{"kind":"MarkData","markData":{"id":"a\\"b","status":"Cancelled"}}'


@pytest.mark.parametrize("tone", ["", "10", "x", "a", "pound", "³"])
def test_a_wrong_tone_is_refused(tone: str) -> None:
    with pytest.raises(WireError, match="tone"):
        dtmf_data(tone)


@pytest.mark.parametrize("rate", [8000, 48000, 0, -1])
def test_a_wrong_rate_is_refused(rate: int) -> None:
    with pytest.raises(WireError, match="16000 or 24000"):
        audio_metadata("id", rate)


@given(st.text(max_size=300), st.booleans(), st.sampled_from([640, 960]))
def test_every_frame_fits_one_small_read(raw_id: str, silent: bool, size: int) -> None:
    try:
        writer = FrameWriter(raw_id)
    except WireError:
        assert len(json.dumps(raw_id, ensure_ascii=False).encode(errors="replace")) > 512 or not raw_id.isprintable()
        return
    built = writer.build(bytes(size), timestamp(0), silent)
    assert len(built) < streaming.MAX_MESSAGE
    back = json.loads(built)["audioData"]
    assert back["participantRawID"] == raw_id
    assert back["silent"] is silent


def test_a_frame_may_come_from_any_buffer() -> None:
    row = memoryview(bytearray(range(250)) * 4)[:640]
    writer = FrameWriter(None)
    assert writer.build(row, b"t", False) == writer.build(bytes(row), b"t", False)


@pytest.mark.parametrize("raw_id", ["x" * 600, "\ud800"])
def test_a_raw_id_that_cannot_be_sent_is_refused(raw_id: str) -> None:
    with pytest.raises(WireError) as caught:
        FrameWriter(raw_id)
    assert caught.value.field == "participantRawID"


def test_timestamps() -> None:
    assert timestamp(1731698172.925) == b"2024-11-15T19:16:12.925Z"
    assert timestamp(1731698172) == b"2024-11-15T19:16:12.000Z"
    for moment in (float("nan"), float("inf"), 1e20, -1e20):
        with pytest.raises(WireError):
            timestamp(moment)


# ------------------------------------------------------------------------------ reading what apps send


@pytest.mark.parametrize("case", sample("out-audio-variants.json"), ids=lambda c: c["emitter"])
def test_every_known_audio_text_is_heard(case: dict[str, str]) -> None:
    text = case["text"].replace("QUJD", D)
    for form in (text, text.encode(), bytearray(text.encode()), memoryview(text.encode())):
        assert parse_app_message(form) == AppAudio(PCM)


@pytest.mark.parametrize("case", sample("out-audio-variants.json"), ids=lambda c: c["emitter"])
def test_known_senders_take_the_fast_path(case: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_parse_folded", lambda data: pytest.fail("folded"))
    assert parse_app_message(case["text"].replace("QUJD", D)) == AppAudio(PCM)


@pytest.mark.parametrize("case", sample("out-stop-variants.json"), ids=lambda c: c["emitter"])
def test_every_known_stop_stops(case: dict[str, str]) -> None:
    assert parse_app_message(case["text"]) == StopAudio()


@pytest.mark.parametrize("case", sample("out-to-be-ignored.json"), ids=lambda c: c["why"])
def test_what_is_not_for_us_is_ignored(case: dict[str, str]) -> None:
    assert parse_app_message(case["text"]) is None


def test_every_casing_of_every_name() -> None:
    count = 0
    for kind, audio, data in itertools.product(casings("kind"), casings("audioData"), casings("data")):
        for value in casings("audioData"):
            text = json.dumps({kind: value, audio: {data: D}, "stopAudio": {}})
            assert parse_app_message(text) == AppAudio(PCM), text
            count += 1
    assert count == 16 * 5 * 16 * 5
    for kind, value in itertools.product(casings("kind"), casings("stopAudio")):
        assert parse_app_message(json.dumps({kind: value})) == StopAudio()


def test_kind_alone_decides() -> None:
    assert parse_app_message(f'{{"kind":"audioData","audioData":{{"data":"{D}"}},"stopAudio":{{}}}}') == AppAudio(PCM)
    assert parse_app_message(f'{{"kind":"StopAudio","audioData":{{"data":"{D}"}}}}') == StopAudio()
    assert parse_app_message('{"kind":"StopAudio","audioData":{"data":"half"}}') == StopAudio()
    assert parse_app_message(f'{{"audioData":{{"data":"{D}"}}}}') is None
    assert parse_app_message(f'{{"kind":"StartAudio","audioData":{{"data":"{D}"}}}}') is None


@pytest.mark.parametrize("mark", casings("mark"))
@pytest.mark.parametrize(("ident", "sequence"), [("id", "sequence"), ("Id", "Sequence"), ("ID", "SEQUENCE")])
def test_a_mark_is_read_in_any_case(mark: str, ident: str, sequence: str) -> None:
    text = json.dumps({"Kind": "AudioData", "AudioData": {"Data": D, mark: {ident: "m1", sequence: 7}}})
    assert parse_app_message(text) == AppAudio(PCM, Mark("m1", 7))


@pytest.mark.parametrize(
    ("mark", "wanted"),
    [
        ('{"id":"a"}', Mark("a")),
        ('{"id":"a","sequence":null}', Mark("a")),
        ('{"id":"a","sequence":"x"}', Mark("a")),
        ("null", None),
        ("{}", None),
        ('{"id":5}', None),
        ("5", None),
        ("[]", None),
    ],
)
def test_a_mark_never_costs_its_audio(mark: str, wanted: Mark | None) -> None:
    text = f'{{"kind":"AudioData","audioData":{{"data":"{D}","mark":{mark}}}}}'
    assert parse_app_message(text) == AppAudio(PCM, wanted)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ('{"kind":"AudioData"}', "audioData"),
        ('{"kind":"AudioData","audioData":null}', "audioData"),
        ('{"kind":"AudioData","audioData":[]}', "audioData"),
        ('{"kind":"AudioData","audioData":{}}', "audioData.data"),
        ('{"kind":"AudioData","audioData":{"data":null}}', "audioData.data"),
        ('{"kind":"AudioData","audioData":{"data":5}}', "audioData.data"),
        ('{"kind":"AudioData","audioData":{"data":"QUJDRA"}}', "audioData.data"),
        ('{"kind":"AudioData","audioData":{"data":"QUJDR"}}', "audioData.data"),
        ('{"kind":"AudioData","audioData":{"data":"QU=DRA=="}}', "audioData.data"),
        ('{"kind":"AudioData","audioData":{"data":"QUJD-_8="}}', "audioData.data"),
        ('{"kind":"AudioData","audioData":{"data":"QUJD"}}', "audioData.data"),
        ('{"Kind":"AudioData","AudioData":{"Data":"QUJD"}}', "audioData.data"),
        ('{"KIND":"AudioData","AUDIODATA":{"DATA":"QUJD"}}', "audioData.data"),
        ('{"kind":"AudioData","audioData":{"data":"é"}}', "audioData.data"),
    ],
)
def test_audio_that_holds_no_samples_says_why(text: str, field: str) -> None:
    for form in (text, text.encode()):
        with pytest.raises(WireError) as caught:
            parse_app_message(form)
        assert caught.value.field == field
        assert "audioData" in str(caught.value)


def test_empty_audio_is_audio() -> None:
    assert parse_app_message('{"kind":"AudioData","audioData":{"data":""}}') == AppAudio(b"")


def test_base64_may_be_escaped() -> None:
    text = '{"kind":"AudioData","audioData":{"data":"AP\\/\\u002f/w=="}}'
    assert parse_app_message(text) == AppAudio(base64.b64decode("AP///w=="))


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "null", "5", "[]", '"AudioData"', "{", "{}", '{"kind":5}', '{"kind":null}', '{"kind":"AudioData"',
        '{"kind":"StopAudio"}x', "\ud800", '{"\ud800":1}', '{"kind":"\\ud800"}', b"\xff\xfe", b'{"kind":"\xff"}',
        b'{"\xff":"AudioData"}', "\ufeff{}", "[" * 100_000, '{"a":' * 100_000, '{"kind":NaN}',
        '{"kind":"StopAudio","a":' + "[" * 100_000, '{"kind":["StopAudio"]}', memoryview(b'{"kind" : 1}')[::2],
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_ignored(text: Any) -> None:
    assert parse_app_message(text) is None


@pytest.mark.parametrize("odd", ["1e999", "9" * 10_000, "-0.0", '"\\u00e9"', '{"a":{"a":[]}}', '"x"'])
def test_odd_values_beside_the_audio_do_no_harm(odd: str) -> None:
    for name in ("timestamp", "isSilent", "participant", "other"):
        text = f'{{"kind":"AudioData","audioData":{{"{name}":{odd},"data":"{D}"}},"stopAudio":{odd},"z":{odd}}}'
        assert parse_app_message(text) == AppAudio(PCM)


def test_the_last_of_equal_keys_counts() -> None:
    other = base64.b64encode(b"ZZ").decode()
    for first, second in itertools.product(("data", "Data", "DATA"), repeat=2):
        text = f'{{"kind":"AudioData","audioData":{{"{first}":"{other}","{second}":"{D}"}}}}'
        assert parse_app_message(text) == AppAudio(PCM), text
    for first, second in itertools.permutations(("audioData", "AudioData", "AUDIODATA"), 2):
        text = f'{{"kind":"AudioData","{first}":{{"data":"{other}"}},"{second}":{{"data":"{D}"}}}}'
        assert parse_app_message(text) == AppAudio(PCM), text
    for first, second in itertools.permutations(("kind", "Kind", "KIND"), 2):
        text = f'{{"{first}":"AudioData","{second}":"StopAudio","audioData":{{"data":"{D}"}}}}'
        assert parse_app_message(text) == StopAudio(), text
    assert parse_app_message('{"Kind":"AudioData","kind":"StopAudio"}') == StopAudio()
    assert parse_app_message('{"kind":"StopAudio","KIND":"other"}') is None


KEYS = st.sampled_from(["kind", "Kind", "KIND", "audioData", "AudioData", "audiodata", "stopAudio", "StopAudio",
                        "data", "Data", "DATA", "mark", "Mark", "timestamp", "isSilent", "id", "x"])  # fmt: skip
VALUES = st.sampled_from(["AudioData", "audioData", "AUDIODATA", "StopAudio", "stopAudio", "stopaudio", D, "QUJD", "Q"])
SCALARS = VALUES | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
TREES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=12
)
MESSAGES = st.dictionaries(KEYS, TREES, max_size=8) | st.fixed_dictionaries(
    {}, optional={"kind": VALUES, "Kind": VALUES, "audioData": TREES, "AudioData": TREES, "stopAudio": TREES}
)


def outcome(read: Any, data: Any) -> Any:
    try:
        return read(data)
    except WireError as error:
        return error.field


@given(MESSAGES)
def test_the_fast_path_never_differs_from_the_rule(message: dict[str, Any]) -> None:
    text = json.dumps(message)
    assert outcome(parse_app_message, text) == outcome(streaming._parse_folded, text)
    assert outcome(parse_app_message, text.encode()) == outcome(parse_app_message, text)


@given(st.binary(max_size=200) | st.text(max_size=100) | MESSAGES.map(json.dumps))
def test_nothing_but_a_wire_error_comes_out(data: bytes | str) -> None:
    outcome(parse_app_message, data)
    try:
        parse_service_message(data)
    except WireError:
        pass


@given(st.binary(max_size=80), st.integers(0, 120), st.integers(0, 120), st.binary(max_size=5))
@example(b"\xff\xff", 60, 61, b"\xff")
def test_damaged_messages_raise_nothing_else(pcm: bytes, start: int, stop: int, patch: bytes) -> None:
    data = base64.b64encode(pcm)
    app = b'{"Kind":"AudioData","AudioData":{"Data":"%b","Mark":{"id":"x"}},"StopAudio":null}' % data
    service = FrameWriter("8:acs:x").build(pcm, b"2024-11-15T19:16:12.925Z", False)
    outcome(parse_app_message, app[:start] + patch + app[stop:])
    outcome(parse_service_message, service[:start] + patch + service[stop:])


def test_reading_survives_a_nearly_full_stack() -> None:
    def down(depth: int) -> Any:
        try:
            return down(depth + 1)
        except RecursionError:
            return outcome(parse_app_message, '{"kind":"StopAudio","x":' + "[" * 400 + "]" * 400 + "}")

    assert down(0) in (None, StopAudio())


# -------------------------------------------------------------------------- reading what services send


def test_service_messages_are_read() -> None:
    text = (SAMPLES / "in-audio-data.json").read_text()
    audio = parse_service_message(text)
    assert isinstance(audio, AudioData)
    assert audio.data == base64.b64decode(json.loads(text)["audioData"]["data"])
    assert audio.timestamp == datetime(2022, 10, 3, 19, 16, 12, 925000, UTC)
    assert audio.participant_raw_id is not None and audio.participant_raw_id.startswith("8:acs:3d20e1de")
    assert audio.is_silent is False
    metadata = parse_service_message((SAMPLES / "in-audio-metadata-24k.constructed.json").read_text())
    assert metadata == AudioMetadata("89e8cb59-b991-48b0-b154-1db84f16a077", "PCM", 24000, 1, 960)
    assert parse_service_message(dtmf_data("#", None, "4:+1")) == DtmfData("#", None, "4:+1")
    assert parse_service_message(mark_data("a", "Completed")) == MarkData("a", "Completed")
    words = parse_service_message((SAMPLES / "in-transcription-data.json").read_text())
    assert isinstance(words, TranscriptionData)
    assert [word.text for word in words.words] == ["testing", "transcription"]
    assert (words.result_status, words.participant_raw_id) == ("Final", "4:+15551234567")
    opened = parse_service_message((SAMPLES / "in-transcription-metadata.json").read_text())
    assert isinstance(opened, TranscriptionMetadata)
    assert opened.locale == "en-us"


def test_service_messages_are_read_in_any_case() -> None:
    text = json.dumps({"Kind": "audiodata", "AUDIODATA": {"DATA": D, "participantRawId": "4:+1", "Silent": True}})
    assert parse_service_message(text) == AudioData(PCM, None, "4:+1", True)


@given(st.binary(max_size=960).filter(lambda pcm: not len(pcm) & 1), st.none() | st.text(max_size=60), st.booleans())
def test_what_is_written_is_read(pcm: bytes, raw_id: str | None, silent: bool) -> None:
    built = FrameWriter(raw_id).build(pcm, timestamp(1.5), silent)
    assert parse_service_message(built) == AudioData(pcm, "1970-01-01T00:00:01.500Z", raw_id, silent)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("x", None),
        ("[]", None),
        ("{}", "kind"),
        ('{"kind":5}', "kind"),
        ('{"kind":"Nonsense"}', "kind"),
        ('{"kind":"AudioData"}', "audioData"),
        ('{"kind":"AudioData","audioData":{}}', "audioData.data"),
        ('{"kind":"AudioData","audioData":{"data":"QUJD"}}', "audioData.data"),
        ('{"kind":"AudioData","audioData":{"data":"Q"}}', "audioData.data"),
        ('{"kind":"AudioMetadata","audioMetadata":{"subscriptionId":"x"}}', "audioMetadata.encoding"),
        (
            '{"kind":"AudioMetadata","audioMetadata":{"subscriptionId":"x","encoding":"PCM","sampleRate":"x"}}',
            "audioMetadata.sampleRate",
        ),
        ('{"kind":"DtmfData","dtmfData":{"data":3}}', "dtmfData.data"),
    ],
)
def test_a_broken_service_message_names_the_field(text: str, field: str | None) -> None:
    with pytest.raises(WireError) as caught:
        parse_service_message(text)
    assert caught.value.field == field


def test_a_time_that_is_none_is_none() -> None:
    assert AudioData(b"", "yesterday").timestamp is None
    assert DtmfData("1").timestamp is None
