"""What a call asks of its node, and what an app is told, as structs in one ordered list (architecture.md)."""

from __future__ import annotations

from dataclasses import dataclass

from offhook.wire.events import CallEvent
from offhook.wire.identifiers import Identifier
from offhook.wire.models import MediaStreamingOptions, TranscriptionOptions
from offhook.wire.playing import PlaySource


@dataclass(frozen=True, slots=True)
class Notify:
    """Tell the app: post `event` to `callback_uri`, written for `api_version`."""

    event: CallEvent
    callback_uri: str
    api_version: str


@dataclass(frozen=True, slots=True)
class AnnounceCall:
    """Post IncomingCall to whoever watches `callee` (protocol.md §6.3). Said again with each new callee."""

    caller: Identifier
    callee: Identifier
    display_name: str


@dataclass(frozen=True, slots=True)
class AnswerLeg:
    """Take an inbound leg; the node reports `leg_answered` when it is up."""

    leg_id: str


@dataclass(frozen=True, slots=True)
class RejectLeg:
    """Refuse an inbound leg that was not answered. The leg is gone for the call; nothing need be reported."""

    leg_id: str
    outcome: str


@dataclass(frozen=True, slots=True)
class HangUpLeg:
    """End a leg, ringing or up. The leg is gone for the call; nothing need be reported."""

    leg_id: str
    outcome: str


@dataclass(frozen=True, slots=True)
class DialLeg:
    """Ring `target`; `source` is the caller that it is shown, None if the app named none.

    `sip_headers`: User-To-User and X-MS-Custom-… that go along; `voip_headers`: what goes along to an app alone.
    """

    leg_id: str
    target: Identifier
    source: Identifier | None
    display_name: str
    sip_headers: tuple[tuple[str, str], ...] = ()
    voip_headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Dial the app's WebSocket; the node reports `stream_opened` or `stream_failed`."""

    connection_id: str
    options: MediaStreamingOptions
    subscription_id: str


@dataclass(frozen=True, slots=True)
class CloseStream:
    """Close the app's WebSocket; the node reports `stream_closed`."""

    connection_id: str


@dataclass(frozen=True, slots=True)
class OpenTranscription:
    """Recognise everybody for an app and dial its WebSocket; the node reports `transcription` facts."""

    connection_id: str
    options: TranscriptionOptions
    subscription_id: str
    locale: str


@dataclass(frozen=True, slots=True)
class UpdateTranscription:
    """Recognise in another language from now on; the node reports whether it can."""

    connection_id: str
    locale: str


@dataclass(frozen=True, slots=True)
class CloseTranscription:
    """Close the app's transcription; the node reports `closed`."""

    connection_id: str


@dataclass(frozen=True, slots=True)
class LoadPrompt:
    """Fetch and decode what will be played; the node reports `prompt_ready` or `prompt_failed`."""

    connection_id: str
    prompt_id: str
    sources: tuple[PlaySource, ...]


@dataclass(frozen=True, slots=True)
class StartPrompt:
    """Play a loaded prompt from the next tick on; the node reports `prompt_ended`.

    `to`: raw ids of who hears it, None for everybody in the call.
    """

    connection_id: str
    prompt_id: str
    loop: bool
    to: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class DropPrompt:
    """Stop a prompt, loading or playing. It is gone for the call; nothing need be reported."""

    prompt_id: str


@dataclass(frozen=True, slots=True)
class HoldLeg:
    """A leg on hold is heard by nobody and hears only what is played to it by name; else it is back in the talk."""

    leg_id: str
    held: bool


@dataclass(frozen=True, slots=True)
class LegJoined:
    """Put a leg on the bridge."""

    leg_id: str


@dataclass(frozen=True, slots=True)
class LegLeft:
    """Take a leg off the bridge."""

    leg_id: str


@dataclass(frozen=True, slots=True)
class MuteLeg:
    """Nobody hears a leg any more, or everybody again; it hears the others all along."""

    leg_id: str
    muted: bool = True


@dataclass(frozen=True, slots=True)
class MoveLeg:
    """A leg goes on in the call `call_id` of the node. It is gone for this one."""

    leg_id: str
    call_id: str


@dataclass(frozen=True, slots=True)
class ReferLeg:
    """Ask the endpoint of a leg to call `target` itself, on behalf of `source`; the node reports `leg_referred`."""

    leg_id: str
    target: Identifier
    source: Identifier | None
    sip_headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class SplitCall:
    """Two legs, one called by the other as it were, go on in a call of their own. They are gone for this one."""

    caller_id: str
    callee_id: str


@dataclass(frozen=True, slots=True)
class SendKey:
    """Play a key to the endpoint; the node reports `key_sent` when it has been played."""

    leg_id: str
    key: str


@dataclass(frozen=True, slots=True)
class DropKeys:
    """Play no key that was not played yet; nothing need be reported."""

    leg_id: str


@dataclass(frozen=True, slots=True)
class Record:
    """Do something about a recording; after `open` the node reports `opened` or `failed` to it.

    `what`: open (paused, where the recording says so), pause, resume, close. `reason`: why it is closed.
    """

    recording_id: str
    what: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class StartHearing:
    """Recognise what a leg says; the node reports `speech_began`, `speech_heard` once, or `speech_failed`.

    `end_silence` in seconds ends an utterance; `phrases` are what is likely to be said.
    """

    hearing_id: str
    leg_id: str
    language: str
    end_silence: float
    phrases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StopHearing:
    """Recognise no more; nothing need be reported."""

    hearing_id: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """Nothing of the call is left; the last thing it says. `outcome` is a row of the results table."""

    outcome: str


Action = (
    AnnounceCall
    | AnswerLeg
    | RejectLeg
    | HangUpLeg
    | DialLeg
    | OpenStream
    | CloseStream
    | OpenTranscription
    | UpdateTranscription
    | CloseTranscription
    | LoadPrompt
    | StartPrompt
    | DropPrompt
    | HoldLeg
    | LegJoined
    | LegLeft
    | MuteLeg
    | MoveLeg
    | ReferLeg
    | SplitCall
    | SendKey
    | DropKeys
    | Record
    | StartHearing
    | StopHearing
    | CallEnded
)
Output = Action | Notify
