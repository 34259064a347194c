"""Every event class, whoever adds one: what the description, the samples and the Python SDK's parser have to say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from azure.core.messaging import CloudEvent
from tests.wire.every_event import event_classes, made

from offhook.wire.events import CallEvent, encode_callback, event_time

ACS = Path(__file__).parents[1] / "fixtures/acs"
DESCRIBED: dict[str, Any] = json.loads(
    (ACS / "CallAutomation/stable/2026-03-12/communicationservicescallautomation.json").read_text()
)["definitions"]
EVENTS = event_classes()
SAMPLES = sorted((ACS / "samples/callbacks").glob("*.json"))
ENVELOPE = {"eventSource", "version", "publicEventType"}
"""What `data` holds beside the event's own fields (protocol.md §5.3)."""


def wire_names(kind: type[CallEvent]) -> dict[str, bool]:
    """The fields of `data`, and whether each must be there."""
    fields = msgspec.structs.fields(kind)
    return {field.encode_name: field.required for field in fields}


def told(event: CallEvent) -> dict[str, Any]:
    """The CloudEvent."""
    body = encode_callback(event, event_id="e", time=event_time(1714648842.9110236), api_version="2026-03-12")
    (one,) = json.loads(body)
    assert isinstance(one, dict)
    return one


@pytest.mark.parametrize("name", EVENTS)
def test_it_is_what_the_description_and_the_python_sdk_know(name: str) -> None:
    event = told(made(EVENTS[name]))
    parsed: CloudEvent[Any] = CloudEvent.from_dict(event)
    assert parsed.type == f"Microsoft.Communication.{name}" and parsed.data == event["data"]
    assert parsed.time is not None and parsed.subject == parsed.source
    extra = set(event["data"]) - ENVELOPE - set(DESCRIBED[name]["properties"])
    assert extra <= {"operationContext", "resultInformation"}, "fields of every event class, used where they are known"
    assert {"callConnectionId", "serverCallId", "correlationId"} <= set(event["data"])


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_it_has_the_keys_of_the_sample(path: Path) -> None:
    """No key of the sample is unknown to us, and none that we always send is missing there."""
    (sample,) = json.loads(path.read_text())
    name = sample["type"].rpartition(".")[2]
    names = wire_names(EVENTS[name])
    keys = set(sample["data"]) - ENVELOPE
    assert keys <= set(names) and {key for key, required in names.items() if required} <= keys
    ours = told(made(EVENTS[name]))
    assert set(ours) == set(sample)
    for key, value in sample["data"].items():
        if isinstance(value, dict) and key in ours["data"]:
            assert set(value) <= set(ours["data"][key]) or "rawId" in value, key


def test_there_is_a_class_for_every_event_of_the_contract_and_no_other() -> None:
    """SDKs throw on types that they do not know (protocol.md §5.5)."""
    ids = {"callConnectionId", "serverCallId", "correlationId"}
    described = {name for name, kind in DESCRIBED.items() if ids <= set(kind.get("properties", {}))}
    assert described - {"CallConnectionProperties"} == set(EVENTS)
