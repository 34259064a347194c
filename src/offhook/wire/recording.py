"""Recordings: the request that starts one, its state, its events and its file's event (protocol.md §3.3, §5.5, §6.4).

Reading is as lenient as in `models`: enum values in any case, null for anything optional.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec

from offhook.wire.connecting import CallLocator
from offhook.wire.events import CallEvent, grid_event
from offhook.wire.exclusions import excluded
from offhook.wire.fields import Fields, WireStruct, wrong
from offhook.wire.identifiers import Identifier, read_identifier

CHANNELS: Final = 5
"""Channels that an app can name for people (protocol.md §3.3: 0 to 4)."""

_KIND: Final = "azureCommunicationServices"


class ExternalStorage(msgspec.Struct, frozen=True, kw_only=True):
    """Where files go after the end: `container_url` is a blob container's, with the query that opens it."""

    container_url: str

    @classmethod
    def read(cls, fields: Fields) -> ExternalStorage | None:
        """None for the service's own storage."""
        kind = fields.choice("recordingStorageKind", (_KIND, "azureBlobStorage"))
        if kind == _KIND:
            return None
        name = "recordingDestinationContainerUrl"
        fields.required_text(name, "give the URL of the container that files are put into")
        return cls(container_url=fields.url(name, ("http", "https")) or "")


class StartCallRecordingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """POST /calling/recordings. The call is named by either `call_connection_id` or `locator`.

    `channel` is mixed or unmixed, `form` wav or mp3. `channels`: raw ids by channel, as ordering and affinity ask.
    """

    call_connection_id: str = ""
    locator: CallLocator | None = None
    state_callback_uri: str | None = None
    channel: str = "mixed"
    form: str = "wav"
    channels: tuple[tuple[int, str], ...] = ()
    pause_on_start: bool = False
    external: ExternalStorage | None = None

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """WireError for a field that cannot be used, one of them UnsupportedError for video and rooms."""
        channel = fields.choice("recordingChannelType", ("mixed", "unmixed"), "mixed")
        channels = _channels(fields)
        if channels and channel == "mixed":
            raise wrong("audioChannelParticipantOrdering and channelAffinity", "are for recordingChannelType unmixed")
        return cls(
            **_call(fields),
            state_callback_uri=fields.url("recordingStateCallbackUri", ("http", "https")),
            channel=channel,
            form=_form(fields, channel),
            channels=channels,
            pause_on_start=fields.flag("pauseOnStart"),
            external=fields.part("externalStorage", ExternalStorage.read),
        )


def _call(fields: Fields) -> dict[str, Any]:
    connection, locator = fields.text("callConnectionId"), fields.part("callLocator", CallLocator.read)
    if bool(connection) == (locator is not None):
        raise wrong("callLocator", "give either callLocator or callConnectionId, to name the call")
    return {"call_connection_id": connection or "", "locator": locator}


def _form(fields: Fields, channel: str) -> str:
    content = fields.choice("recordingContentType", ("audio", "audioVideo"), "audio")
    form = fields.choice("recordingFormatType", ("wav", "mp3", "mp4"), "wav")
    if content == "audioVideo":
        raise excluded(content, fields.at("recordingContentType"))
    if form == "mp4":
        raise excluded(form, fields.at("recordingFormatType"))
    if channel == "unmixed" and form != "wav":
        raise wrong(fields.at("recordingFormatType"), "unmixed recordings are wav only; ask for wav, or for mixed")
    return form


def _channels(fields: Fields) -> tuple[tuple[int, str], ...]:
    """Channels that are taken: those of the affinity, then in the free ones the ordering."""
    taken: dict[int, str] = {}
    for channel, raw_id in fields.items("channelAffinity", _affinity):
        if channel in taken or raw_id in taken.values():
            raise wrong("channelAffinity", f"channel {channel} or its participant is named twice")
        taken[channel] = raw_id
    for identifier in fields.items("audioChannelParticipantOrdering", read_identifier):
        if identifier.raw_id in taken.values():
            continue
        free = next((channel for channel in range(CHANNELS) if channel not in taken), None)
        if free is None:
            raise wrong("audioChannelParticipantOrdering", f"names more people than there are channels ({CHANNELS})")
        taken[free] = identifier.raw_id
    return tuple(sorted(taken.items()))


