"""Text and SSML as segments to speak one after another (W3C SSML 1.1, and the figures that Azure's service publishes).

What is honoured: p and s, break, prosody rate and volume, say-as digits and characters, sub, and the languages of
speak, lang and voice. What other elements hold is spoken as plain text. There is no DTD, so no entity but the five of
XML.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final
from xml.parsers import expat

from offhook.errors import SpeechError
from offhook.speech.provider import Words

MOST_DEPTH: Final = 64  # of elements inside each other
LONGEST_BREAK_MS: Final = 20_000  # one break; a longer one is as long as this

_SILENT: Final = frozenset({"metadata", "meta", "lexicon", "desc"})
_SENTENCES: Final = frozenset({"p", "s", "speak", "voice"})
_BREAKS: Final = {"none": 0, "x-weak": 250, "weak": 500, "medium": 750, "strong": 1000, "x-strong": 1250}
_RATES: Final = {"x-slow": 0.5, "slow": 0.64, "medium": 1.0, "default": 1.0, "fast": 1.55, "x-fast": 2.0}
_GAINS: Final = {"silent": 0.0, "x-soft": 0.2, "soft": 0.4, "medium": 1.0, "default": 1.0, "loud": 1.4, "x-loud": 2.0}
_SPELT: Final = frozenset({"characters", "spell-out", "verbatim", "letters"})
_DIGITS: Final = frozenset({"digits", "digit", "number_digit", "telephone"})
_NAMES: Final = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SLOWEST, FASTEST = 0.5, 2.0


@dataclass(frozen=True, slots=True)
class Segment:
    """Plain text to speak at `speed` and `gain` (1 is as ever) in a language, or, without text, a pause."""

    text: str = ""
    pause_ms: int = 0
    speed: float = 1.0
    gain: float = 1.0
    language: str = ""


def segments(words: Words) -> tuple[Segment, ...]:
    """What to speak, in order; empty where there is nothing. SpeechError `speech_bad_ssml` names the place."""
    language = words.language or voice_language(words.voice)
    if not words.ssml:
        return (Segment(words.text.strip(), language=language),) if words.text.strip() else ()
    return _Reader(Segment(language=language)).read(words.text)


def voice_language(name: str) -> str:
    """The language that a voice's name begins with ("en-US-NancyNeural": en-US); empty where it has none."""
    found = re.match(r"([A-Za-z]{2,3}-[A-Za-z]{2,4})(-|$)", name)
    return found[1] if found else ""


