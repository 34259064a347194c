"""A sound that grows: its parts in order, its ends, and who hears of them."""

from __future__ import annotations

import numpy as np

from offhook.audio.sound import Sound


def test_it_grows_and_ends_once() -> None:
    sound, told = Sound(), list[int]()
    sound.listen(lambda: told.append(sound.length))
    sound.append(np.ones(3, np.int16))
    sound.append(np.zeros(0, np.int16))
    sound.append(np.ones(4, np.int16))
    assert told == [3, 7] and not sound.over
    sound.finish()
    sound.append(np.ones(5, np.int16))
    sound.fail(ValueError())
    assert told == [3, 7, 7] and sound.whole and sound.error is None
    assert sound.samples().tolist() == [1] * 7
    sound.listen(lambda: told.append(-1))
    assert not sound._listeners, "nothing is kept for what never comes"


def test_it_breaks_off() -> None:
    sound, error = Sound(), ValueError()
    sound.append(np.ones(3, np.int16))
    sound.fail(error)
    sound.finish()
    assert sound.over and sound.error is error and not sound.whole


def test_an_empty_one() -> None:
    assert len(Sound().samples()) == 0
    assert Sound.of(np.zeros(0, np.int16)).whole
