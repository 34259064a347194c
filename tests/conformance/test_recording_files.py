"""Files of recordings outlive their node: one that is killed, one that stops, storages of apps, and `offhook recording`
(docs/recording.md)."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import wave
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import pytest_asyncio
from aiohttp import ClientSession, web
from azure.communication.callautomation import AzureBlobContainerRecordingStorage, RecordingChannel, _content_downloader
from azure.communication.callautomation.aio import _content_downloader_async
from tests.conformance.test_python_recording import fetch, noise, place_of, read, talk
from tests.live import CALLER, KEY, OFFHOOK, LiveNode, TestApp, dev_node, sdk_environment, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

GUIDE = Path(__file__).parents[2] / "docs/recording.md"


async def offhook(node: LiveNode, *words: str, tls: bool = False) -> tuple[int, str, str]:
    """Run `offhook recording`: its exit status, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        *OFFHOOK, "recording", *words, "--node", node.connection_string if tls else node.http,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=sdk_environment(node),
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


@pytest.mark.parametrize("channel", ["mixed", "unmixed"])
async def test_a_node_that_is_killed_leaves_a_file_that_plays(tmp_path: Path, channel: str) -> None:
    """All but the last second of it; the next node finds it, tells of it, and hands it out."""
    voice = noise(41, 3)
    async with TestApp().running() as app:
        async with dev_node(tmp_path, "--incoming", app.webhook) as node:
            await until(lambda: app.validations, "validation")
            with pytest.raises(Exception):  # noqa: B017 - the caller's socket dies with the node
                async with talk(node, app) as one:
                    await one.start(recording_channel_type=channel)
                    await app.event("RecordingStateChanged")
                    await one.leg.speak(voice.tobytes())
                    await one.passed(130)
                    killed_after = one.leg.frames
                    node.process.kill()
                    await node.process.wait()
                    await one.leg.told("never", deadline=0.1)
        (path,) = (tmp_path / "recordings").glob("*.wav")
        with wave.open(str(path)) as file:
            assert file.getframerate() == 16000
            frames = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels())
        assert frames.shape[1] == (1 if channel == "mixed" else 6)
        sound = frames[:, 0].astype(np.int16)
        at = place_of(voice[:1600], sound)
        assert at >= 0
        kept = min(len(sound) - at, len(voice))
        assert np.array_equal(sound[at : at + kept], voice[:kept]), "sample by sample to its end"
        assert kept >= 130 * 320 - 16000 and killed_after >= 130, "all but the last second"
        async with dev_node(tmp_path, "--incoming", app.webhook) as node:
            told = await app.recorded()
            chunk = told["recordingStorageInfo"]["recordingChunks"][0]
            _, _, data = await fetch(node, chunk["contentLocation"])
            mended, _ = read(data)
            assert len(mended) >= len(sound) and np.array_equal(mended[: len(sound), 0], sound)
            assert told["recordingDurationMs"] == len(mended) // 16
            _, _, metadata = await fetch(node, chunk["metadataLocation"])
            told_of = json.loads(metadata)
            assert told_of["interrupted"] is True
            who = {"participantId": f"4:{CALLER}"}
            assert (who if channel == "mixed" else {**who, "channel": 0}) in told_of["participants"]
            status, out, _ = await offhook(node, "list")
            assert status == 0 and chunk["documentId"][:-2] in out and "cut off" in out


async def test_a_node_that_stops_finishes_its_recordings(tmp_path: Path) -> None:
    """The file is whole when it has stopped; apps are told by the next node."""
    async with TestApp().running() as app:
        async with dev_node(tmp_path, "--incoming", app.webhook) as node:
            await until(lambda: app.validations, "validation")
            with pytest.raises(Exception):  # noqa: B017 - the caller's socket ends with the node
                async with talk(node, app, tone=440) as one:
                    await one.start()
                    await app.event("RecordingStateChanged")
                    await one.passed(60)
                    assert await node.stop() == 0
                    await one.leg.told("never", deadline=0.1)
            assert (await app.event("RecordingStateChanged", 2))["state"] == "inactive"
        (path,) = (tmp_path / "recordings").glob("*.wav")
        with wave.open(str(path)) as file:
            assert file.getnframes() >= 60 * 320
        async with dev_node(tmp_path, "--incoming", app.webhook):
            told = await app.recorded()
            assert told["recordingDurationMs"] >= 1200 and told["sessionEndReason"] == "CallEnded"


