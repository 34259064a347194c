"""What a node needs of its surroundings: its identity, phones to ring, the network to its apps, sockets of audio."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from offhook.calls.actions import DialLeg, OpenStream, OpenTranscription
from offhook.legs.leg import Leg
from offhook.service.eventgrid import IncomingPost
from offhook.service.live import LiveCall
from offhook.service.stream_port import StreamPort
from offhook.service.streaming import MediaStream
from offhook.service.transcription import Transcript, TranscriptStream


class Phone(Protocol):
    """A registered endpoint that the node can ring."""

    def ring(self, action: DialLeg, call_id: str) -> Leg:
        """A leg that rings there; LegError when it cannot take one now."""


class Outside(Protocol):
    """What a node needs of the network."""

    def deliver(self, connection_id: str, uri: str, body: bytes, event_type: str, event_id: str) -> None:
        """Post a callback, in order with the others of its connection."""

    def finish(self, connection_id: str) -> None:
        """No callback follows for this connection."""

    def announce(self, post: IncomingPost) -> int:
        """Post an IncomingCall to every subscription; gives back how many there are."""

    def stream(self, live: LiveCall, action: OpenStream, port: StreamPort) -> MediaStream:
        """A stream that will dial the app."""

    def transcript(self, live: LiveCall, action: OpenTranscription, owner: Transcript) -> TranscriptStream:
        """A socket for a transcription that will dial the app."""


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """Who the node is: its number inside ids, the key that seals contexts, its resource and its Event Grid topic."""

    number: int
    context_key: bytes
    resource_id: str

    @property
    def topic(self) -> str:
        """The Event Grid topic of the resource (protocol.md §6.3)."""
        return (
            "/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/offhook/providers"
            f"/microsoft.communication/communicationservices/{self.resource_id}"
        )


class MediaNetwork(Protocol):
    """Sockets of legs' audio, read and written by the tick."""

    def receive(self, now: float) -> None:
        """Hand out what came since the last tick; never raises."""

    def flush(self) -> None:
        """Send what this tick has for it; never raises."""

    def discard(self) -> None:
        """Throw away what came while the clock rested: nobody was to hear it."""
