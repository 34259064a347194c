"""A browser's path on the shared port: whose datagrams count, where ours go, and when it is given up."""

from __future__ import annotations

import pytest
from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio import rtp
from offhook.legs.dtls import Handshake, Identity
from offhook.legs.ice import Credentials
from offhook.legs.latch import Address
from offhook.legs.srtp import Srtp
from offhook.legs.webrtc_path import CONSENT_SECONDS, MOST_SOURCES, NO_CHECK, SET_UP_SECONDS, MediaPath
from offhook.legs.webrtc_sockets import WebRtcSockets

HERE, THERE, NOBODY = ("192.0.2.1", 4000), ("192.0.2.2", 4001), ("198.51.100.9", 666)
BROWSER = Identity()


class Port(WebRtcSockets):
    """The shared port without a socket: what goes out is kept."""

    def __init__(self) -> None:
        self.now = 100.0
        self.sent: list[tuple[bytes, Address]] = []
        super().__init__("127.0.0.1", 0, (), lambda: self.now)

    def send(self, data: bytes, to: Address) -> None:
        self.sent.append((data, to))

    def came(self, data: bytes, source: Address) -> list[tuple[bytes, Address]]:
        """What is answered to a datagram."""
        self.sent.clear()
        self.take(data, source, self.now)
        return self.sent[:]


class World:
    """One path, and the browser's side of it."""

    def __init__(self, port: Port | None = None) -> None:
        self.port = port or Port()
        self.keys: list[Srtp] = []
        self.media: list[bytes] = []
        self.failures: list[tuple[str, str]] = []
        self.notes: list[tuple[str, dict[str, object]]] = []
        self.begin()
        self.path.expect()

    def begin(self) -> None:
        """A path for which nothing is waited yet."""
        self.path = MediaPath(
            self.port,
            lambda: self.port.now,
            ready=self.keys.append,
            packet=lambda data, now: self.media.append(data),
            failed=lambda outcome, reason: self.failures.append((outcome, reason)),
            note=lambda name, detail: self.notes.append((name, detail)),
        )
        self.names = self.path.agree("them", BROWSER.fingerprint)

    def check(self, source: Address, names: Credentials | None = None, *, nominate: bool = True) -> bool:
        """Whether a check from there is answered."""
        names = names or self.names
        message = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
        message.attributes = {"USERNAME": f"{names.ufrag}:them", "PRIORITY": 1, "ICE-CONTROLLING": 1}
        if nominate:
            message.attributes["USE-CANDIDATE"] = None
        message.add_message_integrity(names.password.encode())
        answers = self.port.came(bytes(message), source)
        assert all(to == source for _, to in answers)
        return bool(answers)

    def shake(self, source: Address = HERE, identity: Identity = BROWSER) -> Srtp:
        """The handshake from there; what the browser encrypts with."""
        going: list[bytes] = []
        client = Handshake(identity, self.port.identity.fingerprint, going.append, client=True)
        client.begin()
        for _ in range(10):
            for data in [going.pop(0) for _ in going[:]]:
                for answer, to in self.port.came(data, source):
                    assert to == self.path.remote
                    client.take(answer)
        assert client.keys is not None
        return Srtp(client.keys.suite, client.keys.ours, client.keys.theirs)

    def up(self) -> Srtp:
        assert self.check(HERE)
        return self.shake()


def packet(number: int) -> bytes:
    return rtp.build(0, number, number * 160, 7, bytes(160))


def test_media_of_a_source_counts_after_a_good_check_and_the_handshake() -> None:
    world = World()
    theirs = world.up()
    assert world.path.up and len(world.keys) == 1 and world.path.remote == HERE
    hidden = theirs.protect(packet(1))
    assert world.port.came(hidden, NOBODY) == [] and world.media == []
    world.port.came(hidden, HERE)
    assert [world.keys[0].unprotect(data) for data in world.media] == [packet(1)]


def test_nobody_without_a_good_check_gets_a_single_byte() -> None:
    """Neither handshake nor media nor wrong checks: there is nothing to multiply."""
    world = World()
    hello: list[bytes] = []
    Handshake(BROWSER, world.port.identity.fingerprint, hello.append, client=True).begin()
    for data in (*hello, packet(1), b"\x80\xc8" + bytes(30), b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12), b"\xff", b""):
        assert world.port.came(data, NOBODY) == []
    assert not world.check(NOBODY, Credentials(world.names.ufrag, "wrong"))
    assert not world.check(NOBODY, Credentials("another1", world.names.password))
    assert world.path.remote is None and world.port.strange > 0


def test_a_stranger_cannot_take_part_in_a_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    world, taken = World(), list[bytes]()
    monkeypatch.setattr(world.path, "handshake", taken.append)
    hello: list[bytes] = []
    Handshake(BROWSER, world.port.identity.fingerprint, hello.append, client=True).begin()
    world.check(HERE)
    world.port.came(hello[0], NOBODY)
    assert not taken
    world.port.came(hello[0], HERE)
    assert taken == hello


def test_media_follows_the_browser_to_another_address() -> None:
    world = World()
    theirs = world.up()
    world.path.send(b"one")
    assert world.check(THERE)
    world.path.send(b"two")
    assert world.path.remote == THERE and world.port.sent[-1] == (b"two", THERE)
    world.port.came(theirs.protect(packet(1)), THERE)
    assert len(world.media) == 1


