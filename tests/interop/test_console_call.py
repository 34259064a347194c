"""What the phone's page does where the node or the socket is quicker or slower than its user, in a browser's page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page
from tests.interop.made_console import page_for_modules

pytestmark = [pytest.mark.interop, pytest.mark.asyncio(loop_scope="session"), pytest.mark.timeout(60)]
MUTED = {"kind": "mute", "call": "c", "muted": True}
STAGE = """
    const { PhoneCall } = await import('/console/phone/call.js');
    const { Phone } = await import('/console/phone/phone.js');
    const sent = [], socket = { ready: true, send: (message) => sent.push(message), forget() {} };
    const opened = [];
    let asked = () => {};
    navigator.mediaDevices.getUserMedia = () => new Promise((resolve) => {
      asked = async () => {
        const { stream } = new AudioContext().createMediaStreamDestination();
        opened.push(...stream.getTracks());
        resolve(stream);
        await new Promise((done) => setTimeout(done, 50));
      };
    });
    const ended = { kind: 'ended', code: 487, subCode: 0, message: 'Cancelled', endedBy: 'caller' };
    const call = new PhoneCall(socket, { iceServers: [], peer: '4:+1', call: 'c', callId: 'i', incoming: true });
"""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def page(browser: Browser) -> AsyncIterator[Page]:
    """A page of the console's origin, for its modules."""
    async with page_for_modules(browser) as opened:
        yield opened


async def run(page: Page, body: str) -> Any:
    return await page.evaluate(f"async () => {{ {STAGE} {body} }}")


async def test_a_microphone_that_is_given_after_the_call_ended_is_let_go(page: Page) -> None:
    """The app cancels while the page asks its user for the microphone."""
    found = await run(
        page,
        """
        const starting = call.start();
        await call.take(ended);
        await asked();
        await starting;
        return [opened.map((track) => track.readyState), sent, call.connection, call.state];""",
    )
    assert found == [["ended"], [], None, "ended"]


async def test_another_microphone_that_is_given_after_the_call_ended_is_let_go(page: Page) -> None:
    found = await run(
        page,
        """
        const starting = call.start();
        await asked();
        await starting;
        const changing = call.changeMicrophone();
        await call.take(ended);
        await asked();
        await changing;
        return opened.map((track) => track.readyState);""",
    )
    assert found == ["ended", "ended"]


async def test_what_was_done_while_the_socket_was_away_is_told_when_it_is_back(page: Page) -> None:
    """The node says how the call stands; what the user has done meanwhile counts."""
    found = await run(
        page,
        """
        const phone = new Phone();
        phone.signalling = call.signalling;
        phone.use(call);
        const me = { identity: '8:acs:x', session: 's', secret: 't' };
        const ready = (state, held) => phone.ready({ ...me, calls: [{ call: 'c', state, held }] });
        const starting = call.start();
        await asked();
        await starting;
        phone.lost();
        sent.length = 0;
        ready('ringing', false);
        await new Promise((done) => setTimeout(done, 200));
        const accepted = sent.map(({ kind, call, sdp }) => [kind, call, sdp?.slice(0, 3)]);
        sent.length = 0;
        ready('connected', true);
        const held = sent.slice();
        sent.length = 0;
        call.held = true;
        ready('connected', true);
        const same = sent.slice();
        await call.take(ended);
        return [accepted, held, same];""",
    )
    assert found == [[["accept", "c", "v=0"]], [{"kind": "hold", "call": "c", "held": False}], []]


async def test_a_description_that_the_browser_cannot_take_ends_the_call_and_says_so(page: Page) -> None:
    found = await run(
        page,
        """
        const phone = new Phone();
        phone.signalling = call.signalling;
        phone.use(call);
        const starting = call.start();
        await asked();
        await starting;
        call.mute(true);
        const muted = sent.at(-1);
        sent.length = 0;
        phone.take({ kind: 'answer', call: 'c', sdp: 'v=0 nonsense' });
        for (let n = 0; n < 100 && call.state !== 'ended'; n++) await new Promise((done) => setTimeout(done, 20));
        return [call.state, call.result?.message.slice(0, 32), sent, muted];""",
    )
    assert found == ["ended", "The call could not be connected:", [{"kind": "hangup", "call": "c"}], MUTED]
