"""The clips of tests/fixtures/barge_in and their labels: `python -m tests.barge_in.clips` makes them anew.

Needs flite and espeak-ng, and for the recordings of people pocketsphinx-testdata (apt); the tests need none of them.
`unseen` draws other voices, texts, levels and seeds from the same kinds, for figures: seeds 1 and 2
were looked at where a threshold or a network was chosen, seed 3 was looked at by nothing.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
from tests.barge_in.noises import NOISES, RATE, Rng, Sound, band, noise, pink, samples, silence
from tests.barge_in.voices import LICENCES, recording, say

from offhook.audio.codecs import codec
from offhook.audio.pcm import Frame
from offhook.audio.resample import resample
from offhook.audio.wav import read_wav, write_wav

FOLDER: Final = Path(__file__).resolve().parent.parent / "fixtures" / "barge_in"
PEOPLE: Final = Path("/usr/share/pocketsphinx/test/data")
LEAD_MS: Final = 160
"""Of the line alone, before what the clip is about."""
ECHO_MS: Final = 1100
"""How much of an echo."""


@dataclass(frozen=True)
class Label:
    """A row of labels.csv. Times are ms in the clip; levels dBFS (RMS while it lasts)."""

    file: str
    interrupts: bool
    """Whether it is meant to stop the app."""
    kind: str
    text: str
    source: str
    voice: str
    licence: str
    seed: int
    rate: int
    line: str
    """wide: 16 kHz; mulaw: a telephone of 8 kHz, 300-3400 Hz, PCMU."""
    onset_ms: int
    """First sound of it; for echo, the first of the echo."""
    end_ms: int
    level: float
    noise: str = ""
    """What else is on the line, and its dBFS."""
    app: str = ""
    """What the app was saying: a file beside, heard from the clip's first sample on; empty: anything."""
    echo: str = ""
    """Of the app's own sound in the clip: delay in ms, level in dB relative to it, how it was bent."""


@dataclass(frozen=True)
class Plan:
    """How to make one."""

    kind: str
    text: str
    voice: str
    interrupts: bool
    level: float
    line: str = "mulaw"
    noise: str = ""
    echo: str = ""
    app: str = ""
    most_ms: int = 850
    seed: int = 0


# ---------------------------------------------------------------------- what there is

H, HL, HH = "hibari:heart:1.0:1.0", "hibari:heart:1.05:0.84", "hibari:heart:1.15:1.12"
RMS, SLT = "flite:rms:1.0:1.0", "flite:slt:1.1:1.0"
M3, F2 = "espeak:en-us+m3:1.0:1.0", "espeak:en-us+f2:1.1:1.0"

_SHORT: Final = [("stop", H), ("stop", RMS), ("stop", HL), ("wait", HH), ("wait", SLT), ("no", HL), ("what?", H),
                 ("hello?", M3)]  # fmt: skip
_PHRASES: Final = [
    ("phrase", "no, that's not right", H), ("phrase", "no, that's not right", RMS),
    ("phrase", "no, that's not right", HL),
    ("phrase", "can I talk to somebody", HH), ("phrase", "can I talk to somebody", SLT),
    ("phrase", "can I talk to somebody", HL), ("phrase", "hold on a second", H), ("phrase", "hold on a second", RMS),
    ("phrase", "hold on a second", F2), ("phrase", "wait a minute", HL), ("phrase", "wait, wait", SLT),
    ("phrase", "stop it please", HH), ("phrase", "excuse me", H), ("phrase", "sorry, I didn't get that", RMS),
    ("phrase", "yeah but that's too expensive", HL), ("phrase", "okay so when does it start", H),
    ("question", "how much does it cost", HL), ("question", "are you open tomorrow", SLT),
    ("question", "who is this", RMS), ("question", "where is my order", HH),
    ("digits", "four one five, two two", H), ("digits", "nine oh two", RMS), ("digits", "seven seven three", HL),
    ("name", "my name is Alexander", HL), ("name", "Maria Gonzalez", HH),
    ("name", "this is Peter", RMS),
]  # fmt: skip
_AUSTEN: Final = "librivox/sense_and_sensibility_01_austen_64kb-"
_PEOPLE: Final = [("go forward ten meters", "goforward.raw", 450, 2400),
                  ("go somewhere and", "something.raw", 430, 1900),
                  ("ten of clubs", "cards/001.wav", 0, 1100), ("five five", "cards/004.wav", 0, 1550),
                  ("and mister john dashwood", _AUSTEN + "0870.wav", 0, 1500),
                  ("he was not an ill disposed", _AUSTEN + "0880.wav", 0, 1500)]  # fmt: skip
