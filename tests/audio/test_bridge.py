"""Bridge: mix-minus, mute, hold, audience, saturation, and ports that raise."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.bridge import Bridge, Member, Port
from offhook.audio.pcm import Frame

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


@given(
    st.lists(
        st.tuples(st.one_of(st.none(), st.integers(-32768, 32767)), st.booleans(), st.booleans()),
        min_size=1,
        max_size=9,
    )
)
def test_however_many_there_are_each_hears_the_saturated_sum_of_those_who_are_heard(
    people: list[tuple[int | None, bool, bool]],
) -> None:
    call, failures = bridge()
    ports = [Constant(value) for value, _, _ in people]
    for port, (_, muted, held) in zip(ports, people, strict=True):
        member = call.add(port)
        call.mute(member, muted)
        call.hold(member, held)
    call.tick()
    heard = {n: value for n, (value, muted, held) in enumerate(people) if value is not None and not muted and not held}
    for n, port in enumerate(ports):
        others = [] if people[n][2] else [value for m, value in heard.items() if m != n]
        assert port.heard == [max(-32768, min(32767, sum(others))) if others else None]
    assert not failures


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
