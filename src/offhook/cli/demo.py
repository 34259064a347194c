"""`offhook demo`: node, sample app and caller as separate processes, one call, its figures and a picture of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from offhook.cli.call import USAGE
from offhook.cli.children import Child, ChildFailed, Children, program
from offhook.cli.console_client import NodeAddress, NodeUnreachable, download, fetch, node_address
from offhook.cli.echo import INCOMING
from offhook.cli.measure import likeness, longest_gap_ms
from offhook.cli.recording import save
from offhook.cli.report import json_line, ms, note, table
from offhook.cli.timeline import Picture, draw
from offhook.cli.voice import Samples, Voice, wav_voice
from offhook.errors import ConfigError, OffhookError

OUT = Path("demo-out")
FILES = ("spoken.wav", "heard.wav", "report.json", "timeline.svg", "call.zip")
CALLED = "+15550100002"
LEAD_SECONDS = 1.0  # the stream to the app is open within a second of the answer
STAYS_SECONDS = 1.5  # for the last word to come back, before the key that ends the call
AFTER_KEY_SECONDS = 2.0
START_SECONDS = 20.0
PTIME_MS = 20
MIN_CORRELATION = 0.98
MAX_GAP_MS = 20.0
FAILED = 1


def demo(
    wav: Path | None = typer.Option(
        None, "--wav", metavar="FILE", help="What the caller says.  [default: 8 s of speech]"
    ),
    as_json: bool = typer.Option(False, "--json", help="The report as one JSON line on stdout."),
) -> None:
    """Node, sample app and caller in one go, with figures and a picture.

    Starts `offhook dev`, `offhook echo` and `offhook call` as processes of their own, and writes demo-out/spoken.wav,
    demo-out/heard.wav, demo-out/report.json, demo-out/timeline.svg and demo-out/call.zip, the call as
    `offhook trace show` opens it. Exit status: 0 when what was heard is what was spoken (correlation at least 0.98, no
    gap of a frame or more), 1 when not.

    \b
    Example:
      offhook demo --wav my-question.wav
    """
    try:
        raise typer.Exit(asyncio.run(_until_signalled(wav, as_json)))
    except asyncio.CancelledError:
        raise typer.Exit(128 + signal.SIGTERM) from None


async def _until_signalled(wav: Path | None, as_json: bool) -> int:
    task = asyncio.ensure_future(_demo(wav, as_json))
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    return await task


@dataclass(frozen=True)
class _Call:
    """What the call's process and the node's trace told."""

    result: dict[str, Any]
    spoke_at: int
    trace: dict[str, Any]


def _empty_out() -> None:
    """Makes the directory, and removes what an earlier demo left there. Raises ConfigError."""
    try:
        OUT.mkdir(exist_ok=True)
        for name in FILES:
            (OUT / name).unlink(missing_ok=True)
    except OSError as why:
        raise ConfigError(f"cannot write into {OUT.resolve()}: {why.strerror or why}") from why


async def _demo(wav: Path | None, as_json: bool) -> int:
    voice, began = _voice(wav), time.monotonic()
    _empty_out()
    with tempfile.TemporaryDirectory(prefix="offhook-demo-") as scratch:
        try:
            made = await _run(voice, Path(scratch), began)
        except (ChildFailed, NodeUnreachable) as why:
            note(f"offhook demo: {why}")
            return FAILED
    return _conclude(voice, made, as_json)


def _voice(wav: Path | None) -> Voice:
    if wav is not None:
        return wav_voice(wav)
    from offhook.assets import speech_wav
    from offhook.audio.wav import read_wav

    sound = read_wav(speech_wav())
    return Voice(sound.samples, sound.rate)


async def _run(voice: Voice, scratch: Path, began: float) -> _Call:
    """The whole scene, from the node's start to its end."""

    def step(text: str) -> None:
        note(f"{time.monotonic() - began:5.1f} s  {text}")

    spoken = scratch / "voice.wav"
    save(spoken, voice.at(voice.rate), voice.rate)
    port = _free_port()
    async with Children(scratch) as children:
        incoming = f"http://127.0.0.1:{port}{INCOMING}"
        arguments = ["dev", "--port", "0", "--json", "--state", str(scratch / "state"), "--incoming", incoming]
        dev = await children.start("offhook dev", arguments)
        node = (await dev.line(lambda line: "httpEndpoint" in line, "ready line", START_SECONDS))["httpEndpoint"]
        step(f"the node is ready at {node}")
        await children.start(
            "offhook echo", ["exec", "--node", node, "--", *program(), "echo", "--port", str(port), "--json"]
        )
        await dev.line(lambda line: line.get("state") == "validated", "validated webhook", START_SECONDS)
        step(f"the sample app has validated its webhook at {incoming}")
        length = voice.seconds or 0.0
        step(f"a caller speaks for {length:.1f} s and listens to the app")
        caller = await children.start("offhook call", _call_arguments(node, spoken, length))
        result = await _call_result(caller, length)
        call_id = next((line["callId"] for line in caller.lines if line.get("event") == "placed"), "")
        trace = await _trace(node_address(node), call_id)
        await download(node_address(node), f"/console/api/calls/{call_id}/export", OUT / "call.zip")
        step("the call is over")
    spoke = next((line["atSample"] for line in caller.lines if line.get("event") == "spoke"), None)
    return _Call(result, round(LEAD_SECONDS * trace["rate"]) if spoke is None else spoke, trace)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _call_arguments(node: str, spoken: Path, length: float) -> list[str]:
    key_at = LEAD_SECONDS + length + STAYS_SECONDS
    return [
        *("call", "--json", "--node", node, "--to", CALLED, "--wav", str(spoken), "--lead", str(LEAD_SECONDS)),
        *("--dtmf", f"{key_at:.2f}:#", "--duration", f"{key_at + AFTER_KEY_SECONDS:.2f}"),
        *("--out", str(OUT / "heard.wav")),
    ]