_PEOPLE_UNSEEN: Final = [("thirty three", "numbers.raw", 480, 1200), ("seven of clubs", "cards/003.wav", 0, 1540),
                         ("queen of clubs", "cards/002.wav", 0, 1960), ("eight of spades", "cards/005.wav", 0, 2000),
                         ("unless to be", _AUSTEN + "0890.wav", 0, 1500),
                         ("he might even", _AUSTEN + "0930.wav", 0, 1500)]  # fmt: skip
_BACKCHANNELS: Final = [
    ("uh-huh", H), ("uh-huh", RMS), ("uh-huh", HL), ("uh-huh", SLT), ("uh-huh", M3), ("mm-hmm", H), ("mm-hmm", HL),
    ("mm-hmm", "synthesis"), ("mm-hmm", "synthesis"), ("mm-hmm", "synthesis"), ("mm", "synthesis"), ("yeah", H),
    ("yeah", RMS), ("yeah", HL), ("yeah", F2), ("okay", HL), ("okay", SLT), ("okay", H), ("right", HH), ("right", RMS),
    ("right", HL),
]  # fmt: skip
_COUNTS: Final = {"cough": 8, "throat": 5, "sneeze": 4, "laugh": 5, "breath": 5, "door": 3, "knocks": 2, "keyboard": 4,
                  "mains": 2, "beep": 2, "traffic": 2, "paper": 2}  # fmt: skip
_ECHOES: Final = [(40, -10, "plain"), (90, -14, "narrow"), (150, -12, "clipped"), (220, -18, "narrow"),
                  (300, -22, "room"), (400, -15, "room"),
                  (60, -20, "clipped"), (120, -28, "narrow"), (180, -35, "plain"),
                  (250, -12, "narrow"), (340, -30, "room"), (400, -24, "clipped")]  # fmt: skip
_LOUDNESS: Final = {"cough": (-32, -12), "throat": (-36, -20), "sneeze": (-30, -12), "laugh": (-32, -18),
                    "breath": (-40, -24), "door": (-36, -18), "knocks": (-36, -20), "keyboard": (-46, -28),
                    "mains": (-46, -32), "beep": (-40, -24), "traffic": (-46, -32), "paper": (-40, -26)}  # fmt: skip
_STEADY: Final = ("keyboard", "mains", "traffic", "paper", "breath")
_SAID: Final = (-32.0, -14.0)
_AGREED: Final = (-36.0, -20.0)
_BABBLE: Final = (-48.0, -38.0)
APPS: Final = {
    "app_woman.wav": ("Thank you for calling. Your delivery is planned for Friday.", H),
    "app_man.wav": ("Our office is open from nine to five on all working days.", RMS),
}
_TALK: Final = ["did you see the game last night it was great",
            "we should leave before the traffic gets worse",
                "put it on the table next to the window please",
            "I think the kids are already at school by now"]  # fmt: skip


def committed() -> Iterator[Plan]:
    """The clips that are in the repository."""
    yield from _plans(np.random.default_rng(20240), _SHORT, _PHRASES, _PEOPLE, _BACKCHANNELS, _COUNTS, _ECHOES)


def unseen(seed: int) -> Iterator[Plan]:
    """As many again of other voices, levels, delays and seeds."""
    rng = np.random.default_rng(seed)
    voices = ["hibari:heart:0.9:0.78", "hibari:heart:1.2:1.2", "flite:awb:1.0:1.0", "flite:rms:1.15:1.12",
              "flite:slt:0.95:0.9", "espeak:en-us+m7:1.0:1.0", "espeak:en-us+f4:1.0:1.0"]  # fmt: skip

    def other() -> str:
        return str(rng.choice(voices))

    short = [(str(rng.choice(["stop", "wait", "no", "what?", "hello?", "please stop"])), other()) for _ in range(8)]
    more = ["I have a question", "let me speak to a person", "that is wrong", "hang on", "can you repeat that",
            "no no no", "what do you mean", "stop talking", "one two three four", "my name is Robert",
            "yes but not today",
            "could you say that again", "hold on", "just a moment please"]  # fmt: skip
    phrases = [(kind, str(rng.choice([text, *more])), other()) for kind, text, _ in _PHRASES]
    agreed = [(text, other() if text not in ("mm-hmm", "mm") else "synthesis") for text, _ in _BACKCHANNELS]
    echoes = [(int(rng.integers(40, 400)), int(rng.integers(-35, -9)), bent) for _, _, bent in _ECHOES]
    yield from _plans(rng, short, phrases, _PEOPLE_UNSEEN, agreed, _COUNTS, echoes)


