"""What the API does about sound: playing, tones and streams; results follow as events (protocol.md §3.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from offhook.wire.holding import HoldRequest, UnholdRequest
from offhook.wire.models import StartMediaStreamingRequest, StopMediaStreamingRequest
from offhook.wire.playing import PlayRequest
from offhook.wire.recognizing import RecognizeRequest
from offhook.wire.tones import SendDtmfTonesRequest, SendDtmfTonesResult, ToneRequest

if TYPE_CHECKING:
    from offhook.service.operations import Asked, CallControl


def play(control: CallControl, asked: Asked, body: PlayRequest) -> None:
    """Play sounds into the call."""
    prompt_id = control.mint()
    control.ask(asked.connection, lambda call, now: call.play(asked.connection, prompt_id, body, now))


def cancel_all(control: CallControl, asked: Asked) -> None:
    """Cancel what the app plays and collects."""
    control.ask(asked.connection, lambda call, now: call.cancel_media(asked.connection, now))


def recognize(control: CallControl, asked: Asked, body: RecognizeRequest) -> None:
    """Ask a participant for tones, speech or a choice."""
    action_id = control.mint()
    control.ask(asked.connection, lambda call, now: call.recognize(asked.connection, action_id, body, now))


def hold(control: CallControl, asked: Asked, body: HoldRequest) -> None:
    """Put a participant on hold."""
    prompt_id = control.mint()
    control.ask(asked.connection, lambda call, now: call.hold(asked.connection, prompt_id, body, now))


def unhold(control: CallControl, asked: Asked, body: UnholdRequest) -> None:
    """Take a participant off hold."""
    control.ask(asked.connection, lambda call, now: call.unhold(asked.connection, body, now))


def tones(control: CallControl, asked: Asked, body: ToneRequest) -> None:
    """Listen to the tones of a participant, or listen no more."""
    control.ask(asked.connection, lambda call, now: call.tones(asked.connection, body, now))


def send_tones(control: CallControl, asked: Asked, body: SendDtmfTonesRequest) -> SendDtmfTonesResult:
    """Send tones to a participant."""
    tones(control, asked, body)
    return SendDtmfTonesResult(operation_context=body.operation_context)


def start_streaming(control: CallControl, asked: Asked, body: StartMediaStreamingRequest) -> None:
    """Dial the app's socket in mid-call."""
    control.ask(
        asked.connection,
        lambda call, now: call.start_streaming(
            asked.connection, body.operation_context, body.operation_callback_uri, now
        ),
    )


def stop_streaming(control: CallControl, asked: Asked, body: StopMediaStreamingRequest) -> None:
    """Close the app's socket in mid-call."""
    control.ask(
        asked.connection,
        lambda call, now: call.stop_streaming(
            asked.connection, body.operation_context, body.operation_callback_uri, now
        ),
    )
