"""WAV files: what is read, what is refused and how, what is written."""

from __future__ import annotations

import io
import struct
import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offhook.audio import wav as module
from offhook.audio.wav import Sound, WavWriter, read_wav, write_wav
from offhook.errors import AudioError

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
GUID_TAIL = bytes.fromhex("000000001000800000aa00389b71")
RAMP = np.array([0, 1, -1, 1000, -1000, 32767, -32768], np.int16)


def chunk(name: bytes, body: bytes, size: int | None = None) -> bytes:
    return name + struct.pack("<I", len(body) if size is None else size) + body + b"\0" * (len(body) % 2)


def form(tag: int, channels: int, rate: int, bits: int, block: int | None = None, rest: bytes = b"") -> bytes:
    block = channels * bits // 8 if block is None else block
    return chunk(b"fmt ", struct.pack("<HHIIHH", tag, channels, rate, rate * block % 2**32, block, bits) + rest)


def extensible(
    tag: int, channels: int, rate: int, bits: int, valid: int | None = None, tail: bytes = GUID_TAIL
) -> bytes:
    rest = struct.pack("<HHI", 22, bits if valid is None else valid, 0) + struct.pack("<H", tag) + tail
    return form(EXTENSIBLE, channels, rate, bits, rest=rest)


def riff(*chunks: bytes, head: bytes = b"RIFF") -> bytes:
    body = b"WAVE" + b"".join(chunks)
    return head + struct.pack("<I", len(body)) + body


def file_of(data: bytes, bits: int, tag: int = PCM, channels: int = 1, rate: int = 16000) -> bytes:
    return riff(form(tag, channels, rate, bits), chunk(b"data", data))


def ints24(values: list[int]) -> bytes:
    return b"".join(value.to_bytes(3, "little", signed=True) for value in values)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000, 192000])
def test_sixteen_bits_are_read_as_they_are_at_any_rate(rate: int) -> None:
    sound = read_wav(file_of(RAMP.tobytes(), 16, rate=rate))
    assert sound.rate == rate
    assert sound.samples.dtype == np.int16
    assert sound.samples.tolist() == RAMP.tolist()


@pytest.mark.parametrize(
    ("bits", "tag", "data", "expected"),
    [
        (8, PCM, bytes([128, 0, 255, 129]), [0, -32768, 32512, 256]),
        (24, PCM, ints24([0, 256, -256, 8388607, -8388608, 127, 129]), [0, 1, -1, 32767, -32768, 0, 1]),
        (32, PCM, struct.pack("<4i", 0, 65536, 2**31 - 1, -(2**31)), [0, 1, 32767, -32768]),
        (32, FLOAT, struct.pack("<5f", 0, 0.5, -1, 1, 7), [0, 16384, -32768, 32767, 32767]),
        (64, FLOAT, struct.pack("<4d", 0, -0.25, 1e300, -1e300), [0, -8192, 32767, -32768]),
        (32, FLOAT, struct.pack("<3f", float("nan"), float("inf"), float("-inf")), [0, 32767, -32768]),
        (12, PCM, struct.pack("<2h", 16, -16), [16, -16]),
        (20, PCM, ints24([4096]), [16]),
    ],
)
def test_every_kind_of_sample_is_read(bits: int, tag: int, data: bytes, expected: list[int]) -> None:
    width = -(-bits // 8)
    sound = read_wav(riff(form(tag, 1, 16000, bits, block=width), chunk(b"data", data)))
    assert sound.samples.tolist() == expected
    if bits % 8 == 0:
        assert read_wav(riff(extensible(tag, 1, 16000, bits), chunk(b"data", data))).samples.tolist() == expected


def test_twenty_four_bits_in_four_bytes_are_the_upper_ones() -> None:
    data = struct.pack("<2i", 1000 << 16, -(1000 << 16))
    whole = riff(extensible(PCM, 1, 48000, 32, valid=24), chunk(b"data", data))
    assert read_wav(whole).samples.tolist() == [1000, -1000]


@pytest.mark.parametrize("channels", [2, 3, 6, 8])
def test_channels_are_averaged(channels: int) -> None:
    frames = np.arange(channels * 4, dtype=np.int16).reshape(4, channels) * 100
    sound = read_wav(file_of(frames.tobytes(), 16, channels=channels))
    assert sound.samples.tolist() == np.rint(frames.mean(axis=1)).astype(int).tolist()


def test_loud_channels_do_not_overflow_and_opposite_ones_cancel() -> None:
    data = np.array([[32767, 32767], [-32768, -32768], [30000, -30000]], np.int16).tobytes()
    assert read_wav(file_of(data, 16, channels=2)).samples.tolist() == [32767, -32768, 0]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, io.BytesIO])
