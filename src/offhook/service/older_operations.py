"""Operations of older api-versions that 2026-03-12 does not have any more (wire/versions.py has the table)."""

from __future__ import annotations

from typing import Final

from offhook.service import participants
from offhook.service.operations import OPERATIONS, Asked, CallControl, Operation, paths_of
from offhook.wire.exclusions import excluded
from offhook.wire.models import decode_request
from offhook.wire.participants import ParticipantsResponse, UnmuteParticipantsRequest
from offhook.wire.versions import known_to

_PARTICIPANTS: Final = "/calling/callConnections/{callConnectionId}/participants"
_DIALOG: Final = "/calling/callConnections/{callConnectionId}/dialogs/{dialogId}"


def _unmute(control: CallControl, asked: Asked) -> ParticipantsResponse:
    return participants.mute(control, asked, decode_request(UnmuteParticipantsRequest, asked.body))


def _no_dialogs(control: CallControl, asked: Asked) -> None:
    raise excluded("dialogs", "path")


OLDER_OPERATIONS: Final[tuple[Operation, ...]] = (
    Operation("Participants", "Unmute", "POST", f"{_PARTICIPANTS}:unmute", 200, True, "ParticipantsUpdated",
              UnmuteParticipantsRequest, _unmute),
    *(Operation("Dialogs", "Dialogs", method, _DIALOG, 200, run=_no_dialogs) for method in ("PUT", "DELETE", "PATCH")),
)  # fmt: skip
"""Each stands under its name in `DIFFERENCES`."""

PATHS: Final = paths_of((*OPERATIONS, *OLDER_OPERATIONS))
"""Everything that the REST interface looks through."""


def serves(operation: Operation, version: str) -> bool:
    """Whether an api-version has an operation."""
    return operation not in OLDER_OPERATIONS or known_to(operation.name, version)
