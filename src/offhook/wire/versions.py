"""The api-versions that are taken, and THE table of what differs between them (protocol.md §0.2).

A version is a date, with `-preview` behind it where it was never released. Bodies are read alike in all of them:
what a version did not have yet is taken all the same, and fields that a version did not have are sent to all.
"""

from __future__ import annotations

from typing import Final

import msgspec

API_VERSIONS: Final[tuple[str, ...]] = (
    "2023-03-06",
    "2023-06-15-preview",
    "2023-10-03-preview",
    "2023-10-15",
    "2024-04-15",
    "2024-06-15-preview",
    "2024-09-15",
    "2024-11-15-preview",
    "2025-05-15",
    "2025-06-15",
    "2025-08-15-preview",
    "2026-03-12",
)
"""Every version that a released SDK sends, the previews whose paths and bodies are the same, and the newest preview."""


class Difference(msgspec.Struct, frozen=True):
    """What versions from `first` to `last` (None: the newest) have, and others do not."""

    first: str
    last: str | None
    what: str
    others: str


DIFFERENCES: Final[dict[str, Difference]] = {
    "Unmute": Difference(
        "2023-10-03-preview",
        "2023-10-03-preview",
        "`POST …/participants:unmute` undoes Mute: body and answer are those of Mute, 200",
        "404/8522, as for any path that the API does not have",
    ),
    "Dialogs": Difference(
        "2023-06-15-preview",
        "2023-10-03-preview",
        "`…/dialogs/{dialogId}` is known, and refused with 405/8520",
        "404/8522",
    ),
    "PlayStarted": Difference(
        "2024-06-15-preview",
        None,
        "the event PlayStarted is sent",
        "it is not sent: their SDKs throw on events that they do not know",
    ),
}
"""By the name of an operation or event."""


def known_to(name: str, version: str) -> bool:
    """Whether an api-version has what a row of `DIFFERENCES` names."""
    row, day = DIFFERENCES[name], version[:10]
    return row.first[:10] <= day and (row.last is None or day <= row.last[:10])