class Container:
    """A blob container that keeps what is put into it."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self.headers: list[dict[str, str]] = []
        self.queries: set[str] = set()
        self.refusing = 0
        self.status = 503
        self.url = ""

    async def put(self, request: web.Request) -> web.Response:
        """PUT of a blob; the first `refusing` are answered with `status`."""
        body = await request.read()
        self.queries.add(request.rel_url.raw_query_string)
        if self.refusing:
            self.refusing -= 1
            return web.Response(status=self.status)
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        self.blobs[request.path.rpartition("/")[2]] = body
        return web.Response(status=201)


@pytest_asyncio.fixture(loop_scope="module")
async def container() -> AsyncIterator[Container]:
    kept = Container()
    app = web.Application(client_max_size=2**26)
    app.add_routes([web.put("/box/in/{name}", kept.put)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    kept.url = f"http://127.0.0.1:{runner.addresses[0][1]}/box/in"
    yield kept
    await runner.cleanup()


async def test_a_storage_of_the_app(node: LiveNode, app: TestApp, container: Container) -> None:
    """The file and its metadata are put there, tried again when it is busy, and are here no more."""
    container.refusing = 1
    async with talk(node, app, tone=440) as one:
        opened = container.url.replace("://", "://me:hidden@")
        box = AzureBlobContainerRecordingStorage(container_url=f"{opened}?sv=1&sig=a%2Fb")
        id = (await one.start(recording_storage=box, recording_channel_type=RecordingChannel.MIXED)).recording_id
        await one.passed(30)
        await one.stop(id)
        told = await app.recorded(id)
    chunk = told["recordingStorageInfo"]["recordingChunks"][0]
    name = chunk["contentLocation"].rpartition("/")[2]
    assert chunk["contentLocation"] == f"{container.url}/{name}"
    assert not any(word in json.dumps(told) for word in ("sig", "hidden"))
    samples, _ = read(container.blobs[name])
    assert len(samples) == told["recordingDurationMs"] * 16
    metadata = json.loads(container.blobs[name.replace(".wav", ".json")])
    assert metadata["chunkDocumentId"] == chunk["documentId"]
    assert {headers["x-ms-blob-type"] for headers in container.headers} == {"BlockBlob"}
    assert container.queries == {"sv=1&sig=a%2Fb"}
    assert chunk["documentId"] not in (await offhook(node, "list"))[1]


async def test_a_storage_that_refuses(node: LiveNode, app: TestApp, container: Container) -> None:
    """The app is told, and the file stays here."""
    container.refusing, container.status = 9, 403
    async with talk(node, app, tone=440) as one:
        box = AzureBlobContainerRecordingStorage(container_url=f"{container.url}?sig=secret")
        id = (await one.start(recording_storage=box)).recording_id
        await one.passed(20)
        await one.stop(id)
        told = await app.recorded(id)
    assert "403" in told["externalStorageError"] and "secret" not in json.dumps(told)
    chunk = told["recordingStorageInfo"]["recordingChunks"][0]
    status, _, data = await fetch(node, chunk["contentLocation"])
    assert status == 200 and len(read(data)[0]) == told["recordingDurationMs"] * 16
    assert not any("secret" in line for line in node.log)


async def test_the_figures_and_a_folder_that_is_none(node: LiveNode, app: TestApp, tmp_path: Path) -> None:
    async def figures() -> dict[str, float]:
        async with ClientSession() as session, session.get(f"{node.http}/metrics") as response:
            lines = [line.rsplit(" ", 1) for line in (await response.text()).splitlines() if "offhook_record" in line]
            return {name: float(value) for name, value in lines if not name.startswith("#")}

    before = await figures()
    async with talk(node, app, tone=440) as one:
        id = (await one.start()).recording_id
        await one.passed(40)
        assert (await figures())["offhook_recordings"] == 1
        await one.stop(id)
        told = await app.recorded(id)
    after = await figures()
    assert after["offhook_recordings"] == after["offhook_recordings_failed_total"] == 0
    grown = after["offhook_recorded_bytes_total"] - before["offhook_recorded_bytes_total"]
    assert grown == told["recordingDurationMs"] * 32
    (tmp_path / "recordings").write_bytes(b"")
    words = ("dev", "--port", "0", "--state", str(tmp_path))
    process = await asyncio.create_subprocess_exec(*OFFHOOK, *words, stderr=asyncio.subprocess.PIPE)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2 and "recordings cannot be kept in" in err.decode()


async def test_the_command_line(node: LiveNode, app: TestApp, tmp_path: Path) -> None:
    async with talk(node, app, tone=440) as one:
        id = (await one.start()).recording_id
        await one.passed(30)
        assert id not in (await offhook(node, "list", "--json"))[1], "only those that are over"
        await one.stop(id)
        told = await app.recorded(id)
    rows = [json.loads(line) for line in (await offhook(node, "list", "--json"))[1].splitlines()]
    (row,) = [row for row in rows if row["recordingId"] == id]
    assert row["durationMs"] == told["recordingDurationMs"] and row["bytes"] == 44 + 32 * row["durationMs"]
    status, out, _ = await offhook(node, "list")
    assert status == 0 and row["id"] in out and "mixed wav" in out
    out_file = tmp_path / "call.wav"
    status, out, _ = await offhook(node, "get", row["id"], "--output", str(out_file))
    assert status == 0 and str(out_file) in out
    assert len(read(out_file.read_bytes())[0]) == row["durationMs"] * 16
    assert [path.name for path in tmp_path.iterdir()] == ["call.wav"]
    plain = out_file.read_bytes()
    status, _, err = await offhook(node, "get", id, "--json", "--output", str(out_file), tls=True)
    assert status == 0 and out_file.read_bytes() == plain, f"by its other id as well, over TLS; {err}"
    status, _, err = await offhook(node, "get", row["id"], "--output", str(tmp_path / "no/folder.wav"))
    assert status == 4 and "cannot write" in err
    assert (await offhook(node, "rm", row["id"]))[0] == 0
    status, _, err = await offhook(node, "rm", row["id"])
    assert status == 4 and "offhook recording list" in err
    assert (await offhook(node, "get"))[0] == (await offhook(node, "list", "x"))[0] == 2


@pytest.mark.parametrize("kind", ["async http", "sync http"])
async def test_the_sdk_fetches_where_it_is_let(
    node: LiveNode, app: TestApp, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As releases before 1.6.0 do: the check of the host taken away, the real requests and signatures are used. The
    URL has another host than the client's endpoint."""
    for module in (_content_downloader, _content_downloader_async):
        monkeypatch.setattr(module, "validate_recording_url", lambda url, name: None)
    async with talk(node, app, kind, tone=440) as one:
        id = (await one.start()).recording_id
        await one.passed(20)
        await one.stop(id)
        chunk = (await app.recorded(id))["recordingStorageInfo"]["recordingChunks"][0]

        def local(url: str) -> str:
            parts, endpoint = urlsplit(url), urlsplit(node.http)
            other = "localhost" if endpoint.hostname == "127.0.0.1" else "127.0.0.1"
            return f"http://{other}:{endpoint.port}{parts.path}"

        client = one.client.client

        async def download(**part: int) -> bytes:
            response = await one.client(client.download_recording, local(chunk["contentLocation"]), **part)
            data = response.read()
            return bytes(await data if inspect.isawaitable(data) else data)

        data = await download()
        assert len(read(data)[0]) >= 15 * 320
        assert await download(offset=44, length=320) == data[44:364]
        await one.client(client.delete_recording, local(chunk["deleteLocation"]))
        assert (await fetch(node, chunk["contentLocation"]))[0] == 404


async def test_the_example_of_the_guide(node: LiveNode, app: TestApp) -> None:
    """Ten lines of plain HTTP fetch a file."""
    async with talk(node, app, tone=440) as one:
        id = (await one.start()).recording_id
        await one.passed(20)
        await one.stop(id)
        told = await app.recorded(id)
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    url = node.http + urlsplit(told["recordingStorageInfo"]["recordingChunks"][0]["contentLocation"]).path
    names: dict[str, Any] = {}
    exec(compile(code, "guide", "exec"), names)
    data = await asyncio.to_thread(names["download"], url, KEY)
    assert len(read(data)[0]) == told["recordingDurationMs"] * 16
