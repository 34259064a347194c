"""Operations that only older api-versions have, against a stand-in node."""

from __future__ import annotations

import pytest
from tests.service.test_api import CONNECTIONS, error_in, serving

from offhook.service.older_operations import OLDER_OPERATIONS
from offhook.service.operations import OPERATIONS
from offhook.wire.versions import API_VERSIONS, DIFFERENCES, known_to

BODY = {"targetParticipants": [{"rawId": "4:+1"}], "operationContext": "again"}


def test_each_has_its_row_in_the_table_of_differences() -> None:
    assert {operation.name for operation in OLDER_OPERATIONS} <= set(DIFFERENCES)
    assert not {operation.path for operation in OLDER_OPERATIONS} & {operation.path for operation in OPERATIONS}


async def test_unmute_is_of_the_versions_that_had_it() -> None:
    async with serving() as bench:
        for version in API_VERSIONS:
            response = await bench.send("POST", f"{CONNECTIONS}/cc-1/participants:unmute?api-version={version}", BODY)
            if known_to("Unmute", version):
                assert (response.status, await response.json()) == (200, {"operationContext": "again"})
            else:
                assert "Unmute is not in api-version" in await error_in(response, 404, "8522")
        assert bench.node.names == ["mute_participants"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
async def test_dialogs_are_refused_by_name(method: str) -> None:
    async with serving() as bench:
        path = f"{CONNECTIONS}/cc-1/dialogs/d-1?api-version="
        message = await error_in(await bench.send(method, path + "2023-10-03-preview", {}), 405, "8520")
        assert "dialogs is not supported: there are no dialogs with bots" in message
        await error_in(await bench.send(method, path + "2026-03-12", {}), 404, "8522")
