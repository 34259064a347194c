"""WAV files in and out: RIFF as of Microsoft and IBM's Multimedia Programming Interface 1.0, WAVE_FORMAT_EXTENSIBLE.

Works on bytes and on binary files that others open; samples inside are mono PCM16.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from offhook.audio.pcm import Frame, to_bytes
from offhook.audio.resample import HIGHEST_RATE, LOWEST_RATE
from offhook.errors import AudioError

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN_SIZE = 0xFFFFFFFF
_LARGEST_DATA = 0xFFFFFFFF - 36
_CHUNK_HEAD = Struct("<4sI")
_FORMAT = Struct("<HHIIHH")
_HEADER = Struct("<4sI4s4sIHHIIHH4sI")
_SUBFORMAT_TAIL = bytes.fromhex("000000001000800000aa00389b71")
_PIECE = 1 << 18

_FIX = "convert it with: ffmpeg -i in.wav -c:a pcm_s16le out.wav, or: sox in.wav -e signed -b 16 out.wav"

_COMPRESSED = {
    0x0002: "Microsoft ADPCM",
    0x0006: "A-law",
    0x0007: "mu-law",
    0x0011: "IMA ADPCM",
    0x0014: "G.723 ADPCM",
    0x0031: "GSM 6.10",
    0x0040: "G.721 ADPCM",
    0x0050: "MPEG layer 1 or 2",
    0x0055: "MP3",
    0x0064: "G.726 ADPCM",
    0x0065: "G.722 ADPCM",
    0x00FF: "AAC",
    0x0160: "Windows Media Audio 1",
    0x0161: "Windows Media Audio 2",
    0x0162: "Windows Media Audio Pro",
    0x1610: "AAC",
    0x674F: "Ogg Vorbis",
    0xF1AC: "FLAC",
}

_OTHER_FILES = {
    b"ID3": "MP3",
    b"\xff\xfb": "MP3",
    b"\xff\xf3": "MP3",
    b"\xff\xf2": "MP3",
    b"OggS": "Ogg",
    b"fLaC": "FLAC",
    b"FORM": "AIFF",
    b".snd": "Sun audio",
    b"RIFX": "big-endian WAV",
    b"riff": "Sony Wave64",
    b"\x1aE\xdf\xa3": "Matroska or WebM",
}


class Sound(NamedTuple):
    """A recording: mono PCM16 and its sample rate in Hz."""

    samples: Frame
    rate: int


class _Format(NamedTuple):
    floating: bool
    channels: int
    rate: int
    width: int
    """Bytes that one sample of one channel takes."""


def read_wav(source: bytes | bytearray | memoryview | BinaryIO) -> Sound:
    """The sound of a WAV file, several channels averaged into one.

    Reads PCM of 8, 16, 24 and 32 bits and float of 32 and 64, RIFF and RF64. A data chunk that is cut short gives
    what is there; sizes of 0 and 0xFFFFFFFF, which tools write that stream, mean the rest of the file.
    AudioError, the only error for any bytes, says what else it is and how to convert it.
    """
    raw = source if isinstance(source, (bytes, bytearray, memoryview)) else source.read()
    view = memoryview(raw).cast("B")
    _check_head(view)
    form: _Format | None = None
    long_size = _UNKNOWN_SIZE
    for name, start, size in _chunks(view):
        body = view[start : start + size]
        if name == b"fmt ":
            form = _read_format(body)
        elif name == b"ds64" and len(body) >= 16:
            long_size = int.from_bytes(body[8:16], "little")
        elif name == b"data":
            if form is None:
                raise AudioError(f"the WAV file has no fmt chunk before its data; {_FIX}")
            return Sound(_decode(_sound_bytes(view, start, size, long_size), form), form.rate)
    raise AudioError("the WAV file has no data chunk, so it holds no sound; record or export it again")


def write_wav(samples: Frame, rate: int) -> bytes:
    """A whole WAV file, 16-bit mono. AudioError for a rate outside 1 to 768 kHz and for over 4 GiB."""
    data = to_bytes(samples)
    return _header(rate, len(data)) + data


class WavWriter:
    """Writes a 16-bit mono WAV file as the sound comes in.

    Until the first `flush` the header says that the length is unknown, which players take as the rest of the file;
    `flush` and `close` put the true sizes in where the file can seek. The file stays open: it is its opener's.
    """

    def __init__(self, file: BinaryIO, rate: int) -> None:
        """Writes the header at the file's present place. AudioError for a rate outside 1 to 768 kHz."""
        self._file = file
        self._rate = rate
        self._start = file.tell() if file.seekable() else None
        self._size = 0
        self._closed = False
        file.write(_header(rate, None))

    @property
    def samples(self) -> int:
        """Samples written so far."""
        return self._size // 2

    def write(self, samples: Frame) -> None:
        """Append samples. AudioError after `close`, and when the file would pass 4 GiB."""
        data = to_bytes(samples)
        if self._closed:
            raise AudioError("the WAV file is finished; nothing can be added to it")
        if self._size + len(data) > _LARGEST_DATA:
            raise AudioError("a WAV file holds no more than 4 GiB; start another one")
        self._file.write(data)
        self._size += len(data)

    def flush(self) -> None:
        """Make what is written so far playable: sizes in the header, and the file's own buffer out."""
        if self._start is not None and not self._closed:
            end = self._file.tell()
            self._file.seek(self._start)
            self._file.write(_header(self._rate, self._size))
            self._file.seek(end)
        self._file.flush()

    def close(self) -> None:
        """Finish: the sizes are final. Twice is once."""
        if not self._closed:
            self.flush()
            self._closed = True

    def __enter__(self) -> WavWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_head(view: memoryview) -> None:
    head = bytes(view[:12])
    if head[:4] in (b"RIFF", b"RF64") and head[8:] == b"WAVE":
        return
    for magic, name in _OTHER_FILES.items():
        if head.startswith(magic):
            raise AudioError(f"this is a file of kind {name}, not WAV; {_FIX}")
    if head[:4] == b"RIFF" and len(head) == 12:
        raise AudioError(f"this RIFF file holds {head[8:]!r}, not WAVE; {_FIX}")
    raise AudioError("this is no WAV file: it does not start with RIFF and WAVE")


