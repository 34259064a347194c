"""Which input does what in which state: the call's transition tables and the steps they name.

REQUESTS answers apps: a step, or the results row that refuses. FACTS takes what happened to legs, and time: a state
without a row means that the fact comes too late to matter. Sections are protocol.md's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from offhook.calls import holding, moving, recording, roster
from offhook.calls.actions import AnnounceCall, SendKey
from offhook.calls.connection import Connection
from offhook.calls.conversation import CallLeg, Conversation, State, far_end, known
from offhook.calls.keys import operation_of
from offhook.calls.playing import Play
from offhook.calls.recognition import Recognition
from offhook.calls.sending import Sending
from offhook.calls.subscription import Operation
from offhook.errors import CallError
from offhook.wire.identifiers import Identifier
from offhook.wire.playing import PlayRequest
from offhook.wire.recognizing import RecognizeRequest
from offhook.wire.tones import (
    SendDtmfTonesRequest,
    StartContinuousDtmfRequest,
    StopContinuousDtmfRequest,
    ToneRequest,
)
from offhook.wire.transcription import TranscriptionRequest
from offhook.wire.transfer import TransferRequest

Step = Callable[..., None]

# `callRejectReason` (§3.3) as the caller is told; a call rejected for no reason was recorded as 200/5002.
REJECT_OUTCOMES: Final = {"none": "rejected", "busy": "busy", "forbidden": "refused"}

# A callee that declines is a rejected call to the app: what was recorded wins over the table's 603/0 (§9 row 21).
_AS_RECORDED: Final = {"declined": "rejected"}


def perform(call: Conversation, request: str, *args: Any) -> None:
    """Do what an app asks for, or raise CallError with the row that refuses it in this state."""
    rule = REQUESTS[request][call.state]
    if isinstance(rule, str):
        raise CallError(rule)
    rule(call, *args)


def observe(call: Conversation, fact: str, *args: Any) -> None:
    """Take note of what happened; too late for this state: nothing."""
    step = FACTS[fact].get(call.state)
    if step is not None:
        step(call, *args)


# an app decides about an incoming call ------------------------------------------------------------------------------


def answer(call: Conversation, connection: Connection, now: float) -> None:
    """The caller's leg is taken and the stream is dialled at once, side by side (§2.1)."""
    call.connections[connection.connection_id] = connection
    call.state, call.deadline = "answering", now + call.ring_timeout
    for leg in call.legs.values():
        call.take(leg)
    connection.open_planned_stream()


def reject(call: Conversation, reason: str, now: float) -> None:
    """The caller is refused; no app is told anything (§5.1)."""
    if reason not in REJECT_OUTCOMES:
        raise CallError("invalid_argument", f"callRejectReason: {reason!r} is none of {', '.join(REJECT_OUTCOMES)}")
    call.finish(REJECT_OUTCOMES[reason])


def redirect(call: Conversation, target: Identifier, leg_id: str, now: float) -> None:
    """Ring the target; the caller keeps ringing meanwhile. No app is told anything (§5.1)."""
    if leg_id in call.legs:
        raise CallError("conflict", f"leg {leg_id} is in the call already")
    call.state, call.deadline = "redirecting", now + call.ring_timeout
    call.dial(leg_id, target, call.caller)


def reannounce(call: Conversation, callee: Identifier, now: float) -> None:
    """A redirect to somebody whom an app watches: a new IncomingCall for that one (§5.7)."""
    if call.hops >= call.max_hops:
        raise CallError("conflict", f"The call was redirected {call.hops} times already; answer or reject it.")
    call.hops += 1
    announce(call, callee, now)


def announce(call: Conversation, callee: Identifier, now: float) -> None:
    """Ring the apps that watch `callee`; they have the ring time-out to decide (§7)."""
    assert call.caller is not None
    call.callee, call.deadline = callee, now + call.ring_timeout
    call.outbox.append(AnnounceCall(call.caller, callee, call.display_name))


# an app that holds the call -----------------------------------------------------------------------------------------


