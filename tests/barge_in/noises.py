"""Sounds that callers make without speaking, and those of the room around them, made from noise and resonances.

Each function gives float sound of about ±1 at 16 kHz, another one for another seed. None is a recording: coughs,
laughs and so on follow what is published of their course (a cough: a burst of 30-60 ms, noise of the open glottis, a
voiced end of falling pitch), shaped by formants of one vocal tract drawn per seed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

RATE: Final = 16000
Sound = npt.NDArray[np.float64]
Rng = np.random.Generator


def samples(ms: float) -> int:
    return round(ms * RATE / 1000)


def silence(ms: float) -> Sound:
    return np.zeros(samples(ms))


def join(*parts: Sound) -> Sound:
    return np.concatenate(parts)


def normal(sound: Sound) -> Sound:
    peak = float(np.abs(sound).max(initial=0))
    scaled: Sound = sound / peak if peak else sound
    return scaled


def envelope(ms: float, points: list[tuple[float, float]]) -> Sound:
    """Straight lines through (part of the length, value)."""
    at, value = zip(*points, strict=True)
    line: Sound = np.interp(np.linspace(0, 1, samples(ms)), at, value)
    return line


def band(sound: Sound, low: float, high: float, *, slope: float = 200.0) -> Sound:
    """Only what is between two frequencies in Hz."""
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    weight = 1 / (1 + np.exp(-(hz - low) / (slope / 4))) / (1 + np.exp((hz - high) / slope))
    return np.asarray(np.fft.irfft(spectrum * weight, len(sound)))


def resonate(sound: Sound, formants: Sequence[tuple[float, float, float]]) -> Sound:
    """Sum of resonances: (Hz, bandwidth in Hz, gain)."""
    spectrum = np.fft.rfft(sound)
    hz = np.fft.rfftfreq(len(sound), 1 / RATE)
    weight = np.zeros(len(hz), complex)
    for centre, width, gain in formants:
        weight += gain * width / (width + 1j * (hz - centre) * 2)
    return np.asarray(np.fft.irfft(spectrum * weight, len(sound)))


def noise(rng: Rng, ms: float) -> Sound:
    return rng.standard_normal(samples(ms))


def pink(rng: Rng, ms: float) -> Sound:
    spectrum = np.fft.rfft(noise(rng, ms))
    hz = np.maximum(np.fft.rfftfreq(samples(ms), 1 / RATE), 30)
    return normal(np.fft.irfft(spectrum / np.sqrt(hz), samples(ms)))


def glottis(rng: Rng, pitch: Sound, *, shake: float = 0.01, breath: float = 0.05) -> Sound:
    """The source of a voice: pulses at `pitch` Hz (a value a sample), with jitter, shimmer and breath."""
    wobble = 1 + shake * np.interp(
        np.arange(len(pitch)),
        np.arange(len(pitch) // 160 + 2) * 160,
        rng.standard_normal(len(pitch) // 160 + 2)[: len(pitch) // 160 + 2],
    )
    phase = np.cumsum(pitch * wobble / RATE) % 1
    pulse = np.where(phase < 0.6, np.sin(np.pi * phase / 0.6) ** 2, 0)
    pulse = np.diff(pulse, prepend=0)
    voiced: Sound = pulse + breath * rng.standard_normal(len(pitch)) * np.abs(pulse).max() * (0.3 + (phase < 0.6))
    return voiced


def tract(rng: Rng, vowel: tuple[float, float, float], scale: float) -> list[tuple[float, float, float]]:
    f1, f2, f3 = (hz * scale * rng.uniform(0.95, 1.05) for hz in vowel)
    return [(f1, 90, 1.0), (f2, 120, 0.6), (f3, 180, 0.3), (3500 * scale, 250, 0.15)]


_SCHWA, _A, _HUM = (500.0, 1500.0, 2500.0), (750.0, 1200.0, 2500.0), (250.0, 1100.0, 2200.0)


def cough(rng: Rng) -> Sound:
    """One to three: burst, noise, and for most a voiced end."""
    scale = rng.uniform(0.9, 1.2)
    parts: list[Sound] = []
    for index in range(int(rng.integers(1, 4))):
        burst = noise(rng, rng.uniform(25, 55))
        burst *= envelope(1000 * len(burst) / RATE, [(0, 0), (0.1, 1), (1, 0.5)])[: len(burst)]
        flow_ms = rng.uniform(90, 190)
        flow = noise(rng, flow_ms) * envelope(flow_ms, [(0, 0.5), (0.3, 0.35), (1, 0.12)])
        body = resonate(
            join(burst, flow),
            [(1100 * scale, 500, 1), (1800 * scale, 600, 0.9), (2900 * scale, 900, 0.6), (550 * scale, 300, 0.7)],
        )
        if rng.random() < 0.7:
            tail_ms = rng.uniform(60, 140)
            pitch = np.linspace(rng.uniform(170, 320), rng.uniform(100, 160), samples(tail_ms))
            tail = resonate(glottis(rng, pitch, shake=0.06, breath=0.3), tract(rng, _SCHWA, scale))
            tail = normal(tail) * envelope(tail_ms, [(0, 0.2), (0.2, 1), (1, 0)]) * 0.35 * np.abs(body).max()
            over = samples(30)
            body = join(body[:-over], body[-over:] + tail[:over], tail[over:])
        parts += [normal(body) * (0.8**index), silence(rng.uniform(120, 260))]
    return normal(join(*parts[:-1]))


def throat(rng: Rng) -> Sound:
    """Ahem: a creaky voice of low pitch with much friction, in one or two pushes."""
    scale = rng.uniform(0.9, 1.15)
    parts: list[Sound] = []
    for _ in range(int(rng.integers(1, 3))):
        ms = rng.uniform(180, 320)
        pitch = rng.uniform(55, 90) * (1 + 0.15 * rng.standard_normal(samples(ms) // 200 + 2))
        course = np.interp(np.arange(samples(ms)), np.arange(len(pitch)) * 200, pitch)
        creak = glottis(rng, course, shake=0.2, breath=0.5)
        rough = normal(resonate(creak, tract(rng, _SCHWA, scale))) + 0.5 * normal(
            resonate(noise(rng, ms), [(1400 * scale, 700, 1), (2600 * scale, 900, 0.7)])
        )
        parts += [rough * envelope(ms, [(0, 0), (0.15, 1), (0.6, 0.8), (1, 0)]), silence(rng.uniform(60, 150))]
    return normal(join(*parts[:-1]))


def sneeze(rng: Rng) -> Sound:
    """A drawn breath, a stop, and a burst of hiss that falls in 250-400 ms, some with a voiced start."""
    draw_ms = rng.uniform(250, 400)
    draw = band(noise(rng, draw_ms), 700, 4500) * envelope(draw_ms, [(0, 0), (0.8, 0.10), (1, 0.02)])
    blow_ms = rng.uniform(240, 400)
    blow = resonate(noise(rng, blow_ms), [(2600, 1200, 1), (4200, 1600, 0.9), (900, 400, 0.3)])
    blow = normal(blow) * envelope(blow_ms, [(0, 0), (0.05, 1), (0.3, 0.55), (1, 0)])
    if rng.random() < 0.6:
        voice_ms = rng.uniform(50, 90)
        pitch = np.linspace(rng.uniform(220, 400), 160, samples(voice_ms))
        voice = normal(resonate(glottis(rng, pitch, breath=0.3), tract(rng, _A, 1.0)))
        blow[: len(voice)] += 0.5 * voice * envelope(voice_ms, [(0, 0), (0.3, 1), (1, 0)])
    return normal(join(draw, silence(rng.uniform(40, 110)), blow))


def laugh(rng: Rng) -> Sound:
    """Ha ha ha: aspirated voiced bursts, 4-6 a second, getting lower and softer."""
    scale, top = rng.uniform(0.9, 1.25), rng.uniform(150, 380)
    parts: list[Sound] = []
    count = int(rng.integers(3, 6))
    for index in range(count):
        puff_ms, voice_ms = rng.uniform(45, 80), rng.uniform(60, 105)
        puff = normal(resonate(noise(rng, puff_ms), tract(rng, _A, scale))) * 0.25
        pitch = np.linspace(1.05, 0.85, samples(voice_ms)) * top * (0.94**index)
        voice = normal(resonate(glottis(rng, pitch, shake=0.03, breath=0.25), tract(rng, _A, scale)))
        voice *= envelope(voice_ms, [(0, 0.1), (0.25, 1), (1, 0.05)])
        parts += [puff * 0.85**index, voice * 0.85**index, silence(rng.uniform(15, 50))]
    return normal(join(*parts))


def breath(rng: Rng) -> Sound:
    """Air into the microphone: hiss of one breath, or a puff with much below 200 Hz."""
    ms = rng.uniform(450, 900)
    air = resonate(noise(rng, ms), [(600, 500, 0.7), (1700, 900, 1), (3200, 1500, 0.6)])
    air = normal(air) * envelope(ms, [(0, 0), (0.35, 1), (0.7, 0.7), (1, 0)])
    if rng.random() < 0.5:
        puff = band(noise(rng, ms), 20, 200, slope=40)
        air = air * 0.5 + normal(puff) * envelope(ms, [(0, 0), (0.2, 1), (0.6, 0.4), (1, 0)])
    return normal(air)


def hum_yes(rng: Rng) -> Sound:
    """Mm-hmm with a closed mouth: two nasal pushes, the second higher, a puff of the nose between."""
    scale, base = rng.uniform(0.9, 1.15), rng.uniform(95, 230)
    nose = [(250 * scale, 70, 1.0), (1000 * scale, 150, 0.12), (2200 * scale, 250, 0.06)]

    def push(ms: float, start: float, end: float) -> Sound:
        pitch = np.linspace(start, end, samples(ms)) * base
        return normal(resonate(glottis(rng, pitch, breath=0.03), nose)) * envelope(
            ms, [(0, 0), (0.2, 1), (0.7, 0.9), (1, 0)]
        )

    puff_ms = rng.uniform(40, 80)
    puff = normal(resonate(noise(rng, puff_ms), nose)) * 0.12
    first = push(rng.uniform(110, 180), 1.0, 0.92)
    second = push(rng.uniform(140, 240), 1.0, rng.uniform(1.1, 1.35))
    return normal(join(first * 0.8, puff, second))


def hum_one(rng: Rng) -> Sound:
    """Mm: a single hum."""
    return normal(hum_yes(rng)[samples(200) :]) if rng.random() < 0.3 else normal(hum_yes(rng)[: samples(170)])


def door(rng: Rng) -> Sound:
    """A slam: a click, a thud of low resonances, a rattle."""
    ms = rng.uniform(350, 600)
    thud = resonate(noise(rng, ms), [(70, 20, 1), (140, 30, 0.8), (260, 60, 0.5), (700, 300, 0.15)])
    decay = np.exp(-np.arange(samples(ms)) / samples(rng.uniform(50, 100)))
    slam = normal(thud * decay)
    click = normal(noise(rng, 12)) * envelope(12, [(0, 1), (1, 0)])
    slam[: len(click)] += 0.5 * click
    for _ in range(int(rng.integers(1, 4))):
        at = int(rng.integers(samples(60), len(slam) - samples(40)))
        knock = resonate(noise(rng, 30), [(rng.uniform(800, 2500), 400, 1)])
        slam[at : at + len(knock)] += normal(knock) * envelope(30, [(0, 1), (1, 0)]) * 0.15
    return normal(slam)


def knocks(rng: Rng) -> Sound:
    """Somebody knocks on wood, or puts something down: two to four thumps."""
    parts: list[Sound] = []
    for _ in range(int(rng.integers(2, 5))):
        thump = resonate(noise(rng, 90), [(180, 60, 1), (420, 100, 0.6), (1100, 500, 0.3)])
        parts += [normal(thump) * np.exp(-np.arange(samples(90)) / samples(18)), silence(rng.uniform(70, 160))]
    return normal(join(*parts))


def keyboard(rng: Rng) -> Sound:
    """Typing: clicks of 4-12 ms, down and up, 5-9 keys a second."""
    sound = np.zeros(samples(900))
    at = 0.0
    while at < 850:
        for offset, level in ((0.0, 1.0), (rng.uniform(50, 90), 0.5)):
            start = samples(at + offset)
            click = resonate(noise(rng, 12), [(rng.uniform(1500, 3200), 900, 1), (5000, 1500, 0.8), (400, 200, 0.4)])
            click = normal(click) * envelope(12, [(0, 1), (0.3, 0.4), (1, 0)]) * level * rng.uniform(0.5, 1)
            end = min(len(sound), start + len(click))
            if end > start:
                sound[start:end] += click[: end - start]
        at += rng.uniform(90, 210)
    return normal(sound)


def mains(rng: Rng) -> Sound:
    """Hum of 50 or 60 Hz and its harmonics, switched on."""
    base = float(rng.choice([50, 60]))
    time = np.arange(samples(1000)) / RATE
    sound = sum(np.sin(2 * np.pi * base * order * time + rng.uniform(0, 6)) / order**0.7 for order in range(1, 14))
    return normal(np.asarray(sound)) * envelope(1000, [(0, 0), (0.03, 1), (1, 1)])


def beep(rng: Rng) -> Sound:
    """A device: tones of 150-250 ms."""
    parts: list[Sound] = []
    for _ in range(int(rng.integers(1, 4))):
        ms = rng.uniform(120, 250)
        time = np.arange(samples(ms)) / RATE
        tone = np.sin(2 * np.pi * rng.uniform(800, 2800) * time)
        parts += [tone * envelope(ms, [(0, 0), (0.05, 1), (0.95, 1), (1, 0)]), silence(rng.uniform(60, 150))]
    return normal(join(*parts))


def traffic(rng: Rng) -> Sound:
    """A car drives by: low noise that swells."""
    ms = 1100
    rush = normal(band(pink(rng, ms), 60, 900)) + 0.2 * normal(band(noise(rng, ms), 900, 3500))
    return normal(rush) * envelope(ms, [(0, 0.1), (0.5, 1), (1, 0.3)])


def paper(rng: Rng) -> Sound:
    """Rustling at the microphone: crackle of many small bursts."""
    sound = noise(rng, 800) * (np.abs(np.repeat(rng.standard_normal(samples(800) // 80), 80)) ** 3)
    return normal(band(sound, 900, 7000))


NOISES: Final[dict[str, Callable[[Rng], Sound]]] = {
    "cough": cough,
    "throat": throat,
    "sneeze": sneeze,
    "laugh": laugh,
    "breath": breath,
    "mm-hmm": hum_yes,
    "mm": hum_one,
    "door": door,
    "knocks": knocks,
    "keyboard": keyboard,
    "mains": mains,
    "beep": beep,
    "traffic": traffic,
    "paper": paper,
}
