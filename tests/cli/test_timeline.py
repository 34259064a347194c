"""The picture of a call: well-formed, whole, and no label on another."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from offhook.cli.timeline import LANES, MAX_ROWS, WIDTH, Picture, draw

SVG = "{http://www.w3.org/2000/svg}"
RATE = 16000


def event(at: float, kind: str, name: str, **detail: Any) -> dict[str, Any]:
    return {"atMs": at, "kind": kind, "name": name, "detail": detail}


def picture(events: list[dict[str, Any]], seconds: float = 2.0) -> Picture:
    wave = (np.sin(np.arange(int(seconds * RATE)) / 20) * 9000).astype(np.int16)
    return Picture("A <call> & more", RATE, wave, wave[::-1].copy(), events, [("delay", "40 ms")])


def texts(svg: str) -> list[str]:
    return ["".join(each.itertext()) for each in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_a_call_is_drawn_with_every_event_labelled() -> None:
    events = [
        event(-30, "callback", "IncomingCall"),
        event(0, "leg", "answered"),
        event(5, "rest", "AnswerCall", status=200),
        event(40, "stream", "opened", url="ws://x"),
        event(900, "dtmf", "pressed", tone="#"),
        event(905, "stopAudio", "StopAudio", atSample=14400),
        event(1000, "call", "ended"),
        event(1001, "delivery", "CallDisconnected", status=200),
        event(1002, "unheard of", "surprise"),
    ]
    shown = texts(draw(picture(events)))
    for label in (
        "A <call> & more",
        "IncomingCall",
        "AnswerCall 200",
        "opened",
        "key #",
        "StopAudio",
        "call ended",
        "CallDisconnected 200",
        "surprise",
        "1 s",
    ):
        assert any(text.startswith(label) for text in shown), label


def test_both_waveforms_are_there_and_inside() -> None:
    root = ElementTree.fromstring(draw(picture([])))
    waves = list(root.iter(f"{SVG}polygon"))
    assert len(waves) == 2
    for wave in waves:
        xs = [float(point.split(",")[0]) for point in wave.attrib["points"].split()]
        assert 0 <= min(xs) and max(xs) <= WIDTH


def test_a_silent_unanswered_call_is_drawn() -> None:
    empty = np.zeros(0, np.int16)
    svg = draw(Picture("nothing", RATE, empty, empty, [event(-5000, "leg", "placed")]))
    assert any(text.startswith("placed") for text in texts(svg))


def test_equal_events_close_together_become_one_label() -> None:
    shown = texts(draw(picture([event(100 + n / 10, "callback", "ParticipantsUpdated") for n in range(5)])))
    assert [text for text in shown if text.startswith("ParticipantsUpdated")] == ["ParticipantsUpdated ×5 0.100"]


@given(
    st.lists(
        st.builds(
            event,
            st.floats(-500, 3000),
            st.sampled_from([kind for kind, _, _ in LANES]),
            st.text(max_size=60),
            url=st.text(max_size=5),
        ),
        max_size=60,
    )
)
def test_no_label_lies_on_another(events: list[dict[str, Any]]) -> None:
    root = ElementTree.fromstring(draw(picture(events)))
    grounds = [
        rect for rect in root.iter(f"{SVG}rect") if re.fullmatch(r"\d+", rect.attrib["height"]) and "x" in rect.attrib
    ]
    boxes = [
        tuple(float(rect.attrib[name]) for name in ("x", "y", "width", "height"))
        for rect in grounds
        if rect.attrib["height"] == "14"
    ]
    for index, (x, y, width, height) in enumerate(boxes):
        for other_x, other_y, other_width, other_height in boxes[index + 1 :]:
            apart = (
                x + width <= other_x
                or other_x + other_width <= x
                or y + height <= other_y
                or other_y + other_height <= y
            )
            assert apart
    assert len({y for _, y, _, _ in boxes}) <= MAX_ROWS * len(LANES)
