"""The roster over REST, page by page."""

from __future__ import annotations

import base64
import time

import pytest
from azure.communication.callautomation.aio import CallAutomationClient
from azure.core.credentials import AzureKeyCredential
from tests.service.test_api import CONNECTIONS, KEY, VERSION, error_in, serving

from offhook.wire.events import CallParticipant
from offhook.wire.identifiers import phone_number


async def test_a_long_roster_comes_in_pages_that_the_sdk_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    people = [phone_number(f"+1{n:04}") for n in range(251)]
    roster = [CallParticipant(identifier=person) for person in people]
    async with serving() as bench:
        monkeypatch.setattr(bench.node, "participants", lambda connection: roster)
        monkeypatch.setattr(bench.api, "_endpoint", lambda request: f"http://{bench.host}/")
        bench.now = time.time()
        credential = AzureKeyCredential(base64.b64encode(KEY).decode())
        async with CallAutomationClient(f"http://{bench.host}", credential) as client:
            listed = [one async for one in client.get_call_connection("cc-1").list_participants()]
        assert [one.identifier and one.identifier.raw_id for one in listed] == [person.raw_id for person in people]
        sizes = []
        for number in ("1", "3", "4"):
            response = await bench.send("GET", f"{CONNECTIONS}/cc-1/participants{VERSION}&page={number}")
            answered = await response.json()
            sizes.append((len(answered["value"]), "nextLink" in answered))
        assert sizes == [(100, True), (51, False), (0, False)]
        for bad in ("0", "0x", "-1", "9" * 9, "%C2%B2"):
            response = await bench.send("GET", f"{CONNECTIONS}/cc-1/participants{VERSION}&page={bad}")
            assert "page" in await error_in(response, 400, "8523")