def _plans(
    rng: Rng,
    short: list[tuple[str, str]],
    phrases: list[tuple[str, str, str]],
    people: list[tuple[str, str, int, int]],
    agreed: list[tuple[str, str]],
    counts: dict[str, int],
    echoes: list[tuple[int, int, str]],
) -> Iterator[Plan]:
    def level(least: float, most: float) -> float:
        return round(float(rng.uniform(least, most)), 1)

    def line() -> str:
        return "wide" if rng.random() < 0.08 else "mulaw"

    def seed() -> int:
        return int(rng.integers(1, 1 << 30))

    for text, voice in short:
        yield Plan("word", text, voice, True, level(*_SAID), line(), seed=seed())
    for kind, text, voice in phrases:
        yield Plan(kind, text, voice, True, level(*_SAID), line(), seed=seed(), most_ms=600)
    for text, path, start, end in people:
        yield Plan(
            "people", text, f"people:{path}:{start}:{end}", True, level(*_SAID), line(), seed=seed(), most_ms=650
        )
    for index, hiss in enumerate(("pink", "traffic", "babble", "white", "mains", "babble", "pink")):
        kind, text, voice = phrases[(index * 5 + 3) % len(phrases)]
        said = level(-24, -14)
        under = level(-26, -12) if hiss != "babble" else -18.0
        yield Plan("noisy", text, voice, True, said, noise=f"{hiss} {said + under:.0f}", seed=seed(), most_ms=600)
    for index in range(8):
        _, text, voice = phrases[(index * 3 + 1) % len(phrases)]
        delay, coupling, bent = echoes[(index * 5) % len(echoes)]
        app = list(APPS)[index % 2]
        yield Plan("double talk", text, voice, True, level(-26, -16), echo=f"{delay} {coupling} {bent}", app=app,
                   seed=seed(), most_ms=650)  # fmt: skip
    for text, voice in agreed:
        yield Plan(text, text, voice, False, level(*_AGREED), line(), seed=seed())
    for kind, count in counts.items():
        most = 600 if kind in _STEADY else 800
        for _ in range(count):
            yield Plan(kind, "", "synthesis", False, level(*_LOUDNESS[kind]), line(), seed=seed(), most_ms=most)
    for _ in range(6):
        yield Plan("babble", "", "babble", False, level(*_BABBLE), seed=seed(), most_ms=600)
    for index, (delay, coupling, bent) in enumerate(echoes):
        yield Plan("echo", "", "echo", False, 0.0, echo=f"{delay} {coupling} {bent}", app=list(APPS)[index % 2],
                   seed=seed())  # fmt: skip


# ---------------------------------------------------------------------- how they are made


def make(plan: Plan, file: str) -> tuple[Label, Frame]:
    """A clip at the rate of its line, with its label. VoiceMissing."""
    rng = np.random.default_rng(plan.seed)
    sound = at_level(_content(plan, rng), plan.level) if plan.kind != "echo" else silence(0)
    lead = LEAD_MS
    if plan.kind == "double talk":
        lead = 440
    if plan.kind == "echo":
        whole = silence(ECHO_MS)
    else:
        whole = np.concatenate([silence(lead), sound[: samples(plan.most_ms)], silence(60)])
    onset, end = lead, lead + min(len(sound), samples(plan.most_ms)) * 1000 // RATE
    if plan.echo:
        delay = int(plan.echo.split()[0])
        whole += echo(plan, len(whole), rng)
        if plan.kind == "echo":
            onset, end = delay, ECHO_MS
    if plan.noise:
        hiss, dbfs = plan.noise.split()
        whole += at_level(_hiss(hiss, rng, 1000 * len(whole) / RATE), float(dbfs))[: len(whole)]
    whole += at_level(noise(rng, 1000 * len(whole) / RATE), rng.uniform(-72, -62))[: len(whole)]
    rate, pcm = on_line(whole, plan.line)
    source = plan.voice.split(":")[0]
    source = {"babble": "hibari", "echo": plan.app}.get(source, source)
    licence = LICENCES[{"app_woman.wav": "hibari", "app_man.wav": "flite"}.get(source, source)]
    label = Label(file, plan.interrupts, plan.kind, plan.text, source, plan.voice, licence, plan.seed, rate, plan.line,
                  onset, end, plan.level, plan.noise, plan.app, plan.echo)  # fmt: skip
    return label, pcm


