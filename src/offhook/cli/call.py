"""`offhook call`: places a simulated call into a running node, shows it, and says in figures how it went."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from offhook.cli.console_client import NodeAddress, NodeUnreachable, node_address, open_leg
from offhook.cli.heard import HeardFrame
from offhook.cli.leg_session import LegSession, hanging_up_on_signals
from offhook.cli.measure import echo_delay_ms
from offhook.cli.recording import check_out, forget_old, save
from offhook.cli.report import LiveLine, json_line, ms, note, peak_db, table
from offhook.cli.voice import Voice, choose_voice
from offhook.errors import ConfigError, OffhookError, WireError
from offhook.wire.identifiers import resolve_target

DEFAULT_FROM = "+15550100001"
STAYS_SECONDS = 1.0
TONE_SECONDS = 5.0
ANSWERED, USAGE, NOT_ANSWERED, FAILED = 0, 2, 3, 4
_TONES = frozenset("0123456789*#ABCD")


@dataclass(frozen=True)
class Plan:
    """A checked call: who calls whom, what is said and pressed and when (seconds from the answer)."""

    to: str
    caller: str
    voice: Voice
    lead: float
    dtmf: tuple[tuple[float, str], ...]
    duration: float | None
    out: Path | None

    def place_message(self) -> dict[str, Any]:
        """The console API's request for this call."""
        return {
            "kind": "place",
            "to": self.to,
            "from": self.caller,
            "lead": self.lead,
            "duration": self.duration,
            "tone": self.voice.tone,
            "dtmf": [list(press) for press in self.dtmf],
            "listen": True,
        }


def read_dtmf(text: str) -> tuple[tuple[float, str], ...]:
    """Reads `2.0:1,3.5:#`: seconds from the answer and a tone, in order of time. Raises ConfigError."""
    presses = []
    for item in filter(None, (part.strip() for part in text.split(","))):
        when, colon, tone = item.partition(":")
        try:
            at = float(when)
        except ValueError:
            at = -1.0
        if not colon or not math.isfinite(at) or at < 0 or tone.strip().upper() not in _TONES:
            raise ConfigError(f"--dtmf: '{item}' is not SECONDS:TONE like 2.0:1 (tones are 0-9 * # A-D)")
        presses.append((at, tone.strip().upper()))
    return tuple(sorted(presses))


def raw_id(option: str, text: str) -> str:
    """The raw id of a number or a raw id as the user typed it. Raises ConfigError naming the option."""
    try:
        return resolve_target(text.strip()).raw_id
    except WireError as why:
        raise ConfigError(f"{option}: {why}") from why


def plan(to: str, caller: str, voice: Voice, lead: float, dtmf: str, duration: float | None, out: Path | None) -> Plan:
    """Checks the options together and fills in the duration. Raises ConfigError."""
    if not math.isfinite(lead) or lead < 0:
        raise ConfigError("--lead: seconds from the answer to the first word, 0 or more")
    if duration is not None and (not math.isfinite(duration) or duration <= 0):
        raise ConfigError("--duration: seconds from the answer to the hang-up, more than 0")
    presses = read_dtmf(dtmf)
    if duration is None and not voice.microphone:
        length = voice.seconds if voice.seconds is not None else TONE_SECONDS
        duration = max([lead + length + STAYS_SECONDS, *(at + STAYS_SECONDS for at, _ in presses)])
    return Plan(raw_id("--to", to), raw_id("--from", caller), voice, lead, presses, duration, out)


def call(
    to: str = typer.Option(..., "--to", metavar="NUMBER|RAWID", help="Whom to call."),
    caller: str = typer.Option(DEFAULT_FROM, "--from", metavar="NUMBER|RAWID", help="Who calls."),
    wav: Path | None = typer.Option(None, "--wav", metavar="FILE", help="Say this sound file."),
    text: str | None = typer.Option(None, "--text", help="Say this text (needs the extra offhook[speech])."),
    tone: float | None = typer.Option(None, "--tone", metavar="HZ", help="Say a steady tone."),
    mic: bool = typer.Option(False, "--mic", help="Talk yourself (needs the extra offhook[mic])."),
    lead: float = typer.Option(0.5, "--lead", metavar="SECONDS", help="Silence after the answer."),
    dtmf: str = typer.Option("", "--dtmf", metavar="S:TONE,...", help='Press keys, like "2.0:1,3.5:#".'),
    duration: float | None = typer.Option(
        None,
        "--duration",
        metavar="SECONDS",
        help="Hang up this long after the answer.  [default: lead + voice + 1; with --mic: Ctrl-C]",
        show_default=False,
    ),
    out: Path | None = typer.Option(None, "--out", metavar="FILE", help="Write what the caller heard."),
    node: str | None = typer.Option(
        None, "--node", metavar="URL", help="The node, or its connection string.  [default: http://127.0.0.1:8480]"
    ),
    as_json: bool = typer.Option(False, "--json", help="Events and the result as JSON lines on stdout."),
) -> None:
    """Place a simulated call into a running node.

    The caller is silent for --lead seconds after the answer, speaks, stays, and hangs up. All times count from
    the answer. Exit status: 0 answered, 2 usage, 3 rang but not answered, 4 failed.

    \b
    Example:
      offhook call --to +15550100002 --wav question.wav --dtmf "6:#" --out heard.wav
    """
    address = node_address(node)
    chosen = plan(to, caller, choose_voice(wav, text, tone, mic), lead, dtmf, duration, out)
    if out is not None:
        check_out(out, wav)
    raise typer.Exit(run(address, chosen, as_json))