class _Reader:
    """One pass of the parser; what is open is kept as a stack of styles."""

    def __init__(self, style: Segment) -> None:
        self._styles = [style]
        self._made: list[Segment] = []
        self._text: list[str] = []
        self._spelling: list[str] = [""]
        self._skipped = 0
        self._root = ""
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler = self._open
        self._parser.EndElementHandler = self._close
        self._parser.CharacterDataHandler = self._said
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.buffer_text = True

    def read(self, text: str) -> tuple[Segment, ...]:
        try:
            self._parser.Parse(text.strip().encode("utf-8", "replace"), True)
        except expat.ExpatError as error:
            raise SpeechError(
                "speech_bad_ssml",
                f"line {error.lineno}, column {error.offset + 1}: {expat.errors.messages[error.code]}.",
            ) from None
        self._flush()
        return tuple(self._made)

    def _wrong(self, what: str) -> SpeechError:
        place = f"line {self._parser.CurrentLineNumber}, column {self._parser.CurrentColumnNumber + 1}"
        return SpeechError("speech_bad_ssml", f"{place}: {what}.")

    def _doctype(self, *of_it: object) -> None:
        raise self._wrong("a document type cannot be used; leave it out")

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(":")[2]
        if not self._root:
            self._root = name
            if name != "speak":
                raise self._wrong(f"the outermost element is <{name}>; it must be <speak>")
        if len(self._styles) > MOST_DEPTH:
            raise self._wrong(f"more than {MOST_DEPTH} elements are inside each other")
        self._skipped += bool(self._skipped or name in _SILENT)
        style = self._styles[-1]
        if name == "break":
            self._pause(attributes)
        elif name == "prosody":
            style = self._prosody(style, attributes)
        elif name == "voice":
            style = replace(style, language=voice_language(attributes.get("name", "")) or style.language)
        elif name == "sub" and "alias" in attributes and not self._skipped:
            self._said(attributes["alias"])
            self._skipped += 1
        if "xml:lang" in attributes:
            style = replace(style, language=attributes["xml:lang"])
        if style != self._styles[-1] or name in _SENTENCES:
            self._flush()
        self._styles.append(style)
        self._spelling.append(attributes.get("interpret-as", "").lower() if name == "say-as" else self._spelling[-1])

    def _close(self, name: str) -> None:
        name = name.rpartition(":")[2]
        style = self._styles.pop()
        self._spelling.pop()
        if style != self._styles[-1] or name in _SENTENCES:
            self._flush(style)
        if self._skipped:
            self._skipped -= 1

    def _said(self, text: str) -> None:
        if self._skipped:
            return
        kind = self._spelling[-1]
        if kind in _DIGITS:
            text = re.sub(r"[0-9]", lambda digit: f" {_NAMES[int(digit[0])]} ", text)
        elif kind in _SPELT:
            signs = [_NAMES[int(sign)] if sign in "0123456789" else sign.upper() for sign in text if not sign.isspace()]
            text = f" {', '.join(signs)} "
        self._text.append(text)

    def _flush(self, style: Segment | None = None) -> None:
        text = " ".join("".join(self._text).split())
        self._text.clear()
        if text:
            self._made.append(replace(style or self._styles[-1], text=text))

    def _pause(self, attributes: dict[str, str]) -> None:
        self._flush()
        strength = attributes.get("strength", "medium")
        if strength not in _BREAKS:
            raise self._wrong(f"{strength!r} is no strength of a break; give {', '.join(_BREAKS)}")
        pause = float(_BREAKS[strength])
        if "time" in attributes:
            found = re.fullmatch(r"\+?(\d{1,9}(?:\.\d{1,9})?)(ms|s)", attributes["time"].strip())
            if found is None:
                raise self._wrong(f"{attributes['time']!r} is no time of a break; give 500ms or 1.5s")
            pause = float(found[1]) * (1000 if found[2] == "s" else 1)
        if pause and not self._skipped:
            self._made.append(Segment(pause_ms=min(round(pause), LONGEST_BREAK_MS)))

    def _prosody(self, style: Segment, attributes: dict[str, str]) -> Segment:
        speed, gain = style.speed, style.gain
        if "rate" in attributes:
            speed = self._figure(attributes["rate"], "rate", _RATES, style.speed, 1.0)
        if "volume" in attributes:
            gain = self._figure(attributes["volume"], "volume", _GAINS, style.gain, 100.0)
        return replace(style, speed=min(max(speed, SLOWEST), FASTEST), gain=min(max(gain, 0.0), 2.0))

    def _figure(self, text: str, name: str, names: dict[str, float], now: float, whole: float) -> float:
        """A name, a share of `whole`, or a change of what holds `now`: "+20%", "-20%", for volumes "+6dB" and "+20"."""
        text = text.strip()
        if text in names:
            return names[text]
        found = re.fullmatch(r"([+-]?)(\d{1,6}(?:\.\d{1,6})?)(%|dB)?", text)
        if found is None or (found[3] == "dB" and name == "rate"):
            raise self._wrong(f"{text!r} is no {name}; give +20%, -20%, a number or {', '.join(names)}")
        sign, size, unit = found[1], float(found[2]), found[3]
        change = -size if sign == "-" else size
        if unit == "dB":
            return float(now * 10 ** (min(change, 40.0) / 20))
        if unit == "%":
            return now * (1 + change / 100)
        return now * (1 + change / whole) if sign and whole != 1.0 else size / whole
