"""What the local recogniser makes of the clips that are in doubt: `python -m tests.barge_in.understood` notes it.

So tests can tell how well words decide without the seconds that recognising them takes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Final

from tests.barge_in.clips import FOLDER, labels
from tests.barge_in.judgement import judge

from offhook.audio.pcm import from_bytes
from offhook.audio.wav import read_wav
from offhook.kit.turns import TurnTaking
from offhook.speech.whisper import WhisperRecogniser

FILE: Final = FOLDER / "understood.json"


def noted(file: str) -> Callable[[bytes], Awaitable[str]]:
    """An `understand` that knows what a clip was understood as."""

    async def understand(pcm: bytes) -> str:
        return str(_texts[file])

    return understand


def main() -> None:
    recogniser = WhisperRecogniser()
    texts: dict[str, str] = {}
    for label in labels():

        async def understand(pcm: bytes, file: str = label.file) -> str:
            texts[file] = recogniser.recognise(from_bytes(pcm), "en-US", ()).text
            return texts[file]

        judge(label, read_wav((FOLDER / label.file).read_bytes()).samples, TurnTaking(understand=understand))
    FILE.write_text(json.dumps(texts, indent=1) + "\n")
    sys.stdout.write(f"{len(texts)} clips in doubt\n")


_texts: Final[dict[str, str]] = json.loads(FILE.read_text()) if FILE.exists() else {}

if __name__ == "__main__":
    main()