def test_bytes_and_binary_files_are_taken(kind: type) -> None:
    assert read_wav(kind(write_wav(RAMP, 24000))).samples.tolist() == RAMP.tolist()


def test_other_chunks_and_odd_ones_with_their_pad_byte_are_passed_over() -> None:
    whole = riff(
        chunk(b"LIST", b"INFOabc"),
        chunk(b"JUNK", b"x" * 28),
        form(PCM, 1, 8000, 16),
        chunk(b"odd ", b"1"),
        chunk(b"data", RAMP.tobytes()),
        chunk(b"LIST", b"INFOISFT"),
    )
    assert read_wav(whole).samples.tolist() == RAMP.tolist()


def test_a_data_chunk_cut_short_gives_what_is_there() -> None:
    whole = write_wav(RAMP, 16000)
    assert read_wav(whole[:-3]).samples.tolist() == RAMP[:-2].tolist()
    stereo = file_of(RAMP[:6].tobytes(), 16, channels=2)
    assert len(read_wav(stereo[:-1]).samples) == 2


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF, 0xFFFFFFFF - 36])
def test_a_size_that_a_streaming_tool_did_not_know_is_the_rest_of_the_file(size: int) -> None:
    whole = b"RIFF" + struct.pack("<I", size) + b"WAVE" + form(PCM, 1, 16000, 16) + b"data" + struct.pack("<I", size)
    assert read_wav(whole + RAMP.tobytes()).samples.tolist() == RAMP.tolist()


def test_streamed_silence_is_not_taken_for_empty_chunks() -> None:
    whole = riff(form(PCM, 1, 16000, 16), chunk(b"data", b"")) + bytes(640)
    assert read_wav(whole).samples.tolist() == [0] * 320


def test_rf64_takes_the_long_size_from_its_own_chunk() -> None:
    sizes = struct.pack("<QQQI", 0, 2 * len(RAMP), len(RAMP), 0)
    data = chunk(b"data", RAMP.tobytes() + b"tail", size=0xFFFFFFFF)
    whole = riff(chunk(b"ds64", sizes), form(PCM, 1, 16000, 16), data, head=b"RF64")
    assert read_wav(whole).samples.tolist() == RAMP.tolist()


@pytest.mark.parametrize("rest", [b"", chunk(b"LIST", b"INFOISFT"), chunk(b"LIST", b"abc") + chunk(b"id3 ", b"")])
def test_an_empty_data_chunk_before_others_is_empty_and_not_streamed(rest: bytes) -> None:
    with pytest.raises(AudioError, match="holds no sound"):
        read_wav(riff(form(PCM, 1, 16000, 16), chunk(b"data", b""), rest))


@pytest.mark.parametrize(
    ("tag", "name"), [(2, "Microsoft ADPCM"), (6, "A-law"), (7, "mu-law"), (0x11, "IMA ADPCM"), (0x55, "MP3")]
)
def test_compressed_sound_is_named_with_the_way_out(tag: int, name: str) -> None:
    for head in (form(tag, 1, 8000, 8), extensible(tag, 1, 8000, 8)):
        with pytest.raises(AudioError, match=f"holds {name}, not plain PCM; convert it with: ffmpeg .* sox in.wav"):
            read_wav(riff(head, chunk(b"data", b"\0" * 80)))


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"ID3\x04", "MP3"),
        (b"\xff\xfb\x90\x00", "MP3"),
        (b"OggS", "Ogg"),
        (b"fLaC", "FLAC"),
        (b"FORM\0\0\0\0AIFF", "AIFF"),
        (b"RIFX\0\0\0\0WAVE", "big-endian WAV"),
    ],
)
def test_another_kind_of_file_is_named(start: bytes, name: str) -> None:
    with pytest.raises(AudioError, match=f"kind {name}, not WAV; convert it with"):
        read_wav(start + b"\0" * 100)


