"""The figures of one call: how long callers waited, and how good it sounded, each with how it was measured.

`figures_of` is a function of the call's page (docs/console.md) and its sound; it reads files, so it blocks. What was
not heard or not measured is null, never zero. Times are milliseconds; on the call's axis, from the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from offhook.audio import emodel
from offhook.audio.pcm import FRAMES_PER_SECOND, PTIME_MS, samples_per_frame
from offhook.audio.turns import (
    HANGOVER_MS,
    HYSTERESIS_DB,
    LOUDEST_NOISE_DBFS,
    ON_DB,
    QUIETEST_ON_DBFS,
    SHORTEST_MS,
    Levels,
    Spell,
    activity,
    barged,
    interrupted,
    turns,
)
from offhook.service.call_sound import CallSound

FAR_BUFFER_MS: Final = 40.0
"""Assumed of the jitter buffer of the other side, which tells nobody."""
MOST_FRAMES: Final = 4 * 3600 * FRAMES_PER_SECOND
"""Of one leg that are looked at: four hours."""
MOST_ROWS: Final = 2000

ACTIVITY: Final = (
    f"Speech is a stretch of 20 ms frames at least {ON_DB:g} dB over the side's own noise (its tenth percentile, "
    f"{LOUDEST_NOISE_DBFS:g} dBFS at most) and over {QUIETEST_ON_DBFS:g} dBFS; it goes on while frames are at most "
    f"{HYSTERESIS_DB:g} dB below that and over pauses of {HANGOVER_MS} ms; shorter than {SHORTEST_MS} ms is a click."
)


@dataclass(frozen=True, slots=True)
class _Ears:
    """One leg's activity on one line of frames; frame 0 is at `begin_ms`."""

    leg_id: str
    begin_ms: float
    said: list[Spell]
    heard: list[Spell]

    def ms(self, frame: int) -> float:
        """When a frame begins."""
        return round(self.begin_ms + frame * PTIME_MS, 1)


def figures_of(page: dict[str, Any], sound: CallSound | None) -> dict[str, Any]:
    """`{figures, turns, bargeIns, legs}` of a call (docs/console.md, "Figures")."""
    ears = [] if sound is None else _ears(sound)
    turn_rows = [row for one in ears for row in _turns(one)][:MOST_ROWS]
    barge_rows = [] if sound is None else _barge_ins(page, sound, ears)[:MOST_ROWS]
    leg_rows = [_media(leg, _rtp(page, sound, leg["legId"])) for leg in page.get("legs", [])]
    latencies = [row["latencyMs"] for row in turn_rows if row["latencyMs"] is not None]
    silences = [row["toSilenceMs"] for row in barge_rows if row["speechBeganMs"] is not None]
    cuts = [row["silentMs"] - row["stopAudioMs"] for row in barge_rows if row["stopAudioMs"] is not None]
    worst = min((row for row in leg_rows if row["mos"] is not None), key=lambda row: row["mos"], default=None)
    figures = [
        _answer_time(page),
        _greeting(ears),
        _over("turnLatency", "Turn latency, median", latencies, "median",
              "From the end of the caller's speech to the first sound at the caller's ear. " + ACTIVITY),
        _over("turnLatency95", "Turn latency, 95th percentile", latencies, "95",
              "The latency that 95 % of the turns do not exceed (nearest rank), measured as their median."),
        _over("turnLatencyWorst", "Turn latency, longest", latencies, "max",
              "The longest of the turns, measured as their median."),
        _over("bargeInToSilence", "Barge-in to silence, median", silences, "median",
              "From the first frame of the caller's speech over the app's sound to the last sample of it at the "
              "caller's ear. " + ACTIVITY),
        _over("stopAudioToSilence", "StopAudio to silence, longest", cuts, "max",
              "From the beginning of the tick in which StopAudio was read to the last audible sample that the caller's "
              "leg was given; both are counted in samples. What came since the tick before waited up to 20 ms."),
        _of_leg("loss", "Packets lost on the way in, worst leg", "%", leg_rows, "lossPercent",
                "Gaps that the jitter buffer had to play as lost, of these and the packets played (RFC 3550)."),
        _of_leg("jitter", "Jitter, worst leg", "ms", leg_rows, "jitterMs",
                "Interarrival jitter (RFC 3550 section 6.4.1) of the packets that came, at the end of the call."),
        _of_leg("roundTrip", "Round trip, worst leg", "ms", leg_rows, "roundTripMs",
                "By the sender and receiver reports of both sides (RFC 3550 section 6.4.1)."),
        {"name": "mos", "label": "MOS estimate, worst direction", "unit": "MOS",
         "value": None if worst is None else worst["mos"],
         "how": "E-model (ITU-T G.107, 2015) of each direction of each leg, of codec, loss and delay; the lowest.",
         "inputs": {} if worst is None else worst["inputs"]},
    ]  # fmt: skip
    return {"figures": figures, "turns": turn_rows, "bargeIns": barge_rows, "legs": leg_rows}