def run(address: NodeAddress, chosen: Plan, as_json: bool) -> int:
    """Places the call, prints its result, returns the exit status."""
    if chosen.out is not None:
        forget_old(chosen.out)
    try:
        session = asyncio.run(_place(address, chosen, as_json))
    except NodeUnreachable as why:
        note(f"offhook call: {why}")
        if as_json:
            json_line({**_figures(None, chosen), "error": str(why)})
        return FAILED
    figures, error = _figures(session, chosen), session.error
    try:
        _save_heard(session, chosen, figures)
    except OffhookError as why:
        error = str(why)
    if error is not None:
        note(f"offhook call: {error}")
        figures["error"] = error
    if as_json:
        json_line(figures)
    else:
        table("Call", _rows(figures))
    return _status(session, figures, error)


def _save_heard(session: LegSession, chosen: Plan, figures: dict[str, Any]) -> None:
    if session.heard is None:
        return
    heard = session.heard.samples(figures["durationMs"])
    figures["echoDelayMs"] = echo_delay_ms(session.spoken_line(), heard, session.rate)
    if chosen.out is not None:
        save(chosen.out, heard, session.rate)
        figures["heard"] = str(chosen.out.resolve())


def _status(session: LegSession, figures: dict[str, Any], error: str | None) -> int:
    if error is not None:
        return FAILED
    if session.answered:
        return ANSWERED
    return NOT_ANSWERED if session.rang or (session.placed and (figures["code"] or 0) < 500) else FAILED


async def _place(address: NodeAddress, chosen: Plan, as_json: bool) -> LegSession:
    with LiveLine(shown=not as_json) as line:

        def report(said: dict[str, Any]) -> None:
            if said["kind"] != "spoke":
                line.state(_told(said))
            if as_json and said["kind"] != "ended":
                json_line({"event": said["kind"], **{key: said[key] for key in said if key != "kind"}})

        def on_frame(frame: HeardFrame, session: LegSession) -> None:
            line.levels(peak_db(session.spoken_during(frame)), peak_db(frame.samples))

        async with open_leg(address) as socket:
            session = LegSession(socket, chosen.voice, report, None if as_json else on_frame, chosen.lead)
            await socket.send_json(chosen.place_message())
            with hanging_up_on_signals(session):
                await session.run()
    return session


def _told(said: dict[str, Any]) -> str:
    if said["kind"] == "ended":
        return f"ended by the {said.get('endedBy', 'service')}"
    if said["kind"] == "key":
        return f"talking; key {said.get('tone')} heard"
    return {"placed": "placed", "ringing": "ringing", "answered": "talking"}.get(said["kind"], str(said["kind"]))


def _figures(session: LegSession | None, chosen: Plan) -> dict[str, Any]:
    """The result object; figures that were not measured are null."""
    ended = (session.ended if session is not None else None) or {}
    stats = ended.get("stats") or {}
    heard = session.heard if session is not None else None
    frames = len(heard) if heard is not None else 0
    return {
        "answered": heard is not None,
        "answerMs": session.answer_ms if session is not None else None,
        "firstAudioMs": heard.first_audio_ms if heard is not None else None,
        "durationMs": stats.get("durationMs", frames * 20) if heard is not None else None,
        "framesSent": stats.get("framesSent", 0),
        "framesHeard": heard.frames_of_app if heard is not None else 0,
        "lateFrames": stats.get("lateFrames", 0),
        "gaps": max(stats.get("gaps", heard.gaps), heard.missing) if heard is not None else 0,
        "echoDelayMs": None,
        "heard": None,
        "code": ended.get("code"),
        "subCode": ended.get("subCode"),
        "endedBy": ended.get("endedBy"),
    }


def _rows(figures: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [("answered after", ms(figures["answerMs"]) if figures["answered"] else "not answered")]
    if figures["answered"]:
        rows += [
            ("first frame of the app", ms(figures["firstAudioMs"])),
            ("duration", ms(figures["durationMs"])),
            ("frames to the app", str(figures["framesSent"])),
            ("frames from the app", str(figures["framesHeard"])),
            ("late frames", str(figures["lateFrames"])),
            ("gaps", str(figures["gaps"])),
            ("echo delay", ms(figures["echoDelayMs"])),
        ]
    rows.append(("ended by", f"{figures['endedBy'] or '-'}, {figures['code']}/{figures['subCode']}"))
    if figures["heard"]:
        rows.append(("heard", figures["heard"]))
    return rows
