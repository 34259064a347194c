"""Telephone codecs, against the standard library's old implementation where it is still there."""

from __future__ import annotations

import importlib
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio import codecs
from offhook.audio.codecs import codec
from offhook.audio.resample import resample
from offhook.audio.tones import sine
from offhook.audio.wav import read_wav
from offhook.audio.wideband import Opus
from offhook.errors import AudioError

SPEECH = Path(__file__).parents[2] / "src/offhook/assets/speech.wav"
EVERY = np.arange(65536, dtype=np.uint16).view(np.int16)


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="audioop is gone; 3.11 and 3.12 compare")
@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_every_sample_and_every_code_as_in_audioop(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import audioop
    encode, decode = (audioop.lin2ulaw, audioop.ulaw2lin) if name == "PCMU" else (audioop.lin2alaw, audioop.alaw2lin)
    law = codec(name, 8000)
    codes = bytes(range(256))
    assert law.decode(codes).tobytes() == decode(codes, 2)
    ours, theirs = law.encode(EVERY), encode(EVERY.tobytes(), 2)
    # The two may differ where a sample lies just between two codes; never by more than one step.
    same = np.frombuffer(ours, np.uint8) == np.frombuffer(theirs, np.uint8)
    assert same.mean() > 0.95
    away = np.abs(law.decode(ours).astype(int) - EVERY)
    assert np.all(away <= np.abs(law.decode(theirs).astype(int) - EVERY) + 16)


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_a_code_survives_decoding_and_encoding(name: str) -> None:
    law = codec(name, 8000)
    samples = law.decode(bytes(range(256)))
    assert np.array_equal(law.decode(law.encode(samples)), samples)
    assert np.array_equal(np.abs(law.decode(law.encode(EVERY)).astype(int) - EVERY) <= 1100, np.ones(65536, bool))


@pytest.mark.parametrize("name", ["PCMU", "PCMA"])
def test_a_tone_keeps_its_shape(name: str) -> None:
    law, tone = codec(name, 8000), sine(1000, 8000, 0.5)
    noise = law.decode(law.encode(tone)).astype(float) - tone
    assert 10 * np.log10((tone.astype(float) ** 2).mean() / (noise**2).mean()) > 36


@given(st.lists(st.integers(-32768, 32767), max_size=200), st.sampled_from([8000, 16000, 48000]))
def test_linear_is_exact(samples: list[int], rate: int) -> None:
    linear, frame = codec("L16", rate), np.array(samples, np.int16)
    assert np.array_equal(linear.decode(linear.encode(frame)), frame)


def test_half_a_sample_and_an_unknown_codec() -> None:
    with pytest.raises(AudioError, match="3 bytes"):
        codec("L16", 16000).decode(b"abc")
    for name, clock in (("G729", 8000), ("PCMU", 16000), ("L16", 44100)):
        with pytest.raises(AudioError, match=name):
            codec(name, clock)


@pytest.mark.parametrize(("name", "clock", "snr"), [("G722", 8000, 20.0), ("OPUS", 48000, 20.0)])
def test_wideband_codecs_carry_what_a_telephone_does_not(name: str, clock: int, snr: float) -> None:
    """A tone of 5 kHz comes out as it went in, but for the codec's delay."""
    one, other = codec(name, clock), codec(name, clock)
    assert (one.rate, one.remembers) == (16000, True)
    tone = sine(5000, 16000, 1.0)
    packets = [one.encode(tone[at : at + 320]) for at in range(0, 16000, 320)]
    heard = np.concatenate([other.decode(packet) for packet in packets])
    assert len(heard) == 16000 and len(packets[5]) <= 160
    wave = heard[8000:].astype(float) @ np.exp(-2j * np.pi * 5000 / 16000 * np.arange(8000)) / 4000
    rest = (heard[8000:].astype(float) ** 2).mean() - abs(wave) ** 2 / 2
    assert 20 * np.log10(abs(wave) / 10000) == pytest.approx(0, abs=1)
    assert 10 * np.log10(abs(wave) ** 2 / 2 / max(rest, 1e-9)) > snr


def test_opus_keeps_the_wave_of_speech() -> None:
    """Not only how it sounds: what is compared with what was said is compared by its wave."""
    speech = read_wav(SPEECH.read_bytes())
    said = resample(speech.samples, speech.rate, 16000)
    one, other = codec("OPUS", 48000), codec("OPUS", 48000)
    heard = np.concatenate([other.decode(one.encode(said[at : at + 320])) for at in range(0, 4 * 16000, 320)])
    a, b = said[: 4 * 16000 - 320].astype(float), heard.astype(float)
    best = max(float(a @ b[lag : lag + len(a)] / np.sqrt((a @ a) * (b @ b))) for lag in range(60, 320))
    assert best > 0.98


@pytest.mark.parametrize("ms", [10, 40, 60])
def test_packets_of_opus_of_other_lengths(ms: int) -> None:
    coder, tone = codec("OPUS", 48000), sine(440, 16000, 0.06)
    assert len(codec("OPUS", 48000).decode(coder.encode(tone[: 16 * ms]))) == 16 * ms


def test_opus_mends_a_loss_from_the_packet_after_it() -> None:
    """A tone that changes with every packet: what the loss hid can come from the redundancy alone."""
    speech = np.concatenate([sine(200 + 60 * n, 16000, 0.02, 8000 if n % 2 else 16000) for n in range(50)])
    coder, mended, guessed = (Opus() for _ in range(3))
    packets = [coder.encode(speech[at : at + 320]) for at in range(0, len(speech), 320)]
    errors = []
    for decoder, following in ((mended, True), (guessed, False)):
        heard = [
            decoder.conceal(320, packets[n + 1] if following else None) if n % 10 == 5 else decoder.decode(packets[n])
            for n in range(49)
        ]
        assert {len(frame) for frame in heard} == {320}
        whole = codec("OPUS", 48000)
        true = [whole.decode(packet) for packet in packets[:49]]
        errors.append(sum(float(((heard[n] - true[n].astype(float)) ** 2).mean()) for n in range(5, 49, 10)))
    assert errors[0] < errors[1] / 2


@pytest.mark.parametrize("payload", [b"", b"\xff\xff\xff", bytes(1)])
def test_what_is_no_packet_of_opus(payload: bytes) -> None:
    decoder = codec("OPUS", 48000)
    if payload == bytes(1):
        assert len(decoder.decode(payload)) > 0  # a packet of nothing but its first byte is silence (RFC 6716 §3.2.1)
        return
    with pytest.raises(AudioError, match="Opus"):
        decoder.decode(payload)


def test_without_its_library_a_codec_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", gone)
    codecs.is_there.cache_clear()
    try:
        assert not codecs.is_there("OPUS", 48000) and codecs.is_there("PCMU", 8000)
        with pytest.raises(AudioError, match=r"pip install 'offhook\[opus\]'"):
            codec("OPUS", 48000)
    finally:
        codecs.is_there.cache_clear()