DATA = chunk(b"data", b"\0" * 64)


@pytest.mark.parametrize(
    ("whole", "says"),
    [
        (b"", "no WAV file"),
        (b"hello, this is text", "no WAV file"),
        (b"RIFF", "no WAV file"),
        (riff(DATA), "no fmt chunk before its data"),
        (riff(form(PCM, 1, 16000, 16)), "no data chunk"),
        (b"RIFF\0\0\0\0AVI LIST", "holds b'AVI ', not WAVE"),
        (riff(chunk(b"fmt ", b"\x01\x00\x01\x00"), DATA), "fmt chunk of the WAV file has 4 bytes"),
        (riff(form(PCM, 0, 16000, 16, block=2), DATA), "0 channels"),
        (riff(form(PCM, 1, 0, 16), DATA), "file of 0 Hz cannot be used"),
        (riff(form(PCM, 1, 2**32 - 1, 16), DATA), "file of 4294967295 Hz cannot be used"),
        (riff(form(PCM, 1, 16000, 0, block=2), DATA), "2 bytes for 1 samples of 0 bits"),
        (riff(form(PCM, 2, 16000, 16, block=3), DATA), "3 bytes for 2 samples of 16 bits"),
        (riff(form(PCM, 2, 16000, 16, block=0), DATA), "0 bytes for 2 samples"),
        (riff(form(PCM, 1, 16000, 64), DATA), "integer samples of 64 bits"),
        (riff(form(FLOAT, 1, 16000, 16), DATA), "float samples of 16 bits"),
        (riff(form(FLOAT, 1, 16000, 24, block=4), DATA), "float samples of 24 bits in 4 bytes"),
        (riff(form(0x1234, 1, 16000, 16), DATA), "unknown format .tag 0x1234"),
        (riff(extensible(PCM, 1, 16000, 16, tail=b"x" * 14), DATA), "extensible format is not PCM"),
        (riff(form(EXTENSIBLE, 1, 16000, 16), DATA), "extensible format is not PCM"),
        (riff(form(PCM, 4, 16000, 16), chunk(b"data", b"\0" * 7)), "holds no sound"),
    ],
)
def test_what_cannot_be_used_says_why(whole: bytes, says: str) -> None:
    with pytest.raises(AudioError, match=says):
        read_wav(whole)


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_a_sound_or_an_audio_error(data: bytes) -> None:
    for whole in (data, b"RIFF\0\0\0\0WAVE" + data, riff(form(PCM, 1, 16000, 16), data)):
        try:
            sound = read_wav(whole)
        except AudioError:
            continue
        assert isinstance(sound, Sound)
        assert len(sound.samples) > 0


FIELDS = st.tuples(
    st.sampled_from([PCM, FLOAT, EXTENSIBLE, 7, 85]) | st.integers(0, 65535),
    st.integers(0, 9) | st.integers(0, 65535),
    st.sampled_from([8000, 44100, 0]) | st.integers(0, 2**32 - 1),
    st.sampled_from([8, 16, 24, 32, 64]) | st.integers(0, 65535),
    st.integers(0, 40) | st.integers(0, 65535),
    st.binary(max_size=30) | st.just(struct.pack("<HHIH", 22, 16, 0, PCM) + GUID_TAIL),
)


@settings(deadline=None, max_examples=300)
@given(FIELDS, st.binary(max_size=100), st.none() | st.integers(0, 2**32 - 1))
def test_any_format_is_a_sound_or_an_audio_error(
    fields: tuple[int, int, int, int, int, bytes], data: bytes, size: int | None
) -> None:
    tag, channels, rate, bits, block, rest = fields
    try:
        sound = read_wav(riff(form(tag, channels, rate, bits, block, rest), chunk(b"data", data, size)))
    except AudioError:
        return
    assert 0 < len(sound.samples) <= len(data) + 1
    assert sound.rate == rate


