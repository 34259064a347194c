"""The official Python SDK plays files of the node's own folder, by name; nothing else of the machine can be named."""

from __future__ import annotations

from pathlib import Path

import pytest
from azure.communication.callautomation import FileSource
from tests.conformance.python_sdk import sdk
from tests.conformance.test_python_play import GREETING, MENU, RATE, places
from tests.console_leg import caller
from tests.live import TestApp, dev_node, until

from offhook.audio.wav import write_wav

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_file_by_name_is_heard_and_no_other_can_be_named(tmp_path: Path) -> None:
    prompts = tmp_path / "prompts"
    (prompts / "de").mkdir(parents=True)
    (prompts / "greeting.wav").write_bytes(write_wav(GREETING, RATE))
    (prompts / "de/menu.wav").write_bytes(write_wav(MENU, RATE))
    (tmp_path / "secret.wav").write_bytes(write_wav(MENU, RATE))
    (prompts / "link.wav").symlink_to(tmp_path / "secret.wav")
    app = TestApp()
    async with app.running():
        options = ("--incoming", app.webhook, "--prompts", str(prompts))
        async with dev_node(tmp_path / "state", *options) as node, sdk(node, "async http") as client:
            await until(lambda: node.named("subscription"), "validation")
            async with caller(node) as leg:
                context = (await app.invited())["incomingCallContext"]
                made = await client(client.client.answer_call, context, app.callback)
                await app.event("CallConnected")
                connection = client.connection(made.call_connection_id)
                both = [FileSource("file:///greeting.wav"), FileSource("de/menu.wav")]
                await client(connection.play_media, both)
                await app.event("PlayCompleted")
                heard = leg.heard
                (first,), (second,) = places(heard, GREETING), places(heard, MENU)
                assert second - first == len(GREETING)
                named = ("../secret.wav", "link.wav", "none.wav", "file:///etc/passwd")
                for count, name in enumerate(named, 1):
                    await client(connection.play_media, [FileSource(name)])
                    failed = await app.event("PlayFailed", count)
                    told = failed["resultInformation"]
                    assert (told["code"], told["subCode"], failed["failedPlaySourceIndex"]) == (400, 8536, 0), told
                    assert name in told["message"] and "prompts" in told["message"], told
