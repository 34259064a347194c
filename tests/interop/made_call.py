"""Calls that never were, in the shapes of the console API: what the tests of the inspector look at.

`story()` is 90 seconds of a caller, a bot and a colleague who is called in, with a barge-in, keys, marks, a callback
that fails twice and SIP messages. `crowded()` is a call of many events. Sound is made from the demo's speech, so that
silences, talk spurts and the cut of the barge-in are where the events say.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from offhook.audio.wav import read_wav
from offhook.service.call_facts import turn_note
from offhook.wire.turns import TurnReport

Samples = npt.NDArray[np.int16]
Try = tuple[float, int | None, str | None, float]
"""One post of a callback: how long after it was made, status, error, milliseconds it took."""

RATE = 16000
STEP = 100  # ms, of the series
SPEECH = Path(__file__).parents[2] / "src/offhook/assets/speech.wav"
STARTED = "2026-11-26T09:14:02.318Z"
CONNECTION = "401f2b00-7c1e-4d55-9a52-d5f0c7b1a7e4"
CUT_MS = 24120.0
HOOK = "https://bot.example/api/callbacks/7f1c"
SOCKET = "wss://bot.example/media"
HOSTILE = '<img src=x onerror="window.owned=1"><script>window.owned=1</script>\u202e'
ADA, GRACE, BOT = "4:+15550100001", "8:acs:5f0c7b1a_0000-2718", "4:+15550100002"


@dataclass
class MadeCall:
    """A page of the API, and behind it the sound, the series and the figures."""

    page: dict[str, Any]
    sounds: dict[tuple[str, str], Samples] = field(default_factory=dict)
    series: dict[str, Any] | None = None
    figures: dict[str, Any] | None = None


def _speech(rate: float = 1.0) -> Samples:
    """The demo's eight seconds at 16 kHz, spoken `rate` times as fast (and as high)."""
    wav = read_wav(SPEECH.read_bytes())
    at = np.arange(0, len(wav.samples) - 1, wav.rate / RATE * rate)
    spoken: Samples = np.interp(at, np.arange(len(wav.samples)), wav.samples).astype(np.int16)
    return spoken


def _track(voice: Samples, seconds: float, spurts: list[tuple[float, float, float]], gain: float = 1.0) -> Samples:
    """`voice` where there are spurts (from, to, place in the voice), digital silence elsewhere."""
    out = np.zeros(int(seconds * RATE), np.int16)
    for begin, end, place in spurts:
        size = int((end - begin) * RATE)
        piece = np.resize(np.roll(voice, -int(place * RATE)), size)
        out[int(begin * RATE) : int(begin * RATE) + size] = (piece * gain).astype(np.int16)
    return out


class Diary:
    """Writes events down as they would be noted, in order of time."""

    def __init__(self) -> None:
        self.rows: list[tuple[float, str, str, str | None, str | None, dict[str, Any]]] = []
        self._ids = 0

    def note(self, at: float, kind: str, name: str, leg: Any = None, **detail: Any) -> None:
        connection = CONNECTION if kind in ("rest", "callback", "delivery", "stream", "mark", "stopAudio") else None
        self.rows.append((at, kind, name, leg, connection, detail))

    def rest(self, at: float, ms: float, operation: str, path: str, status: int, request: Any, response: Any) -> None:
        method = "DELETE" if operation == "HangUp" else "POST"
        detail = {"method": method, "path": path, "status": status, "ms": ms}
        self.note(at + ms, "rest", operation, **detail, requestBody=request, responseBody=response)

    def callback(self, at: float, name: str, tries: Sequence[Try], **data: Any) -> None:
        self._ids += 1
        event_id = f"e7d0{self._ids:04d}-51c2-4b6f-8a77-0c1d2e3f4a5b"
        body = [
            {
                "id": event_id,
                "source": f"calling/callConnections/{CONNECTION}",
                "type": f"Microsoft.Communication.{name}",
                "specversion": "1.0",
                "data": {"callConnectionId": CONNECTION, "operationContext": "turn", **data},
            }
        ]
        self.note(at, "callback", name, eventId=event_id, uri=HOOK, body=body)
        for number, (after, status, error, ms) in enumerate(tries, 1):
            detail = {"eventId": event_id, "uri": HOOK, "attempt": number, "status": status, "error": error}
            final = number == len(tries)
            self.note(at + after + ms, "delivery", name, **detail, ms=ms, final=final)

    def events(self) -> list[dict[str, Any]]:
        keys = ("atMs", "kind", "name", "leg", "connection", "detail")
        rows = sorted(self.rows, key=lambda row: row[0])
        return [
            {"seq": seq, **dict(zip(keys, row, strict=True)), "atMs": round(row[0], 1)}
            for seq, row in enumerate(rows, 1)
        ]


