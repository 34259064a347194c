"""What the app shell asks of the official SDK: its client, streaming options, identifiers, and what its errors mean."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from offhook.errors import ConfigError
from offhook.wire import identifiers as wire

if TYPE_CHECKING:
    from azure.communication.callautomation import CommunicationIdentifier, MediaStreamingOptions
    from azure.communication.callautomation.aio import CallAutomationClient

RATES: Final = {16000: "pcm16KMono", 24000: "pcm24KMono"}


def make_client(connection_string: str | None) -> CallAutomationClient:
    """The async client of ACS_CONNECTION_STRING, or of another. ConfigError."""
    try:
        from azure.communication.callautomation.aio import CallAutomationClient
    except ModuleNotFoundError:
        raise ConfigError("the official SDK is not installed: pip install 'offhook[app]'") from None
    text = connection_string or os.environ.get("ACS_CONNECTION_STRING")
    if not text:
        raise ConfigError("ACS_CONNECTION_STRING is not set: run it as  offhook exec -- python app.py")
    try:
        return CallAutomationClient.from_connection_string(text)
    except ValueError as error:
        raise ConfigError(f"ACS_CONNECTION_STRING cannot be used: {error}") from None


@dataclass(frozen=True, slots=True)
class Streaming:
    """How the media of a call is streamed (protocol.md 2.7, 2.8)."""

    rate: int = 24000
    """Hz: 16000 or 24000."""
    mixed: bool = True
    """One stream of all that speak; False: one of each participant, and `frame.speaker` says whose."""
    dtmf: bool = True
    """Whether keys are told."""

    def __post_init__(self) -> None:
        if self.rate not in RATES:
            raise ConfigError(f"rate is 16000 or 24000 (what the service can stream), not {self.rate!r}")

    def options(self, url: str) -> MediaStreamingOptions:
        """As the SDK wants it; `url` is where the service dials to."""
        from azure.communication.callautomation import (
            AudioFormat,
            MediaStreamingAudioChannelType,
            MediaStreamingContentType,
            MediaStreamingOptions,
            StreamingTransportType,
        )

        channel = MediaStreamingAudioChannelType
        return MediaStreamingOptions(
            transport_url=url,
            transport_type=StreamingTransportType.WEBSOCKET,
            content_type=MediaStreamingContentType.AUDIO,
            audio_channel_type=channel.MIXED if self.mixed else channel.UNMIXED,
            start_media_streaming=True,
            enable_bidirectional=True,
            audio_format=AudioFormat(RATES[self.rate]),
            enable_dtmf_tones=self.dtmf,
        )


def identifier(who: str | CommunicationIdentifier) -> CommunicationIdentifier:
    """The SDK's identifier of "+15550100001" or of a raw id ("4:+1...", "8:acs:..."). WireError for anything else."""
    if not isinstance(who, str):
        return who
    import azure.communication.callautomation as sdk

    made: Mapping[str, Callable[[wire.Identifier], Any]] = {
        wire.PHONE_NUMBER: lambda one: sdk.PhoneNumberIdentifier(one.id),
        wire.COMMUNICATION_USER: lambda one: sdk.CommunicationUserIdentifier(one.id),
        wire.TEAMS_USER: lambda one: sdk.MicrosoftTeamsUserIdentifier(
            one.id, is_anonymous=one.is_anonymous, cloud=one.cloud
        ),
        wire.TEAMS_APP: lambda one: sdk.MicrosoftTeamsAppIdentifier(one.id, cloud=one.cloud),
    }
    found = wire.resolve_target(who)
    make = made.get(found.kind)
    return make(found) if make is not None else sdk.UnknownIdentifier(found.raw_id)


def phone(number: str | None) -> Any:
    """The SDK's phone number, for caller ids; None stays None."""
    if number is None:
        return None
    from azure.communication.callautomation import PhoneNumberIdentifier

    return PhoneNumberIdentifier(number)


def status_of(error: Exception) -> int:
    """The HTTP status of an SDK error, 0 where the service was not reached."""
    return getattr(error, "status_code", None) or 0


def reason_of(error: Exception) -> str:
    """An SDK error in one line."""
    return " ".join(str(getattr(error, "message", None) or error).split())