def at_level(sound: Sound, dbfs: float) -> Sound:
    """As loud as that while it sounds: the RMS of its louder half."""
    size = RATE // 100
    power = np.sort((sound[: len(sound) // size * size].reshape(-1, size) ** 2).mean(axis=1))
    loud = np.sqrt(power[len(power) // 2 :].mean())
    return sound * (10 ** (dbfs / 20) / loud) if loud else sound


def on_line(sound: Sound, line: str) -> tuple[int, Frame]:
    if line == "wide":
        return RATE, _pcm(sound)
    narrow = resample(_pcm(band(sound, 250, 3500, slope=60)), RATE, 8000)
    law = codec("PCMU", 8000)
    return 8000, law.decode(law.encode(narrow))


def echo(plan: Plan, length: int, rng: Rng) -> Sound:
    """The app's own sound as it comes back: late, softer, and bent by loudspeaker, room and line."""
    delay, coupling, bent = plan.echo.split()
    heard = _app(plan.app).astype(np.float64) / 32768
    if bent == "clipped":
        heard = np.clip(heard * 4, -0.35, 0.35) / 2
    if bent in ("narrow", "room"):
        heard = band(heard, 350, 2800, slope=150)
    if bent == "room":
        tail = noise(rng, 160) * np.exp(-np.arange(samples(160)) / samples(40)) * 0.05
        tail[0] = 1.0
        heard = np.convolve(heard, tail)
    late = np.concatenate([silence(float(delay)), heard, silence(2000)])[:length]
    return late * 10 ** (float(coupling) / 20)


@cache
def _app(file: str) -> Frame:
    text, voice = APPS[file]
    return _pcm(at_level(say(text, voice), -20.0))[: 6 * RATE // 5]


def _content(plan: Plan, rng: Rng) -> Sound:
    if plan.voice == "synthesis":
        return NOISES[plan.kind](rng)
    if plan.voice == "babble":
        return _babble(rng, 1100)
    if plan.voice == "echo":
        return silence(0)
    if plan.voice.startswith("people:"):
        _, path, start, end = plan.voice.split(":")
        return recording(PEOPLE / path, int(start), int(end))
    return say(plan.text, plan.voice)


def _hiss(name: str, rng: Rng, ms: float) -> Sound:
    if name == "white":
        return noise(rng, ms)
    if name == "pink":
        return pink(rng, ms)
    if name == "babble":
        return _babble(rng, ms)
    sound = NOISES[name](rng)
    return np.resize(sound, samples(ms))


def _babble(rng: Rng, ms: float) -> Sound:
    """People who talk in the background: one to four, far from the telephone."""
    whole = np.zeros(samples(ms))
    tail = noise(rng, 250) * np.exp(-np.arange(samples(250)) / samples(70)) * 0.05
    tail[0] = 0.5
    for _ in range(int(rng.integers(1, 5))):
        said = say(str(rng.choice(_TALK)), str(rng.choice([H, HL, HH])))
        start = int(rng.integers(0, len(said) // 2))
        whole += np.resize(said[start:], len(whole)) * rng.uniform(0.5, 1)
    return band(np.convolve(whole, tail)[: len(whole)], 200, 2600, slope=300)


def _pcm(sound: Sound) -> Frame:
    return np.clip(np.rint(sound * 32767), -32768, 32767).astype(np.int16)


# ---------------------------------------------------------------------- files


def labels() -> list[Label]:
    """Of the committed clips."""
    with (FOLDER / "labels.csv").open(newline="") as file:
        return [_label(row) for row in csv.DictReader(file)]


def _label(row: dict[str, str]) -> Label:
    read: dict[str, Callable[[str], object]] = {
        "bool": lambda text: text == "True",
        "int": int,
        "float": float,
        "str": str,
    }
    values: dict[str, Any] = {one.name: read[str(one.type)](row[one.name]) for one in fields(Label)}
    return Label(**values)


def sound_of(file: str, rate: int) -> Frame:
    """A committed file at a rate."""
    sound = read_wav((FOLDER / file).read_bytes())
    return resample(sound.samples, sound.rate, rate)


def numbered(plans: Iterator[Plan]) -> Iterator[tuple[Label, Frame]]:
    """All of them made, with names such as cough_03.wav."""
    seen: dict[str, int] = {}
    for plan in plans:
        stem = plan.kind.replace(" ", "_").replace("-", "")
        seen[stem] = seen.get(stem, 0) + 1
        yield make(replace(plan), f"{stem}_{seen[stem]:02}.wav")


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for old in FOLDER.glob("*.wav"):
        old.unlink()
    for file in APPS:
        (FOLDER / file).write_bytes(write_wav(_app(file), RATE))
    with (FOLDER / "labels.csv").open("w", newline="") as table:
        writer = csv.DictWriter(table, [field.name for field in fields(Label)], lineterminator="\n")
        writer.writeheader()
        for label, pcm in numbered(committed()):
            (FOLDER / label.file).write_bytes(write_wav(pcm, label.rate))
            writer.writerow(asdict(label))
    size = sum(path.stat().st_size for path in FOLDER.glob("*.wav"))
    sys.stdout.write(f"{len(labels())} clips, {size / 1e6:.2f} MB in {FOLDER.name}\n")


if __name__ == "__main__":
    main()
