"""The exception tree of Offhook, whole.

OffhookError
├── WireError            these bytes are not what the contract allows (raised by `wire` only)
│   ├── SignatureError   a request signature or sealed context does not verify
│   └── UnsupportedError a thing of the contract that is left out by name
├── SipError             these bytes are not SIP that can be used (raised by `sip` only)
├── AudioError           these samples or this sound file cannot be used (raised by `audio`)
├── CallError            the call cannot do this now; names a row of `wire.results` (raised by `calls`)
├── LegError             an endpoint cannot be reached or left; names a row of `wire.results`
├── StreamError          the app's socket failed; names a row of `wire.results`
├── PromptError          what should be played cannot be; names a row of `wire.results` and the source at fault
├── SpeechError          words cannot be spoken, or speech not be recognised; names a row of `wire.results`
├── DeliveryError        a callback or an Event Grid post could not be delivered
└── ConfigError          a setting is wrong; the message is one line naming it (exit status 2)
"""

from __future__ import annotations


class OffhookError(Exception):
    """Root of everything that Offhook raises on purpose."""


class WireError(OffhookError):
    """Bytes from outside break the contract. `field` is the JSON path at fault, if one is."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.field = field


class SignatureError(WireError):
    """A signature is missing, malformed, too old, or does not match."""


class UnsupportedError(WireError):
    """Something of the contract that is left out by name; the message says what there is instead."""


class SipError(OffhookError):
    """A SIP message, or a part of one, cannot be understood; the message says which."""


class AudioError(OffhookError):
    """Samples or a sound file cannot be used; the message says what to do about it."""


class OutcomeError(OffhookError):
    """An error that ends as a row of the results table; `outcome` is the row's name."""

    def __init__(self, outcome: str, detail: str = "") -> None:
        super().__init__(f"{outcome}: {detail}" if detail else outcome)
        self.outcome = outcome
        self.detail = detail


class CallError(OutcomeError):
    """The call cannot take this input in its present state."""


class LegError(OutcomeError):
    """A leg could not be placed, answered or kept."""


class StreamError(OutcomeError):
    """The app's stream could not be opened or kept."""


class PromptError(OutcomeError):
    """A play source cannot be had or used. `index` is its place in the request, None where none is at fault."""

    def __init__(self, outcome: str, detail: str = "", index: int | None = None) -> None:
        super().__init__(outcome, detail)
        self.index = index


class SpeechError(OutcomeError):
    """Words cannot be spoken, or speech cannot be recognised: no provider, not this language, or it failed."""


class DamagedCall(OffhookError):
    """The files of a kept or exported call cannot be used; says which and why."""


class DeliveryError(OffhookError):
    """A post to an app failed for good."""


class ConfigError(OffhookError):
    """A setting cannot be used; the message names the setting and the fix."""
