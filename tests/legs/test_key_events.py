"""Keys as telephone events: each is told once, whatever the network does to its packets (RFC 4733 §2.5)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.rtp import Packet, build_event, parse_event
from offhook.legs.key_events import MOST_WAITING, KeyReceiver, KeySender


def pressed(key: str, at: int, ms: int, clock: int = 8000, *, ends: int = 3, marker: bool = True) -> list[Packet]:
    """The packets of a key: one each 20 ms, in segments when it is held long."""
    step, packets, began, held = clock // 50, [], at, 0
    for n in range(ms // 20):
        held += step
        if held > 0xFFFF:
            began, held = began + 0xFFFF, held - 0xFFFF
        packets.append(Packet(101, marker and n == 0, n, began, 9, build_event(key, held, end=False)))
    last = [Packet(101, False, len(packets) + n, began, 9, build_event(key, held, end=True)) for n in range(ends)]
    return packets + last


def told(packets: list[Packet]) -> list[str]:
    receiver = KeyReceiver()
    return [key for packet in packets if (key := receiver.take(packet))]


@pytest.mark.parametrize("clock", [8000, 16000, 48000])
@pytest.mark.parametrize("ms", [40, 200, 3000, 10_000, 40_000])
def test_a_key_is_one_key_however_long_it_is_held(clock: int, ms: int) -> None:
    assert told(pressed("5", 1000, ms, clock) + pressed("5", 1000 + (ms + 100) * clock // 1000, 60, clock)) == [
        "5",
        "5",
    ]


@pytest.mark.parametrize(("ends", "marker"), [(0, True), (3, False), (0, False)])
def test_ends_and_markers_may_be_missing(ends: int, marker: bool) -> None:
    keys = [pressed(key, 4000 * n, 100, ends=ends, marker=marker) for n, key in enumerate("112#")]
    assert told(sum(keys, [])) == list("112#")


@given(st.integers(0, 2**32))
def test_loss_copies_and_disorder_tell_no_key_twice(seed: int) -> None:
    chance = random.Random(seed)
    keys = [chance.choice("12") for _ in range(6)]
    timed = [
        (n * 0.2 + m * 0.02 + chance.random() * 0.06, n, m, packet)
        for n, key in enumerate(keys)
        for m, packet in enumerate(pressed(key, 2**32 - 5000 + n * 1600, 100))
        for _ in range(chance.choice((0, 1, 1, 1, 2)))
    ]
    heard = told([Packet(*one[3][:3], one[3].timestamp & 0xFFFFFFFF, *one[3][4:]) for one in sorted(timed)])
    assert len(heard) <= len(keys)
    lost = {n for n in range(6)} - {one[1] for one in timed}
    assert lost or heard == keys


def test_what_is_no_key_is_none() -> None:
    receiver = KeyReceiver()
    assert receiver.take(Packet(101, True, 1, 1, 1, b"")) == ""
    assert receiver.take(Packet(101, True, 1, 1, 1, b"\x10\x00\x00\xa0")) == ""


def test_keys_of_ours_have_a_length_and_an_end() -> None:
    sender = KeySender()
    assert sender.press("1") and sender.press("2") and sender
    sent = []
    at = 0
    while sender:
        sent.append(sender.event(at, 160))
        at += 160
    events = [(parse_event(payload), began, first) for payload, began, first in sent]
    assert [first for _, _, first in events].count(True) == 2
    assert {event.duration for event, _, _ in events if event is not None and event.end} == {160 * 8}
    assert sum(event.end for event, _, _ in events if event is not None) == 6


def test_keys_that_wait_are_bounded() -> None:
    sender = KeySender()
    assert [sender.press("1") for _ in range(MOST_WAITING + 5)].count(False) == 5


def test_each_key_is_told_of_when_it_has_been_sent_to_its_end() -> None:
    done: list[str] = []
    sender = KeySender(done.append)
    sender.press("1")
    sender.press("#")
    told: list[tuple[int, str]] = []
    for frame in range(100):
        if not sender:
            break
        event = parse_event(sender.event(frame * 160, 160)[0])
        assert event is not None
        told += [(frame, key) for key in done[len(told) :]]
        assert not done or done[-1] != event.key or event.end
    assert [key for _, key in told] == done == ["1", "#"]
    assert not sender


def test_in_sound_a_key_has_been_sent_when_its_pause_is_over() -> None:
    done: list[str] = []
    sender = KeySender(done.append)
    sender.press("5")
    frames = [sender.sound(8000)]
    while sender:
        assert not done
        frames.append(sender.sound(8000))
    assert done == ["5"]
    assert frames[0].any() and not frames[-1].any()


def test_a_key_that_is_cut_counts_as_sent_and_one_that_is_dropped_does_not() -> None:
    done: list[str] = []
    sender = KeySender(done.append)
    sender.press("1")
    sender.event(0, 160)
    sender.cut()
    sender.cut()
    assert done == ["1"] and not sender
    for key in "234":
        sender.press(key)
    sender.sound(8000)
    sender.drop()
    assert done == ["1"] and not sender
    sender.press("5")
    sender.sound(8000)
    sender.cut()
    assert done == ["1", "5"] and not sender
