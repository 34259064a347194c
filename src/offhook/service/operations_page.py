"""docs/operations.md, made from the tables: `python -m offhook.service.operations_page > docs/operations.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Final

from offhook.service.operation_notes import MEANINGLESS, NOTES, Note
from offhook.service.operations import OPERATIONS, Operation
from offhook.wire.exclusions import EXCLUSIONS
from offhook.wire.versions import API_VERSIONS, DIFFERENCES

_HEAD: Final = """# Operations

What this version does for each of the {total} operations of the Call Automation REST API: {built} of {total} are
built.{rest}

The success status is exact, because the official SDKs raise an error for any other. *Repeatable* operations take
`Repeatability-Request-ID`: the same id again within an hour is answered with the same status and ids and is not done
twice. Events of a repeated or refused request are not sent again.

Any operation may also answer: 400/8523 for an api-version that is not known
(`conformance/test_python_every_operation.py::test_a_version_that_is_not_known`), 401/7509 for a wrong signature
(`conformance/test_python_every_operation.py::test_a_wrong_key`) and 401/7501 for a wrong token
(`conformance/test_tokens.py::test_tokens_that_are_refused_and_a_key_that_changes`), 429/8516 with `Retry-After`,
503/9999 while the node stops.

This page is made from `offhook/service/operations.py` and `operation_notes.py`; a test compares them, and another
one sees to it that every test that is named here exists. `file::test` stands in [tests](../tests).
"""
_REST: Final = " Every other one answers HTTP 501 with code 8520 and its name, and does nothing."


def operations_page() -> str:
    """The text of docs/operations.md."""
    built = sum(operation.run is not None for operation in OPERATIONS)
    head = _HEAD.format(total=len(OPERATIONS), built=built, rest="" if built == len(OPERATIONS) else _REST)
    lines = [head, *_coverage()]
    for operation in OPERATIONS:
        note = NOTES.get(operation.name)
        if operation.run is not None and note is not None:
            lines += _section(operation, note)
    return "\n".join([*lines, *_left_out(), *_versions(), ""])


def _coverage() -> Iterator[str]:
    yield "## All of them\n"
    yield "| Group | Operation | Request | Success | Repeatable | Built |"
    yield "|---|---|---|---|---|---|"
    for operation in OPERATIONS:
        yield (
            "| "
            + " | ".join(
                (
                    operation.group,
                    f"[{operation.name}](#{operation.name.lower()})" if operation.run else operation.name,
                    f"`{operation.method} {operation.path}`",
                    str(operation.success),
                    "yes" if operation.repeatable else "no",
                    "yes" if operation.run else "501, not built yet",
                )
            )
            + " |"
        )


def _section(operation: Operation, note: Note) -> Iterator[str]:
    yield f"\n## {operation.name}\n"
    yield f"{note.here}\n"
    yield f"- Events: {operation.events or 'none'}"
    if note.differences:
        yield f"- Differs from ACS: {note.differences}"
    yield "- Proved by:"
    for what, test in note.proved_by:
        yield f"  - {what}: `{test}`"


def _left_out() -> Iterator[str]:
    yield "\n## Left out by name\n"
    yield "Asking for these is answered 405/8520 before anything is done; the message says what there is instead.\n"
    yield "| What | Why | Instead |"
    yield "|---|---|---|"
    for name, (why, instead) in EXCLUSIONS.items():
        yield f"| `{name}` | {why} | {instead} |"
    yield "\n## Fields without a meaning here\n"
    yield "They are checked and change nothing. Every other field does what the description says, or is refused.\n"
    yield "| Field | Why |"
    yield "|---|---|"
    for name, why in MEANINGLESS.items():
        yield f"| `{name}` | {why} |"


def _versions() -> Iterator[str]:
    yield "\n## Api-versions\n"
    yield f"Taken are {', '.join(API_VERSIONS)}."
    yield "Bodies are read alike in all of them; events carry the version that was asked for.\n"
    yield "| From | To | Then | Else |"
    yield "|---|---|---|---|"
    for row in DIFFERENCES.values():
        yield f"| {row.first} | {row.last or 'the newest'} | {row.what} | {row.others} |"


if __name__ == "__main__":
    sys.stdout.write(operations_page())
