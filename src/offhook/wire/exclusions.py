"""What of the API is left out by name: Teams, rooms, dialogs. Asking for it is answered 405/8520 (protocol.md §3.7).

Everything here is refused before anything is done, with one error that says what it was and what there is instead.
"""

from __future__ import annotations

from typing import Final

from offhook.errors import UnsupportedError

_PEOPLE: Final = "name a phone number or a communication user"

_PREVIEW: Final = "leave it out; only 2025-08-15-preview has it"

EXCLUSIONS: Final[dict[str, tuple[str, str]]] = {
    "microsoftTeamsUser": ("Teams users cannot be reached", _PEOPLE),
    "microsoftTeamsApp": ("Teams apps cannot be reached", _PEOPLE),
    "teamsExtensionUser": ("users of Teams Phone extensibility cannot be reached", _PEOPLE),
    "teamsAppSource": ("calls cannot be placed as a Teams app", "leave it out, or name a communication user in source"),
    "teamsPhoneCallDetails": ("there is no Teams Phone to show them", "leave it out, or send headers"),
    "audioVideo": ("calls have no video here", "record audio, as wav or mp3"),
    "mp4": ("calls have no video here", "record audio, as wav or mp3"),
    "roomCallLocator": ("there are no rooms", "use a serverCallLocator or a groupCallLocator"),
    "piiRedactionOptions": ("transcripts are not redacted", _PREVIEW),
    "enableSentimentAnalysis": ("there is no analysis of sentiment", _PREVIEW),
    "summarizationOptions": ("calls are not summarised", _PREVIEW),
    "locales": ("a transcription is in one language", "name it in locale"),
    "dialogs": ("there are no dialogs with bots", "connect the bot by mediaStreamingOptions"),
}
"""What is left out: why it cannot be had, and what to do instead."""


def excluded(name: str, field: str) -> UnsupportedError:
    """The error for `name`, a key of `EXCLUSIONS`, found at a field's path."""
    why, fix = EXCLUSIONS[name]
    return UnsupportedError(f"{field}: {name} is not supported: {why}; {fix}", field)
