"""SIP phones on a node, on real sockets: they call the app and are called by it, and everybody hears the other."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.live import Stream, TestApp, audio_text, until
from tests.sip_phone import BYE, Line, TestPhone

from offhook.audio.tones import dtmf_tone
from offhook.legs.leg import Dtmf, Ended, LegEvent, Refused
from offhook.legs.sip import MediaRules, SipLeg
from offhook.service.certificates import client_context, server_context
from offhook.service.config import DevConfig, NodePlan
from offhook.service.live import LiveCall
from offhook.service.process import LiveNode
from offhook.service.routing import SipPlan
from offhook.wire.identifiers import parse_raw_id
from offhook.wire.models import AnswerCallRequest, CreateCallRequest, MediaStreamingOptions, RejectCallRequest
from offhook.wire.participants import AddParticipantRequest, CancelAddParticipantRequest, RemoveParticipantRequest

VERSION = "2026-03-12"


class World:
    """A node in this process with a phone and an app."""

    def __init__(self, node: LiveNode, app: TestApp, phone: TestPhone) -> None:
        self.node, self.app, self.phone = node, app, phone

    @property
    def sip(self) -> int:
        return self.port("udp")

    def port(self, transport: str) -> int:
        assert self.node._phones is not None
        return self.node._phones.trunk.ports[transport]

    def options(self, rate: int = 16000) -> MediaStreamingOptions:
        return MediaStreamingOptions(
            audio_channel_type="mixed",
            transport_url=self.app.socket,
            start=True,
            bidirectional=True,
            sample_rate=rate,
            dtmf_tones=True,
        )

    def answer(self, context: str, rate: int = 16000) -> str:
        request = AnswerCallRequest(
            incoming_call_context=context,
            callback_uri=self.app.callback,
            media_streaming_options=self.options(rate),
        )
        return str(self.node.node.answer(request, VERSION).call_connection_id)

    def create(self, raw_id: str) -> str:
        request = CreateCallRequest(
            targets=(parse_raw_id(raw_id),),
            callback_uri=self.app.callback,
            source_caller_id_number=parse_raw_id("4:+15550100009"),
            media_streaming_options=self.options(),
        )
        return str(self.node.node.create(request, VERSION).call_connection_id)

    async def talking(self, rate: int = 16000, transport: str = "udp") -> tuple[Line, str]:
        """The phone has called, the app has answered and echoes."""
        line = self.phone.call(self.port(transport), transport=transport)
        invited = await self.app.invited()
        connection = self.answer(invited["incomingCallContext"], rate)
        await self.phone.answered(line)
        return line, connection

    def quiet(self) -> bool:
        """Whether nothing of any call is left."""
        assert self.node._phones is not None
        trunk = self.node._phones.trunk
        return not self.node.node.calls and not len(trunk.sockets) and not trunk._legs


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    app, phone = TestApp(), TestPhone()

    async def echo(stream: Stream, message: dict[str, Any]) -> None:
        if message["kind"] == "AudioData":
            await stream.socket.send_str(audio_text(base64.b64decode(message["audioData"]["data"])))

    app.on_message = echo
    async with app.running():
        node = LiveNode(DevConfig(port=0, sip_port=0, state_dir=tmp_path, incoming=[app.webhook]), lambda event: None)
        await node.start()
        ringing = phone.running((server_context(node.state), client_context(node.state)))
        await ringing.__aenter__()
        try:
            await until(lambda: app.validations, "validation")
            world = World(node, app, phone)
            yield world
            for line in phone.lines:
                line.leg.hang_up(BYE)
            await until(world.quiet, "nothing is left of any call")
        finally:
            await ringing.__aexit__(None, None, None)
            await node.stop()


@pytest.mark.parametrize(("rate", "transport"), [(16000, "udp"), (24000, "udp"), (16000, "tcp"), (16000, "tls")])
async def test_a_phone_calls_and_hears_itself_through_the_app(world: World, rate: int, transport: str) -> None:
    line, _ = await world.talking(rate, transport)
    (incoming,) = world.app.incoming
    assert incoming["data"]["from"]["rawId"] == "4:+15550100007"
    assert incoming["data"]["to"]["rawId"] == "4:+15550100002"
    assert incoming["data"]["callerDisplayName"] == "Test Phone"
    await until(lambda: len(line.heard) > 110 and line.peak()[1] > 5000, "the echo")
    hz, level = line.peak()
    said = 0.0
    for frame in (await world.app.stream()).frames[60:100]:
        said = max(said, float(np.abs(np.frombuffer(base64.b64decode(frame["data"]), "<i2").astype(float)).max()))
    assert abs(hz - 440) <= 1
    assert abs(20 * np.log10(level / said)) < 1
    assert (line.leg.port._srtp is not None) == (transport == "tls"), "media is encrypted where the signalling is"
    line.leg.hang_up(BYE)
    ended = await world.app.event("CallDisconnected")
    information = ended["resultInformation"]
    assert (information["code"], information["subCode"]) == (0, 560000)


@pytest.mark.parametrize("name", ["PCMA", "G722", "OPUS"])
async def test_each_codec_carries_the_call(world: World, name: str) -> None:
    world.phone.trunk.rules = MediaRules((name,))
    line, _ = await world.talking()
    await until(lambda: len(line.heard) > 110 and line.peak()[1] > 5000, "the echo")
    assert abs(line.peak()[0] - 440) <= 1
    (live,) = world.node.node.calls.values()
    (leg,) = live.legs.values()
    assert isinstance(leg, SipLeg) and leg.port._format is not None
    assert leg.port._format.codec.name == name and leg.rate == (8000 if name == "PCMA" else 16000)
    assert leg.port.jitter.counters.lost == 0
    line.leg.hang_up(BYE)
    await world.app.event("CallDisconnected")
    (kept,) = world.node.node.traces.pages()
    found = world.node.node.traces.find(kept["callId"])
    assert found is not None
    trace = found.page()
    (figures,) = [note for note in trace["events"] if note["name"] == "figures" and note["kind"] == "leg"]
    assert figures["detail"]["codec"] == name and figures["detail"]["received"] > 100


class Six:
    """A plan like that of `offhook dev`, with SIP on an address of IPv6; `::` takes both families."""

    def __init__(self, config: DevConfig, host: str, advertise: str) -> None:
        self._config = config
        self._sip = SipPlan(host=host, port=0, advertise=advertise)

    def plan(self) -> NodePlan:
        return replace(self._config.plan(), sip=self._sip)


@pytest.mark.parametrize(
    ("host", "phone_at", "transport"),
    [("::1", "::1", "udp"), ("::1", "::1", "tls"), ("::", "127.0.0.1", "udp"), ("::", "127.0.0.1", "tcp")],
)
async def test_on_ipv6_and_on_both_families_both_ways(tmp_path: Path, host: str, phone_at: str, transport: str) -> None:
    app, phone = TestApp(), TestPhone(host=phone_at)

    async def echo(stream: Stream, message: dict[str, Any]) -> None:
        if message["kind"] == "AudioData":
            await stream.socket.send_str(audio_text(base64.b64decode(message["audioData"]["data"])))

    app.on_message = echo
    async with app.running():
        plan = Six(DevConfig(port=0, state_dir=tmp_path, incoming=[app.webhook]), host, phone_at)
        node = LiveNode(plan, lambda event: None)
        await node.start()
        try:
            async with phone.running((server_context(node.state), client_context(node.state))):
                world = World(node, app, phone)
                line, connection = await world.talking(16000, transport)
                family = b"IP6" if ":" in phone_at else b"IP4"
                assert line.leg.session is not None
                assert b"IN %s %s" % (family, phone_at.encode()) in line.leg.session.invite.body
                await until(lambda: len(line.heard) > 110 and line.peak()[1] > 5000, "the echo")
                assert abs(line.peak()[0] - 440) <= 1
                node.node.hang_up(connection)
                await until(lambda: line.over, "BYE")
                assert await phone.enrol(world.port(transport), transport) == 200
                world.create("4:+15550100007")
                await until(lambda: len(phone.lines) == 2 and phone.lines[1].up, "the phone rings and answers")
                line = phone.lines[1]
                await until(lambda: len(line.heard) > 110 and line.peak()[1] > 5000, "the echo")
                line.leg.hang_up(BYE)
                await until(world.quiet, "nothing is left of any call")
        finally:
            await node.stop()


async def test_the_codec_changes_in_the_call(world: World) -> None:
    """By re-INVITE from 8 to 16 kHz and back: the call goes on and the echo with it."""
    line, _ = await world.talking()
    session, trunk = line.leg.session, world.phone.trunk
    assert session is not None
    await until(lambda: len(line.heard) > 60 and line.peak()[1] > 5000, "the echo")
    for name, rate in (("G722", 16000), ("PCMU", 8000)):
        trunk.rules = MediaRules((name,))
        assert session.reoffer(line.leg.offer(encrypted=False), trunk.now())
        trunk.pump()
        await until(lambda rate=rate: line.leg.rate == rate, "an answer")  # type: ignore[misc]
        line.heard.clear()
        await until(lambda: len(line.heard) > 80 and line.peak()[1] > 5000, "the echo")
        assert abs(line.peak()[0] - 440) <= 1
        assert (await world.app.stream()).messages[-1]["kind"] == "AudioData"
    assert not line.over


def pressed(world: World, monkeypatch: pytest.MonkeyPatch) -> list[Dtmf]:
    """The keys of phones that the node is told of from now on."""
    keys: list[Dtmf] = []
    told = world.node.node.leg_event

    def tell(live: LiveCall, leg_id: str, event: LegEvent) -> None:
        if isinstance(event, Dtmf):
            keys.append(event)
        told(live, leg_id, event)

    monkeypatch.setattr(world.node.node, "leg_event", tell)
    return keys


async def test_keys_in_the_sound_of_a_phone_that_knows_no_events(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    known = pressed(world, monkeypatch)
    assert world.node._phones is not None
    world.node._phones.trunk.rules = MediaRules(keys_in_sound=True)

    def plain(offer: bytes) -> bytes:
        return re.sub(rb"a=(rtpmap|fmtp):101 [^\r]*\r\n", b"", offer).replace(b" 101\r", b"\r")

    line = world.phone.call(world.sip, change=plain)
    quiet = np.zeros(4000, np.int16)
    line.speech = np.concatenate([quiet, quiet, *(np.concatenate([dtmf_tone(key, 8000, 100), quiet]) for key in "4#")])
    world.answer((await world.app.invited())["incomingCallContext"], 16000)
    await world.phone.answered(line)
    heard = (await world.app.stream()).messages
    await until(lambda: [m["dtmfData"]["data"] for m in heard if m["kind"] == "DtmfData"] == ["4", "#"], "both keys")
    assert known == [Dtmf("4", in_sound=True), Dtmf("#", in_sound=True)], "others hear them, too"


async def test_the_app_hangs_up(world: World) -> None:
    line, connection = await world.talking()
    world.node.node.hang_up(connection)
    await until(lambda: line.over, "BYE")
    assert line.events[-1] == Ended()


async def test_keys_reach_the_app_by_event_and_by_info(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    line, _ = await world.talking()
    known = pressed(world, monkeypatch)
    stream = await world.app.stream()
    line.leg.port.press("5")
    line.leg.port.press("#")

    def keys() -> list[str]:
        return [m["dtmfData"]["data"] for m in stream.messages if m["kind"] == "DtmfData"]

    await until(lambda: keys() == ["5", "#"], f"two keys; {keys()}")
    assert line.leg.session is not None
    now = world.phone.trunk.now()
    line.leg.session.tell("application/dtmf-relay", b"Signal= 9\r\nDuration= 100\r\n", now)
    line.leg.session.tell("application/dtmf", b"11", now)
    line.leg.session.tell("application/dtmf", b"flash", now)
    world.phone.trunk.pump()
    await until(lambda: keys() == ["5", "#", "9", "#"], f"two more; {keys()}")
    assert known == [Dtmf(key) for key in "5#9#"], "and nobody hears them"


@pytest.mark.parametrize(("reason", "status"), [("none", 603), ("busy", 486), ("forbidden", 403)])
async def test_a_rejected_call_gets_the_right_status(world: World, reason: str, status: int) -> None:
    line = world.phone.call(world.sip)
    invited = await world.app.invited()
    request = RejectCallRequest(incoming_call_context=invited["incomingCallContext"], call_reject_reason=reason)
    world.node.node.reject(request)
    await until(lambda: line.over, "a refusal")
    expected = {603: "declined", 486: "busy", 403: "refused"}[status]
    assert line.events[-1] == Refused(expected)


async def test_a_caller_that_gives_up(world: World) -> None:
    line = world.phone.call(world.sip)
    invited = await world.app.invited()
    line.leg.hang_up(BYE)
    await until(lambda: not world.node.node.calls, "the call is over")
    with pytest.raises(Exception, match="call_not_found"):
        world.answer(invited["incomingCallContext"])


async def test_no_codec_in_common_never_reaches_the_app(world: World) -> None:
    def other(offer: bytes) -> bytes:
        text = offer.decode().replace("PCMU", "G729").replace("PCMA", "G723").replace("L16", "GSM")
        return (
            text.replace("AVP 0 8", "AVP 118 119")
            .replace("rtpmap:0 ", "rtpmap:118 ")
            .replace("rtpmap:8 ", "rtpmap:119 ")
            .encode()
        )

    for change in (other, lambda offer: b"nonsense"):
        line = world.phone.call(world.sip, change=change)
        await until(lambda line=line: line.over, "a refusal")  # type: ignore[misc]
        assert line.events[-1] == Refused("leg_failed")
    assert world.app.incoming == []


@pytest.mark.parametrize("way", [b"a=sendonly", b"a=inactive", b"c=IN IP4 0.0.0.0"])
async def test_held_and_taken_back(world: World, way: bytes) -> None:
    line, _ = await world.talking()
    await until(lambda: len(line.heard) > 60 and line.peak()[1] > 5000, "the echo")
    session = line.leg.session
    assert session is not None
    again = line.leg._write(None)
    held = again.replace(b"c=IN IP4 127.0.0.1" if way.startswith(b"c=") else b"a=sendrecv", way)
    assert held != again and session.reoffer(held, world.phone.trunk.now())
    world.phone.trunk.pump()
    await until(lambda: not session.change.busy, "an answer to the hold")
    (ours,) = world.node._phones.trunk._legs.values()  # type: ignore[union-attr]
    await until(lambda: not ours.port._format.speaks, "nothing is sent to a held phone")  # type: ignore[union-attr]
    assert (ours.port._control is None) == way.startswith(b"c="), "reports go on during a hold, if there is a place"
    assert session.reoffer(again, world.phone.trunk.now())
    world.phone.trunk.pump()
    await until(lambda: ours.port._format.speaks, "and again")  # type: ignore[union-attr]
    before = len(line.heard)
    await until(lambda: len(line.heard) > before + 60 and line.peak()[1] > 5000, "the echo is back")


# called by the app --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
async def test_a_registered_phone_is_called_by_number(world: World, transport: str) -> None:
    assert await world.phone.enrol(world.port(transport), transport) == 200
    connection = world.create("4:+15550100007")
    await world.app.event("CallConnected")
    (line,) = world.phone.lines
    await until(lambda: len(line.heard) > 110 and line.peak()[1] > 5000, "the echo")
    assert abs(line.peak()[0] - 440) <= 1
    line.leg.port.press("3")
    stream = await world.app.stream()
    await until(lambda: [m for m in stream.messages if m["kind"] == "DtmfData"], "a key")
    world.node.node.hang_up(connection)
    await until(lambda: line.over, "BYE")


async def test_a_phone_rings_at_all_its_places_and_who_answers_is_it(world: World) -> None:
    desk, dead = TestPhone("15550100007"), TestPhone("15550100007")
    world.phone.answers = None
    async with desk.running():
        async with dead.running():
            assert await dead.enrol(world.sip, expires=7200) == 200
        assert await world.phone.enrol(world.port("tcp"), "tcp") == 200
        assert await desk.enrol(world.sip) == 200
        world.create("4:+15550100007")
        await world.app.event("CallConnected")
        assert desk.lines[0].up and len(desk.invites) == 1
        assert "<sip:+15550100009@127.0.0.1>" in (desk.invites[0].headers.get_first("from") or "")
        await until(lambda: world.phone.lines[0].over, "CANCEL")
        desk.lines[0].leg.hang_up(BYE)
        await world.app.event("CallDisconnected")


async def test_a_phone_is_added_to_a_call_and_taken_out_of_it(world: World) -> None:
    """The one that called hears it, it is shown what the app wants, CANCEL and BYE reach it."""
    desk, node = TestPhone("15550100008"), world.node.node
    world.app.on_message = None  # nobody hears the app, only each other
    async with desk.running():
        assert await desk.enrol(world.sip) == 200
        line, app = await world.talking()
        request = AddParticipantRequest(
            participant_to_add=parse_raw_id("4:+15550100008"),
            source_caller_id_number=parse_raw_id("4:+15550100009"),
            source_display_name="Front Desk",
            sip_headers=(("User-To-User", "64;encoding=hex"), ("X-MS-Custom-Queue", "sales")),
        )

        def add(leg: str) -> None:
            node.ask(app, lambda call, now: call.add_participant(app, f"invitation {leg}", leg, request, now))

        desk.answers = None
        add("first")
        await until(lambda: desk.lines, "it rings")
        cancel = CancelAddParticipantRequest(invitation_id="invitation first")
        node.ask(app, lambda call, now: call.cancel_add_participant(app, cancel, now))
        await until(lambda: desk.lines[0].over, "CANCEL")
        desk.answers = 200
        add("second")
        await world.app.event("AddParticipantSucceeded")
        invite = desk.invites[-1].headers
        assert '"Front Desk" <sip:+15550100009@127.0.0.1>' in (invite.get_first("from") or "")
        assert invite.get_first("x-ms-custom-queue") == "sales"
        assert invite.get_first("user-to-user") == "64;encoding=hex"
        added = desk.lines[1]
        added.speech = np.asarray(8000 * np.sin(np.arange(8000 * 30) * 2 * np.pi * 880 / 8000), np.int16)
        await until(lambda: len(line.heard) > 50 and abs(line.peak()[0] - 880) <= 1, "who was added is heard")
        await until(lambda: len(added.heard) > 50 and abs(added.peak()[0] - 440) <= 1, "who called is heard")
        remove = RemoveParticipantRequest(participant_to_remove=request.participant_to_add)
        node.ask(app, lambda call, now: call.remove_participant(app, remove, now))
        await until(lambda: added.over, "BYE")
        assert line.up


@pytest.mark.parametrize(("status", "code"), [(486, 486), (603, 200), (480, 487), (404, 404), (403, 403), (500, 500)])
async def test_a_phone_that_does_not_take_the_call(world: World, status: int, code: int) -> None:
    await world.phone.enrol(world.sip)
    world.phone.answers = status
    world.create("4:+15550100007")
    failed = await world.app.event("CreateCallFailed")
    assert failed["resultInformation"]["code"] == code


async def test_the_app_gives_up_while_it_rings(world: World) -> None:
    await world.phone.enrol(world.sip)
    world.phone.answers = None
    connection = world.create("4:+15550100007")
    await until(lambda: world.phone.lines, "it rings")
    world.node.node.hang_up(connection)
    await until(lambda: world.phone.lines[0].over, "CANCEL")


async def test_a_phone_that_has_left_cannot_be_called(world: World) -> None:
    await world.phone.enrol(world.sip)
    await world.phone.enrol(world.sip, expires=0)
    world.create("4:+15550100007")
    failed = await world.app.event("CreateCallFailed")
    assert failed["resultInformation"]["subCode"] == 8544


async def test_a_user_that_is_no_number_has_an_id_that_stays(world: World) -> None:
    assert world.node._phones is not None
    identity = world.node._phones.identities.identify("Alice")
    assert identity.raw_id.startswith(f"8:acs:{world.node.state.resource_id}_")
    assert world.node._phones.identities.identify("alice") == identity
    assert world.node._phones.identities.identify("+15550100007").raw_id == "4:+15550100007"
    alice = TestPhone("alice")
    async with alice.running():
        await alice.enrol(world.sip)
        connection = world.create(identity.raw_id)
        await world.app.event("CallConnected")
        world.node.node.hang_up(connection)
        await until(lambda: alice.lines[0].over, "BYE")


# what goes wrong ----------------------------------------------------------------------------------------------------


async def test_a_phone_that_vanishes_ends_its_call(world: World) -> None:
    trunk = world.node._phones.trunk  # type: ignore[union-attr]
    trunk.rules = replace(trunk.rules, timeout=0.3)
    line, _ = await world.talking()
    await until(lambda: len(line.heard) > 20)
    assert line.leg.session is not None
    line.leg.session.state = "gone"  # it sends nothing any more, and says nothing either
    ended = await world.app.event("CallDisconnected")
    information = ended["resultInformation"]
    assert (information["code"], information["subCode"]) == (410, 301005)


async def test_noise_on_the_port_harms_no_call(world: World) -> None:
    line, _ = await world.talking()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("127.0.0.1", world.sip))
    for data in (b"\x00" * 50, b"INVITE", bytes(range(256)) * 20, b"SIP/2.0 200 OK\r\n\r\n", b"\r\n\r\n"):
        transport.sendto(data)
    transport.close()
    reader, writer = await asyncio.open_connection("127.0.0.1", world.sip)
    writer.write(b"\r\n\r\n")
    assert await asyncio.wait_for(reader.readexactly(2), 5) == b"\r\n"
    writer.write(b"X" * 70_000)
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()
    before = len(line.heard)
    await until(lambda: len(line.heard) > before + 60 and line.peak()[1] > 5000, "the echo goes on")


async def test_a_node_that_stops_hangs_up(world: World) -> None:
    line, _ = await world.talking()
    await until(lambda: len(line.heard) > 20)
    await world.node.stop()
    await until(lambda: line.over, "BYE")


async def test_a_full_node_says_when_to_come_back(world: World) -> None:
    world.node.node.stopping = True
    line = world.phone.call(world.sip)
    await until(lambda: line.over, "a refusal")
    assert line.events[-1] == Refused("leg_failed")
    world.node.node.stopping = False


async def test_a_phone_that_has_moved_is_followed(world: World) -> None:
    other = TestPhone("15550100008")
    async with other.running():
        assert await world.phone.enrol(world.sip) == 200
        world.phone.moved_to = f"sip:15550100008@127.0.0.1:{other.trunk.ports['udp']}"
        world.create("4:+15550100007")
        await world.app.event("CallConnected")
        assert len(other.lines) == 1 and not world.phone.lines
        other.lines[0].leg.hang_up(BYE)
        await world.app.event("CallDisconnected")


async def test_phones_that_send_each_other_round_in_circles_end_the_try(world: World) -> None:
    assert await world.phone.enrol(world.sip) == 200
    world.phone.moved_to = f"sip:15550100007@127.0.0.1:{world.phone.trunk.ports['udp']}"
    world.create("4:+15550100007")
    await world.app.event("CreateCallFailed")
    assert len(world.phone.invites) == 6


@pytest.mark.parametrize("contact", ["sip:x@192.0.2.1", "tel:+1", "sip:x@example.com"])
async def test_a_phone_that_has_moved_away_is_not_followed(world: World, contact: str) -> None:
    assert await world.phone.enrol(world.sip) == 200
    world.phone.moved_to = contact
    world.create("4:+15550100007")
    await world.app.event("CreateCallFailed")
    assert len(world.phone.invites) == 1


async def test_another_phone_takes_over_a_call(world: World) -> None:
    """Attended transfer: the call goes on with another session; the app hears another voice and no more."""
    line, _ = await world.talking()
    await until(lambda: len(line.heard) > 60, "speech")
    assert line.leg.session is not None and line.leg.session.dialog is not None
    call_id, ours, theirs = line.leg.session.dialog.id
    other = TestPhone("15550100008")
    async with other.running():
        headers = [("Replaces", f"{call_id};to-tag={theirs};from-tag={ours}")]
        taking = other.call(world.sip, headers=headers)
        taking.tone = 700.0
        await other.answered(taking)
        await until(lambda: line.over, "the first phone is let go")
        await until(lambda: len(taking.heard) > 110 and taking.peak()[1] > 5000, "the echo")
        assert abs(taking.peak()[0] - 700) <= 1
        assert len(world.app.incoming) == 1 and len(world.node.node.calls) == 1
        taking.leg.hang_up(BYE)
        await world.app.event("CallDisconnected")


async def test_nothing_is_replaced_by_a_guess(world: World) -> None:
    line, _ = await world.talking()
    guess = world.phone.call(world.sip, headers=[("Replaces", "guess@x;to-tag=1;from-tag=2")])
    await until(lambda: guess.over, "a refusal")
    assert not line.over


async def test_a_phone_is_asked_to_call_somebody_else(world: World) -> None:
    """REFER of the phone is declined: who takes part is the app's to say."""
    line, _ = await world.talking()
    assert line.leg.session is not None
    outcomes: list[int] = []
    line.leg.session.ask(
        "REFER",
        world.phone.trunk.now(),
        [("Refer-To", "<sip:elsewhere@127.0.0.1>")],
        on_answer=lambda answer, now: outcomes.append(answer.status_code),
    )
    world.phone.trunk.pump()
    await until(lambda: outcomes, "an answer")
    assert outcomes == [603] and not line.over
