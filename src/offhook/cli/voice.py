"""What a simulated caller says: a WAV file, typed text, a tone, or the microphone; exactly one of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from offhook.audio.resample import resample
from offhook.audio.wav import read_wav
from offhook.errors import AudioError, ConfigError, SpeechError

Samples = npt.NDArray[np.int16]
TONE_RANGE = (20.0, 7000.0)


@dataclass(frozen=True)
class Voice:
    """A caller's voice: `samples` (mono, at `rate`), a `tone` in Hz that the node makes, or the microphone."""

    samples: Samples | None = None
    rate: int = 0
    tone: float | None = None
    microphone: bool = False

    @property
    def seconds(self) -> float | None:
        """Length in seconds; None when the voice has no end of its own."""
        return None if self.samples is None else len(self.samples) / self.rate

    def at(self, rate: int) -> Samples:
        """The samples at the call's rate; empty for a tone or the microphone."""
        if self.samples is None:
            return np.zeros(0, np.int16)
        return self.samples if self.rate == rate else resample(self.samples, self.rate, rate)


def choose_voice(wav: Path | None, text: str | None, tone: float | None, microphone: bool) -> Voice:
    """The voice the options name. Raises ConfigError unless exactly one is given and usable."""
    given = [wav is not None, text is not None, tone is not None, microphone]
    if sum(given) != 1:
        raise ConfigError("give exactly one of --wav FILE, --text TEXT, --tone HZ, --mic")
    if wav is not None:
        return wav_voice(wav)
    if text is not None:
        return _text_voice(text)
    if tone is not None:
        return _tone_voice(tone)
    load_sounddevice()
    return Voice(microphone=True)


def wav_voice(path: Path) -> Voice:
    """A voice from a sound file. Raises ConfigError naming the file."""
    try:
        sound = read_wav(path.read_bytes())
    except OSError as why:
        raise ConfigError(f"--wav: cannot read {path}: {why.strerror or why}") from why
    except AudioError as why:
        raise ConfigError(f"--wav: {path}: {why}") from why
    if not len(sound.samples):
        raise ConfigError(f"--wav: {path} holds no samples")
    return Voice(np.asarray(sound.samples, np.int16), sound.rate)


def _tone_voice(hertz: float) -> Voice:
    low, high = TONE_RANGE
    if not (math.isfinite(hertz) and low <= hertz <= high):
        raise ConfigError(f"--tone: {hertz:g} Hz is outside {low:g} to {high:g}")
    return Voice(tone=hertz)


def _text_voice(text: str) -> Voice:
    if not text.strip():
        raise ConfigError("--text: there is nothing to say")
    from offhook.speech.hibari import HibariVoice
    from offhook.speech.provider import Words

    try:
        voice = HibariVoice()
        pieces = list(voice.speak(Words(text=text), voice.rate))
    except SpeechError as why:
        raise ConfigError(f"--text: {why.detail} (or use --wav)") from why
    if not pieces:
        raise ConfigError("--text: the speech engine made no sound of this text")
    return Voice(np.concatenate(pieces), voice.rate)


def load_sounddevice() -> Callable[..., object]:
    """The class of a two-way raw sound device stream. Raises ConfigError naming the extra when there is none."""
    try:
        import sounddevice
    except ImportError as missing:
        raise ConfigError("--mic needs sounddevice: run  pip install 'offhook[mic]'  (or use --wav)") from missing
    except OSError as missing:
        raise ConfigError(f"--mic: {missing}: install PortAudio (Debian: apt-get install libportaudio2)") from missing
    opener: Callable[..., object] = sounddevice.RawStream
    return opener