@settings(deadline=None)
@given(st.lists(st.integers(-32768, 32767), min_size=1), st.integers(1000, 768000))
def test_what_is_written_is_read_again(values: list[int], rate: int) -> None:
    samples = np.array(values, np.int16)
    sound = read_wav(write_wav(samples, rate))
    assert sound.rate == rate
    assert (sound.samples == samples).all()


def test_what_is_written_is_what_others_read() -> None:
    with wave.open(io.BytesIO(write_wav(RAMP, 24000))) as other:
        assert (other.getnchannels(), other.getsampwidth(), other.getframerate()) == (1, 2, 24000)
        assert other.readframes(99) == RAMP.tobytes()


def test_what_others_write_is_read() -> None:
    file = io.BytesIO()
    with wave.open(file, "wb") as other:
        other.setnchannels(2)
        other.setsampwidth(3)
        other.setframerate(44100)
        other.writeframes(ints24([256, 768] * 5))
    assert read_wav(file.getvalue()).samples.tolist() == [2] * 5


@pytest.mark.parametrize("rate", [0, 999, 2**32])
def test_absurd_rates_are_not_written(rate: int) -> None:
    with pytest.raises(AudioError, match=f"{rate} Hz"):
        write_wav(RAMP, rate)
    with pytest.raises(AudioError, match=f"{rate} Hz"):
        WavWriter(io.BytesIO(), rate)


def test_a_long_file_is_decoded_piece_by_piece_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.random.default_rng(1).integers(-9000, 9000, (1000, 2)).astype(np.int16)
    whole = read_wav(file_of(frames.tobytes(), 16, channels=2)).samples
    monkeypatch.setattr(module, "_PIECE", 7)
    assert (read_wav(file_of(frames.tobytes(), 16, channels=2)).samples == whole).all()


def test_a_file_is_playable_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "heard.wav"
    with path.open("w+b") as file:
        writer = WavWriter(file, 16000)
        writer.write(RAMP)
        file.flush()
        assert read_wav(path.read_bytes()).samples.tolist() == RAMP.tolist()
        writer.flush()
        assert path.read_bytes() == write_wav(RAMP, 16000)
        writer.write(RAMP[:2])
        writer.close()
        assert writer.samples == 9
        writer.close()
        with pytest.raises(AudioError, match="finished"):
            writer.write(RAMP)
    assert path.read_bytes() == write_wav(np.concatenate((RAMP, RAMP[:2])), 16000)


def test_a_writer_ends_with_its_block_and_leaves_the_file_open() -> None:
    file = io.BytesIO()
    with WavWriter(file, 8000) as writer:
        writer.write(RAMP)
        writer.write(RAMP[::2])
    assert file.getvalue() == write_wav(np.concatenate((RAMP, RAMP[::2])), 8000)
    file.write(b"more")


def test_a_file_that_holds_something_before_keeps_it() -> None:
    file = io.BytesIO()
    file.write(b"before")
    with WavWriter(file, 8000) as writer:
        writer.write(RAMP)
    assert file.getvalue() == b"before" + write_wav(RAMP, 8000)


class Pipe(io.BytesIO):
    """A file that can only be written on, as standard output is."""

    def seekable(self) -> bool:
        return False

    def seek(self, *_: object) -> int:
        raise io.UnsupportedOperation

    def tell(self) -> int:
        raise io.UnsupportedOperation


def test_a_pipe_gets_a_header_of_unknown_length_that_is_read_again() -> None:
    pipe = Pipe()
    with WavWriter(pipe, 24000) as writer:
        writer.write(RAMP)
        writer.flush()
        writer.write(RAMP)
    sound = read_wav(pipe.getvalue())
    assert sound.samples.tolist() == RAMP.tolist() * 2
    assert sound.rate == 24000


def test_no_file_passes_four_gibibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LARGEST_DATA", 20)
    with pytest.raises(AudioError, match="4 GiB"):
        write_wav(np.zeros(11, np.int16), 8000)
    file = io.BytesIO()
    writer = WavWriter(file, 8000)
    writer.write(np.zeros(10, np.int16))
    with pytest.raises(AudioError, match="4 GiB"):
        writer.write(np.zeros(1, np.int16))
    writer.close()
    assert len(read_wav(file.getvalue()).samples) == 10