def _chunks(view: memoryview) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of the body and stated size of each chunk; a chunk of odd size is followed by a pad byte."""
    place = 12
    while place + 8 <= len(view):
        name, size = _CHUNK_HEAD.unpack_from(view, place)
        yield name, place + 8, size
        place += 8 + size + size % 2


def _read_format(body: memoryview) -> _Format:
    if len(body) < 16:
        raise AudioError(f"the fmt chunk of the WAV file has {len(body)} bytes where 16 are needed; {_FIX}")
    tag, channels, rate, _, block, bits = _FORMAT.unpack_from(body)
    if tag == _EXTENSIBLE:
        if bytes(body[26:40]) != _SUBFORMAT_TAIL:
            raise AudioError(f"the WAV file's extensible format is not PCM or float; {_FIX}")
        tag = int.from_bytes(body[24:26], "little")
    if tag not in (_PCM, _FLOAT):
        kind = _COMPRESSED.get(tag, f"an unknown format (tag 0x{tag:04X})")
        raise AudioError(f"the WAV file holds {kind}, not plain PCM; {_FIX}")
    if not channels:
        raise AudioError("the WAV file has 0 channels; record or export it again")
    _check_rate(rate)
    return _Format(tag == _FLOAT, channels, rate, _sample_width(tag == _FLOAT, channels, block, bits))


def _sample_width(floating: bool, channels: int, block: int, bits: int) -> int:
    """Bytes of a sample. Odd bit counts (12, 20, 24 in 32) fill their bytes from the top, so the bytes are enough."""
    width, rest = divmod(block, channels)
    if not bits or rest or bits > 8 * width:
        raise AudioError(f"the WAV file says {block} bytes for {channels} samples of {bits} bits; {_FIX}")
    if width not in ((4, 8) if floating else (1, 2, 3, 4)) or (floating and bits != 8 * width):
        kind = "float" if floating else "integer"
        raise AudioError(f"the WAV file has {kind} samples of {bits} bits in {width} bytes; {_FIX}")
    return width


def _check_rate(rate: int) -> None:
    if not LOWEST_RATE <= rate <= HIGHEST_RATE:
        raise AudioError(f"a WAV file of {rate} Hz cannot be used; the rate must be {LOWEST_RATE} to {HIGHEST_RATE}")


def _sound_bytes(view: memoryview, start: int, size: int, long_size: int) -> memoryview:
    """The bytes of the data chunk, or the rest of the file where its size was not known when it was written."""
    if size == _UNKNOWN_SIZE:
        return view[start : start + long_size]
    if size == 0 and not _only_chunks(view, start):
        return view[start:]
    return view[start : start + size]


def _only_chunks(view: memoryview, start: int) -> bool:
    """Whether the rest of the file is a chain of whole chunks with printable names: then an empty data is empty."""
    while start + 8 <= len(view):
        name, size = _CHUNK_HEAD.unpack_from(view, start)
        if not all(32 <= byte < 127 for byte in name):
            return False
        start += 8 + size + size % 2
    return start in (len(view), len(view) + 1)


def _decode(data: memoryview, form: _Format) -> Frame:
    """Bytes as mono PCM16, piece by piece; a last frame that is not whole is left out."""
    size = form.width * form.channels
    count = len(data) // size
    if not count:
        raise AudioError("the WAV file holds no sound: its data is empty; record or export it again")
    samples = np.empty(count, np.int16)
    for first in range(0, count, _PIECE):
        last = min(first + _PIECE, count)
        wide = _scaled(data[first * size : last * size], form).reshape(-1, form.channels)
        mono = wide[:, 0] if form.channels == 1 else wide.mean(axis=1)
        samples[first:last] = np.clip(np.rint(mono), -32768, 32767)
    return samples


def _scaled(data: memoryview, form: _Format) -> npt.NDArray[np.float64]:
    """Every sample of every channel, full scale being 32768; a float that is no number is 0."""
    if form.floating:
        with np.errstate(over="ignore", invalid="ignore"):
            values = np.frombuffer(data, f"<f{form.width}").astype(np.float64)
        return np.nan_to_num(np.clip(values, -1.0, 1.0), copy=False) * 32768.0
    if form.width == 1:
        return (np.frombuffer(data, np.uint8).astype(np.float64) - 128.0) * 256.0
    if form.width == 3:
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4")[:, 0] / 65536.0
    return np.frombuffer(data, f"<i{form.width}") / (1.0 if form.width == 2 else 65536.0)


def wav_header(rate: int, size: int, channels: int = 1) -> bytes:
    """The 44 bytes before `size` bytes of interleaved PCM16. AudioError as for `write_wav`."""
    return _header(rate, size, channels)


def largest_data(channels: int = 1) -> int:
    """Most bytes of whole samples that one file holds."""
    return _LARGEST_DATA - _LARGEST_DATA % (2 * channels)


HEADER_SIZE = _HEADER.size
PADDED_HEADER_SIZE = HEADER_SIZE + _CHUNK_HEAD.size
"""Where sound begins at the least in a file of `padded_header`."""


def padded_header(rate: int, size: int, offset: int) -> bytes:
    """A header for one channel whose sound begins at a byte of the file: an empty JUNK chunk (EBU Tech 3306) fills up.

    Only its first and its last bytes are told apart from zeros. AudioError as for `write_wav`.
    """
    plain, filler = wav_header(rate, size), offset - PADDED_HEADER_SIZE
    riff = _CHUNK_HEAD.pack(b"RIFF", size + offset - 8)
    return b"".join([riff, plain[8:36], _CHUNK_HEAD.pack(b"JUNK", filler), bytes(filler), plain[36:]])


def sound_offset(head: bytes, rate: int) -> int | None:
    """Where sound begins in a file whose first bytes are of one of these headers; None for any other file."""
    plain = wav_header(rate, 0)
    if len(head) < HEADER_SIZE or head[:4] != plain[:4] or head[8:36] != plain[8:36]:
        return None
    if head[36:40] == b"data":
        return HEADER_SIZE
    name, filler = _CHUNK_HEAD.unpack_from(head, 36)
    end = HEADER_SIZE + filler
    return end + _CHUNK_HEAD.size if name == b"JUNK" and head[end : end + 4] == b"data" else None


def _header(rate: int, size: int | None, channels: int = 1) -> bytes:
    """44 bytes; `size` of the data in bytes, None when it is not known yet."""
    _check_rate(rate)
    if size is not None and size > _LARGEST_DATA:
        raise AudioError("a WAV file holds no more than 4 GiB; write shorter ones")
    riff, data = (_UNKNOWN_SIZE, _UNKNOWN_SIZE) if size is None else (size + 36, size)
    block = 2 * channels
    form = (_PCM, channels, rate, block * rate, block, 16)
    return _HEADER.pack(b"RIFF", riff, b"WAVE", b"fmt ", 16, *form, b"data", data)
