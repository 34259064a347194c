"""The simulated leg frame by frame: lead, speech, keys, hang-up, what it hears and its figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.dtmf import KeyDetector
from offhook.audio.pcm import Frame, samples_per_frame
from offhook.legs.leg import Dtmf, Ended, KeySent, LegEnd, LegEvent, Pace
from offhook.legs.simulated import Figures, Hooks, Script, SimulatedLeg

END = LegEnd(0, 560000, "The far end hung up.", "caller")


class Bench:
    """A leg pulled by hand; everything it reports is kept with the frame it was reported in."""

    def __init__(self, script: Script, *, listen: bool = True) -> None:
        self.events: list[tuple[int, LegEvent]] = []
        self.heard: list[tuple[int, Frame | None]] = []
        self.spoke: list[int] = []
        self.answered: list[int] = []
        self.ends: list[tuple[LegEnd, Figures]] = []
        self.said: list[Frame] = []
        self.pace = Pace()
        self.ticks = 0
        self.leg = SimulatedLeg(
            "leg",
            script,
            Hooks(
                event=lambda leg, event: self.events.append((self.ticks, event)),
                hear=self._hear if listen else None,
                answered=self.answered.append,
                spoke=self.spoke.append,
                ended=lambda end, figures: self.ends.append((end, figures)),
                pace=self.pace,
            ),
        )

    def _hear(self, index: int, frame: Frame | None) -> None:
        self.heard.append((index, None if frame is None else frame.copy()))

    def tick(self, mix: Frame | None = None, count: int = 1) -> None:
        for _ in range(count):
            frame = self.leg.read()
            assert frame is not None
            self.said.append(frame.copy())
            self.leg.write(mix, ())
            self.ticks += 1

    @property
    def spoken(self) -> np.ndarray:
        return np.concatenate(self.said)


def ramp(samples: int) -> np.ndarray:
    """Samples that are all different from silence and from their neighbours."""
    return (np.arange(samples) % 20000 + 1).astype("<i2")


@pytest.mark.parametrize("rate", [8000, 16000, 24000, 48000])
@pytest.mark.parametrize("lead", [0.0, 0.02, 0.5, 0.5137, 0.019])
def test_speech_begins_at_the_lead_exact_to_the_sample(rate: int, lead: float) -> None:
    bench = Bench(Script(lead=lead))
    words = ramp(rate // 2)
    assert bench.leg.say(words.tobytes()) == words.nbytes
    bench.leg.answer(rate)
    bench.tick(count=60)
    start = round(lead * rate)
    assert bench.spoke == [start]
    assert bench.leg.figures.spoke_at == start
    spoken = bench.spoken
    assert not spoken[:start].any()
    assert np.array_equal(spoken[start : start + words.size], words)
    assert not spoken[start + words.size :].any()


def test_words_that_come_after_the_lead_are_said_at_once() -> None:
    bench = Bench(Script(lead=0.1))
    bench.leg.answer(16000)
    bench.tick(count=20)
    assert bench.spoke == [], "nothing to say yet"
    words = ramp(640)
    bench.leg.say(words.tobytes())
    bench.tick(count=5)
    assert bench.spoke == [20 * 320]
    assert np.array_equal(bench.spoken[6400 : 6400 + 640], words)


def test_words_after_an_odd_lead_are_not_taken_to_be_said_before_they_came() -> None:
    bench = Bench(Script(lead=0.105))
    bench.leg.answer(16000)
    bench.tick(count=20)
    assert bench.spoke == []
    words = ramp(640)
    bench.leg.say(words.tobytes())
    bench.tick(count=5)
    assert bench.spoke == [20 * 320]
    assert np.array_equal(bench.spoken[6400 : 6400 + 640], words)


def test_several_uploads_before_and_after_the_answer_stay_in_order() -> None:
    bench, words = Bench(Script(lead=0.04)), ramp(3000)
    bench.leg.say(words[:7].tobytes())
    bench.leg.say(words[7:1000].tobytes())
    assert not bench.leg.answered
    bench.leg.answer(16000)
    assert bench.leg.answered
    bench.tick()
    bench.leg.say(words[1000:].tobytes())
    bench.tick(count=20)
    assert np.array_equal(bench.spoken[640:3640], words)


def test_a_tone_is_spoken_from_the_lead_on() -> None:
    bench = Bench(Script(lead=0.06, tone=400.0))
    bench.leg.answer(16000)
    bench.tick(count=50)
    assert bench.spoke == [960]
    assert not bench.spoken[:960].any()
    spectrum = np.abs(np.fft.rfft(bench.spoken[960 : 960 + 8000].astype(float)))
    assert int(spectrum.argmax()) * 2 == 400


def test_a_pause_is_silence_and_never_an_absence() -> None:
    bench = Bench(Script(lead=0))
    bench.leg.answer(24000)
    bench.tick(count=3)
    assert [frame.size for frame in bench.said] == [480] * 3
    assert not bench.spoken.any()
    assert bench.leg.port.read() is not None


def test_keys_and_hang_up_come_in_their_exact_frames() -> None:
    script = Script(lead=0, duration=0.5, dtmf=((0.1, "1"), (0.0, "#"), (0.1, "2"), (0.3, "A")))
    bench = Bench(script)
    bench.leg.answer(16000)
    bench.tick(count=30)
    assert bench.events == [(0, Dtmf("#")), (5, Dtmf("1")), (5, Dtmf("2")), (15, Dtmf("A")), (24, Ended())]


@pytest.mark.parametrize(("duration", "frame"), [(0.0, 0), (0.02, 0), (2.0, 99)])
def test_a_call_of_a_duration_has_that_many_frames(duration: float, frame: int) -> None:
    """The event is acted on after the tick that raises it, so the last frame raises it."""
    bench = Bench(Script(duration=duration))
    bench.leg.answer(16000)
    bench.tick(count=120)
    assert bench.events == [(frame, Ended())]


def test_its_own_rate_wins_over_the_bridges() -> None:
    bench = Bench(Script(lead=0, rate=8000))
    assert bench.leg.rate == 8000
    bench.leg.answer(24000)
    assert bench.answered == [8000]
    bench.tick()
    assert bench.said[0].size == 160


def test_without_a_rate_it_takes_the_bridges() -> None:
    bench = Bench(Script())
    assert bench.leg.rate is None
    bench.leg.answer(24000)
    assert bench.answered == [24000]


def test_what_is_heard_is_numbered_from_the_answer() -> None:
    bench, voice = Bench(Script()), ramp(320)
    bench.leg.answer(16000)
    for mix in (None, voice, None):
        bench.tick(mix)
    assert [index for index, _ in bench.heard] == [0, 1, 2]
    assert bench.heard[0][1] is None
    assert bench.heard[1][1] is not None and np.array_equal(bench.heard[1][1], voice)


def test_nobody_need_listen() -> None:
    bench = Bench(Script(), listen=False)
    bench.leg.answer(16000)
    bench.tick(ramp(320), 3)
    assert bench.leg.figures.heard == 3


def test_figures_count_frames_first_audio_and_gaps() -> None:
    bench, voice = Bench(Script()), ramp(320)
    bench.leg.answer(16000)
    bench.tick(count=10)
    bench.tick(voice, 20)
    bench.tick(count=1)
    bench.tick(voice, 5)
    bench.tick(count=25)
    bench.tick(voice, 5)
    bench.tick(count=26)  # over half a second: the app had finished, this is no gap
    bench.tick(voice, 5)
    figures = bench.leg.figures
    assert figures.frames == figures.sent == 97
    assert figures.heard == 35
    assert figures.first_heard == 10
    assert figures.gaps == 2


def test_late_frames_are_those_of_a_late_tick() -> None:
    bench = Bench(Script())
    bench.leg.answer(16000)
    bench.tick()
    bench.pace.late = True
    bench.tick(count=2)
    bench.pace.late = False
    bench.tick()
    assert bench.leg.figures.late == 2


def test_the_end_is_told_once_with_the_figures() -> None:
    bench = Bench(Script())
    bench.leg.answer(16000)
    bench.tick(count=4)
    assert not bench.leg.ended
    bench.leg.hang_up(END)
    bench.leg.hang_up(END)
    assert bench.leg.ended
    assert [(end, figures.frames) for end, figures in bench.ends] == [(END, 4)]


def test_after_its_end_it_presses_no_key_and_does_not_leave_again() -> None:
    bench = Bench(Script())
    bench.leg.press("5")
    bench.leg.leave()
    assert bench.events == [(0, Dtmf("5")), (0, Ended())]
    bench.leg.hang_up(END)
    bench.leg.press("6")
    bench.leg.leave()
    assert len(bench.events) == 2


def test_a_key_is_heard_instead_of_the_call_and_told_of_at_its_end() -> None:
    bench = Bench(Script())
    bench.leg.answer(16000)
    said = np.full(320, 7, np.int16)
    bench.tick(said)
    for key in "5#":
        bench.leg.send_key(key)
    bench.tick(said, count=40)
    told = [at for at, event in bench.events if isinstance(event, KeySent)]
    assert [event for _, event in bench.events] == [KeySent("5"), KeySent("#")]
    heard = [frame for _, frame in bench.heard if frame is not None]
    detector = KeyDetector(16000)
    assert "".join(detector.hear(frame) for frame in heard) == "5#"
    assert np.array_equal(heard[0], said) and np.array_equal(heard[told[1] + 1], said)
    assert not any(np.array_equal(frame, said) for frame in heard[1 : told[1] + 1])


def test_keys_that_are_dropped_are_not_heard_and_not_told_of() -> None:
    bench = Bench(Script())
    bench.leg.answer(8000)
    bench.leg.send_key("1")
    bench.leg.send_key("2")
    bench.tick(count=3)
    bench.leg.drop_keys()
    bench.tick(count=30)
    assert bench.events == []
    assert [frame is None for _, frame in bench.heard] == [False] * 3 + [True] * 30


def test_live_speech_waits_for_two_frames_before_it_starts() -> None:
    bench = Bench(Script(lead=0, live=True))
    bench.leg.answer(16000)
    words = ramp(320)
    bench.leg.say(words.tobytes())
    bench.tick()
    assert not bench.spoken.any()
    bench.leg.say(words.tobytes())
    bench.tick(count=2)
    assert np.array_equal(bench.spoken[320:640], words)


def test_more_than_ten_minutes_of_speech_is_refused() -> None:
    bench = Bench(Script())
    bench.leg.answer(8000)
    minute = bytes(8000 * 60 * 2)
    assert [bench.leg.say(minute) for _ in range(11)] == [len(minute)] * 10 + [0]


@given(
    st.floats(0, 0.3),
    st.lists(st.integers(1, 900), max_size=8),
    st.integers(0, 8),
    st.sampled_from([8000, 16000, 24000]),
)
def test_whatever_is_said_before_the_lead_is_heard_whole_and_in_place(
    lead: float, sizes: list[int], before: int, rate: int
) -> None:
    bench, words = Bench(Script(lead=lead)), ramp(sum(sizes))
    chunks = np.split(words, np.cumsum(sizes)[:-1]) if sizes else []
    for chunk in chunks[:before]:
        bench.leg.say(chunk.tobytes())
    bench.leg.answer(rate)
    for chunk in chunks[before:]:
        bench.leg.say(chunk.tobytes())
    bench.tick(count=15 + 2 + words.size // samples_per_frame(rate) + 2)
    start = round(lead * rate)
    assert not bench.spoken[:start].any()
    assert np.array_equal(bench.spoken[start : start + words.size], words)
