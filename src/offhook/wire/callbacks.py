"""The callbacks of a call as an app has them: one class for each type of event (protocol.md 5.3, 5.5, 5.6).

The classes are the table: a field's name in camel case is its name on the wire. Reading is tolerant: a field that is
not there, or is of another shape, keeps its default, and a type that is not here is a plain `CallbackEvent`.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from offhook.wire.tones import TONE_NAMES

_KEYS: Final = {name: key for key, name in TONE_NAMES.items()}


class Party(Struct, frozen=True, rename="camel"):
    """Somebody: `raw_id` is 4:+15550100001 for a phone, 8:acs:... for a user (protocol.md 3.6)."""

    raw_id: str = ""


class Participant(Struct, frozen=True, rename="camel"):
    """One person of a call's roster."""

    identifier: Party = Party()
    is_muted: bool = False
    is_on_hold: bool = False


class StreamingUpdate(Struct, frozen=True, rename="camel"):
    """State of the media stream."""

    content_type: str = ""
    media_streaming_status: str = ""
    media_streaming_status_details: str = ""


class TranscriptionUpdate(Struct, frozen=True, rename="camel"):
    """State of the transcription."""

    transcription_status: str = ""
    transcription_status_details: str = ""


class DtmfResult(Struct, frozen=True, rename="camel"):
    """Keys that were recognised; `tones` by their names on the wire, such as "five" and "pound"."""

    tones: list[str] = []

    @property
    def keys(self) -> str:
        """As on the keys: "5#"."""
        return "".join(_KEYS.get(tone.lower(), "") for tone in self.tones)


class ChoiceResult(Struct, frozen=True, rename="camel"):
    """The choice that was recognised."""

    label: str = ""
    recognized_phrase: str | None = None
    confidence: float | None = None


class SpeechResult(Struct, frozen=True, rename="camel"):
    """The words that were recognised."""

    speech: str = ""
    confidence: float | None = None


class CallbackEvent(Struct, frozen=True):
    """One callback of a call. `type` is without its prefix, such as CallConnected; `data` is all of it, as sent.

    `code`, `sub_code`, `message` are its result (protocol.md 5.8), None and "" where it has none.
    """

    type: str
    id: str
    call_connection_id: str
    correlation_id: str
    operation_context: str | None
    code: int | None
    sub_code: int | None
    message: str
    data: dict[str, Any]


class CallConnected(CallbackEvent, frozen=True, kw_only=True):
    """The app's side of the call is up."""


class CallDisconnected(CallbackEvent, frozen=True, kw_only=True):
    """The app's side is gone; the last event of its connection."""


class CreateCallFailed(CallbackEvent, frozen=True, kw_only=True):
    """A call that the app placed was not answered."""


class AnswerFailed(CallbackEvent, frozen=True, kw_only=True):
    """A call that the app answered could not be connected."""


class ConnectFailed(CallbackEvent, frozen=True, kw_only=True):
    """A call that exists could not be joined."""