# waiting ------------------------------------------------------------------------------------------------------------


def _figure(name: str, label: str, value: float | None, unit: str, how: str, **inputs: Any) -> dict[str, Any]:
    shown = None if value is None else round(value, 1)
    return {"name": name, "label": label, "value": shown, "unit": unit, "how": how, "inputs": inputs}


def _answer_time(page: dict[str, Any]) -> dict[str, Any]:
    """From the call's first event to its answer."""
    began = next((event["atMs"] for event in page.get("events", []) if event["kind"] == "leg"), None)
    value = None if page.get("answeredAt") is None or began is None else -began
    how = "From the moment at which the call was placed or dialled to the moment at which its first leg was answered."
    return _figure("answerTime", "Answer time", value, "ms", how)


def _greeting(ears: list[_Ears]) -> dict[str, Any]:
    """From the answer to the first sound at the ear of the leg that was there first."""
    first = min(ears, key=lambda one: one.begin_ms, default=None)
    value = first.ms(first.heard[0].begin) if first is not None and first.heard else None
    how = "From the answer to the first frame with sound that the first leg was given. " + ACTIVITY
    return _figure("greetingLatency", "Greeting latency", value, "ms", how, leg=None if first is None else first.leg_id)


def _turns(ears: _Ears) -> list[dict[str, Any]]:
    rows = []
    for turn in turns(ears.said, ears.heard):
        heard = None if turn.heard is None else ears.ms(turn.heard)
        latency = None if turn.heard is None else (turn.heard - turn.ended) * PTIME_MS
        rows.append({"leg": ears.leg_id, "speechEndedMs": ears.ms(turn.ended), "heardMs": heard, "latencyMs": latency})
    return rows


def _over(name: str, label: str, values: list[float], which: str, how: str) -> dict[str, Any]:
    value = None
    if values:
        value = _STATISTICS[which](values)
    return _figure(name, label, value, "ms", how, count=len(values))


_STATISTICS: Final[dict[str, Callable[[list[float]], float]]] = {
    "median": lambda values: float(np.median(values)),
    "95": lambda values: float(np.percentile(values, 95, method="inverted_cdf")),
    "max": max,
}


# barge-in -----------------------------------------------------------------------------------------------------------


def _barge_ins(page: dict[str, Any], sound: CallSound, ears: list[_Ears]) -> list[dict[str, Any]]:
    """Each StopAudio that cut something, and each sound that ended soon after the caller spoke over it without one."""
    stops = [event for event in page.get("events", []) if event["kind"] == "stopAudio"]
    rows = [row for event in stops if (row := _cut(event, page, sound, ears)) is not None]
    stopped = [row["silentMs"] for row in rows]
    for one in ears:
        for begin, end in interrupted(one.said, one.heard):
            if any(abs(one.ms(end) - at) <= 100 for at in stopped):
                continue
            silent = one.ms(end)
            rows.append(
                {"leg": one.leg_id, "speechBeganMs": one.ms(begin), "stopAudioMs": None, "silentMs": silent,
                 "atSample": None, "toSilenceMs": round(silent - one.ms(begin), 1), "cutMs": None, "playedMs": None}
            )  # fmt: skip
    return sorted(rows, key=lambda row: float(row["silentMs"]))


def _cut(event: dict[str, Any], page: dict[str, Any], sound: CallSound, ears: list[_Ears]) -> dict[str, Any] | None:
    """One StopAudio: where the caller's track falls silent, near the sample that was told.

    It is on the axis of the samples, as the silence is: a tick that comes late moves neither.
    """
    detail, rate = event["detail"], page.get("rate")
    at, cut = detail.get("atSample"), detail.get("cutMs")
    if not ears or not isinstance(at, int) or not rate or not cut:
        return None
    one = next((each for each in ears if each.leg_id == event.get("leg")), ears[0])
    first = min(sound.of(ears[0].leg_id, "heard"), key=lambda segment: segment.begin_ms)
    told_ms, read = first.begin_ms + at * 1000 / rate, detail.get("readAtSample")
    read_ms = told_ms if not isinstance(read, int) else first.begin_ms + read * 1000 / rate
    silent_ms = max(_last_sound(sound, one.leg_id, told_ms), round(read_ms, 3))
    began = barged(one.said, one.heard, round((read_ms - one.begin_ms) / PTIME_MS))
    began_ms = None if began is None else one.ms(began)
    since = read_ms if began_ms is None else began_ms
    return {
        "leg": one.leg_id,
        "speechBeganMs": began_ms,
        "stopAudioMs": round(read_ms, 1),
        "silentMs": silent_ms,
        "atSample": at,
        "toSilenceMs": round(silent_ms - since, 1),
        "cutMs": cut,
        "playedMs": detail.get("playedMs"),
    }