async def _call_result(caller: Child, length: float) -> dict[str, Any]:
    status = await caller.end(LEAD_SECONDS + length + 60.0)
    if status == USAGE or not caller.lines or "answered" not in caller.lines[-1]:
        raise ChildFailed(f"offhook call ended with status {status}")
    result = caller.lines[-1]
    if status != 0 or result["heard"] is None:
        raise ChildFailed(
            f"the call failed: {result.get('error') or 'not answered'} ({result['code']}/{result['subCode']})"
        )
    return result


async def _trace(node: NodeAddress, call_id: str) -> dict[str, Any]:
    """The call's trace, once the app has been told that the call is over (or two seconds have passed)."""
    deadline = time.monotonic() + 2.0
    while True:
        trace: dict[str, Any] = await fetch(node, f"/console/api/calls/{call_id}")
        told = any(
            event["kind"] == "delivery" and event["name"] == "CallDisconnected" for event in trace.get("events", [])
        )
        if told or time.monotonic() > deadline:
            return trace
        await asyncio.sleep(0.1)


def _conclude(voice: Voice, made: _Call, as_json: bool) -> int:
    """Measures, writes the files, prints; the exit status."""
    heard_sound = wav_voice(OUT / "heard.wav")
    rate = heard_sound.rate
    spoken = np.concatenate([np.zeros(made.spoke_at, np.int16), voice.at(rate)]).astype(np.int16)
    heard = heard_sound.at(rate)
    report = {**made.result, **measure(spoken, heard, rate, made.trace)}
    picture = Picture(
        f"offhook demo: a call of {made.result['durationMs'] / 1000:.2f} s",
        rate,
        spoken,
        heard,
        made.trace.get("events", []),
        _figures(report),
    )
    try:
        save(OUT / "spoken.wav", spoken, rate)
        (OUT / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (OUT / "timeline.svg").write_text(draw(picture), encoding="utf-8")
    except (OSError, OffhookError) as why:
        raise ConfigError(f"cannot write into {OUT.resolve()}: {why}") from why
    good = passed(report)
    if as_json:
        json_line(report)
    else:
        rows = [*_figures(report), ("ended by", f"{report['endedBy']}, {report['code']}/{report['subCode']}")]
        rows += [
            (name, str((OUT / name).resolve())) for name in ("spoken.wav", "heard.wav", "timeline.svg", "call.zip")
        ]
        table("The call", rows)
        print("The caller heard what was said." if good else "The caller did not hear what was said.")
        print(f"See it in the call inspector:  {_typed()} trace show {OUT / 'call.zip'} --open")
    return 0 if good else FAILED


def _typed() -> str:
    """This program as a person types it here."""
    return sys.argv[0] if Path(sys.argv[0]).name == "offhook" and shutil.which("offhook") is None else "offhook"


def measure(spoken: Samples, heard: Samples, rate: int, trace: dict[str, Any]) -> dict[str, float | None]:
    """The report's figures beyond the call's own; null where nothing could be measured."""
    found = likeness(spoken, heard, rate)
    return {
        "correlation": found.correlation if found is not None else None,
        "delayMs": found.delay_ms if found is not None else None,
        "longestGapMs": longest_gap_ms(spoken, heard, found) if found is not None else None,
        "stopAudioMs": stop_audio_ms(trace, len(heard)),
    }


def stop_audio_ms(trace: dict[str, Any], heard: int) -> float | None:
    """From the app's StopAudio at the node to the end of the last sample of the app's that the caller hears.

    The node says at which sample of the call the sound ends; a call that ended first was `heard` that many samples.
    Sample 0 leaves with the first tick, one ptime after the answer, since this is the node's only call. None when
    there was no StopAudio.
    """
    stop = next((event for event in trace.get("events", []) if event["kind"] == "stopAudio"), None)
    if stop is None or not trace.get("rate"):
        return None
    ends = PTIME_MS + min(float(stop["detail"]["atSample"]), heard) * 1000 / float(trace["rate"])
    return round(max(0.0, ends - float(stop["atMs"])), 1)


def passed(report: dict[str, Any]) -> bool:
    """Whether what was heard is what was spoken."""
    correlation, gap = report["correlation"], report["longestGapMs"]
    return correlation is not None and correlation >= MIN_CORRELATION and gap is not None and gap < MAX_GAP_MS


def _figures(report: dict[str, Any]) -> list[tuple[str, str]]:
    correlation = report["correlation"]
    return [
        ("correlation", "-" if correlation is None else f"{correlation:.4f}"),
        ("delay", ms(report["delayMs"])),
        ("longest gap", ms(report["longestGapMs"])),
        ("stop after", ms(report["stopAudioMs"])),
        ("answered after", ms(report["answerMs"])),
        ("first audio", ms(report["firstAudioMs"])),
        ("duration", ms(report["durationMs"])),
        ("frames to the app", str(report["framesSent"])),
        ("frames from the app", str(report["framesHeard"])),
        ("late frames", str(report["lateFrames"])),
        ("gaps", str(report["gaps"])),
    ]
