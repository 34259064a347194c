"""What the relay says to a Realtime service: session settings in both vocabularies, and its client events.

Shapes are those of the `openai` package: `RealtimeSessionCreateRequest` (general release: nested `audio`) and
`beta.SessionUpdateEvent` (preview: flat). Voice Live takes the preview's shape with settings of its own.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from offhook.errors import ConfigError
from offhook.kit.realtime_services import Service

MODEL_RATE: Final = 24_000
"""Hz of the models' PCM16, both ways."""
SETTINGS_ID: Final = "offhook_settings"
"""`event_id` of the session's settings: an error that names it means that they were refused."""

Vad: TypeAlias = Literal["server", "semantic", "local"] | Mapping[str, Any]
Event: TypeAlias = dict[str, Any]
Role: TypeAlias = Literal["user", "assistant", "system"]

_BY_VAD: Final = "give it to relay(vad=...)"
_BY_STREAM: Final = "the relay's sound is PCM16 at 24 kHz"
_FIXED: Final = {
    "turn_detection": _BY_VAD,
    "audio.input.turn_detection": _BY_VAD,
    "input_audio_format": _BY_STREAM,
    "output_audio_format": _BY_STREAM,
    "audio.input.format": _BY_STREAM,
    "audio.output.format": _BY_STREAM,
}
"""Settings that the relay itself goes by, in both vocabularies, and what to do instead of changing them."""
_FORMAT: Final = {"type": "audio/pcm", "rate": MODEL_RATE}


@dataclass(frozen=True, slots=True)
class TurnRules:
    """Who decides about turns, as the session is set up."""

    local: bool
    """The kit's turns; the service detects none."""
    answers: bool
    """The service begins a response by itself when the caller has stopped."""
    interrupts: bool
    """The service cancels its response by itself when the caller begins."""
    detection: dict[str, Any] | None
    """`turn_detection` as it is sent."""


def turn_rules(vad: Vad, *, barge_in: bool, voice_live: bool) -> TurnRules:
    """From the relay's `vad`. ConfigError for another word."""
    if vad == "local":
        return TurnRules(local=True, answers=False, interrupts=False, detection=None)
    if isinstance(vad, Mapping):
        detection = dict(vad)
    elif vad in ("server", "semantic"):
        own = "azure_semantic_vad" if voice_live else f"{vad}_vad"
        detection = {"type": own}
    else:
        raise ConfigError(f'vad is "server", "semantic", "local" or the service\'s own settings, not {vad!r}')
    # A service that may not interrupt cannot answer what was said meanwhile: then the relay asks, when it is time.
    answers = bool(detection.setdefault("create_response", barge_in))
    interrupts = bool(detection.setdefault("interrupt_response", barge_in))
    return TurnRules(local=False, answers=answers, interrupts=interrupts, detection=detection)


def session_settings(
    service: Service,
    *,
    instructions: str,
    voice: str | None,
    tools: Sequence[dict[str, Any]],
    rules: TurnRules,
    transcriber: str | None,
    more: Mapping[str, Any],
) -> Event:
    """`session.update`; `more` is laid over what the other arguments give, key by key at any depth. ConfigError."""
    transcription = {"model": transcriber} if transcriber else None
    session: dict[str, Any] = {"instructions": instructions} if instructions else {}
    if tools:
        session |= {"tools": list(tools), "tool_choice": "auto"}
    if service.preview:
        session |= {
            "modalities": ["audio", "text"],
            "input_audio_format": "pcm16",
            "output_audio_format": "pcm16",
            "turn_detection": rules.detection,
        }
        if transcription:
            session["input_audio_transcription"] = transcription
        if voice:
            session["voice"] = _azure_voice(voice) if service.voice_live else voice
    else:
        heard: dict[str, Any] = {"format": _FORMAT, "turn_detection": rules.detection}
        if transcription:
            heard["transcription"] = transcription
        said: dict[str, Any] = {"format": _FORMAT}
        if voice:
            said["voice"] = voice
        session |= {"type": "realtime", "output_modalities": ["audio"], "audio": {"input": heard, "output": said}}
    merged = _laid_over(session, more)
    for path, instead in _FIXED.items():
        if _at(merged, path) != _at(session, path):
            raise ConfigError(f"session: {path} cannot be set there: {instead}")
    return {"type": "session.update", "event_id": SETTINGS_ID, "session": merged}


def _azure_voice(voice: str) -> str | dict[str, str]:
    # Voices of Azure Speech are named by locale, as in en-US-Ava:DragonHDLatestNeural; those of the models are words.
    return {"name": voice, "type": "azure-standard"} if "-" in voice else voice


def _laid_over(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _laid_over(below, value) if both else value  # type: ignore[arg-type]
    return merged


def _at(settings: Mapping[str, Any], path: str) -> Any:
    found: Any = settings
    for name in path.split("."):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


# ------------------------------------------------------------------ client events


def append(pcm: bytes) -> Event:
    """Sound of the caller, PCM16 at 24 kHz."""
    return {"type": "input_audio_buffer.append", "audio": base64.b64encode(pcm).decode()}


def commit() -> Event:
    """What was appended is one thing that the caller said."""
    return {"type": "input_audio_buffer.commit"}


def create(event_id: str, response: Mapping[str, Any] | None = None) -> Event:
    """Answer now."""
    event: Event = {"type": "response.create", "event_id": event_id}
    return {**event, "response": dict(response)} if response else event


def cancel(response_id: str) -> Event:
    """Stop answering."""
    return {"type": "response.cancel", "response_id": response_id}


def truncate(item_id: str, content_index: int, audio_end_ms: int) -> Event:
    """The caller heard so much of an item, and no more."""
    return {
        "type": "conversation.item.truncate",
        "item_id": item_id,
        "content_index": content_index,
        "audio_end_ms": audio_end_ms,
    }


def tool_output(call_id: str, output: str) -> Event:
    """What a function gave."""
    item = {"type": "function_call_output", "call_id": call_id, "output": output}
    return {"type": "conversation.item.create", "item": item}


def message(role: Role, text: str, *, preview: bool, item_id: str | None = None) -> Event:
    """A message as text; `item_id`: what it is called, else the service names it."""
    kind = "input_text" if role != "assistant" else "text" if preview else "output_text"
    item: Event = {"type": "message", "role": role, "content": [{"type": kind, "text": text}]}
    return {"type": "conversation.item.create", "item": {"id": item_id, **item} if item_id else item}
