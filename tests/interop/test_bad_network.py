"""Speech over a bad network is still understood: fifteen phrases, 5 % loss, 60 ms jitter, reordering."""

from __future__ import annotations

import base64
import re
import time
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import pytest
from tests import impair
from tests.impair import Relay, Weather
from tests.live import LiveNode, Stream, TestApp, answer, dev_node, streaming_options, until
from tests.sip_phone import BYE, Line, TestPhone
from tests.transcript import plain

from offhook.audio.codecs import codec
from offhook.audio.pcm import Frame
from offhook.legs.rtp import RtpFormat
from offhook.speech.hibari import HibariVoice
from offhook.speech.provider import Words
from offhook.speech.whisper import WhisperRecogniser

PHRASES = [
    "please call me back tomorrow morning",
    "I would like to speak to a person",
    "my account number is four seven one nine",
    "what time do you open on saturday",
    "the package has not arrived yet",
    "can you repeat that a little slower",
    "I want to cancel my subscription today",
    "yes that is correct thank you",
    "no I did not order two of them",
    "could you send the bill to my office",
    "there is a problem with the heating",
    "we need a table for six people",
    "the train leaves at half past eight",
    "please put me through to the manager",
    "how much does the larger one cost",
]


async def call_through(node: LiveNode, phone: TestPhone, relay: Relay) -> Line:
    """Call the node with media through the relay both ways."""
    near, far = await relay.start()
    line = phone.call(
        node.info["sip"]["udp"], change=lambda offer: re.sub(rb"m=audio \d+", b"m=audio %d" % near, offer)
    )
    relay.targets[1] = ("127.0.0.1", line.leg._media.port)
    use = line.leg.port.use

    def relayed(fmt: RtpFormat, remote: Any, *rest: Any, **more: Any) -> None:
        relay.targets[0] = remote
        use(fmt, ("127.0.0.1", far))

    line.leg.port.use = relayed  # type: ignore[method-assign]
    return line


async def answered(node: LiveNode, app: TestApp, phone: TestPhone, line: Line, number: int) -> Stream:
    """Answer the app's call of a number, and its stream."""
    await until(lambda: len(app.incoming) >= number, "its call")
    streams = len(app.streams)
    context = app.incoming[-1]["data"]["incomingCallContext"]
    await answer(node, context, app.callback, streaming_options(app.socket))
    await phone.answered(line)
    await until(lambda: len(app.streams) > streams, "its stream")
    return app.streams[-1]


async def spoken(node: LiveNode, app: TestApp, phrases: list[Frame], weather: Weather) -> tuple[list[bytes], Any]:
    """Each phrase in a call of its own, all at once, through a relay: what the app got, at 16 kHz."""
    phones, relays, heard = [], [], []
    first = len(app.incoming)
    try:
        for number, phrase in enumerate(phrases):
            phone = TestPhone(f"1555{first:03d}{number:04d}")
            running = phone.running()
            await running.__aenter__()
            phones.append((phone, running))
            relays.append(Relay(weather, seed=number))
            line = await call_through(node, phone, relays[-1])
            line.speech = np.concatenate([np.zeros(4000, np.int16), phrase])
            heard.append(await answered(node, app, phone, line, first + number + 1))
        frames = max(len(phrase) for phrase in phrases) // 160 + 100
        await until(lambda: all(len(stream.frames) > frames for stream in heard), "all is said", 30)
        return [stream.pcm for stream in heard], [relay.describe() for relay in relays]
    finally:
        for phone, running in phones:
            for line in phone.lines:
                line.leg.hang_up(BYE)
            await running.__aexit__(None, None, None)
        for relay in relays:
            relay.close()


@pytest.mark.timeout(240)
async def test_word_error_on_a_bad_network_is_at_most_ten_points_more(tmp_path: Path) -> None:
    voice, recogniser = HibariVoice(), WhisperRecogniser(threads=2)
    phrases = [np.concatenate(list(voice.speak(Words(text=phrase), 8000))) for phrase in PHRASES]
    errors = {}
    app = TestApp()
    async with app.running(), dev_node(tmp_path, "--sip-port", "0", "--incoming", app.webhook) as node:
        await until(lambda: app.validations, "validation")
        for name, weather in (("clear", impair.CLEAR), ("bad", impair.BAD)):
            heard, counts = await spoken(node, app, phrases, weather)
            sounds = [np.frombuffer(pcm, "<i2") for pcm in heard]
            texts = [plain(recogniser.recognise(sound, "en-US", ()).text) for sound in sounds]
            errors[name] = jiwer.wer([plain(phrase) for phrase in PHRASES], texts)
            lost = sum(count["lost"] for count in counts)
            passed = sum(count["passed"] for count in counts)
            print(f"{name}: word error {100 * errors[name]:.1f} %, {lost} of {lost + passed} datagrams lost")
            assert (lost / (lost + passed) > 0.03) == (name == "bad")
    assert errors["bad"] <= errors["clear"] + 0.10, errors
    assert errors["clear"] < 0.15, errors


@pytest.mark.timeout(60)
@pytest.mark.parametrize("weather", [impair.CLEAR, Weather(jitter=0.03)], ids=["clear", "jitter"])
async def test_the_delay_that_is_told_is_the_delay_that_there_is(tmp_path: Path, weather: Weather) -> None:
    """From a packet's arrival at the node to its sound at the app: a click every 200 ms, timed at both."""
    app, arrivals, sounds = TestApp(), list[float](), list[float]()
    relay, phone = Relay(weather, seed=1), TestPhone()
    quiet = codec("PCMU", 8000).encode(np.zeros(160, np.int16))

    def arrives(data: bytes, by: int) -> None:
        if by == 0 and len(data) == 172 and data[12:] != quiet:
            arrivals.append(time.monotonic())

    async def hear(stream: Stream, message: dict[str, Any]) -> None:
        if message["kind"] == "AudioData":
            samples = np.frombuffer(base64.b64decode(message["audioData"]["data"]), "<i2")
            if np.abs(samples.astype(int)).max() > 3000:
                sounds.append(time.monotonic())

    app.on_message, relay.leaves = hear, arrives
    click = np.zeros(1600, np.int16)
    click[40:60] = 16000
    async with (
        phone.running(),
        app.running(),
        dev_node(tmp_path, "--sip-port", "0", "--incoming", app.webhook) as node,
    ):
        await until(lambda: app.validations, "validation")
        try:
            line = await call_through(node, phone, relay)
            line.tone, line.speech = None, np.tile(click, 50)
            stream = await answered(node, app, phone, line, 1)
            await until(lambda: len(stream.frames) > 450, "nine seconds")
            line.leg.hang_up(BYE)
            await app.event("CallDisconnected")
        finally:
            relay.close()
    (figures,) = (event for event in node.named("leg") if event["name"] == "figures")
    delays = [at - max((t for t in arrivals if t < at), default=0.0) for at in sounds[-20:]]
    measured = 1000 * sum(delays) / len(delays)
    print(f"delay told {figures['delayMs']} ms, measured {measured:.1f} ms")
    assert figures["delayMs"] == pytest.approx(measured, abs=10)
