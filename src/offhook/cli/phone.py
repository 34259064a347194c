"""`offhook phone`: a simulated phone that an app can call with `create_call`."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Any

import typer

from offhook.cli.call import FAILED, raw_id
from offhook.cli.console_client import NodeAddress, NodeUnreachable, node_address, open_leg
from offhook.cli.leg_session import LegSession, hanging_up_on_signals
from offhook.cli.recording import check_out, forget_old, save
from offhook.cli.report import harmless, json_line, note
from offhook.cli.voice import Voice, wav_voice
from offhook.errors import ConfigError, OffhookError

REJECTIONS = ("busy", "declined")


def phone(
    number: str = typer.Option(..., "--number", metavar="NUMBER|RAWID", help="The number this phone has."),
    answer_after: float | None = typer.Option(
        None, "--answer-after", metavar="SECONDS", help="Ring this long, then answer.  [default: 1]"
    ),
    reject: str | None = typer.Option(None, "--reject", metavar="busy|declined", help="Refuse every call."),
    never: bool = typer.Option(False, "--never", help="Ring until the app gives up."),
    wav: Path | None = typer.Option(None, "--wav", metavar="FILE", help="Say this sound file after the answer."),
    out: Path | None = typer.Option(None, "--out", metavar="FILE", help="Write what the phone heard (last call)."),
    once: bool = typer.Option(False, "--once", help="Exit after one call: 0 answered, 3 not answered."),
    node: str | None = typer.Option(
        None, "--node", metavar="URL", help="The node, or its connection string.  [default: http://127.0.0.1:8480]"
    ),
    as_json: bool = typer.Option(False, "--json", help="Events as JSON lines on stdout."),
) -> None:
    """Be a simulated phone that the app can call.

    Waits for calls until Ctrl-C and answers each, unless told otherwise.

    \b
    Example:
      offhook phone --number +15550100003 --answer-after 2 --wav greeting.wav --out heard.wav
    """
    address = node_address(node)
    request = register_message(number, answer_after, reject, never)
    voice = wav_voice(wav) if wav is not None else None
    if out is not None:
        check_out(out, wav)
        forget_old(out)
    try:
        status = asyncio.run(_wait_for_calls(address, request, voice, out, once, as_json))
    except NodeUnreachable as why:
        note(f"offhook phone: {why}")
        status = FAILED
    raise typer.Exit(status)


def register_message(number: str, answer_after: float | None, reject: str | None, never: bool) -> dict[str, Any]:
    """The console API's registration. Raises ConfigError when the options contradict each other."""
    if sum((answer_after is not None, reject is not None, never)) > 1:
        raise ConfigError("give at most one of --answer-after, --reject, --never")
    if reject is not None and reject not in REJECTIONS:
        raise ConfigError(f"--reject: '{reject}' is none of {', '.join(REJECTIONS)}")
    if answer_after is not None and not (math.isfinite(answer_after) and answer_after >= 0):
        raise ConfigError("--answer-after: seconds of ringing, 0 or more")
    waits = None if reject is not None or never else (1.0 if answer_after is None else answer_after)
    return {
        "kind": "register",
        "identity": raw_id("--number", number),
        "answerAfter": waits,
        "reject": reject,
        "never": never,
        "listen": True,
    }


async def _wait_for_calls(
    address: NodeAddress, request: dict[str, Any], voice: Voice | None, out: Path | None, once: bool, as_json: bool
) -> int:
    def report(said: dict[str, Any]) -> None:
        event = {"event": said["kind"], **{key: said[key] for key in said if key != "kind"}}
        if as_json:
            json_line(event)
        elif event["event"] != "spoke":
            print(harmless(_told(event)), flush=True)

    async with open_leg(address) as socket:
        await socket.send_json(request)
        while True:
            session = LegSession(socket, voice, report, engaged=False)
            with hanging_up_on_signals(session):
                await session.run()
            if session.heard is not None and out is not None:
                _write(session, out)
            if session.error is not None:
                note(f"offhook phone: {session.error}")
                return FAILED
            if session.stopping:
                return 0
            if once:
                return 0 if session.answered else 3


def _write(session: LegSession, out: Path) -> None:
    stats = (session.ended or {}).get("stats") or {}
    assert session.heard is not None
    try:
        save(out, session.heard.samples(stats.get("durationMs")), session.rate)
    except OffhookError as why:
        session.error = str(why)


def _told(event: dict[str, Any]) -> str:
    kind = event["event"]
    if kind == "registered":
        return f"registered as {event.get('identity')}; waiting for calls (Ctrl-C ends)"
    if kind == "invite":
        return " ".join(filter(None, ("call from", event.get("displayName"), str(event.get("from")))))
    if kind == "key":
        return f"key {event.get('tone')} heard"
    if kind == "ended":
        return f"ended by the {event.get('endedBy')}, {event.get('code')}/{event.get('subCode')}"
    return str(kind)
