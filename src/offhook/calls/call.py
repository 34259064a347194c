"""The call as a pure machine: inputs are methods, time is `advance(now)`, what it wants is drained (architecture.md).

What an input does in each state is a row of `transitions`. Requests raise CallError and nothing else; reports about
legs and streams that are gone are late facts, and change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

from offhook.calls.connection import CallIds, Connection
from offhook.calls.conversation import EMPTY_LIMIT, MAX_HOPS, RING_TIMEOUT, CallLeg, Conversation, shown_to
from offhook.calls.recording import RecordingPlan
from offhook.calls.subscription import Operation, Subscription
from offhook.calls.transcribing import Fact
from offhook.calls.transitions import TONE_REQUESTS, announce, observe, perform
from offhook.errors import CallError
from offhook.wire.connecting import ConnectRequest
from offhook.wire.holding import HoldRequest, UnholdRequest
from offhook.wire.identifiers import Identifier
from offhook.wire.models import AnswerCallRequest, CreateCallRequest
from offhook.wire.participants import (
    AddParticipantRequest,
    CancelAddParticipantRequest,
    MuteParticipantsRequest,
    RemoveParticipantRequest,
)
from offhook.wire.playing import PlayRequest
from offhook.wire.recognizing import RecognizeRequest
from offhook.wire.tones import ToneRequest
from offhook.wire.transcription import TranscriptionRequest
from offhook.wire.transfer import TransferRequest


class Call(Conversation):
    """One call. `now` is monotonic seconds everywhere; `outcome` names a row of the results table."""

    @classmethod
    def incoming(
        cls,
        *,
        call_id: str,
        server_call_id: str,
        correlation_id: str,
        caller: Identifier,
        callee: Identifier,
        leg_id: str,
        display_name: str,
        now: float,
        ring_timeout: float = RING_TIMEOUT,
        max_hops: int = MAX_HOPS,
    ) -> Self:
        """A call that rings until an app decides, at most `ring_timeout` seconds."""
        call = cls(CallIds(call_id, server_call_id, correlation_id), "ringing", ring_timeout, max_hops)
        call.caller, call.display_name = caller, display_name
        call.legs[leg_id] = CallLeg(leg_id, caller, "offered")
        announce(call, callee, now)
        return call

    @classmethod
    def create(
        cls,
        *,
        call_id: str,
        server_call_id: str,
        correlation_id: str,
        connection_id: str,
        subscription_id: str,
        request: CreateCallRequest,
        leg_ids: Sequence[str],
        api_version: str,
        now: float,
        ring_timeout: float = RING_TIMEOUT,
    ) -> Self:
        """A call that an app places: every target is rung, the first to answer connects it.

        `leg_ids` has one id for each target. CallError `invalid_argument` for a target named twice or none at all.
        """
        targets = request.targets
        if not targets or len(set(targets)) != len(targets) or len(set(leg_ids)) != len(targets):
            raise CallError("invalid_argument", "targets: name at least one participant, and each only once")
        call = cls(CallIds(call_id, server_call_id, correlation_id), "dialing", ring_timeout)
        call.deadline = now + ring_timeout
        call.display_name = request.source_display_name or ""
        identity = request.source
        call.connections[connection_id] = Connection(
            call.ids, connection_id, subscription_id, request, api_version, identity, call.outbox
        )
        for leg_id, target in zip(leg_ids, targets, strict=True):
            source = shown_to(target, request.source_caller_id_number, identity)
            call.dial(leg_id, target, source, request.sip_headers, voip_headers=request.voip_headers)
        return call

    # an app decides about an incoming call ----------------------------------------------------------------------

    def answer(
        self, connection_id: str, subscription_id: str, request: AnswerCallRequest, api_version: str, now: float
    ) -> None:
        """Take the call. CallError `context_spent` when an app was quicker, `call_not_found` when it is over."""
        identity = request.answered_by or self.callee
        connection = Connection(self.ids, connection_id, subscription_id, request, api_version, identity, self.outbox)
        perform(self, "answer", connection, now)

    def reject(self, reason: str, now: float) -> None:
        """Refuse the caller; `reason` is none, busy or forbidden. CallError as `answer`, or `invalid_argument`."""
        perform(self, "reject", reason, now)

    def redirect(self, target: Identifier, leg_id: str, now: float) -> None:
        """Ring `target` as a new leg and bridge the caller to it. CallError as `answer`."""
        perform(self, "redirect", target, leg_id, now)

    def reannounce(self, callee: Identifier, now: float) -> None:
        """Ring the apps that watch `callee` instead. CallError as `answer`; `conflict` after too many times."""
        perform(self, "reannounce", callee, now)

    @classmethod
    def group(cls, *, call_id: str, server_call_id: str, correlation_id: str, now: float) -> Self:
        """A call that apps meet in by an id that they agree on: nobody is in it until one is added."""
        call = cls(CallIds(call_id, server_call_id, correlation_id), "connected", RING_TIMEOUT)
        call.is_group, call.deadline = True, now + EMPTY_LIMIT
        return call

    @classmethod
    def split(
        cls,
        *,
        call_id: str,
        server_call_id: str,
        correlation_id: str,
        caller: tuple[str, Identifier],
        callee: tuple[str, Identifier],
    ) -> Self:
        """Two people who have left another call to talk to each other; each is the id of a leg that is up, and who."""
        call = cls(CallIds(call_id, server_call_id, correlation_id), "bridged", RING_TIMEOUT)
        call.caller, call.callee = caller[1], callee[1]
        for leg_id, identifier in (caller, callee):
            leg = call.legs[leg_id] = CallLeg(leg_id, identifier, "waiting")
            call.join(leg)
        return call

    def connect(
        self, connection_id: str, subscription_id: str, request: ConnectRequest, api_version: str, now: float
    ) -> None:
        """One more app takes part. CallError `call_not_established` while no app has decided, `call_not_found`."""
        connection = Connection(self.ids, connection_id, subscription_id, request, api_version, None, self.outbox)
        perform(self, "connect", connection, now)

    # an app that holds the call ---------------------------------------------------------------------------------

    def hang_up(self, connection_id: str, now: float) -> None:
        """The app leaves; a call with one other person ends. CallError `call_not_found`."""
        perform(self, "hang_up", self.connection(connection_id), now)

    def terminate(self, connection_id: str, now: float) -> None:
        """End the call for all. CallError `call_not_found`."""
        perform(self, "terminate", self.connection(connection_id), now)

    def add_participant(
        self, connection_id: str, invitation_id: str, leg_id: str, request: AddParticipantRequest, now: float
    ) -> None:
        """Ring somebody as `leg_id`; AddParticipantSucceeded or -Failed follows.

        CallError `call_not_found`, `call_not_established`; `conflict` for who is there or rings already.
        """
        perform(self, "add_participant", self.connection(connection_id), invitation_id, leg_id, request, now)

    def cancel_add_participant(self, connection_id: str, request: CancelAddParticipantRequest, now: float) -> None:
        """Call an invitation off; CancelAddParticipantSucceeded or -Failed follows. CallError as `add_participant`."""
        perform(self, "cancel_add_participant", self.connection(connection_id), request, now)

    def remove_participant(self, connection_id: str, request: RemoveParticipantRequest, now: float) -> None:
        """Take somebody out; RemoveParticipantSucceeded or -Failed follows. CallError also `participant_not_found`."""
        perform(self, "remove_participant", self.connection(connection_id), request, now)

    def mute_participants(self, connection_id: str, request: MuteParticipantsRequest, now: float) -> None:
        """Mute people; ParticipantsUpdated follows. CallError also `participant_not_found`."""
        perform(self, "mute_participants", self.connection(connection_id), request, now)

    def transfer(self, connection_id: str, leg_id: str, request: TransferRequest, now: float) -> None:
        """Have somebody talk to another one instead, who is rung as `leg_id` if need be.

        CallTransferAccepted or -Failed follows. CallError `call_not_found`, `call_not_established`, and those of
        `Transfers.ask`.
        """
        perform(self, "transfer", self.connection(connection_id), leg_id, request, now)

    def play(self, connection_id: str, prompt_id: str, request: PlayRequest, now: float) -> None:
        """Play the sources when their turn has come.

        CallError `call_not_found`, `call_not_established`, `participant_not_found`, `media_busy`, `media_state`.
        """
        perform(self, "play", self.connection(connection_id), prompt_id, request, now)

    def cancel_media(self, connection_id: str, now: float) -> None:
        """Cancel what this app plays and recognises, running and queued.

        CallError `call_not_found`, `call_not_established`.
        """
        perform(self, "cancel_media", self.connection(connection_id), now)

    def start_recording(self, connection_id: str, plan: RecordingPlan, now: float) -> None:
        """Record the call; RecordingStateChanged or StartRecordingFailed follows.

        CallError `call_not_found`, `call_not_established`, `recording_running`.
        """
        perform(self, "start_recording", self.connection(connection_id), plan, now)

    def recognize(self, connection_id: str, action_id: str, request: RecognizeRequest, now: float) -> None:
        """Play the prompt and collect what is asked for, when its turn has come; it is told by Recognize… events.

        CallError as `play`.
        """
        perform(self, "recognize", self.connection(connection_id), action_id, request, now)

    def hold(self, connection_id: str, prompt_id: str, request: HoldRequest, now: float) -> None:
        """Put somebody on hold; ParticipantsUpdated follows, and HoldFailed if what is to be heard cannot be played.

        CallError `call_not_found`, `call_not_established`, `participant_not_found`, `media_state`.
        """
        perform(self, "hold", self.connection(connection_id), prompt_id, request, now)

    def unhold(self, connection_id: str, request: UnholdRequest, now: float) -> None:
        """Take somebody off hold; ParticipantsUpdated follows. CallError as `hold`."""
        perform(self, "unhold", self.connection(connection_id), request, now)

    def start_streaming(
        self, connection_id: str, operation_context: str | None, callback_uri: str | None, now: float
    ) -> None:
        """Dial the app's socket; Started or Failed goes to `callback_uri`, or else to the call's.

        CallError `call_not_found`, `call_not_established`, `streaming_not_configured`, `media_state`.
        """
        operation = Operation(operation_context, callback_uri)
        perform(self, "start_streaming", self.connection(connection_id), operation, now)

    def stop_streaming(
        self, connection_id: str, operation_context: str | None, callback_uri: str | None, now: float
    ) -> None:
        """Close the app's socket; Stopped goes to `callback_uri`, or else to the call's. CallError as start."""
        operation = Operation(operation_context, callback_uri)
        perform(self, "stop_streaming", self.connection(connection_id), operation, now)

    def tones(self, connection_id: str, request: ToneRequest, now: float) -> None:
        """Send or listen to tones, as the request's type says; its results follow as events.

        CallError `call_not_found`, `call_not_established`, `participant_not_found`, `media_busy`.
        """
        perform(self, TONE_REQUESTS[type(request)], self.connection(connection_id), request, now)

    def transcribe(self, connection_id: str, request: TranscriptionRequest, now: float) -> None:
        """Start, stop or update the transcription, as the request's type says; its events follow.

        CallError `call_not_found`, `call_not_established`, and those of `Transcribing`.
        """
        perform(self, "transcribe", self.connection(connection_id), request, now)

    # legs report ------------------------------------------------------------------------------------------------

    def leg_ringing(self, leg_id: str, now: float) -> None:
        """The endpoint rings."""
        self._leg_fact("leg_ringing", leg_id, now)

    def leg_answered(self, leg_id: str, now: float) -> None:
        """The leg is up: an inbound one after AnswerLeg, an outbound one because somebody took it."""
        self._leg_fact("leg_answered", leg_id, now)

    def leg_failed(self, leg_id: str, outcome: str, now: float, detail: str = "") -> None:
        """The leg never came up; `detail` joins the message that the app reads."""
        self._leg_fact("leg_lost", leg_id, outcome, detail, now)

    def leg_ended(self, leg_id: str, outcome: str, now: float) -> None:
        """The endpoint left; an empty `outcome` is an ordinary hang-up."""
        self._leg_fact("leg_lost", leg_id, outcome, "", now)

    def leg_referred(self, leg_id: str, outcome: str, refused: bool, detail: str, now: float) -> None:
        """What became of a ReferLeg: an empty `outcome` is success; `refused`: the endpoint called nobody."""
        self._leg_fact("leg_referred", leg_id, outcome, refused, detail, now)

    def leg_dtmf(self, leg_id: str, tone: str, now: float, in_sound: bool = False) -> None:
        """A key was pressed. Apps hear of it on their stream; CallError `participant_not_found` off the bridge.

        `in_sound`: everybody hears its tones anyway.
        """
        leg = self.legs.get(leg_id)
        if leg is None or not leg.joined:
            raise CallError("participant_not_found", f"leg {leg_id} is not in the talk; tone {tone!r} is ignored")
        observe(self, "leg_dtmf", leg, tone, in_sound, now)

    def key_sent(self, leg_id: str, now: float) -> None:
        """The key of a SendKey was played."""
        self.media.key_sent(leg_id, now)

    # streams report ---------------------------------------------------------------------------------------------

    def stream_opened(self, connection_id: str, now: float) -> None:
        """The app's socket is up."""
        self._stream_fact(connection_id, Subscription.opened)

    def stream_failed(self, connection_id: str, outcome: str, detail: str, now: float) -> None:
        """The app's socket never came up, or is lost for good; the call lives on (protocol.md §2.10)."""
        self._stream_fact(connection_id, Subscription.failed, outcome, detail)

    def stream_reestablished(self, connection_id: str, now: float) -> None:
        """The app's socket broke and is up again."""
        self._stream_fact(connection_id, Subscription.reestablished)

    def stream_closed_by_app(self, connection_id: str, now: float) -> None:
        """The app closed its socket in order."""
        self._stream_fact(connection_id, Subscription.closed_by_app)

    def stream_closed(self, connection_id: str, now: float) -> None:
        """The CloseStream of a stop is done."""
        self._stream_fact(connection_id, Subscription.closed)

    def transcription(self, connection_id: str, fact: Fact, now: float, outcome: str = "", detail: str = "") -> None:
        """What became of a transcription, or of a change of it."""
        connection = self.connections.get(connection_id)
        if connection is not None:
            connection.transcribing.observe(fact, outcome, detail)

    # prompts report ---------------------------------------------------------------------------------------------

    def prompt_ready(self, connection_id: str, prompt_id: str, now: float) -> None:
        """Its sources are there."""
        self.media.prompt_ready(prompt_id, now)

    def prompt_failed(
        self, connection_id: str, prompt_id: str, outcome: str, detail: str, index: int | None, now: float
    ) -> None:
        """It cannot be played; `index` is the source at fault."""
        self.media.prompt_failed(prompt_id, outcome, detail, index, now)

    def prompt_ended(self, connection_id: str, prompt_id: str, now: float) -> None:
        """Its last sample has been heard."""
        self.media.prompt_ended(prompt_id, now)

    # speech reports ---------------------------------------------------------------------------------------------

    def speech_began(self, hearing_id: str, now: float) -> None:
        """Somebody speaks who is listened to."""
        self.media.speech(hearing_id, lambda action: action.speech_began(now), now)

    def speech_heard(self, hearing_id: str, text: str, confidence: float | None, now: float) -> None:
        """An utterance is over; an empty text was not understood. `confidence` is 0 to 1."""
        self.media.speech(hearing_id, lambda action: action.speech_heard(text, confidence, now), now)

    def speech_failed(self, hearing_id: str, outcome: str, detail: str, now: float) -> None:
        """It cannot be recognised; `detail` joins the message that the app reads."""
        self.media.speech(hearing_id, lambda action: action.speech_failed(outcome, detail, now), now)

    # node and clock ---------------------------------------------------------------------------------------------

    def shut_down(self, now: float) -> None:
        """The node stops: everything ends now."""
        if self.state != "ended":
            self.finish("service_stopping")

    def advance(self, now: float) -> None:
        """Time has come to `now`; acts when a deadline is reached."""
        self.media.advance(now)
        due = self.ring_deadline()
        if due is not None and now >= due:
            self.deadline = None
            observe(self, "time_out", now)

    # inside -----------------------------------------------------------------------------------------------------

    def _leg_fact(self, name: str, leg_id: str, *args: Any) -> None:
        leg = self.legs.get(leg_id)
        if leg is not None:
            observe(self, name, leg, *args)

    def _stream_fact(self, connection_id: str, fact: Any, *args: str) -> None:
        connection = self.connections.get(connection_id)
        if connection is not None and connection.stream is not None:
            connection.tell_stream(fact(connection.stream, *args))