def test_a_restart_serves_the_old_names_until_the_new_ones_are_used() -> None:
    world = World()
    theirs = world.up()
    old, new = world.names, world.path.agree("them", BROWSER.fingerprint)
    assert world.check(("192.0.2.1", 4444), old) and world.path.up, "the same certificate: the keys stay"
    assert world.path.remote == ("192.0.2.1", 4444), "it may move while nothing is heard of the new ones"
    assert world.check(THERE, new) and world.path.remote == THERE
    assert not world.check(HERE, old), "its time is over"
    world.port.came(theirs.protect(packet(1)), THERE)
    assert len(world.media) == 1 and len(world.keys) == 1


def test_each_step_is_noted_and_moves_not_more_often_than_they_are_looked_at() -> None:
    world = World()
    world.up()
    for number in range(20):
        assert world.check(("192.0.2.3", 5000 + number))
    world.path.look(world.port.now)
    world.path.look(world.port.now)
    assert [(name, detail.get("address")) for name, detail in world.notes] == [
        ("ICE connected", "192.0.2.1:4000"), ("DTLS connected", None), ("ICE path changed", "192.0.2.3:5019"),
    ]  # fmt: skip
    assert world.notes[2][1]["before"] == "192.0.2.1:4000"
    assert world.check(("2001:db8::1", 1))
    world.path.look(world.port.now)
    assert world.notes[3][1]["address"] == "[2001:db8::1]:1"


def test_a_source_is_of_whose_check_from_there_was_good_last() -> None:
    """So nobody can take somebody's place for longer than until that one's next check."""
    one = World()
    other = World(one.port)
    theirs = one.up()
    assert other.check(HERE)
    one.port.came(theirs.protect(packet(1)), HERE)
    assert not one.media
    assert one.check(HERE)
    one.port.came(theirs.protect(packet(2)), HERE)
    assert len(one.media) == 1


def test_many_restarts_leave_nothing_behind() -> None:
    world = World()
    for _ in range(50):
        newest = world.path.agree("them", BROWSER.fingerprint)
    assert len(world.port._names) == 2
    assert world.check(HERE, newest)
    world.path.close()
    assert not world.port._names and not world.port._sources


def test_another_certificate_means_another_handshake() -> None:
    world = World()
    world.up()
    other = Identity()
    names = world.path.agree("them", other.fingerprint)
    assert not world.path.up
    assert world.check(THERE, names)
    theirs = world.shake(THERE, other)
    world.port.came(theirs.protect(packet(1)), THERE)
    assert len(world.keys) == 2 and [world.keys[1].unprotect(data) for data in world.media] == [packet(1)]


def test_without_checks_the_path_is_given_up() -> None:
    world = World()
    world.up()
    world.port.now += CONSENT_SECONDS - 1
    world.path.look(world.port.now)
    assert world.check(HERE) and not world.failures
    world.port.now += CONSENT_SECONDS - 1
    world.path.look(world.port.now)
    assert not world.failures
    world.port.now += 1
    world.path.look(world.port.now)
    assert [outcome for outcome, _ in world.failures] == ["media_lost"]
    world.path.look(world.port.now + 100)
    assert len(world.failures) == 1 and not world.port._names, "told once"


def test_restarts_that_lead_nowhere_do_not_keep_a_path_alive() -> None:
    world = World()
    world.up()
    for _ in range(int(CONSENT_SECONDS) // 3):
        world.port.now += 3
        world.path.agree("them", BROWSER.fingerprint)
        world.path.look(world.port.now)
    assert [outcome for outcome, _ in world.failures] == ["media_lost"]


@pytest.mark.parametrize(("checked", "said"), [(False, NO_CHECK), (True, "no keys")])
def test_a_path_that_does_not_come_up_says_what_was_missing(checked: bool, said: str) -> None:
    world = World()
    if checked:
        world.check(HERE)
    world.port.now += SET_UP_SECONDS
    world.path.look(world.port.now)
    assert [outcome for outcome, _ in world.failures] == ["set_up_timeout"] and said in world.failures[0][1]


def test_a_path_that_nobody_waits_for_yet_may_take_its_time() -> None:
    """While a call of the browser's rings, its page may not know our description yet."""
    world = World()
    world.begin()
    world.port.now += 10 * SET_UP_SECONDS
    world.path.look(world.port.now)
    world.path.expect()
    world.path.look(world.port.now + 1)
    assert not world.failures and world.up()


def test_sources_of_one_browser_are_bounded_and_the_one_in_use_stays() -> None:
    world = World()
    assert world.check(HERE)
    for number in range(100):
        assert world.check(("192.0.2.3", 5000 + number), nominate=False)
    assert len(world.port._sources) == MOST_SOURCES and HERE in world.port._sources


def test_two_browsers_on_one_port_are_told_apart() -> None:
    one = World()
    other = World(one.port)
    one.check(HERE)
    other.check(THERE)
    first, second = one.shake(HERE), other.shake(THERE)
    one.port.came(first.protect(packet(1)), HERE)
    one.port.came(second.protect(packet(2)), THERE)
    assert one.keys[0].unprotect(one.media[0]) == packet(1)
    assert other.keys[0].unprotect(other.media[0]) == packet(2)


@given(st.lists(st.binary(max_size=120), max_size=8))
def test_hostile_datagrams_from_a_known_source_never_raise(noise: list[bytes]) -> None:
    world = World()
    world.check(HERE)
    for data in noise:
        for first in (b"", b"\x16", b"\x80", b"\0\1", b"\x14"):
            world.port.came(first + data, HERE)
    world.path.look(world.port.now + 1)