def hang_up(call: Conversation, connection: Connection, now: float) -> None:
    """With one other person the call ends; in a group the app alone leaves, and the others talk on (§5.7).

    So it does while other apps are in the call; who rings because it asked for them is rung no more, and if nobody else
    is there, the others are told that the call is over.
    """
    if len(call.connections) > 1:
        for leg in [leg for leg in call.legs.values() if leg.invited_by(connection)]:
            call.release(leg, "ended_by_app")
        call.drop(connection, "ended_by_app")
        if not call.deserted("far_end_left", now) and connection.identity is not None and call.state == "connected":
            call.tell_roster()
        return
    if len(call.joined()) < 2:
        call.finish("ended_by_app")
        return
    call.transfers.dropped(connection)
    call.release_pending("ended_by_app")
    call.drop(connection, "ended_by_app")
    call.state = "bridged"


def terminate(call: Conversation, connection: Connection, now: float) -> None:
    """The call ends for all (§3.2)."""
    call.finish("ended_by_app")


def play(call: Conversation, connection: Connection, prompt_id: str, request: PlayRequest, now: float) -> None:
    """It is loaded and heard when its turn has come (§3.9)."""
    call.media.ask(Play(prompt_id, connection, request, call.present()), now, interrupt=request.interrupt)


def cancel_media(call: Conversation, connection: Connection, now: float) -> None:
    """Everything that this app plays and recognises ends, running and queued (§3.9)."""
    call.media.cancel(connection, now)


def transfer(call: Conversation, connection: Connection, leg_id: str, request: TransferRequest, now: float) -> None:
    """Somebody leaves this call to talk to somebody else (§9 row 40)."""
    call.transfers.ask(connection, leg_id, request)


def start_streaming(call: Conversation, connection: Connection, operation: Operation, now: float) -> None:
    """Dial the app (§2.1)."""
    connection.start_stream(operation)


def stop_streaming(call: Conversation, connection: Connection, operation: Operation, now: float) -> None:
    """Close the app's socket; the call goes on (§2.1)."""
    connection.stop_stream(operation)


def transcribe(call: Conversation, connection: Connection, request: TranscriptionRequest, now: float) -> None:
    """Start, stop or change the transcription of everybody (§2.11)."""
    connection.transcribing.ask(request)


def send_tones(call: Conversation, connection: Connection, request: SendDtmfTonesRequest, now: float) -> None:
    """Play tones to one participant (§3.3)."""
    leg = call.participant_leg(request.target_participant)
    call.media.ask(Sending(connection, leg.leg_id, request), now)


def start_listening(call: Conversation, connection: Connection, request: ToneRequest, now: float) -> None:
    """Tell the app of every key of one participant (§3.9: once it runs, in parallel with everything else)."""
    leg = call.participant_leg(request.target_participant)
    call.media.refuse_if_sub_leg_is_taken()
    call.keys.listen(connection, leg.leg_id, operation_of(request))


def stop_listening(call: Conversation, connection: Connection, request: ToneRequest, now: float) -> None:
    """Tell the app of no further keys."""
    leg = call.participant_leg(request.target_participant)
    call.keys.stop_listening(connection, leg.leg_id, operation_of(request))


def recognize(
    call: Conversation, connection: Connection, action_id: str, request: RecognizeRequest, now: float
) -> None:
    """Ask one participant for something when its turn has come (§3.9)."""
    leg = call.participant_leg(request.target_participant)
    asked = Recognition(action_id, connection, leg.leg_id, request, group=len(call.joined()) > 1)
    call.media.ask(asked, now, interrupt=request.interrupt)


# legs ---------------------------------------------------------------------------------------------------------------


def leg_rings(call: Conversation, leg: CallLeg, now: float) -> None:
    """Known for the trace; apps are not told."""
    leg.ringing = True


def connect(call: Conversation, leg: CallLeg, now: float) -> None:
    """The first leg is up: the app is in the call. CallConnected, the roster, then the stream's news (§5.7)."""
    call.state = "connected"
    call.join(leg)
    for other in call.legs.values():
        other.deadline = None if other.joined else call.deadline
    call.deadline = None
    for connection in call.connections.values():
        connection.open_planned_stream()
        connection.establish(call.roster())


def join_in(call: Conversation, leg: CallLeg, now: float) -> None:
    """A further target of a group call answered, or somebody who was invited."""
    if leg.phase != "dialled" or call.transfers.answered(leg, now):
        return
    call.join(leg)
    roster.added(call, leg)
    call.tell_roster()


