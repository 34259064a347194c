"""Play sources over real sockets: redirects under the guard, bounds, formats, what is kept and shared."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator

import numpy as np
import pytest
import pytest_asyncio
from tests.live import until
from tests.sound_files import TONE, Files, sound_files

from offhook.audio.pcm import Frame
from offhook.audio.wav import write_wav
from offhook.errors import PromptError
from offhook.service import sounds as module
from offhook.service.origins import Origins
from offhook.service.sounds import Loaded, Sounds
from offhook.service.targets import Targets
from offhook.wire.playing import PlaySource


@pytest_asyncio.fixture
async def files() -> AsyncIterator[Files]:
    async with sound_files() as served:
        yield served


@pytest_asyncio.fixture
async def sounds() -> AsyncIterator[Sounds]:
    sounds = Sounds(targets=Targets(private=True))
    yield sounds
    await sounds.close()


def file(uri: str, cache_id: str | None = None) -> PlaySource:
    return PlaySource(kind="file", uri=uri, cache_id=cache_id)


async def load(sounds: Sounds, *sources: PlaySource, rate: int = 16000) -> Loaded:
    done: asyncio.Future[Loaded] = asyncio.get_running_loop().create_future()
    sounds.load(sources, rate, done.set_result)
    return await asyncio.wait_for(done, 10)


async def loaded(sounds: Sounds, *sources: PlaySource, rate: int = 16000) -> Frame:
    found = await load(sounds, *sources, rate=rate)
    assert not isinstance(found, PromptError), found
    return found.samples()


async def failed(sounds: Sounds, *sources: PlaySource) -> PromptError:
    found = await load(sounds, *sources)
    assert isinstance(found, PromptError)
    return found


async def test_a_file_as_it_is(files: Files, sounds: Sounds) -> None:
    assert np.array_equal(await loaded(sounds, file(files.url("/a.wav?sig=a%2Fb"))), TONE)
    assert files.asked == ["/a.wav?sig=a%2Fb"], "letter by letter"


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
async def test_any_rate_and_stereo(files: Files, sounds: Sounds, rate: int) -> None:
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.int16)
    stereo = np.column_stack([tone, tone]).astype("<i2").tobytes()
    head = bytearray(write_wav(np.zeros(0, np.int16), rate))
    head[22:24] = (2).to_bytes(2, "little")
    head[28:32], head[32:34] = (4 * rate).to_bytes(4, "little"), (4).to_bytes(2, "little")
    head[4:8], head[40:44] = (36 + len(stereo)).to_bytes(4, "little"), len(stereo).to_bytes(4, "little")
    files.files["/b.wav"] = bytes(head) + stereo
    found = await loaded(sounds, file(files.url("/b.wav")))
    assert len(found) == 16000
    middle = found[2000:-2000].astype(float)
    assert np.max(np.abs(middle - TONE[2000:-2000])) < 30


async def test_many_sources_are_one_sound_and_one_fetch(files: Files, sounds: Sounds) -> None:
    files.files["/b.wav"] = write_wav(TONE[:7], 16000)
    a, b = file(files.url("/a.wav")), file(files.url("/b.wav"))
    assert np.array_equal(await loaded(sounds, a, b, a), np.concatenate([TONE, TONE[:7], TONE]))
    assert sorted(files.asked) == ["/a.wav", "/b.wav"]


async def test_redirects_are_followed(files: Files, sounds: Sounds) -> None:
    files.redirects = {"/1": "/2?x", "/2": files.url("/a.wav")}
    assert len(await loaded(sounds, file(files.url("/1")))) == 16000


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("/loop", "is redirected more than 5 times"),
        ("file:///etc/passwd", "is redirected to what is no http or https URL"),
        ("http://[", "could not be fetched"),
        ("/missing", "was answered with HTTP 404"),
    ],
)
async def test_redirects_that_lead_nowhere(files: Files, sounds: Sounds, target: str, why: str) -> None:
    files.redirects = {"/loop": target}
    error = await failed(sounds, file(files.url("/loop")))
    assert (error.outcome, error.index) == ("play_not_downloaded", 0)
    assert why in error.detail


async def test_the_guard_looks_at_every_redirect(files: Files) -> None:
    """127.0.0.1 is allowed here, and what it redirects to is not."""
    sounds = Sounds(targets=Targets(allowed=(ipaddress.ip_network("127.0.0.1/32"),)))
    files.redirects = {"/1": f"http://127.0.0.2:{files.port}/a.wav"}
    error = await failed(sounds, file(files.url("/1")))
    assert error.outcome == "play_not_downloaded" and "allow_targets" in error.detail
    assert files.asked == ["/1"]
    assert len(await loaded(sounds, file(files.url("/a.wav")))) == 16000
    await sounds.close()


async def test_a_private_address_is_refused_by_name(files: Files) -> None:
    sounds = Sounds(targets=Targets())
    for host in ("127.0.0.1", "localhost"):
        error = await failed(sounds, file(f"http://{host}:{files.port}/a.wav"))
        assert error.outcome == "play_not_downloaded" and "allow_targets" in error.detail
    assert not files.asked
    await sounds.close()


async def test_a_mapped_host(files: Files) -> None:
    sounds = Sounds(origins=Origins([f"https://app.test=http://127.0.0.1:{files.port}"]), targets=Targets(private=True))
    files.redirects = {"/1": "/a.wav"}
    assert len(await loaded(sounds, file("https://app.test/1"))) == 16000
    await sounds.close()


async def test_nobody_is_there(sounds: Sounds) -> None:
    error = await failed(sounds, file("http://user:hidden@127.0.0.1:1/a.wav?sig=hidden"))
    assert error.outcome == "play_not_downloaded"
    assert "127.0.0.1:1" in error.detail and "hidden" not in error.detail


async def test_a_file_that_does_not_come_in_time(files: Files) -> None:
    sounds = Sounds(targets=Targets(private=True), fetch_timeout=0.1)
    files.release.clear()
    error = await failed(sounds, file(files.url("/a.wav")))
    assert error.outcome == "play_not_downloaded" and "within 0.1 s" in error.detail
    await sounds.close()


async def test_too_large_and_too_long(files: Files, sounds: Sounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    assert (await failed(sounds, file(files.url("/a.wav")))).outcome == "play_not_downloaded"
    monkeypatch.setattr(module, "MOST_BYTES", 1 << 20)
    monkeypatch.setattr(module, "MOST_SECONDS", 1.5)
    a = file(files.url("/a.wav"))
    error = await failed(sounds, a, a)
    assert (error.outcome, error.index) == ("play_bad_format", 1)
    monkeypatch.setattr(module, "MOST_SECONDS", 0.5)
    error = await failed(sounds, file(files.url("/a.wav?again")))
    assert error.outcome == "play_bad_format" and "longer than 0.5 s" in error.detail


@pytest.mark.parametrize("body", [b"", b"<html>not found</html>", b"ID3\x04", write_wav(TONE, 16000)[:30]])
async def test_what_is_no_sound(files: Files, sounds: Sounds, body: bytes) -> None:
    files.files["/bad.wav"] = body
    error = await failed(sounds, file(files.url("/a.wav")), file(files.url("/bad.wav")))
    assert (error.outcome, error.index) == ("play_bad_format", 1)


async def test_words_cannot_be_spoken_yet(files: Files, sounds: Sounds) -> None:
    a = file(files.url("/a.wav"))
    error = await failed(sounds, a, PlaySource(kind="text", words="Hello"))
    assert (error.outcome, error.index) == ("speech_not_set_up", 1)
    for words in ("", " \n"):
        assert (await failed(sounds, PlaySource(kind="ssml", words=words))).outcome == "play_source_empty"


async def test_what_is_kept_and_how_long(files: Files) -> None:
    now = 0.0
    sounds = Sounds(targets=Targets(private=True), clock=lambda: now)
    by_url, by_id = file(files.url("/a.wav?sig=1")), file(files.url("/a.wav?sig=1"), "greeting")
    later = file(files.url("/a.wav?sig=2"), "greeting")
    for source in (by_url, by_url, by_id, by_id, later):
        await loaded(sounds, source)
    assert len(files.asked) == 2, "once by URL, once by id, whatever the query"
    now = module.KEPT_BY_URL + 1
    await loaded(sounds, by_url)
    await loaded(sounds, later)
    assert len(files.asked) == 3
    await loaded(sounds, later, rate=24000)
    assert len(files.asked) == 4, "at another rate it is another sound"
    now = module.KEPT_BY_ID + module.KEPT_BY_URL
    await loaded(sounds, later)
    assert len(files.asked) == 5
    await sounds.close()


async def test_a_failure_is_not_kept(files: Files, sounds: Sounds) -> None:
    late = file(files.url("/late.wav"), "id")
    assert (await failed(sounds, late)).outcome == "play_not_downloaded"
    files.files["/late.wav"] = write_wav(TONE, 16000)
    await loaded(sounds, late)


async def test_no_more_is_kept_than_fits(files: Files, sounds: Sounds, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 2 * TONE.nbytes)
    for number in range(4):
        await loaded(sounds, file(files.url(f"/a.wav?{number}"), None))
    assert sounds._kept_bytes <= 2 * TONE.nbytes and len(sounds._kept) == 2
    await loaded(sounds, file(files.url("/a.wav?0")))
    assert len(files.asked) == 5


async def test_who_asks_at_the_same_time_shares_the_fetch_and_may_give_up_alone(files: Files, sounds: Sounds) -> None:
    files.release.clear()
    told: list[Loaded] = []
    cancels = [sounds.load((file(files.url("/a.wav")),), 16000, told.append) for _ in range(3)]
    await until(lambda: files.asked)
    cancels[0]()
    files.release.set()
    await until(lambda: len(told) == 2)
    assert files.asked == ["/a.wav"]
    assert all(not isinstance(each, PromptError) for each in told)
    cancels[1]()


async def test_what_nobody_waits_for_any_more_is_not_fetched_on(files: Files) -> None:
    sounds = Sounds(targets=Targets(private=True), fetch_timeout=3600)
    files.release.clear()
    cancels = [sounds.load((file(files.url("/a.wav")),), 16000, lambda loaded: None) for _ in range(2)]
    await until(lambda: files.asked)
    for cancel in cancels:
        cancel()
    await until(lambda: not sounds._tasks)
    assert not sounds._kept
    files.release.set()
    await loaded(sounds, file(files.url("/a.wav")))
    await sounds.close()


async def test_a_slow_host_holds_up_nobody_else(files: Files, sounds: Sounds) -> None:
    files.release.clear()
    files.quick = {"/quick.wav"}
    files.files["/quick.wav"] = write_wav(TONE, 16000)
    told: list[Loaded] = []
    most = module.FETCHES + 10
    for number in range(most):
        sounds.load((file(files.url(f"/a.wav?{number}")),), 16000, told.append)
    await until(lambda: len(files.asked) == module.FETCHES_OF_HOST)
    assert len(await loaded(sounds, file(f"http://localhost:{files.port}/quick.wav"))) == 16000
    files.release.set()
    await until(lambda: len(told) == most)
    assert not any(isinstance(each, PromptError) for each in told)


async def test_closing_gives_up_what_is_under_way(files: Files) -> None:
    sounds = Sounds(targets=Targets(private=True))
    files.release.clear()
    told: list[Loaded] = []
    sounds.load((file(files.url("/a.wav")),), 16000, told.append)
    await until(lambda: files.asked)
    await sounds.close()
    assert not told and not sounds._tasks and not sounds._kept
