"""Bridge: mix-minus, mute, hold, audience, saturation, and ports that raise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio import bridge as module
from offhook.audio.bridge import Bridge, Member, Port
from offhook.audio.pcm import Frame, total

RATE = 16000


class Constant:
    """A port that says one value, and keeps what it hears."""

    def __init__(self, value: int | None) -> None:
        self.value = value
        self.heard: list[int | None] = []

    def read(self) -> Frame | None:
        return None if self.value is None else np.full(320, self.value, np.int16)

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        self.heard.append(None if mix is None else int(mix[0]))


class Broken(Constant):
    def read(self) -> Frame | None:
        raise RuntimeError("no more")


def bridge() -> tuple[Bridge, list[tuple[Port, Exception]]]:
    failures: list[tuple[Port, Exception]] = []
    return Bridge(RATE, lambda port, error: failures.append((port, error))), failures


def test_each_of_two_hears_the_other_and_never_itself() -> None:
    call, _ = bridge()
    a, b = Constant(5), Constant(7)
    call.add(a, "a")
    call.add(b, "b")
    call.tick()
    assert (a.heard, b.heard) == ([7], [5])


def test_each_of_three_hears_the_sum_of_the_others_saturated() -> None:
    call, _ = bridge()
    ports = [Constant(20000), Constant(20000), Constant(-3)]
    for port in ports:
        call.add(port)
    call.tick()
    assert [p.heard[0] for p in ports] == [19997, 19997, 32767]


def test_nobody_there_is_none_and_not_silence() -> None:
    call, _ = bridge()
    app, quiet = Constant(None), Constant(0)
    call.add(app)
    call.tick()
    call.add(quiet, "caller")
    call.tick()
    assert app.heard == [None, 0]
    assert quiet.heard == [None]


def test_muted_is_not_heard_and_still_hears_held_does_neither() -> None:
    call, _ = bridge()
    a, b = Constant(5), Constant(7)
    seat = call.add(a, "a")
    call.add(b, "b")
    call.mute(seat, True)
    call.tick()
    call.mute(seat, False)
    call.hold(seat, True)
    call.tick()
    call.hold(seat, False)
    call.tick()
    assert a.heard == [7, None, 7]
    assert b.heard == [None, None, 5]


class Person(NamedTuple):
    """One of a call; `audience`: by number, who alone is to hear them."""

    value: int | None
    muted: bool
    held: bool
    audience: set[int] | None
    listens: bool


PEOPLE = st.lists(
    st.builds(
        Person,
        value=st.one_of(st.none(), st.integers(-32768, 32767)),
        muted=st.booleans(),
        held=st.booleans(),
        audience=st.one_of(st.none(), st.none(), st.sets(st.integers(0, 8))),
        listens=st.sampled_from([True, True, True, False]),
    ),
    min_size=1,
    max_size=9,
)


@given(PEOPLE)
def test_however_many_there_are_each_hears_the_saturated_sum_of_those_who_are_heard(people: list[Person]) -> None:
    call, failures = bridge()
    ports = [Constant(person.value) for person in people]
    seats = [call.add(port, listens=person.listens) for port, person in zip(ports, people, strict=True)]
    for seat, person in zip(seats, people, strict=True):
        call.mute(seat, person.muted)
        call.hold(seat, person.held)
        if person.audience is not None:
            call.set_audience(seat, frozenset(seats[n] for n in person.audience if n < len(seats)))
    call.tick()
    for n, (port, listener) in enumerate(zip(ports, people, strict=True)):
        others = [
            person.value
            for m, person in enumerate(people)
            if m != n and person.value is not None and not person.muted and not person.held and listener.listens
            and (not listener.held if person.audience is None else n in person.audience)
        ]  # fmt: skip
        assert port.heard == [max(-32768, min(32767, sum(others))) if others else None]
    assert not failures


def test_in_a_large_call_what_those_hear_who_hear_the_same_is_summed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A prompt to all must not make every listener a sum of its own: that grows with the square of the people."""
    sums: list[int] = []

    def counted(frames: Sequence[Frame]) -> Any:
        sums.append(len(frames))
        return total(frames)

    monkeypatch.setattr(module, "total", counted)
    call, _ = bridge()
    ports = [Constant(n) for n in range(40)]
    seats = [call.add(port, str(port.value)) for port in ports]
    app = Constant(None)
    call.add(app)
    call.set_audience(call.add(Constant(1000), listens=False), frozenset(seats))
    call.tick()
    assert sums == [41, 40]
    assert app.heard == [780] and [port.heard for port in ports] == [[1780 - n] for n in range(40)]


@pytest.mark.parametrize("count", [2, 4])
def test_a_frame_of_another_length_costs_only_the_port_that_said_it(count: int) -> None:
    call, failures = bridge()
    ports = [Constant(2**n) for n in range(count)]
    for port in ports:
        call.add(port)
    odd = Constant(0)
    odd.read = lambda: np.zeros(160, np.int16)  # type: ignore[method-assign]
    call.add(odd)
    call.tick()
    call.tick()
    assert [port for port, _ in failures] == [odd]
    assert [member.port for member in call.members] == ports
    assert [port.heard for port in ports] == [[2**count - 1 - 2**n] * 2 for n in range(count)]


def test_an_audience_limits_who_hears_a_member() -> None:
    call, _ = bridge()
    coach, agent, caller = Constant(1), Constant(10), Constant(100)
    seats = [call.add(p) for p in (coach, agent, caller)]
    call.set_audience(seats[0], frozenset({seats[1]}))
    call.tick()
    assert (coach.heard, agent.heard, caller.heard) == ([110], [101], [10])


def test_a_port_that_raises_is_taken_off_and_the_call_goes_on() -> None:
    call, failures = bridge()
    a, broken, b = Constant(5), Broken(1), Constant(7)
    for port in (a, broken, b):
        call.add(port)
    call.tick()
    call.tick()
    assert (a.heard, b.heard) == ([7, 7], [5, 5])
    assert [port for port, _ in failures] == [broken]


def test_held_hears_only_who_names_it_and_stays_a_silent_source_for_the_others() -> None:
    call, _ = bridge()
    heard: list[list[tuple[str | None, int | None]]] = []

    class Listener(Constant):
        def write(self, mix: Frame | None, members: Sequence[Member]) -> None:
            super().write(mix, members)
            heard.append([(m.label, None if m.frame is None else int(m.frame[0])) for m in members])

    held, talker, app = Constant(5), Constant(7), Listener(None)
    seat = call.add(held, "held")
    call.add(talker, "talker")
    call.add(app)
    named, all_ = Constant(100), Constant(1000)
    call.hold(seat, True)
    call.set_audience(call.add(named), frozenset({seat}))
    call.set_audience(call.add(all_), frozenset(m for m in call.members if m.label == "talker"))
    call.tick()
    assert (held.heard, talker.heard, app.heard) == ([100], [1000], [7])
    assert heard == [[("held", None), ("talker", 7)]]


def test_who_is_taken_off_says_nothing_any_more() -> None:
    """A seat that somebody still looks at must not show a frame whose memory is another port's now."""
    call, _ = bridge()
    a, b = Constant(5), Constant(7)
    seat = call.add(a, "a")
    call.add(b, "b")
    call.tick()
    assert seat.frame is not None
    call.remove(a)
    assert seat.frame is None
