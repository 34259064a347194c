"""Two legs that are each other's endpoint."""

from __future__ import annotations

from typing import Any

import numpy as np

from offhook.legs.leg import Answered, Ended, LegEnd, LegEvent, Refused
from offhook.legs.pair import PairedLeg

END = LegEnd(603, 0, "no", "callee")


class Pair:
    """A calling and a called leg, and what each has reported."""

    def __init__(self) -> None:
        self.events: list[tuple[str, LegEvent]] = []
        self.calling, self.called = (PairedLeg(name, self._event, lambda end: f"row {end.code}") for name in "ab")
        self.calling.call(self.called)

    def _event(self, leg_id: str, event: LegEvent) -> None:
        self.events.append((leg_id, event))


def frame(value: int, rate: int = 24000) -> Any:
    return np.full(rate // 50, value, np.int16)


def test_the_caller_hears_that_it_was_answered_and_both_have_one_rate() -> None:
    pair = Pair()
    pair.called.answer(24000)
    assert pair.events == [("a", Answered())]
    pair.calling.answer(16000)
    assert pair.events == [("a", Answered())]
    assert pair.calling.rate == pair.called.rate == 24000


def test_each_says_what_the_other_hears_once_and_silence_otherwise() -> None:
    pair = Pair()
    pair.called.answer(24000)
    view = frame(7)
    pair.calling.write(view, ())
    view[:] = 0  # a view is the tick's, not ours
    heard = pair.called.read()
    assert heard is not None and (heard == 7).all()
    for quiet in (pair.called.read(), pair.calling.read()):
        assert quiet is not None and quiet.size == 480 and not quiet.any()
    pair.called.write(frame(8), ())
    pair.called.write(None, ())
    last = pair.calling.read()
    assert last is not None and not last.any(), "nobody speaks there any more"


def test_a_call_that_is_not_taken_ends_with_its_reason() -> None:
    pair = Pair()
    pair.called.hang_up(END)
    pair.calling.hang_up(END)
    pair.called.answer(16000)
    assert pair.events == [("a", Refused("row 603"))]


def test_a_caller_that_gives_up() -> None:
    pair = Pair()
    pair.calling.hang_up(END)
    pair.called.hang_up(END)
    assert pair.events == [("b", Ended())]


def test_either_side_may_leave_an_answered_call() -> None:
    for caller_leaves in (True, False):
        pair = Pair()
        pair.called.answer(16000)
        first, second = (pair.calling, pair.called) if caller_leaves else (pair.called, pair.calling)
        first.hang_up(END)
        second.hang_up(END)
        assert pair.events[1:] == [(second.leg_id, Ended())]