def _last_sound(sound: CallSound, leg_id: str, told_ms: float) -> float:
    """The end of the last audible sample of a track within two frames of a place; the place when it goes on there."""
    for segment in sound.of(leg_id, "heard"):
        place = round((told_ms - segment.begin_ms) * segment.rate / 1000)
        size = samples_per_frame(segment.rate)
        if not 0 <= place <= segment.samples + size:
            continue
        first = max(place - 2 * size, 0)
        near = segment.read(first, place + 2 * size)
        loud = np.flatnonzero(near)
        if not len(loud) or loud[-1] == len(near) - 1:
            break
        return round(segment.begin_ms + (first + int(loud[-1]) + 1) * 1000 / segment.rate, 3)
    return round(told_ms, 3)


# activity -----------------------------------------------------------------------------------------------------------


def _ears(sound: CallSound) -> list[_Ears]:
    """Each leg with its activity, in order of joining."""
    found = []
    for leg_id in dict.fromkeys(segment.leg_id for segment in sound.segments):
        begin = min(segment.begin_ms for segment in sound.of(leg_id, "said"))
        said, heard = (activity(_levels(sound, leg_id, side, begin)) for side in ("said", "heard"))
        found.append(_Ears(leg_id, begin, said, heard))
    return sorted(found, key=lambda one: one.begin_ms)


def _levels(sound: CallSound, leg_id: str, side: str, begin_ms: float) -> Levels:
    """Levels of one side of a leg over all its stretches; what is between them is silence."""
    segments = sound.of(leg_id, side)
    frames = max(round((one.end_ms - begin_ms) / PTIME_MS) for one in segments)
    levels = np.full(min(frames, MOST_FRAMES), -120, np.float32)
    for segment in segments:
        at = round((segment.begin_ms - begin_ms) / PTIME_MS)
        part = sound.levels(segment)[: max(len(levels) - at, 0)]
        levels[at : at + len(part)] = part
    return levels


# networks -----------------------------------------------------------------------------------------------------------


def _rtp(page: dict[str, Any], sound: CallSound | None, leg_id: str) -> dict[str, Any] | None:
    """The figures of a leg's audio over RTP: as of now, or as noted at its end; None when it came over no network."""
    if sound is not None and leg_id in sound.rtp:
        return dict(sound.rtp[leg_id])
    for event in reversed(page.get("events", [])):
        of_leg = leg_id in (event.get("leg"), event["detail"].get("leg"))
        if of_leg and event["kind"] == "leg" and event["name"] == "figures":
            return dict(event["detail"])
    return None


def _media(leg: dict[str, Any], rtp: dict[str, Any] | None) -> dict[str, Any]:
    """Loss, jitter, round trip and the MOS of each direction; nulls for a leg without RTP."""
    unknown = dict.fromkeys(("lossPercent", "jitterMs", "roundTripMs", "mos", "mosSaid", "mosHeard"))
    row: dict[str, Any] = {"legId": leg["legId"], "rawId": leg.get("rawId", ""), **unknown, "inputs": {}}
    if rtp is None:
        return row
    received, lost = _number(rtp.get("received")), _number(rtp.get("lost"))
    if not received:
        return row
    loss = 100 * (lost or 0.0) / (received + (lost or 0.0))
    round_trip, delay = _number(rtp.get("roundTripMs")), _number(rtp.get("delayMs")) or 0.0
    row |= {"lossPercent": round(loss, 2), "jitterMs": _number(rtp.get("jitterMs")), "roundTripMs": round_trip}
    codec = str(rtp.get("codec", "")).upper()
    if codec not in emodel.CODECS:
        return row
    said = _rating(codec, delay, round_trip, loss)
    heard = _rating(codec, FAR_BUFFER_MS, round_trip, _number(rtp.get("lostTherePercent")))
    row["inputs"] = {"said": said, "heard": heard}
    row["mosSaid"], row["mosHeard"] = said["mos"], heard["mos"]
    row["mos"] = min(mos for mos in (said["mos"], heard["mos"]) if mos is not None)
    return row


def _rating(codec: str, buffer_ms: float, round_trip: float | None, loss: float | None) -> dict[str, Any]:
    """One direction: MOS with everything that went into it; null when nobody has said what was lost."""
    own = emodel.CODECS[codec].delay_ms
    known = {
        "jitterBufferMs": buffer_ms,
        "packetMs": PTIME_MS,
        "codecDelayMs": own,
        "halfRoundTripMs": None if round_trip is None else round(round_trip / 2, 1),
    }
    if loss is None:
        return {"mos": None, "codec": codec, "lossPercent": None, **known}
    rating = emodel.rate(codec, buffer_ms + PTIME_MS + own + (round_trip or 0.0) / 2, loss)
    return {"mos": round(rating.mos, 2), **rating.inputs(), **known}


def _of_leg(name: str, label: str, unit: str, rows: list[dict[str, Any]], key: str, how: str) -> dict[str, Any]:
    known = [row for row in rows if row[key] is not None]
    worst = max(known, key=lambda row: float(row[key]), default=None)
    figure = _figure(name, label, None if worst is None else worst[key], unit, how)
    if worst is not None:
        figure["value"], figure["inputs"] = worst[key], {"leg": worst["legId"]}
    return figure


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
