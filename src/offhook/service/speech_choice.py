"""The provider that a node's plan names, ready to be asked."""

from __future__ import annotations

import ssl

from offhook.service.remote_speech import RemoteSpeech
from offhook.service.speech import SWITCHED_OFF, Speech, SpeechPlan
from offhook.service.targets import Targets
from offhook.speech.process import SpeechProcess


def chosen_speech(plan: SpeechPlan, targets: Targets, tls: ssl.SSLContext) -> Speech:
    """The speech of a node."""
    if plan.provider == "off":
        return Speech(None, SWITCHED_OFF)
    return Speech(RemoteSpeech(plan, targets, tls) if plan.provider == "openai" else SpeechProcess())
