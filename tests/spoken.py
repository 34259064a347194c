"""Speech for tests: the local voice, as it sounds through a telephone of 8 kHz and µ-law."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import numpy.typing as npt

from offhook.audio.codecs import codec
from offhook.audio.resample import resample
from offhook.speech.hibari import HibariVoice
from offhook.speech.provider import Words

RATE = 16000
PHONE = 8000


@cache
def _voice() -> HibariVoice:
    return HibariVoice()


@cache
def spoken(text: str, silence: float = 1.5, rate: int = RATE) -> npt.NDArray[np.int16]:
    """A text at `rate`, through a telephone, with seconds of silence behind it."""
    narrow = np.concatenate(list(_voice().speak(Words(text=text), PHONE)))
    law = codec("PCMU", PHONE)
    heard = law.decode(law.encode(narrow))
    if rate != PHONE:
        heard = resample(heard, PHONE, rate)
    return np.concatenate([heard, np.zeros(round(silence * rate), np.int16)])


def plain(text: str) -> str:
    """Words alone, digits spelt: one way to write what was said."""
    digits = "zero one two three four five six seven eight nine".split()
    text = re.sub(r"\d", lambda found: f" {digits[int(found[0])]} ", text.lower())
    return " ".join(re.sub(r"[^a-z' ]", " ", text.replace("-", " ")).split())