TURNS = (
    TurnReport(1, "greeting", "heard", None, None, 380, 381, 420, 2640, 2220, 1, 0, 21),
    TurnReport(2, "answer", "interrupted", 19100, 19704, 20391, 20393, 20500, 24120, 3620, 1, 0, 24),
    TurnReport(3, "answer", "unanswered", 38000, 38600, None, None, None, 53000, 0, 0, 0, 22),
)
GOOD = [(1.0, 200, None, 11.4)]
INVITE = (
    "INVITE sip:+15550100002@203.0.113.10:5060 SIP/2.0\r\n"
    "Via: SIP/2.0/UDP 198.51.100.7:5060;branch=z9hG4bK-524287-1\r\n"
    'From: "Ada Lovelace" <sip:+15550100001@198.51.100.7>;tag=6a1f\r\nTo: <sip:+15550100002@203.0.113.10>\r\n'
    "Call-ID: 3848276298220188511@198.51.100.7\r\nCSeq: 1 INVITE\r\nContact: <sip:ada@198.51.100.7:5060>\r\n"
    "Content-Type: application/sdp\r\nContent-Length: 154\r\n\r\nv=0\r\no=- 20518 0 IN IP4 198.51.100.7\r\ns=-\r\n"
    "c=IN IP4 198.51.100.7\r\nt=0 0\r\nm=audio 49170 RTP/AVP 9 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"
)


def _sip(diary: Diary, at: float, way: str, name: str, leg: str, text: str | None = None) -> None:
    words = name.split()
    first = f"SIP/2.0 {words[0]} OK" if words[0].isdigit() else f"{words[0]} sip:+15550100002@203.0.113.10 SIP/2.0"
    peer = "198.51.100.7:5060"
    default = (
        f"{first}\r\nCSeq: 1 {words[-1]}\r\nCall-ID: 3848276298220188511@198.51.100.7\r\nContent-Length: 0\r\n\r\n"
    )
    diary.note(at, "sip", name, leg, direction=way, peer=peer, text=text or default)


def _signalling(diary: Diary) -> None:
    _sip(diary, -1412, "in", "INVITE", "leg-1", INVITE)
    _sip(diary, -1411, "out", "100 INVITE", "leg-1")
    diary.note(-1410, "leg", "placed", "leg-1", caller=ADA, callee=BOT)
    diary.callback(-1405, "IncomingCall", [(1, 200, None, 38.2)], to={"rawId": BOT}, **{"from": {"rawId": ADA}})
    diary.note(-1402, "leg", "ringing", "leg-1")
    _sip(diary, -1401, "out", "180 INVITE", "leg-1")
    diary.rest(-212, 196.4, "AnswerCall", "/calling/callConnections:answer", 200, {"callbackUri": HOOK}, {"ok": True})
    _sip(diary, -2, "out", "200 INVITE", "leg-1")
    diary.note(0, "leg", "answered", "leg-1")
    _sip(diary, 31, "in", "ACK", "leg-1")
    diary.callback(4, "CallConnected", [(1, 200, None, 9.1)])
    diary.callback(6, "ParticipantsUpdated", GOOD)
    diary.note(61, "stream", "opened", url=SOCKET)
    diary.callback(66, "MediaStreamingStarted", GOOD)


