"""SSML as segments: what is honoured, what is spoken through, and what is refused with its place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.errors import SpeechError
from offhook.speech.provider import Words
from offhook.speech.ssml import FASTEST, LONGEST_BREAK_MS, MOST_DEPTH, SLOWEST, Segment, segments, voice_language


def parts(inside: str, **more: str) -> tuple[Segment, ...]:
    return segments(Words(text=f"<speak>{inside}</speak>", ssml=True, **more))


def texts(inside: str) -> list[str]:
    return [segment.text for segment in parts(inside) if segment.text]


def refusal(text: str) -> str:
    with pytest.raises(SpeechError) as caught:
        segments(Words(text=text, ssml=True))
    assert caught.value.outcome == "speech_bad_ssml"
    return caught.value.detail


def test_text_is_one_segment_with_the_language_of_the_app_or_of_the_voice() -> None:
    assert segments(Words(text=" Hello <b>. ")) == (Segment("Hello <b>."),)
    assert segments(Words(text="Hi", language="en-GB", voice="de-DE-KatjaNeural")) == (Segment("Hi", language="en-GB"),)
    assert segments(Words(text="Hi", voice="en-US-NancyNeural"))[0].language == "en-US"
    assert segments(Words(text=" \n")) == ()


@pytest.mark.parametrize(
    ("name", "language"), [("en-US-NancyNeural", "en-US"), ("de-DE", "de-DE"), ("alloy", ""), ("", ""), ("x-y", "")]
)
def test_the_language_of_a_voice(name: str, language: str) -> None:
    assert voice_language(name) == language


def test_sentences_and_inline_elements() -> None:
    assert texts("<p>One.</p><p><s>Two</s><s>three</s></p>") == ["One.", "Two", "three"]
    assert texts("a <emphasis>b</emphasis> <phoneme ph='x'>c</phoneme>\n d &amp; e") == ["a b c d & e"]
    assert texts("I am <sub alias='World Wide Web'>WWW</sub> now") == ["I am World Wide Web now"]
    assert texts("<desc>a <sub alias='b'>c</sub></desc>heard <sub alias='d'><sub alias='e'>f</sub></sub> too") == [
        "heard d too"
    ]
    assert texts("<metadata>secret <x>y</x></metadata>heard<desc>no</desc>") == ["heard"]


def test_say_as() -> None:
    assert texts("Code <say-as interpret-as='digits'>40 71</say-as>.") == ["Code four zero seven one ."]
    assert texts("<say-as interpret-as='characters'>aB3</say-as>") == ["A, B, three"]
    assert texts("<say-as interpret-as='date' format='dmy'>1.2.2026</say-as>") == ["1.2.2026"]


@pytest.mark.parametrize(
    ("tag", "pause"),
    [
        ("<break/>", 750),
        ("<break strength='x-strong'/>", 1250),
        ("<break time='1.5s'/>", 1500),
        ("<break time='80ms' strength='strong'/>", 80),
        ("<break time='99s'/>", LONGEST_BREAK_MS),
    ],
)
def test_breaks(tag: str, pause: int) -> None:
    assert parts(f"a{tag}b") == (Segment("a"), Segment(pause_ms=pause), Segment("b"))


def test_no_break_is_none() -> None:
    assert parts("a<break strength='none'/>b") == (Segment("a"), Segment("b"))


@pytest.mark.parametrize(
    ("rate", "speed"),
    [
        ("slow", 0.64), ("fast", 1.55), ("+20%", 1.2), ("-20%", 0.8), ("30%", 1.3), ("1.5", 1.5), ("9", FASTEST),
        ("-99%", SLOWEST), ("default", 1.0),
    ],
)  # fmt: skip
def test_rates(rate: str, speed: float) -> None:
    before, inside, after = parts(f"<s>a</s><prosody rate='{rate}'>b</prosody><s>c</s>")
    assert inside.speed == pytest.approx(speed) and before.speed == after.speed == 1


@pytest.mark.parametrize(
    ("volume", "gain"), [("silent", 0), ("soft", 0.4), ("50", 0.5), ("+20", 1.2), ("-50%", 0.5), ("-6dB", 0.501)]
)
def test_volumes(volume: str, gain: float) -> None:
    (segment,) = parts(f"<prosody volume='{volume}' pitch='high'>b</prosody>")
    assert segment.gain == pytest.approx(gain, abs=0.001)


def test_prosody_inside_prosody() -> None:
    (segment,) = parts("<prosody rate='+20%'><prosody rate='+50%' volume='50'>b</prosody></prosody>")
    assert segment.speed == pytest.approx(1.8) and segment.gain == 0.5


def test_languages_go_with_their_elements() -> None:
    made = segments(
        Words(
            text="<speak xml:lang='en-US'>a<lang xml:lang='es-ES'>b</lang><voice name='de-DE-KatjaNeural'>c</voice>"
            "<voice name='en-GB-RyanNeural' xml:lang='en-AU'>d</voice></speak>",
            ssml=True,
        )
    )
    assert [(one.text, one.language) for one in made] == [
        ("a", "en-US"),
        ("b", "es-ES"),
        ("c", "de-DE"),
        ("d", "en-AU"),
    ]


@pytest.mark.parametrize(
    ("text", "place", "why"),
    [
        ("Hello", "line 1, column 1", "syntax error"),
        ("<speak>Hello\n<p></speak>", "line 2, column 6", "mismatched tag"),
        ("<speak>Hello", "line 1, column 13", "no element found"),
        ("<speak>&nbsp;</speak>", "line 1, column 8", "undefined entity"),
        ("<p>Hello</p>", "line 1, column 1", "must be <speak>"),
        ("<speak><break time='soon'/></speak>", "line 1, column 8", "give 500ms or 1.5s"),
        ("<speak><break strength='huge'/></speak>", "line 1, column 8", "x-strong"),
        ("<speak><prosody rate='quickly'>a</prosody></speak>", "line 1, column 8", "is no rate"),
        ("<speak><prosody rate='6dB'>a</prosody></speak>", "line 1, column 8", "is no rate"),
        ("<speak><prosody volume='a lot'>a</prosody></speak>", "line 1, column 8", "is no volume"),
        ("<!DOCTYPE speak SYSTEM 'file:///etc/passwd'><speak/>", "line 1", "document type"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><speak>&b;</speak>", "line 1", "document type"),
        ("<speak>" + "<p>" * MOST_DEPTH + "</p>" * MOST_DEPTH + "</speak>", "line 1", "inside each other"),
        ("<speak>\x00</speak>", "line 1, column 8", "not well-formed"),
    ],
)
def test_what_is_refused(text: str, place: str, why: str) -> None:
    detail = refusal(text)
    assert detail.startswith(place) and why in detail, detail


@given(st.text(max_size=60), st.sampled_from(["{}", "<speak>{}</speak>", "<speak><p {}>a</p></speak>", "<{}"]))
def test_any_text_is_spoken_or_refused(text: str, frame: str) -> None:
    try:
        made = segments(Words(text=frame.replace("{}", text), ssml=True))
    except SpeechError as error:
        assert error.outcome == "speech_bad_ssml" and error.detail.startswith("line ")
    else:
        assert all(one.text.strip() or one.pause_ms for one in made)
