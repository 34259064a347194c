"""What is done with a recording that is over: files that go into a storage of the app, a node that ends meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from tests.live import until
from tests.scenarios.stage import Stage
from tests.service.test_recording_files import document, guid

from offhook.service.api import Api
from offhook.service.eventgrid import IncomingPost
from offhook.service.origins import Origins
from offhook.service.recording_files import Chunk, Document, Shelf
from offhook.service.recording_room import RecordingRoom
from offhook.service.recording_writer import Take
from offhook.service.recordings import RecordingRule
from offhook.service.targets import Targets

BOX = "https://user:secret@box.example/in?sig=secret"


class Killed(BaseException):
    """The node ends here."""


class Room:
    """The recordings of a node, and what apps are told."""

    def __init__(self, state: Path) -> None:
        self.posts: list[IncomingPost] = []
        self.put: dict[str, Path | bytes] = {}
        self.stop_at = ""
        self.room = RecordingRoom(
            Stage().node,
            cast(Api, None),
            RecordingRule(keep_hours=0),
            state,
            endpoint=lambda: "https://here.example/",
            tell=self._tell,
            network=(None, Origins(), Targets(private=True)),
        )
        self.room._storage = cast(Any, SimpleNamespace(put=self._put))

    async def _tell(self, post: IncomingPost) -> None:
        self.posts.append(post)

    async def _put(self, container: str, name: str, source: Path | bytes, kind: str) -> str:
        if name == self.stop_at:
            raise Killed
        if isinstance(source, Path) and not source.exists():
            raise FileNotFoundError(f"no file {source.name}")
        self.put[name] = source
        return f"https://box.example/in/{name}"

    def told(self) -> dict[str, Any]:
        (post,) = self.posts
        return cast("dict[str, Any]", json.loads(post.body)[0]["data"])


def left(folder: Path) -> None:
    """A recording of two files for a storage, which a node has finished and not handed over."""
    shelf = Shelf(folder, 0, 0)
    shelf.open(0.0)
    one = document(1, settled=False)
    take = Take(shelf.stem(one), "wav", 16000, 1, most=640)
    take.open()
    take.put(np.ones(640, np.int16))
    take.close()
    one.chunks = [Chunk(index=piece.index, started=one.started, milliseconds=20, size=684) for piece in take.pieces]
    one.container_url = BOX
    shelf.save(one)
    shelf.close()


async def test_a_node_that_ends_while_it_hands_over_loses_nothing(tmp_path: Path) -> None:
    """What is in the storage is not looked for here, and the event says of each file where it is."""
    left(tmp_path / "recordings")
    first = Room(tmp_path)
    first.stop_at = f"{guid(1)}-1.wav"
    (shelf := first.room._shelf).open(0.0)
    with pytest.raises(Killed):
        await first.room.hand_over(shelf.documents[guid(1)])
    shelf.close()
    assert not (shelf.folder / f"{guid(1)}-0.wav").exists() and (shelf.folder / f"{guid(1)}-1.wav").exists()
    second = Room(tmp_path)
    await second.room.open()
    await until(lambda: second.posts, "its event")
    told = second.told()
    places = [chunk["contentLocation"] for chunk in told["recordingStorageInfo"]["recordingChunks"]]
    assert places == [f"https://box.example/in/{guid(1)}-{index}.wav" for index in (0, 1)]
    assert "externalStorageError" not in told and list(second.put) == [f"{guid(1)}-1.wav", f"{guid(1)}-1.json"]
    await until(lambda: not list(shelf.folder.iterdir()), "nothing is kept here")
    await second.room.close()


async def test_a_disk_that_is_full_deletes_no_file_of_which_nobody_would_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left(tmp_path / "recordings")
    one = Room(tmp_path)
    (shelf := one.room._shelf).open(0.0)
    made = shelf.documents[guid(1)]

    def full(document: Document) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shelf, "save", full)
        await one.room.hand_over(made)
    assert not made.storage_problem and not made.here, "they are in the storage"
    assert len(list(shelf.folder.glob("*.wav"))) == 2
    shelf.forget(made)
    assert not list(shelf.folder.iterdir())
    shelf.close()


async def test_a_recording_that_was_deleted_is_not_told_of(tmp_path: Path) -> None:
    left(tmp_path / "recordings")
    one = Room(tmp_path)
    one.room._shelf.open(0.0)
    made = one.room._shelf.documents[guid(1)]
    await one.room.tell(made)
    (post,) = one.posts
    assert post.still_ringing()
    one.room._shelf.forget(made)
    assert not post.still_ringing()
    one.room._shelf.close()
