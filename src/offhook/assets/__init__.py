"""Files that come with the package.

8 s of speech for the demo, made with a freely licensed voice (see NOTICE), and the example of a configuration.
"""

from __future__ import annotations

from importlib.resources import files


def speech_wav() -> bytes:
    """The speech as a WAV file: 16-bit mono, 24 kHz, 8.0 s, peak -3 dBFS."""
    return files(__name__).joinpath("speech.wav").read_bytes()


def example_config() -> str:
    """A configuration for `offhook serve` with @KEY1@, @KEY2@ and @TOKEN@ where its secrets belong."""
    return files(__name__).joinpath("offhook.toml").read_text("utf-8")