def _talk(diary: Diary) -> None:
    path = f"/calling/callConnections/{CONNECTION}"
    for at, name in ((2650.0, "greeting"), (13980.0, "answer-1"), (33400.0, "answer-2"), (54020.0, "answer-3")):
        diary.note(at, "mark", "heard", mark=name)
    for at, tone in ((36200.0, "4"), (36610.0, "2"), (37020.0, "7"), (37460.0, "#")):
        diary.note(at, "dtmf", "pressed", "leg-1", tone=tone, direction="in")
    diary.rest(34980, 14.2, "Recognize", f"{path}:recognize", 202, {"recognizeInputType": "dtmf", "maxTones": 4}, {})
    diary.note(35010, "media", "recognize", "leg-1", recognition="r-1", language="en-US")
    diary.note(37470, "media", "recognize stopped", recognition="r-1")
    failing = [(1.0, 503, "HTTP 503 Service Unavailable", 41.0), (1060.0, None, "no answer within 5 s", 5000.0)]
    diary.callback(37475, "RecognizeCompleted", [*failing, (8100.0, 200, None, 12.0)], dtmfResult={"tones": ["four"]})
    cut = {"playedMs": 3620.0, "cutMs": 1840.0, "atSample": int(CUT_MS * RATE / 1000), "connection": CONNECTION}
    diary.note(CUT_MS - 3.2, "stopAudio", "StopAudio", **cut)
    diary.note(24140, "mark", "cut", mark="answer-2a")
    for report in TURNS:
        diary.note(report.ended_ms + 500, "turn", report.outcome, **turn_note(report, 0.0, 0))
    for at, worst in ((41200.0, 31.5), (42200.0, 22.0), (43200.0, 14.1)):
        diary.note(at, "late", "packets", "leg-1", lost=round(worst / 8), late=round(worst / 5))
    diary.rest(39100, 12.1, "Play", f"{path}:play", 202, {"playSources": [{"kind": "text"}]}, {})
    diary.note(39130, "media", "play", prompt="p-1", loop=False, to=None)
    diary.note(44870, "media", "play ended", prompt="p-1")
    diary.callback(44880, "PlayCompleted", GOOD)


def _colleague(diary: Diary) -> None:
    path = f"/calling/callConnections/{CONNECTION}"
    diary.rest(
        56010, 21.7, "AddParticipant", f"{path}/participants:add", 202, {"participantToAdd": {"rawId": GRACE}}, {}
    )
    diary.note(56020, "leg", "dialled", "leg-2", target=GRACE)
    diary.note(56400, "leg", "ringing", "leg-2")
    diary.rest(56100, 9.5, "Hold", f"{path}:hold", 200, {"targetParticipant": {"rawId": ADA}}, {})
    diary.note(56110, "media", "hold", "leg-1")
    diary.note(59960, "media", "unhold", "leg-1")
    diary.rest(59930, 8.8, "Unhold", f"{path}:unhold", 200, {"targetParticipant": {"rawId": ADA}}, {})
    diary.note(60000, "leg", "answered", "leg-2")
    diary.callback(60004, "AddParticipantSucceeded", GOOD)
    diary.callback(60006, "ParticipantsUpdated", GOOD)
    diary.rest(62000, 11.0, "StopMediaStreaming", f"{path}:stopMediaStreaming", 202, {}, {})
    diary.note(62040, "stream", "closed", url=SOCKET)
    diary.callback(62050, "MediaStreamingStopped", GOOD)
    diary.rest(
        63000, 7.0, "Mute", f"{path}/participants:mute", 400, {"targetParticipants": []}, {"error": {"code": "8523"}}
    )
    diary.rest(89600, 18.3, "HangUp", path, 204, None, None)
    _sip(diary, 89622, "out", "BYE", "leg-1")
    _sip(diary, 89660, "in", "200 BYE", "leg-1")
    diary.note(89625, "leg", "ended", "leg-1", code=200, subCode=7000)
    diary.note(89625, "leg", "ended", "leg-2", code=200, subCode=7000)
    diary.callback(89630, "CallDisconnected", [(1.0, 200, None, 8.0)])
    diary.note(89630, "call", "ended")


