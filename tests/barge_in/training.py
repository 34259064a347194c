"""Trains the network of kit/backchannel.py: `python -m tests.barge_in.training`, ten minutes on one core.

Its voices are espeak-ng's and flite's, none of those of the labelled clips and none of `clips.unseen`; its coughs and
laughs have other seeds. Needs flite and espeak-ng.
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
HIDDEN: Final = 32
Batch = npt.NDArray[np.float32]


def examples(rng: Rng) -> Iterator[tuple[Sound, float, int]]:
    """Words without any line, whether they agree, and how often each is heard."""
    for voices, most, speeds, times in ((VOICES, 1, 3, 1), (PICO, 4, 4, 3), (PIPER, 4, 12, 4)):
        for voice in voices:
            for texts, agrees in ((AGREE, 1.0), (INTERRUPT, 0.0)):
                for text in texts:
                    if text in SPELT_OUT and voice not in PIPER and not voice.startswith("espeak"):
                        continue
                    for _ in range(speeds if agrees or text in OFTEN else most):
                        pcm, rate = spoken(text, f"{voice}:{rng.uniform(0.75, 1.35):.2f}:1.0")
                        yield trim(at_rate(pcm / 32768, rate)), agrees, times
    for kind, count in {"mm-hmm": 300, "mm": 100, "laugh": 500, "cough": 300, "throat": 100, "sneeze": 50}.items():
        for _ in range(count):
            yield NOISES[kind](rng), 1.0, 2


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


def train(inputs: Batch, wanted: Batch, rng: Rng, rounds: int = 35) -> dict[str, Batch]:
    """Adam over batches of 128, with weight decay."""
    size = inputs.shape[1]
    weights = {
        "w1": (rng.standard_normal((size, HIDDEN)) * np.sqrt(2 / size)).astype(np.float32),
        "b1": np.zeros(HIDDEN, np.float32),
        "w2": (rng.standard_normal(HIDDEN) * 0.2).astype(np.float32),
        "b2": np.zeros((), np.float32),
    }
    first = {name: np.zeros_like(value) for name, value in weights.items()}
    second = {name: np.zeros_like(value) for name, value in weights.items()}
    step = 0
    share = np.where(wanted > 0.5, 0.5 / wanted.mean(), 0.5 / (1 - wanted.mean()))
    for turn in range(rounds):
        rate = 2e-3 * 0.5 * (1 + np.cos(np.pi * turn / rounds))
        for picked in np.array_split(rng.permutation(len(inputs)), len(inputs) // 128):
            step += 1
            given = inputs[picked] + rng.standard_normal((len(picked), size)).astype(np.float32) * 0.08
            keep = (rng.random((len(picked), HIDDEN)) > 0.25) / 0.75
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


def joined(first: dict[str, Batch], second: dict[str, Batch]) -> dict[str, Batch]:
    """One network that says the mean of two, before the last step."""
    return {
        "w1": np.concatenate([first["w1"], second["w1"]], axis=1),
        "b1": np.concatenate([first["b1"], second["b1"]]),
        "w2": np.concatenate([first["w2"], second["w2"]]) / 2,
        "b2": (first["b2"] + second["b2"]) / 2,
    }


def main() -> None:
    networks = []
    for seed in (11, 12):
        rng = np.random.default_rng(seed)
        inputs, wanted = [], []
        for sound, agrees, times in examples(rng):
            for _ in range(times):
                found = network.features(heard(sound, rng))
                if found is not None:
                    inputs.append(found)
                    wanted.append(agrees)
        networks.append(train(np.array(inputs, np.float32), np.array(wanted, np.float32), rng))
        sys.stdout.write(f"{len(inputs)} examples, {np.mean(wanted):.2f} agree\n")
    target = Path(network.__file__).with_name("backchannel.npz")
    halved = {name: value.astype(np.float16) for name, value in joined(*networks).items()}
    np.savez_compressed(target, allow_pickle=False, **halved)
    sys.stdout.write(f"{target.stat().st_size} bytes\n")


if __name__ == "__main__":
    main()
