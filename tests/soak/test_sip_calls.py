"""Short SIP calls at fifty a second, and peers whose node or app is killed: nothing is left, nobody hangs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.echo import echo_app
from tests.interop.test_sipp import sipp
from tests.live import TestApp, answer, dev_node, until
from tests.sip_phone import TestPhone
from tests.soak.test_leaks import Usage, figures

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]


async def short_calls(tmp_path: Path, port: int, rounds: int, count: int, most_growth: float) -> None:
    app = TestApp()
    async with app.running(), dev_node(tmp_path, "--sip-port", "0", "--incoming", app.webhook) as node:
        await until(lambda: app.validations, "validation")
        made: set[asyncio.Task[Any]] = set()

        async def take(data: dict[str, Any]) -> None:
            task = asyncio.create_task(answer(node, data["incomingCallContext"], app.callback))
            made.add(task)
            task.add_done_callback(made.discard)

        app.on_incoming = take
        pid, target = node.process.pid, f"127.0.0.1:{node.info['sip']['udp']}"
        before, idle = Usage.of(pid), await figures(node)
        sizes = []
        arguments = ["-sn", "uac", "-s", "15550100002", "-p", str(port), "-r", "50", "-m", str(count), "-d", "500"]
        for _ in range(rounds):
            app.incoming.clear()
            app.events.clear()
            async with sipp(tmp_path, *arguments, "-l", "200", target) as process:
                out, _ = await process.communicate()
                assert process.returncode == 0, out.decode("utf-8", "replace")[-4000:]
            await until(lambda: len(app.named("CallDisconnected")) == count, "every call's end")
            sizes.append(Usage.of(pid).mib)
        # What a transaction keeps for the network's sake is gone after 32 s (RFC 3261 §17).
        await until(lambda: Usage.of(pid).descriptors <= before.descriptors + 2, "descriptors are back", 40)

        for _ in range(100):
            now = await figures(node)
            if now["tasks"] <= idle["tasks"] + 2 and not now["calls"] and not now["rtpStreams"]:
                break
            await asyncio.sleep(0.1)
        assert now["tasks"] <= idle["tasks"] + 2 and not now["calls"] and not now["rtpStreams"], now
        print(f"MiB: {before.mib:.1f} before, {[round(size, 1) for size in sizes]}; descriptors {before.descriptors}")
        if len(sizes) > 3:
            assert sizes[-1] - sizes[2] < most_growth, sizes


@pytest.mark.timeout(120)
async def test_a_thousand_short_calls_leave_nothing(tmp_path: Path, free_port: Callable[[], int]) -> None:
    await short_calls(tmp_path, free_port(), 2, 500, 10.0)


@pytest.mark.soak
@pytest.mark.timeout(900)
async def test_ten_thousand_short_calls_leave_nothing(tmp_path: Path, free_port: Callable[[], int]) -> None:
    await short_calls(tmp_path, free_port(), 20, 500, 10.0)


@pytest.mark.timeout(120)
async def test_an_app_that_is_killed_leaves_its_caller_with_a_bye(tmp_path: Path, free_port: Callable[[], int]) -> None:
    """kill -9: its socket breaks, its callbacks find nobody. Soon the call is over, and the phone is told."""
    phone, port = TestPhone(), free_port()
    hook = f"http://127.0.0.1:{port}/api/incomingCall"
    async with dev_node(tmp_path, "--sip-port", "0", "--incoming", hook) as node, phone.running():
        with contextlib.suppress(ProcessLookupError):  # it cannot be asked to end any more
            async with echo_app(node, "--port", str(port)) as app:
                await until(lambda: app.named("validated"), "validation")
                line = phone.call(node.info["sip"]["udp"])
                await phone.answered(line)
                await until(lambda: len(line.heard) > 110 and line.peak()[1] > 5000, "the echo")
                app.process.kill()
                await app.process.wait()
        killed = time.monotonic()
        await until(lambda: line.over, "a BYE", 60)
        print(f"app killed: BYE after {time.monotonic() - killed:.1f} s")


@pytest.mark.timeout(60)
async def test_a_node_that_is_killed_knows_nothing_of_old_calls_and_says_so(
    tmp_path: Path, free_port: Callable[[], int]
) -> None:
    """A phone's next word in the old call gets 481 of the node that was started anew, so it does not hang."""
    app, phone, port = TestApp(), TestPhone(), free_port()
    async with app.running(), phone.running():
        async with dev_node(tmp_path, "--sip-port", str(port), "--incoming", app.webhook) as node:
            await until(lambda: app.validations, "validation")
            line = phone.call(port)
            invited = await app.invited()
            await answer(node, invited["incomingCallContext"], app.callback)
            await phone.answered(line)
            assert line.leg.session is not None and line.leg.session.timer.interval == 1800
            node.process.send_signal(signal.SIGKILL)
            await node.process.wait()
            killed = time.monotonic()
        async with dev_node(tmp_path, "--sip-port", str(port), "--incoming", app.webhook):
            line.leg.session.change.refresh(phone.trunk.now())
            phone.trunk.pump()
            await until(lambda: line.over, "the phone learns that the call is gone")
            print(f"node killed and started anew: the phone knows after {time.monotonic() - killed:.1f} s")