def _sounds() -> dict[tuple[str, str], Samples]:
    ada, bot, grace = _speech(), _speech(0.86), _speech(1.12)
    cut = CUT_MS / 1000
    said = [
        (4.1, 6.9, 0.0),
        (15.2, 18.9, 2.1),
        (23.3, 26.4, 5.0),
        (46.0, 49.5, 0.0),
        (63.1, 66.0, 2.1),
        (70.6, 77.2, 0.0),
    ]
    bots = [
        (0.42, 2.65, 0.0),
        (8.0, 13.98, 2.2),
        (20.5, cut, 2.095),
        (28.2, 33.4, 4.0),
        (39.2, 44.8, 0.0),
        (50.1, 54.0, 6.0),
    ]
    others = [(0.9, 2.8, 0.0), (6.4, 10.2, 2.0), (17.8, 26.0, 0.0)]
    ada_said = _track(ada, 89.6, said, 0.9)
    grace_said = _track(grace, 29.6, others, 0.8)
    ada_heard = _track(bot, 89.6, bots, 0.7)
    ada_heard[60 * RATE : 60 * RATE + len(grace_said)] += grace_said
    return {
        ("leg-1", "said"): ada_said,
        ("leg-1", "heard"): ada_heard,
        ("leg-2", "said"): grace_said,
        ("leg-2", "heard"): ada_said[60 * RATE :].copy(),
    }