class ParticipantsUpdated(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """The roster as of now; `sequence_number` rises within a call."""

    sequence_number: int = 0
    participants: list[Participant] = []


class ParticipantEvent(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """Something about one participant."""

    participant: Party = Party()


class AddParticipantSucceeded(ParticipantEvent, frozen=True, kw_only=True):
    """Somebody who was invited is in the call."""


class AddParticipantFailed(ParticipantEvent, frozen=True, kw_only=True):
    """Somebody who was invited did not come."""


class RemoveParticipantSucceeded(ParticipantEvent, frozen=True, kw_only=True):
    """Somebody was taken out of the call."""


class RemoveParticipantFailed(ParticipantEvent, frozen=True, kw_only=True):
    """Somebody could not be taken out of the call."""


class MoveParticipantSucceeded(ParticipantEvent, frozen=True, kw_only=True, rename="camel"):
    """Somebody came over from another call, whose connection is `from_call`."""

    from_call: str = ""


class MoveParticipantFailed(ParticipantEvent, frozen=True, kw_only=True, rename="camel"):
    """Somebody could not be moved here from the call `from_call`."""

    from_call: str = ""


class CancelAddParticipantSucceeded(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """An invitation was called off."""

    invitation_id: str = ""


class CancelAddParticipantFailed(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """An invitation could not be called off."""

    invitation_id: str = ""


class CallTransferAccepted(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """The transfer is done; CallDisconnected follows."""

    transfer_target: Party = Party()
    transferee: Party = Party()


class CallTransferFailed(CallbackEvent, frozen=True, kw_only=True):
    """The target did not take the call, which goes on here."""


class PlayStarted(CallbackEvent, frozen=True, kw_only=True):
    """A prompt of the service has begun."""


class PlayCompleted(CallbackEvent, frozen=True, kw_only=True):
    """A prompt of the service was played to its end."""


class PlayCanceled(CallbackEvent, frozen=True, kw_only=True):
    """A prompt of the service was called off."""


class PlayFailed(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """A prompt of the service could not be played."""

    failed_play_source_index: int | None = None


class RecognizeCompleted(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """The service recognised something; `recognition_type` is dtmf, choices or speech, and that result is there."""

    recognition_type: str = ""
    dtmf_result: DtmfResult | None = None
    choice_result: ChoiceResult | None = None
    speech_result: SpeechResult | None = None


class RecognizeFailed(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """The service recognised nothing; `sub_code` says why (8510: silence, 8532: too slow between keys)."""

    failed_play_source_index: int | None = None


class RecognizeCanceled(CallbackEvent, frozen=True, kw_only=True):
    """A recognition was called off."""


class ContinuousDtmfRecognitionToneReceived(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """One key; `tone` by its name on the wire, `key` as on the key."""

    sequence_id: int = 0
    tone: str = ""

    @property
    def key(self) -> str:
        """0-9 * # A-D; empty for a tone that is not known."""
        return _KEYS.get(self.tone.lower(), "")


class ContinuousDtmfRecognitionToneFailed(CallbackEvent, frozen=True, kw_only=True):
    """Keys are not listened for any more: it failed."""


class ContinuousDtmfRecognitionStopped(CallbackEvent, frozen=True, kw_only=True):
    """Keys are not listened for any more: the app stopped it."""


class SendDtmfTonesCompleted(CallbackEvent, frozen=True, kw_only=True):
    """Tones were sent."""


class SendDtmfTonesFailed(CallbackEvent, frozen=True, kw_only=True):
    """Tones could not be sent."""


class HoldFailed(CallbackEvent, frozen=True, kw_only=True):
    """Somebody could not be put on hold."""


class StreamingEvent(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """Something about the media stream."""

    media_streaming_update: StreamingUpdate = StreamingUpdate()


class MediaStreamingStarted(StreamingEvent, frozen=True, kw_only=True):
    """The media stream runs, or runs again after a break."""


class MediaStreamingStopped(StreamingEvent, frozen=True, kw_only=True):
    """The media stream was stopped; the call goes on."""


class MediaStreamingFailed(StreamingEvent, frozen=True, kw_only=True):
    """There is no media stream; `code`, `sub_code` and `message` say why. The call goes on."""


class TranscriptionEvent(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """Something about the transcription."""

    transcription_update: TranscriptionUpdate = TranscriptionUpdate()


class TranscriptionStarted(TranscriptionEvent, frozen=True, kw_only=True):
    """Words are written down."""


class TranscriptionStopped(TranscriptionEvent, frozen=True, kw_only=True):
    """Words are not written down any more."""


class TranscriptionUpdated(TranscriptionEvent, frozen=True, kw_only=True):
    """The transcription's language has changed."""


class TranscriptionResumed(TranscriptionEvent, frozen=True, kw_only=True):
    """Words are written down again."""


class TranscriptionFailed(TranscriptionEvent, frozen=True, kw_only=True):
    """Words cannot be written down."""


class RecordingStateChanged(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """A recording runs (`state` active), or does not (inactive)."""

    recording_id: str = ""
    state: str = ""
    start_date_time: str | None = None
    recording_kind: str = ""


class StartRecordingFailed(CallbackEvent, frozen=True, kw_only=True, rename="camel"):
    """A recording could not be started."""

    recording_id: str = ""


_KINDS: Final = (ParticipantEvent, StreamingEvent, TranscriptionEvent)
_COMMON: Final = frozenset(CallbackEvent.__struct_fields__)


def _leaves(kind: type[CallbackEvent]) -> list[type[CallbackEvent]]:
    below = [leaf for child in kind.__subclasses__() for leaf in _leaves(child)]
    return below if kind in (CallbackEvent, *_KINDS) else [kind]


EVENTS: Final = {kind.__name__: kind for kind in _leaves(CallbackEvent)}
"""Every type by its name."""

_EXTRA: Final = {
    kind: [(one.name, one.encode_name, one.type) for one in msgspec.structs.fields(kind) if one.name not in _COMMON]
    for kind in EVENTS.values()
}


def typed(event: CallbackEvent) -> CallbackEvent:
    """The same event as its own class, with what its type has more; as it is where the type is not known."""
    kind = EVENTS.get(event.type)
    if kind is None:
        return event
    more = {}
    for name, on_wire, shape in _EXTRA[kind]:
        if on_wire in event.data:
            try:
                more[name] = msgspec.convert(event.data[on_wire], shape)
            except (msgspec.ValidationError, RecursionError):
                continue
    return kind(*(getattr(event, name) for name in CallbackEvent.__struct_fields__), **more)
