"""The port that browsers share: where it is said to be, and what comes to it from the network."""

from __future__ import annotations

import asyncio
import socket

import pytest

from offhook.errors import LegError
from offhook.legs import webrtc_sockets
from offhook.legs.webrtc_sockets import MOST_CANDIDATES, WebRtcSockets, reached_by


@pytest.mark.parametrize(
    ("host", "advertise", "known", "told"),
    [
        ("127.0.0.1", (), ("192.0.2.7",), ["127.0.0.1"]),
        ("0.0.0.0", (), ("192.0.2.7", "fd00::7"), ["192.0.2.7"]),
        ("::", (), ("192.0.2.7", "fd00::7"), ["192.0.2.7", "fd00::7"]),
        ("0.0.0.0", (), (), ["127.0.0.1"]),
        ("127.0.0.1", ("203.0.113.5", "127.0.0.1"), (), ["203.0.113.5", "127.0.0.1"]),
    ],
)
def test_browsers_are_told_what_is_advertised_then_the_machines_own(
    monkeypatch: pytest.MonkeyPatch, host: str, advertise: tuple[str, ...], known: tuple[str, ...], told: list[str]
) -> None:
    monkeypatch.setattr(
        webrtc_sockets, "get_host_addresses", lambda four, six: [each for each in known if six or ":" not in each]
    )
    assert reached_by(host, advertise) == told
    many = tuple(f"192.0.2.{number}" for number in range(60))
    assert len(reached_by(host, many)) == MOST_CANDIDATES


async def test_a_port_that_somebody_has_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(LegError) as refused:
            WebRtcSockets("127.0.0.1", port, (), lambda: 0.0).start()
    assert str(port) in refused.value.detail


async def test_noise_is_read_and_counted_and_nothing_comes_back() -> None:
    made = WebRtcSockets("127.0.0.1", 0, (), asyncio.get_running_loop().time)
    made.start()
    noise = [b"", b"x", bytes(20), b"\x16" * 60, b"\x80" * 60, b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)] * 30
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.setblocking(False)
            for data in noise:
                stranger.sendto(data, ("127.0.0.1", made.port))
            async with asyncio.timeout(5):
                while made.strange < len(noise):
                    await asyncio.sleep(0.005)
            with pytest.raises(BlockingIOError):
                stranger.recv(2000)
    finally:
        made.close()
    made.close()