def target_answers(call: Conversation, leg: CallLeg, now: float) -> None:
    """The target of a redirect answered: now the caller's leg is taken."""
    if leg.phase != "dialled":
        return
    leg.phase = "waiting"
    call.state, call.deadline = "bridging", now + call.ring_timeout
    for other in call.legs.values():
        if other.phase == "offered":
            call.take(other)


def bridge(call: Conversation, leg: CallLeg, now: float) -> None:
    """Both ends of a redirected call are up."""
    if leg.phase != "answering":
        return
    call.state, call.deadline = "bridged", None
    for end in call.legs.values():
        call.join(end)


def caller_lost(call: Conversation, leg: CallLeg, outcome: str, detail: str, now: float) -> None:
    """The caller gave up before the talk (§5.8: 487/0); an app that was answering gets AnswerFailed."""
    call.forget(leg)
    call.finish(known(outcome, "gave_up"), detail)


def redirect_lost(call: Conversation, leg: CallLeg, outcome: str, detail: str, now: float) -> None:
    """One end of a redirect is gone, so is the other: the caller ends with the target's outcome."""
    call.forget(leg)
    by_caller = leg.phase in ("offered", "answering")
    call.finish(known(outcome, "gave_up" if by_caller else "unreachable"), detail)


def target_lost(call: Conversation, leg: CallLeg, outcome: str, detail: str, now: float) -> None:
    """A target did not take the call; after the last one the app gets CreateCallFailed with its outcome (§5.7)."""
    call.forget(leg)
    if not call.legs:
        call.finish(_AS_RECORDED.get(outcome, known(outcome, "unreachable")), detail)


def member_lost(call: Conversation, leg: CallLeg, outcome: str, detail: str, now: float) -> None:
    """Somebody left, or a further target did not answer; without anybody the app is alone and the call ends (§5.5)."""
    call.forget(leg)
    why = far_end(leg, outcome) if leg.joined else known(outcome, "unreachable")
    roster.not_added(call, leg, why, detail)
    if not call.deserted(why, now, detail) and leg.joined:
        call.tell_roster()


def leg_referred(call: Conversation, leg: CallLeg, outcome: str, refused: bool, detail: str, now: float) -> None:
    """What became of asking an endpoint to call somebody else itself."""
    call.transfers.referred(leg, outcome and known(outcome), refused, detail, now)


def key_pressed(call: Conversation, leg: CallLeg, tone: str, in_sound: bool, now: float) -> None:
    """It counts for the apps that wait for it."""
    call.keys.pressed(leg.leg_id, tone)
    call.media.pressed(leg.leg_id, tone, now)


def pass_key_on(call: Conversation, leg: CallLeg, tone: str, in_sound: bool, now: float) -> None:
    """Where no app is, it is meant for the others: a menu that the caller was transferred to, say."""
    if not in_sound:
        call.outbox += [SendKey(other.leg_id, tone) for other in call.joined() if other is not leg]


def peer_lost(call: Conversation, leg: CallLeg, outcome: str, detail: str, now: float) -> None:
    """Somebody left a call without an app; nobody is left to talk alone."""
    call.forget(leg)
    if len(call.legs) < 2:
        call.finish(far_end(leg, outcome), detail)


# time ---------------------------------------------------------------------------------------------------------------


def not_answered(call: Conversation, now: float) -> None:
    """It rang too long (§7: 30 s; §5.8: 487/10004)."""
    call.finish("not_answered")


def not_set_up(call: Conversation, now: float) -> None:
    """A leg that was taken never came up (§5.8: 408/10057)."""
    call.finish("set_up_timeout")


def pending_not_answered(call: Conversation, now: float) -> None:
    """Who was rung while others talk, and rang too long, is given up; the others talk on.

    Without any, it is a group call that has been empty for too long.
    """
    if not call.legs:
        call.finish("far_end_left")
        return
    for leg in [leg for leg in call.legs.values() if leg.deadline is not None and now >= leg.deadline]:
        call.release(leg, "not_answered")
        roster.not_added(call, leg, "not_answered")
    call.deserted("not_answered", now)


