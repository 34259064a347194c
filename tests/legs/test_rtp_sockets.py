"""Ports for RTP: taken, given back, used up; and many sockets read in one go."""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import time

import pytest
from tests.live import until

from offhook.errors import LegError
from offhook.legs.rtp_sockets import RtpSockets


def read(pool: RtpSockets, now: float) -> bool:
    pool.receive(now)
    return False


def nothing(data: bytes, source: tuple[str, int], now: float) -> None:
    pass


def test_ports_are_even_within_the_range_and_come_back() -> None:
    pool = RtpSockets("127.0.0.1", 22001, 22011)  # below those that the system gives to others
    taken = [pool.open(nothing, nothing) for _ in range(5)]
    assert sorted(one.port for one in taken) == [22002, 22004, 22006, 22008, 22010]
    with pytest.raises(LegError, match="every RTP port 22002-22011 is in use"):
        pool.open(nothing, nothing)
    assert len(pool) == 5
    free = taken[2].port
    taken[2].close()
    again = pool.open(nothing, nothing)
    assert again.port == free
    pool.close()
    assert len(pool) == 0


def test_any_free_port_of_the_system() -> None:
    pool = RtpSockets("127.0.0.1")
    assert all(pool.open(nothing, nothing).port % 2 == 0 for _ in range(10))
    pool.close()


def test_a_port_of_somebody_else_is_left_out() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 42022))
        pool = RtpSockets("127.0.0.1", 42020, 42025)
        assert {pool.open(nothing, nothing).port for _ in range(2)} == {42020, 42024}
        pool.close()


def test_a_host_that_is_not_ours() -> None:
    with pytest.raises(LegError, match=r"192\.0\.2\.1"):
        RtpSockets("192.0.2.1").open(nothing, nothing)


def test_a_port_beside_that_somebody_else_has_is_left_out_too() -> None:
    """Reports come to the next port (RFC 3550 §11)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 42033))
        pool = RtpSockets("127.0.0.1", 42030, 42035)
        assert {pool.open(nothing, nothing).port for _ in range(2)} == {42030, 42034}
        pool.close()


async def test_reports_come_on_the_port_beside() -> None:
    pool, media, control = RtpSockets("127.0.0.1"), list[bytes](), list[bytes]()
    one = pool.open(lambda data, source, now: media.append(data), lambda data, source, now: control.append(data))
    assert one.beside is not None and one.beside.port == one.port + 1
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"rtp", ("127.0.0.1", one.port))
        sender.sendto(b"rtcp", ("127.0.0.1", one.port + 1))
        await until(lambda: read(pool, 0.0) or (media and control))
    assert (media, control) == ([b"rtp"], [b"rtcp"])
    one.close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", one.port + 1))
    pool.close()


async def test_what_waits_is_read_in_one_go_and_a_flood_in_parts() -> None:
    pool, got = RtpSockets("127.0.0.1"), list[tuple[bytes, float]]()
    ours = [pool.open(lambda data, source, now: got.append((data, now)), nothing) for _ in range(3)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number, one in enumerate(ours):
            sender.sendto(bytes([number]), ("127.0.0.1", one.port))
        await until(lambda: read(pool, 1.0) or len(got) == 3)
        assert sorted(data for data, _ in got) == [b"\0", b"\1", b"\2"]
        got.clear()
        for _ in range(100):
            sender.sendto(b"x", ("127.0.0.1", ours[0].port))
        pool.receive(2.0)
        assert 0 < len(got) <= 64
        await until(lambda: read(pool, 2.0) or len(got) == 100)
    pool.close()


async def test_sending_to_nobody_is_counted_and_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, got = RtpSockets("127.0.0.1"), list[bytes]()
    one = pool.open(lambda data, source, now: got.append(data), nothing)
    one.transmit(b"x", ("127.0.0.1", 1))
    pool.flush()
    pool.receive(0.0)

    def refuse(data: bytes, to: tuple[str, int]) -> int:
        raise OSError(errno.EPERM, "no")

    one.sendto = refuse  # type: ignore[assignment]
    one.transmit(b"x", ("127.0.0.1", 1))
    assert one.unsent == 0, "nothing leaves before the tick ends"
    pool.flush()
    one.transmit(b"x", ("127.0.0.1", 70000))
    one.transmit_now(b"x", ("127.0.0.1", 1))
    pool.flush()
    assert one.unsent == 3
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"y", ("127.0.0.1", one.port))
        await until(lambda: read(pool, 0.0) or got)
    pool.close()


async def test_a_packet_that_cannot_be_taken_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    pool, got = RtpSockets("127.0.0.1"), list[bytes]()

    def take(data: bytes, source: tuple[str, int], now: float) -> None:
        if data == b"bad":
            raise RuntimeError("a mistake of ours")
        got.append(data)

    one = pool.open(take, nothing)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for data in (b"bad", b"good"):
            sender.sendto(data, ("127.0.0.1", one.port))
        await until(lambda: read(pool, 0.0) or got == [b"good"])
    assert "could not be taken" in caplog.text
    pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="other kernels give no time stamps here")
async def test_how_long_a_packet_waited_for_its_tick_is_known() -> None:
    pool, waits = RtpSockets("127.0.0.1"), list[float]()
    one = pool.open(nothing, nothing)
    one.waited = waits.append
    pool.receive(0.0)
    with contextlib.closing(pool), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        end = time.monotonic() + 10
        # Linux begins to stamp a moment after the first socket asks for it; until then it stamps what is read.
        while not waits or waits[-1] < 0.01:
            assert time.monotonic() < end, waits
            waits.clear()
            sent = time.time()
            sender.sendto(b"x", ("127.0.0.1", one.port))
            while time.time() - sent < 0.015:
                pass
            await until(lambda: read(pool, 0.0) or waits)
            assert waits[-1] <= time.time() - sent


def test_what_came_while_the_clock_rested_is_thrown_away() -> None:
    pool, got = RtpSockets("127.0.0.1"), list[bytes]()
    one = pool.open(lambda data, source, now: got.append(data), nothing)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for _ in range(100):
            sender.sendto(b"old", ("127.0.0.1", one.port))
        pool.discard()
        sender.sendto(b"new", ("127.0.0.1", one.port))
    pool.receive(0.0)
    assert got == [b"new"]
    pool.close()


def test_no_descriptor_left_is_an_error_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, real, opened = RtpSockets("127.0.0.1"), socket.socket, list[socket.socket]()

    def scarce(family: int, kind: int) -> socket.socket:
        if opened:
            raise OSError(errno.EMFILE, "Too many open files")
        opened.append(real(family, kind))
        return opened[0]

    monkeypatch.setattr(socket, "socket", scarce)
    with pytest.raises(LegError, match="Too many open files; raise `ulimit -n`"):
        pool.open(nothing, nothing)
    assert opened[0].fileno() == -1, "the first of the pair was given back"
