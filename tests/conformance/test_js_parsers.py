"""The JavaScript SDK's parsers 1.6.0 over every event and stream message that can be sent (protocol.md §§2.5, 5.5)."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
from collections.abc import Iterator

import msgspec
import pytest
from tests.js_app import JS, Report
from tests.wire.every_event import event_classes, made

from offhook.wire.events import CallEvent, CallParticipant, encode_callback, event_time
from offhook.wire.identifiers import parse_raw_id
from offhook.wire.results import RESULTS, ResultInformation
from offhook.wire.streaming import FrameWriter, audio_metadata, dtmf_data, timestamp
from offhook.wire.transcription import transcription_data, transcription_metadata

pytestmark = pytest.mark.js

RAW_IDS = (
    "4:+15550100001",
    "4:anonymous",
    "4:+15550100001_45ab2481-1c1c-4005-be24-0ffb879b1130",
    "8:acs:45ab2481-1c1c-4005-be24-0ffb879b1130_45ab2481-1c1c-4005-be24-0ffb879b1131",
    "8:acs:45ab2481-1c1c-4005-be24-0ffb879b1130_45ab2481-1c1c-4005-be24-0ffb879b1131_aa",
    "8:orgid:45ab2481-1c1c-4005-be24-0ffb879b1130",
    "8:teamsvisitor:anyone",
    "28:orgid:45ab2481-1c1c-4005-be24-0ffb879b1130",
    "28:acs:bot",
    'odd "ä\\',
)


def every_event() -> Iterator[CallEvent]:
    """Every type that there is, with and without what is optional, and with every result that an event can carry."""
    people = tuple(CallParticipant(identifier=parse_raw_id(raw), is_on_hold=True) for raw in RAW_IDS)
    results: list[ResultInformation | None] = [None, *(row.information('why "ä"') for row in RESULTS.values())]
    for kind in event_classes().values():
        least = {field.name for field in msgspec.structs.fields(kind) if not field.required}
        for index, information in enumerate(results):
            changes: Report = {
                "call_connection_id": "45ab2481-1c1c-8005-be24-0ffb879b1130",
                "operation_context": None if index % 2 else "{'a': \"ä\"}",
                "result_information": information,
            }
            if index % 3 == 0:
                changes = {**dict.fromkeys(least), **changes}
            if "participants" in kind.__struct_fields__:
                changes["participants"] = people
            yield msgspec.structs.replace(made(kind), **changes)


def every_message() -> Iterator[tuple[bytes, Report]]:
    """Every kind of stream message that the stable protocol has, and what the parser must make of it."""
    at = timestamp(1714648842.911)
    for rate in (16000, 24000):
        pcm = bytes(range(256)) * (rate // 6400) + bytes(rate // 25 - 256 * (rate // 6400))
        metadata = {"subscriptionId": "s", "encoding": "PCM", "sampleRate": rate, "channels": 1}
        yield audio_metadata("s", rate), {"kind": "AudioMetadata", **metadata}
        for raw_id, silent in itertools.product((None, *RAW_IDS), (False, True)):
            told = {"kind": "AudioData", "data": base64.b64encode(pcm).decode(), "isSilent": silent}
            yield FrameWriter(raw_id).build(pcm, at, silent), {**told, "timestamp": at.decode()}
    for tone, raw_id in itertools.product("0123456789*#ABCD", (None, RAW_IDS[0])):
        yield dtmf_data(tone, at, raw_id), {"kind": "DtmfData", "data": tone}
    about = {"subscriptionId": "s", "locale": "en-US", "callConnectionId": "c", "correlationId": "r"}
    yield transcription_metadata("s", "en-US", "c", "r"), {"kind": "TranscriptionMetadata", **about}
    for raw_id, final in itertools.product(RAW_IDS, (False, True)):
        words = [("Hello,", 0.5, 0.25), ("ä.", 0.75, 0.5)] if final else []
        told = {
            "kind": "TranscriptionData", "text": "Hello, ä.", "format": "display", "confidence": 0.75,
            "resultState": "Final" if final else "Intermediate",
            "offsetInTicks": 5_000_000, "durationInTicks": 7_500_000,
        }  # fmt: skip
        yield transcription_data("Hello, ä.", 0.75, 0.5, 0.75, words, raw_id, final=final), told


async def test_the_parsers_take_every_event_and_message() -> None:
    events, messages = list(every_event()), list(every_message())
    texts = [
        encode_callback(event, event_id="e", time=event_time(1714648842.9110236), api_version="2026-03-12").decode()
        for event in events
    ]
    given = {"events": texts, "messages": [message.decode() for message, _ in messages]}
    process = await asyncio.create_subprocess_exec(
        "node", "parse.mjs", cwd=JS, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=os.environ
    )
    out, _ = await asyncio.wait_for(process.communicate(json.dumps(given).encode()), 30)
    answer = json.loads(out)
    assert [row for row in (*answer["events"], *answer["messages"]) if "error" in row] == []
    for event, row in zip(events, answer["events"], strict=True):
        parsed = row["parsed"]
        assert parsed["kind"] == event.name and parsed["callConnectionId"] == event.call_connection_id
        assert parsed.get("operationContext") == event.operation_context
        information = event.result_information
        assert parsed.get("resultInformation", {}).get("message") == (information and information.message)
        if "participants" in parsed:
            assert len(parsed["participants"]) == len(RAW_IDS)
    for (_, told), row in zip(messages, answer["messages"], strict=True):
        assert told.items() <= row["parsed"].items()
