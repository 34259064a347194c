"""Kamailio in front of the node: calls pass a record-routing proxy both ways."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from tests.interop.baresip import baresip
from tests.interop.likeness import windows_alike
from tests.live import CONNECTIONS, Stream, TestApp, answer, audio_text, dev_node, rest, streaming_options, until
from tests.service.test_gateways import node
from tests.sip_phone import BYE, TestPhone

pytestmark = [pytest.mark.interop, pytest.mark.judged, pytest.mark.timeout(90)]
CONFIG = Path(__file__).with_name("kamailio.cfg")


@contextlib.asynccontextmanager
async def kamailio(folder: Path, port: int, node: int, carrier: str = "127.0.0.9") -> AsyncIterator[list[str]]:
    """A running proxy; its log."""
    text = CONFIG.read_text().replace("ADDRESS", "127.0.0.1").replace("NODEHOST", "127.0.0.1")
    path = folder / "kamailio.cfg"
    path.write_text(text.replace("NODEPORT", str(node)).replace("PORT", str(port)).replace("CARRIER", carrier))
    process = await asyncio.create_subprocess_exec(
        "kamailio", "-f", str(path), "-DD", "-E", "-w", str(folder), "-Y", str(folder), "-m", "32",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    log: list[str] = []

    async def keep() -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            log.append(line.decode("utf-8", "replace").strip())

    reading = asyncio.create_task(keep())
    try:
        yield log
    finally:
        if process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 5)
            if process.returncode is None:
                process.kill()
                await process.wait()
        reading.cancel()


async def test_a_phone_calls_through_a_proxy_and_either_side_hangs_up(
    voice: Path, tmp_path: Path, free_port: Callable[[], int]
) -> None:
    app = TestApp()

    async def echo(stream: Stream, message: dict[str, Any]) -> None:
        if message["kind"] == "AudioData":
            await stream.socket.send_str(audio_text(base64.b64decode(message["audioData"]["data"])))

    app.on_message = echo
    proxy = free_port()
    async with (
        app.running(),
        dev_node(tmp_path, "--sip-port", "0", "--incoming", app.webhook) as node,
        kamailio(tmp_path, proxy, node.info["sip"]["udp"]) as log,
    ):
        await until(lambda: app.validations, "validation")
        ports = (free_port(), 28000, free_port())
        async with baresip(tmp_path / "b", voice, ports, "sip:15550100001@127.0.0.1", "regint=0") as phone:
            await phone.command("dial", f"sip:15550100002@127.0.0.1:{proxy}")
            invited = await app.invited()
            await answer(node, invited["incomingCallContext"], app.callback, streaming_options(app.socket))
            await phone.told("CALL_ESTABLISHED")
            await app.stream(frames=390)
            await phone.command("hangup")
            await app.event("CallDisconnected")
            alike, _ = windows_alike(phone.said().samples, phone.heard().samples, 8000)
            assert alike >= 0.95, log
            await phone.command("dial", f"sip:15550100002@127.0.0.1:{proxy}")
            await until(lambda: len(app.incoming) == 2, "the second call")
            second = app.incoming[1]["data"]["incomingCallContext"]
            made = await answer(node, second, app.callback, streaming_options(app.socket))
            await until(lambda: phone.events.count("CALL_ESTABLISHED") == 2, "the second answer")
            status, _ = await rest(node, "POST", f"{CONNECTIONS}/{made['callConnectionId']}:terminate", {})
            assert status == 204
            await until(lambda: phone.events.count("CALL_CLOSED") == 2, "our BYE reaches the phone by the proxy")


TRUNK = """
[[trunk]]
name = "kamailio"
host = "127.0.0.1"
port = {port}
allow = ["127.0.0.1"]
prefixes = ["+1*"]
"""


async def test_the_app_calls_a_phone_of_the_proxy_and_a_number_of_its_carrier(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """Neither comes back to the app as a call of its own."""
    app, proxy = TestApp(), free_port()
    phone, carrier = TestPhone("+15557770001", "127.0.0.3"), TestPhone("+15557770002", "127.0.0.4")
    async with (
        app.running(),
        phone.running(),
        carrier.running(),
        node(tmp_path, app, carrier, TRUNK.format(port=proxy)) as (w, _),
        kamailio(tmp_path, proxy, w.sip, f"127.0.0.4:{carrier.trunk.ports['udp']}") as log,
    ):
        await enrolled(phone, proxy)
        for count, (number, called) in enumerate((("+15557770001", phone), ("+15557770002", carrier)), 1):
            connection = w.create(number)
            await app.event("CallConnected", count)
            assert len(called.lines) == 1, log
            assert called.invites[0].headers.get("record-route"), "the proxy stays in the way"
            if called is phone:
                called.lines[0].leg.hang_up(BYE)
            else:
                w.node.node.hang_up(connection)
                await until(lambda: carrier.lines[0].over, "BYE")
            await app.event("CallDisconnected", count)
        assert not app.incoming, log


async def enrolled(phone: TestPhone, proxy: int) -> None:
    """Register, as soon as the proxy is there."""
    for _ in range(50):
        with contextlib.suppress(AssertionError):
            assert await asyncio.wait_for(phone.enrol(proxy), 2) == 200
            return
        await asyncio.sleep(0.1)
    raise AssertionError("the proxy does not register the phone")
