"""Capture: every frame of both sides at its tick, whoever is muted, held or gone; property: against a plain model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.bridge import Bridge, Member
from offhook.audio.capture import BLOCK_TICKS, Block, Capture, Ear, Track
from offhook.audio.pcm import Frame, silence

RATE, SIZE = 8000, 160


class Voice:
    """A port that says a number per frame, and keeps what it is given."""

    def __init__(self) -> None:
        self.says: Frame | None = None
        self.given: list[Frame | None] = []

    def say(self, value: int | None) -> None:
        self.says = None if value is None else np.full(SIZE, value, np.int16)

    def read(self) -> Frame | None:
        return self.says

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        self.given.append(None if mix is None else mix.copy())


class Stage:
    """One bridge with its tap."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.capture = Capture(self.blocks.extend)
        self.bridge = Bridge(RATE, lambda port, error: None)

    def join(self, member: Member) -> Track:
        return self.capture.join(member, RATE, (None, None))

    def tick(self) -> None:
        self.bridge.tick()
        self.capture.tick()

    def wave(self, track: Track, ear: Ear) -> Frame:
        """A side as a keeper of blocks has it."""
        self.capture.hand_on()
        end = self.capture.ticks if track.end is None else track.end
        wave = np.zeros((end - track.begin) * SIZE, np.int16)
        for block in self.blocks:
            for place, data in block.of(ear):
                wave[place // 2 : place // 2 + SIZE] = np.frombuffer(data, np.int16)
        return wave


def heard_by(voice: Voice) -> Frame:
    return np.concatenate([np.zeros(SIZE, np.int16) if frame is None else frame for frame in voice.given])


def test_both_sides_of_two_and_of_many() -> None:
    """The quick tick of two, that of three, and that of a crowd note the same."""
    for others in (1, 2, 4):
        stage, voices = Stage(), [Voice() for _ in range(1 + others)]
        members = [stage.bridge.add(voice, f"4:{index}") for index, voice in enumerate(voices)]
        track = stage.join(members[0])
        said = []
        for tick in range(7):
            for index, voice in enumerate(voices):
                voice.say(None if (tick + index) % 3 == 0 else 100 * tick + index)
            said.append(np.zeros(SIZE, np.int16) if voices[0].says is None else voices[0].says)
            stage.tick()
        assert np.array_equal(stage.wave(track, track.said), np.concatenate(said))
        assert np.array_equal(stage.wave(track, track.heard), heard_by(voices[0]))


def test_who_is_muted_or_held_is_still_kept_as_it_spoke_and_hears_what_it_was_given() -> None:
    stage, one, two = Stage(), Voice(), Voice()
    member = stage.bridge.add(one, "4:1")
    stage.bridge.add(two)
    track = stage.join(member)
    one.say(11)
    two.say(22)
    stage.tick()
    stage.bridge.mute(member, True)
    stage.tick()
    stage.bridge.mute(member, False)
    stage.bridge.hold(member, True)
    stage.tick()
    assert stage.wave(track, track.said)[::SIZE].tolist() == [11, 11, 11]
    assert stage.wave(track, track.heard)[::SIZE].tolist() == [22, 22, 0]
    assert [None if frame is None else int(frame[0]) for frame in two.given] == [11, None, None]


def test_silence_is_not_noted_at_all() -> None:
    stage, one = Stage(), Voice()
    track = stage.join(stage.bridge.add(one, "4:1"))
    stage.bridge.add(Voice())
    one.says = silence(RATE)
    for _ in range(3 * BLOCK_TICKS):
        stage.tick()
    assert stage.blocks == []
    assert len(stage.wave(track, track.said)) == 3 * BLOCK_TICKS * SIZE


def test_a_view_that_is_overwritten_after_the_tick_was_copied_in_it() -> None:
    stage, one = Stage(), Voice()
    track = stage.join(stage.bridge.add(one, "4:1"))
    stage.bridge.add(Voice())
    row = np.zeros(SIZE, np.int16)
    one.says = row
    for value in (5, 6):
        row[:] = value
        stage.tick()
    assert stage.wave(track, track.said)[::SIZE].tolist() == [5, 6]


def test_a_frame_of_another_length_moves_nothing() -> None:
    stage, one, two = Stage(), Voice(), Voice()
    track = stage.join(stage.bridge.add(one, "4:1"))
    stage.bridge.add(two)
    two.say(9)
    for length in (SIZE, SIZE + 40, SIZE - 40, SIZE):
        one.says = np.full(length, 7, np.int16)
        stage.tick()
    said = stage.wave(track, track.said).reshape(-1, SIZE)
    assert [int(frame[-1]) for frame in said] == [7, 7, 0, 7]
    assert np.all(stage.wave(track, track.heard) == 9)


def test_what_is_handed_on_is_bounded_in_time() -> None:
    stage, one = Stage(), Voice()
    stage.join(stage.bridge.add(one, "4:1"))
    stage.bridge.add(Voice())
    one.say(3)
    for _ in range(BLOCK_TICKS):
        stage.tick()
    assert sum(block.size for block in stage.blocks) == BLOCK_TICKS * 2 * SIZE and stage.capture.blocks() == []


def test_a_port_that_fails_leaves_silence() -> None:
    stage, one, two = Stage(), Voice(), Voice()
    track = stage.join(stage.bridge.add(one, "4:1"))
    stage.bridge.add(two)
    one.say(3)
    two.say(4)
    stage.tick()

    def broken() -> Any:
        raise OSError

    stage.bridge.members[1].read = broken
    stage.tick()
    stage.tick()
    assert stage.wave(track, track.said)[::SIZE].tolist() == [3, 3, 3]
    assert stage.wave(track, track.heard)[::SIZE].tolist() == [4, 0, 0]


@given(st.lists(st.sampled_from(["tick", "join", "part", "say", "quiet", "mute", "hold"]), max_size=60), st.randoms())
def test_every_stretch_is_as_long_as_the_seat_and_holds_what_was_said(steps: list[str], random: Any) -> None:
    """Legs come, go and come back in any order beside each other: no frame is lost, and none is in a wrong place."""
    stage = Stage()
    voices = [Voice() for _ in range(3)]
    seats: dict[int, tuple[Member, Track, list[int], int]] = {}
    done: list[tuple[Track, list[int], list[int]]] = []

    def leave(index: int) -> None:
        member, track, said, since = seats.pop(index)
        stage.capture.part(track)
        stage.bridge.remove(voices[index])
        heard = [0 if frame is None else int(frame[0]) for frame in voices[index].given[since:]]
        done.append((track, said, heard))

    for count, step in enumerate(steps):
        index = random.randrange(3)
        voice = voices[index]
        if step == "tick":
            for at, (_, _, said, _) in seats.items():
                known = voices[at].says
                said.append(0 if known is None else int(known[0]))
            stage.tick()
        elif step == "say":
            voice.say(count + 1)
        elif step == "quiet":
            voice.say(None)
        elif step == "join" and index not in seats:
            member = stage.bridge.add(voice, f"4:{index}")
            seats[index] = (member, stage.join(member), [], len(voice.given))
        elif step == "part" and index in seats:
            leave(index)
        elif step in ("mute", "hold") and index in seats:
            getattr(stage.bridge, step)(seats[index][0], random.random() < 0.5)
    for index in list(seats):
        leave(index)
    for track, said, heard in done:
        assert stage.wave(track, track.said)[::SIZE].tolist() == said
        assert stage.wave(track, track.heard)[::SIZE].tolist() == heard