def _affinity(value: Any, path: str) -> tuple[int, str]:
    fields = Fields(value, path)
    channel = fields.required("channel", f"a number from 0 to {CHANNELS - 1}")
    if isinstance(channel, bool) or not isinstance(channel, int) or not 0 <= channel < CHANNELS:
        raise wrong(fields.at("channel"), f"must be a whole number from 0 to {CHANNELS - 1}")
    named: Identifier = read_identifier(fields.required("participant", "name who it is for"), fields.at("participant"))
    return channel, named.raw_id


class RecordingStateResponse(WireStruct, frozen=True, kw_only=True):
    """Answer to start and get: `recording_state` is active or inactive."""

    recording_id: str
    recording_state: str
    recording_kind: str = _KIND


class _RecordingEvent(CallEvent, frozen=True, kw_only=True):
    recording_id: str

    @property
    def source(self) -> str:
        return f"calling/recordings/{self.server_call_id}/recordingId/{self.recording_id}"


class RecordingStateChanged(_RecordingEvent, frozen=True, kw_only=True):
    """It records (`active`) or not (`inactive`: paused, or over). `start_date_time` from `event_time`."""

    state: str
    start_date_time: str
    recording_kind: str = _KIND


class StartRecordingFailed(_RecordingEvent, frozen=True, kw_only=True):
    """It was accepted and could not be started."""


RECORDING_EVENTS: Final[tuple[type[CallEvent], ...]] = (RecordingStateChanged, StartRecordingFailed)


def recording_id(platform: str, resource: str) -> str:
    """The id of a recording from two GUIDs (protocol.md §3.5). The blanks make padding, `+` and `/` unnecessary."""
    text = f'{{"PlatformEndpointId": "{platform}","ResourceSpecificId": "{resource}"}}'
    return base64.b64encode(text.encode()).decode()


class RecordingChunk(WireStruct, frozen=True, kw_only=True):
    """One file of a recording in its event (protocol.md §6.4)."""

    document_id: str
    index: int
    end_reason: str
    content_location: str
    metadata_location: str
    delete_location: str


def recording_file_status(
    *,
    event_id: str,
    topic: str,
    time: str,
    call_id: str,
    server_call_id: str,
    recording_id: str,
    chunks: Sequence[RecordingChunk],
    started: str,
    duration_ms: int,
    channel: str,
    form: str,
    session_end_reason: str,
    storage_error: str = "",
) -> bytes:
    """The body of a RecordingFileStatusUpdated post; `time` and `started` from `grid_time`.

    `storage_error`: why the files are not in the storage that the app asked for; ours, left out where there is none.
    """
    data: dict[str, Any] = {
        "recordingStorageInfo": {"recordingChunks": [chunk.to_wire() for chunk in chunks]},
        "recordingStartTime": started,
        "recordingDurationMs": duration_ms,
        "recordingContentType": "Audio",
        "recordingChannelType": channel.capitalize(),
        "recordingFormatType": form.capitalize(),
        "sessionEndReason": session_end_reason,
    }
    if storage_error:
        data["externalStorageError"] = storage_error
    return grid_event(
        event_id=event_id,
        topic=topic,
        subject=f"/recording/call/{call_id}/serverCallId/{server_call_id}/recordingId/{recording_id}",
        event_type="Microsoft.Communication.RecordingFileStatusUpdated",
        data=data,
        data_version="1.0",
        time=time,
    )


def recording_metadata(
    *,
    resource_id: str,
    call_id: str,
    chunk: RecordingChunk,
    started: str,
    duration_ms: float,
    channel: str,
    form: str,
    rate: int,
    channels: int,
    pauses: Sequence[tuple[str, float | None]],
    participants: Sequence[tuple[str, int | None]],
    interrupted: bool,
) -> dict[str, Any]:
    """The metadata document of one file, in the names that ACS gives them.

    `pauses`: when and for how many ms nothing was recorded (None: to the end). `participants`: raw id and channel.
    `interrupted`: the node ended without an end of the recording.
    """
    return {
        "resourceId": resource_id,
        "callId": call_id,
        "chunkDocumentId": chunk.document_id,
        "chunkIndex": chunk.index,
        "chunkStartTime": started,
        "chunkDuration": duration_ms,
        "pauseResumeIntervals": [
            {"startTime": at} if ms is None else {"startTime": at, "duration": ms} for at, ms in pauses
        ],
        "recordingInfo": {
            "contentType": "audio",
            "channelType": channel,
            "format": form,
            "audioConfiguration": {"sampleRate": rate, "channels": channels, "bitsPerSample": 16},
        },
        "participants": [
            {"participantId": raw_id} if number is None else {"participantId": raw_id, "channel": number}
            for raw_id, number in participants
        ],
        "interrupted": interrupted,
    }
