"""`offhook doctor` and phones: each finding, good and bad, and a node with a phone on it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from tests.live import TestApp, answer, dev_node, streaming_options, until
from tests.sip_phone import TestPhone

from offhook.cli.console_client import node_address
from offhook.cli.doctor import examine
from offhook.service import sip_checks
from offhook.service.sip_checks import advertised, heard, ranged

PUBLIC = "20.50.2.7"  # addresses for documentation count as private
LEG = {"callId": "c1", "host": "203.0.113.5", "port": 4000, "held": False, "frames": 500, "received": 490, "strange": 0,
       "roundTripMs": 20.0, "lostTherePercent": 0.0}  # fmt: skip


@pytest.mark.parametrize(
    ("listens", "shown", "result", "word"),
    [
        ("127.0.0.1", "127.0.0.1", "ok", "this machine only"),
        ("0.0.0.0", "127.0.0.1", "fail", "no phone elsewhere"),
        ("::", "::1", "fail", "no phone elsewhere"),
        ("0.0.0.0", "203.0.113.9", "ok", "the NAT there must pass UDP 5060 and 20000-29999 on"),
    ],
)
def test_the_advertised_address(listens: str, shown: str, result: str, word: str) -> None:
    found = advertised(listens, shown, 5060, (20000, 29999))
    assert found.result == result and word in found.detail


@pytest.mark.parametrize(
    ("rtp", "result", "word"),
    [
        ((0, 0), "ok", "any free port"),
        ((20000, 29999), "ok", "room for 5000 calls"),
        ((20001, 20004), "ok", "room for 1 calls"),
        ((20001, 20002), "fail", "no pair"),
        ((40000, 40999), "ok", "room for 500 calls"),
    ],
)
def test_the_rtp_range(rtp: tuple[int, int], result: str, word: str) -> None:
    found = ranged(rtp)
    assert found.result == result and word in found.detail


def test_a_range_that_the_system_gives_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = tmp_path / "range"
    known.write_text("32768\t60999\n")
    monkeypatch.setattr(sip_checks, "_LOCAL_PORTS", known)
    assert "gives out 32768-60999 too" in ranged((40000, 40999)).detail
    assert "too" not in ranged((20000, 29999)).detail


@pytest.mark.parametrize(
    ("change", "latch", "word"),
    [
        ({"received": 0}, True, "nothing comes from 203.0.113.5:4000"),
        ({"received": 0, "strange": 400}, False, "not from 203.0.113.5:4000"),
        ({"lostTherePercent": 100.0}, True, "hears nothing of us"),
        ({"host": "192.168.1.5", "roundTripMs": None}, True, "private address of another network"),
    ],
)
def test_audio_that_flows_one_way(change: dict[str, Any], latch: bool, word: str) -> None:
    found = heard([LEG, {**LEG, **change}], PUBLIC, latch=latch)
    assert found.result == "fail" and word in found.detail and found.fix


@pytest.mark.parametrize(
    ("legs", "result"),
    [
        ([], "skip"),
        ([{**LEG, "frames": 10, "received": 0}], "skip"),
        ([{**LEG, "held": True, "received": 0}], "skip"),
        ([LEG], "ok"),
        ([{**LEG, "host": "192.168.1.5"}], "ok"),  # reports come back: it is reached
    ],
)
def test_audio_that_is_well_or_unknown(legs: list[dict[str, Any]], result: str) -> None:
    assert heard(legs, PUBLIC, latch=True).result == result


async def test_a_node_with_a_phone_on_it(tmp_path: Path) -> None:
    app, phone = TestApp(), TestPhone()
    async with app.running(), dev_node(tmp_path, "--sip-port", "0", "--incoming", app.webhook) as node, phone.running():
        await until(lambda: app.validations, "validation")
        line = phone.call(node.info["sip"]["udp"])
        invited = await app.invited()
        await answer(node, invited["incomingCallContext"], app.callback, streaming_options(app.socket))
        await phone.answered(line)
        await until(lambda: len(line.heard) > 200, "four seconds of audio", 20)
        found = {each.name: each for each in await examine(node_address(node.http))}
        shown = {name: (each.result, each.detail) for name, each in found.items()}
        for name in ("sip udp", "sip tcp", "sip tls", "advertise", "rtp ports", "audio"):
            assert found[name].result == "ok", shown
        assert "SIP/2.0" in found["sip udp"].detail and "1 call" in found["audio"].detail
        await asyncio.sleep(0)