# the tables ---------------------------------------------------------------------------------------------------------

# An incoming call is decided once: the loser of a second answer gets 409/8519 (§3.5, §9 row 14).
_SPENT: Final[Mapping[State, Step | str]] = {
    "answering": "context_spent",
    "redirecting": "context_spent",
    "bridging": "context_spent",
    "connected": "context_spent",
    "bridged": "context_spent",
    "dialing": "call_not_found",  # an outbound call was never announced
    "ended": "call_not_found",
}

# Requests that name a connection are refused with call_not_found before this table when that connection is over.
_NO_APP: Final[Mapping[State, Step | str]] = {
    "ringing": "call_not_found",
    "redirecting": "call_not_found",
    "bridging": "call_not_found",
    "bridged": "call_not_found",
    "ended": "call_not_found",
}
_NOT_YET: Final[Mapping[State, Step | str]] = {
    **_NO_APP,
    "answering": "call_not_established",
    "dialing": "call_not_established",
}

REQUESTS: Final[Mapping[str, Mapping[State, Step | str]]] = {
    "answer": {**_SPENT, "ringing": answer},
    "reject": {**_SPENT, "ringing": reject},
    "redirect": {**_SPENT, "ringing": redirect},
    "reannounce": {**_SPENT, "ringing": reannounce},
    "connect": {
        "ringing": "call_not_established",
        "answering": moving.join,
        "redirecting": "call_not_established",
        "bridging": "call_not_established",
        "dialing": moving.join,
        "connected": moving.join,
        "bridged": moving.join,
        "ended": "call_not_found",
    },
    "hang_up": {**_NO_APP, "answering": hang_up, "dialing": hang_up, "connected": hang_up},
    "terminate": {**_NO_APP, "answering": terminate, "dialing": terminate, "connected": terminate},
    "add_participant": {**_NOT_YET, "connected": roster.add},
    "cancel_add_participant": {**_NOT_YET, "connected": roster.cancel_add},
    "remove_participant": {**_NOT_YET, "connected": roster.remove},
    "mute_participants": {**_NOT_YET, "connected": roster.mute},
    "transfer": {**_NOT_YET, "connected": transfer},
    "play": {**_NOT_YET, "connected": play},
    "cancel_media": {**_NOT_YET, "connected": cancel_media},
    "start_recording": {**_NOT_YET, "connected": recording.start},
    "start_streaming": {**_NOT_YET, "connected": start_streaming},
    "stop_streaming": {**_NOT_YET, "connected": stop_streaming},
    "transcribe": {**_NOT_YET, "connected": transcribe},
    "send_tones": {**_NOT_YET, "connected": send_tones},
    "start_listening": {**_NOT_YET, "connected": start_listening},
    "stop_listening": {**_NOT_YET, "connected": stop_listening},
    "recognize": {**_NOT_YET, "connected": recognize},
    "hold": {**_NOT_YET, "connected": holding.hold},
    "unhold": {**_NOT_YET, "connected": holding.unhold},
}

TONE_REQUESTS: Final[Mapping[type[ToneRequest], str]] = {
    SendDtmfTonesRequest: "send_tones",
    StartContinuousDtmfRequest: "start_listening",
    StopContinuousDtmfRequest: "stop_listening",
}

FACTS: Final[Mapping[str, Mapping[State, Step]]] = {
    "leg_ringing": {"dialing": leg_rings, "connected": leg_rings, "redirecting": leg_rings},
    "leg_answered": {
        "answering": connect,
        "dialing": connect,
        "connected": join_in,
        "redirecting": target_answers,
        "bridging": bridge,
    },
    "leg_referred": {"connected": leg_referred},
    "leg_dtmf": {"connected": key_pressed, "bridged": pass_key_on},
    "leg_lost": {
        "ringing": caller_lost,
        "answering": caller_lost,
        "redirecting": redirect_lost,
        "bridging": redirect_lost,
        "dialing": target_lost,
        "connected": member_lost,
        "bridged": peer_lost,
    },
    "time_out": {
        "ringing": not_answered,
        "answering": not_set_up,
        "redirecting": not_answered,
        "bridging": not_set_up,
        "dialing": not_answered,
        "connected": pending_not_answered,
    },
}