def _series() -> dict[str, Any]:
    steps, dice = 896, random.Random(7)
    depth: list[float | None] = []
    for n in range(steps):
        bad = 90 if 405 < n < 440 else 0
        depth.append(round(40 + bad * abs(np.sin(n / 4)) + dice.random() * 6, 1))
    lost = [dice.choice([0, 0, 1, 3]) if 408 < n < 436 else 0 for n in range(steps)]
    late = [dice.choice([0, 0, 1, 2]) if 404 < n < 436 else 0 for n in range(steps)]
    queue: list[float | None] = [None if n * STEP > 62040 else 0.0 for n in range(steps)]
    for begin, size in ((400, 2230), (8000, 5980), (20500, 5460), (28200, 5200), (50100, 3900)):
        for n in range(begin // STEP, min(steps, (begin + size) // STEP + 1)):
            if begin == 20500 and n * STEP >= CUT_MS:
                break
            fed = min(size, (n * STEP - begin) * 4.0 + 200)
            queue[n] = max(0.0, round(fed - (n * STEP - begin), 1))
    return {
        "stepMs": STEP,
        "startMs": 0,
        "legs": {"leg-1": {"jitterMs": depth, "lost": lost, "late": late}},
        "streams": {CONNECTION: {"queuedMs": queue}},
        "clock": {"lateMs": [round(dice.random() * 0.4, 2) + (12.5 if n == 512 else 0) for n in range(steps)]},
    }


def _figures() -> dict[str, Any]:
    how = "From the end of the caller's speech to the first sound at the caller's ear."
    values = [
        ("answerTime", "Answer time", 1410.0, "ms", {}),
        ("greetingLatency", "Greeting latency", 420.0, "ms", {"leg": "leg-1"}),
        ("turnLatency", "Turn latency, median", 1100.0, "ms", {"count": 3}),
        ("turnLatencyWorst", "Turn latency, longest", 1600.0, "ms", {"count": 3}),
        ("bargeInToSilence", "Barge-in to silence, median", 820.0, "ms", {"count": 1}),
        ("stopAudioToSilence", "StopAudio to silence, longest", 3.2, "ms", {"count": 1}),
        ("loss", "Packets lost on the way in, worst leg", 0.61, "%", {"leg": "leg-1"}),
        ("jitter", "Jitter, worst leg", 7.4, "ms", {"leg": "leg-1"}),
        ("roundTrip", "Round trip, worst leg", None, "ms", {}),
        ("mos", "MOS estimate, worst direction", 4.21, "MOS", {"said": {"codec": "PCMU", "delayMs": 83.1, "R": 87.2}}),
    ]
    keys = ("name", "label", "value", "unit", "inputs")
    turns = [(6900.0, 8000.0), (18900.0, 20500.0), (49500.0, 50100.0)]
    media = {"lossPercent": 0.61, "jitterMs": 7.4, "roundTripMs": None, "mos": 4.21, "mosSaid": 4.21, "mosHeard": None}
    return {
        "figures": [{**dict(zip(keys, value, strict=True)), "how": how} for value in values],
        "turns": [{"leg": "leg-1", "speechEndedMs": a, "heardMs": b, "latencyMs": b - a} for a, b in turns],
        "bargeIns": [
            {"leg": "leg-1", "speechBeganMs": 23300.0, "stopAudioMs": CUT_MS - 3.2, "silentMs": CUT_MS}
            | {"atSample": int(CUT_MS * RATE / 1000), "toSilenceMs": 820.0, "cutMs": 1840.0, "playedMs": 3620.0}
        ],
        "legs": [{"legId": "leg-1", "rawId": ADA, **media, "inputs": {}}],
    }


def _leg(
    number: int, raw_id: str, name: str | None, kind: str, joined: float, sounds: dict[Any, Samples]
) -> dict[str, Any]:
    leg = f"leg-{number}"
    audio = [
        {"side": side, "beginMs": joined, "rate": RATE, "samples": len(sounds[leg, side])}
        for side in ("said", "heard")
        if (leg, side) in sounds
    ]
    who = {"legId": leg, "number": number, "rawId": raw_id, "displayName": name, "kind": kind}
    return {**who, "joinedMs": joined, "leftMs": 89625.0, "audio": audio}


def _page(call_id: str, events: list[dict[str, Any]], legs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "callId": call_id,
        "serverCallId": "aHR0cHM6Ly9vZmZob29rLmV4YW1wbGUvY29udi9fTHhDMGc",
        "correlationId": "0d9f6a3b-1f1c-4b0e-9a5d-2f9b7d7d1c55",
        "callConnectionId": CONNECTION,
        "callConnectionIds": [CONNECTION],
        "direction": "incoming",
        "from": {"rawId": ADA, "displayName": "Ada Lovelace"},
        "to": {"rawId": BOT},
        "state": "ended",
        "ended": True,
        "startedAt": STARTED,
        "answeredAt": "2026-11-26T09:14:03.730Z",
        "endedAt": "2026-11-26T09:15:33.355Z",
        "endedBy": "app",
        "result": {"code": 200, "subCode": 7000, "message": "Call was ended by the app."},
        "rate": RATE,
        "droppedEvents": 0,
        "imported": False,
        "legs": legs,
        "events": events,
    }


def story() -> MadeCall:
    """The 90 seconds."""
    diary = Diary()
    _signalling(diary)
    _talk(diary)
    _colleague(diary)
    sounds = _sounds()
    legs = [
        _leg(1, ADA, "Ada Lovelace", "sip", 0.0, sounds),
        _leg(2, GRACE, "Grace", "browser", 60000.0, sounds),
    ]
    return MadeCall(_page("0a4b7c1e-3d55-4a52-8f00-d5f0c7b1a7e4", diary.events(), legs), sounds, _series(), _figures())


def going_on(so_far: float = 30.0) -> MadeCall:
    """The story while it goes on: answered `so_far` seconds ago, with what came until now."""
    made, now = story(), datetime.now(UTC)
    events = [event for event in made.page["events"] if event["atMs"] <= so_far * 1000]
    leg = {**made.page["legs"][0], "leftMs": None}
    leg["audio"] = [{**track, "samples": int(so_far * RATE)} for track in leg["audio"]]
    page = {**_page("11fe0000-3d55-4a52-8f00-d5f0c7b1a7e4", events, [leg]), "state": "connected", "ended": False}
    page |= {"endedAt": None, "endedBy": None, "result": None}
    page["answeredAt"] = (now - timedelta(seconds=so_far)).isoformat()
    page["startedAt"] = (now - timedelta(seconds=so_far + 1.4)).isoformat()
    return MadeCall(page, made.sounds, made.series, _figures())


def unanswered() -> MadeCall:
    """It rang, and the caller gave up; the name that the caller gave is hostile."""
    diary = Diary()
    _sip(diary, 0, "in", "INVITE", "leg-1", INVITE)
    diary.note(2, "leg", "placed", "leg-1", caller=ADA, callee=BOT)
    diary.callback(5, "IncomingCall", [(1, 500, "HTTP 500", 30.0), (900, 500, "HTTP 500", 31.0)], note=HOSTILE)
    diary.note(4000, "leg", "ended", "leg-1", code=487, subCode=0)
    diary.note(4001, "call", "ended")
    leg = {"legId": "leg-1", "number": 1, "rawId": ADA, "displayName": HOSTILE, "kind": "sip"}
    page = _page(
        "deadbeef-3d55-4a52-8f00-d5f0c7b1a7e4", diary.events(), [{**leg, "joinedMs": None, "leftMs": None, "audio": []}]
    )
    page |= {"answeredAt": None, "from": {"rawId": ADA, "displayName": HOSTILE}, "endedBy": "caller", "imported": True}
    page["result"] = {"code": 487, "subCode": 0, "message": HOSTILE}
    return MadeCall(page)


def crowded(count: int = 2000) -> MadeCall:
    """The same people for ten minutes, with `count` events of every kind."""
    made, dice, diary = story(), random.Random(11), Diary()
    path = f"/calling/callConnections/{CONNECTION}"
    diary.note(61, "stream", "opened", url=SOCKET)
    while len(diary.rows) < count - 1:
        at = dice.uniform(100, 599000)
        match dice.randrange(7):
            case 0:
                diary.rest(at, dice.uniform(4, 300), "Play", f"{path}:play", 202, {"playSources": []}, {})
            case 1:
                diary.callback(at, "PlayCompleted", GOOD)
            case 2:
                diary.note(at, "dtmf", "pressed", "leg-1", tone=str(dice.randrange(10)), direction="in")
            case 3:
                diary.note(at, "mark", "heard", mark=f"mark-{len(diary.rows)}")
            case 4:
                _sip(diary, at, dice.choice(["in", "out"]), dice.choice(["INFO", "200 INFO"]), "leg-1")
            case 5:
                diary.note(at, "late", "packets", "leg-1", lost=0, late=2)
            case _:
                diary.note(at, "stream", "queue", queuedMs=round(dice.uniform(0, 4000)))
    diary.rows = diary.rows[: count - 1]
    diary.note(599900, "call", "ended")
    sounds = {key: np.tile(track, 7)[: 600 * RATE] for key, track in made.sounds.items() if key[0] == "leg-1"}
    legs = [_leg(1, ADA, "Ada Lovelace", "sip", 0.0, sounds)]
    page = _page("c0ffee00-3d55-4a52-8f00-d5f0c7b1a7e4", diary.events(), legs)
    page["droppedEvents"] = 37
    return MadeCall(page, sounds, made.series, _figures())
