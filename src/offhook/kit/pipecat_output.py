"""The output of an AcsTransport: pipecat's frames in the order in which the caller hears them."""

from __future__ import annotations

import asyncio
import time
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any, Final

from pipecat.audio.utils import is_silence, scale_audio
from pipecat.frames.frames import (
    BotSpeakingFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    FilterControlFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputDTMFFrame,
    OutputImageRawFrame,
    OutputTransportMessageFrame,
    OutputTransportReadyFrame,
    SpeechOutputAudioRawFrame,
    SpriteFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    VolumeFrame,
    VolumeGainFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.transports.base_output import BaseOutputTransport

from offhook.errors import ConfigError, OffhookError
from offhook.kit.converter import RateConverter
from offhook.kit.pipecat_line import Line
from offhook.kit.pipecat_serializer import check_rate
from offhook.kit.playback import Playback
from offhook.kit.session import PlayQueueFull
from offhook.kit.timeline import Timeline, words

if TYPE_CHECKING:
    from offhook.kit.pipecat_transport import AcsParams, AcsTransport

SPEAKING_EVERY_S: Final = 0.2
"""How often BotSpeakingFrame comes while the caller hears the bot, in its sound."""
SILENCE_S: Final = 0.35
"""Silence in a stream of speech (SpeechOutputAudioRawFrame) after which the bot has stopped speaking."""
DRY_S: Final = 3.0
"""How long nothing may be said before a bot whose voice never ended (TTSStoppedFrame) has stopped speaking."""
STALLED_S: Final = 5.0
"""How long the stream may give no frame before EndFrame waits no more for what has not been heard."""


class AcsOutput(BaseOutputTransport):
    """What the bot says. Made by AcsTransport."""

    def __init__(self, transport: AcsTransport, line: Line, params: AcsParams, **more: Any) -> None:
        super().__init__(params, enable_direct_mode=True, **more)
        self._transport = transport
        self._settings = params
        self._line = line
        self._timeline: Timeline[Frame] | None = None
        self._releasing = asyncio.Lock()
        self._ticked = asyncio.Event()
        self._converter: RateConverter | None = None
        self._volume, self._gain = params.audio_out_volume, 1.0
        self._gone = False
        self._clocked: list[tuple[int, int, Frame]] = []  # due by the pipeline's clock, no voice having spoken yet
        self._bot_speaking = False
        self._voice_spoke = False
        self._spoke_at = self._told_at = 0  # places in the sound: of the last speech, of the last BotSpeakingFrame
        self._dry_since = 0.0
        self._voice_open = False  # between a voice's first sound and its TTSStoppedFrame
        self._anchor: tuple[int, int] | None = None  # time stamp (ns) and place of a voice's first sound
        self._last_pts = 0
        self._text_from = 0

    # ------------------------------------------------------------------ called by pipecat

    async def setup(self, setup: FrameProcessorSetup) -> None:  # type: ignore[override]  # as in pipecat's own
        """Check the rate and wait for the stream."""
        await super().setup(setup)
        check_rate(self.sample_rate, "audio_out_sample_rate")
        await self._transport.open()

    async def start(self, frame: StartFrame) -> None:
        """The pipeline runs."""
        await super().start(frame)
        if self._timeline is None:
            self._timeline = Timeline(self._line.rate)
        await self.push_frame(OutputTransportReadyFrame(), FrameDirection.UPSTREAM)

    async def stop(self, frame: EndFrame) -> None:
        """Wait until all was heard, then hang up."""
        await self._end_of_sound()
        silence = self._settings.audio_out_end_silence_secs
        if silence > 0:
            size = 2 * silence * self._line.rate
            await self._say(OutputAudioRawFrame(bytes(size), self._line.rate, 1))
        while self._timeline is not None and not self._gone and not self._timeline.quiet:
            self._ticked.clear()
            try:
                await asyncio.wait_for(self._ticked.wait(), STALLED_S)
            except TimeoutError:
                break
        await self._release()
        await self._stopped()
        await self._transport.leave(self._settings.hang_up_at_end)

    async def cancel(self, frame: CancelFrame) -> None:
        """Stop at once, and hang up."""
        await self._line.stop()
        self._gone = True
        await self._transport.leave(self._settings.hang_up_at_end)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """An interruption stops the sound before anything else is done."""
        if isinstance(frame, InterruptionFrame) and self._may_cut():
            await self._line.stop()
        await super().process_frame(frame, direction)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Say it behind all that is being said; False when the call is over."""
        await self._say(frame)
        return not self._gone

    async def _handle_frame(self, frame: Frame) -> None:
        timeline = self._timeline
        if timeline is None or isinstance(frame, OutputImageRawFrame | SpriteFrame):
            return
        if isinstance(frame, InterruptionFrame):
            await self._interrupted()
        elif isinstance(frame, OutputAudioRawFrame):
            await self._say(frame)
        elif isinstance(frame, TTSTextFrame) and not frame.pts and self._settings.words_as_heard:
            self._spread(timeline, frame)
        elif isinstance(frame, TTSStoppedFrame):
            await self._end_of_sound()
            timeline.add(timeline.end, frame)
        elif frame.pts:
            self._add_timed(timeline, frame)
        else:
            if isinstance(frame, TTSStartedFrame):
                self._voice_open, self._text_from = False, timeline.end
            timeline.add(timeline.end, frame)
        if timeline.quiet:
            await self._release()

    # ------------------------------------------------------------------ called by the transport

    @property
    def cuttable(self) -> bool:
        """Whether the caller hears something that their speech cuts."""
        return self._timeline is not None and not self._timeline.quiet and self._may_cut()

    async def tick(self) -> None:
        """20 ms have gone by."""
        timeline = self._timeline
        if timeline is None:
            return
        self._ticked.set()
        if not timeline.advance():  # the call's own turn taking has cut it
            await self._line.stop()
            await self._interrupted()
        await self._release()
        if not timeline.quiet:
            self._dry_since = 0.0
        elif self._bot_speaking:
            now = time.monotonic()
            self._dry_since = self._dry_since or now
            if now - self._dry_since > DRY_S:
                await self._end_of_sound()
                await self._stopped()

    async def over(self) -> None:
        """The call is over: nothing more is heard."""
        self._gone = True
        if self._timeline is not None:
            await self._interrupted()
        self._ticked.set()

    # ------------------------------------------------------------------ saying

    async def _say(self, frame: OutputAudioRawFrame) -> None:
        timeline = self._timeline
        if timeline is None or self._gone or not self._params.audio_out_enabled:
            return
        if frame.num_channels != 1:
            raise ConfigError(f"a call has one channel, the sound {frame.num_channels}: set audio_out_channels=1")
        if self._params.audio_out_filter:
            frame.audio = await self._params.audio_out_filter.filter(frame.audio)
        if self._volume * self._gain != 1.0:
            frame.audio = scale_audio(frame.audio, self._volume * self._gain)
        await self._put(timeline, frame)

    async def _put(self, timeline: Timeline[Frame], frame: OutputAudioRawFrame) -> None:
        pcm = self._converted(frame)
        playback = await self._played(pcm, frame.interruptible) if pcm else None
        if playback is None:
            return
        begins, samples = timeline.end, len(pcm) >> 1
        timeline.sound(playback, samples)
        if isinstance(frame, TTSAudioRawFrame) and not self._voice_open:
            self._voice_open = True
            self._anchor = (max(self._last_pts, self.get_clock().get_time()), begins)
        for starts, ends, piece in self._cut_up(frame):
            # What may be cut is passed on when the caller begins to hear it; else at its end, so that an interruption
            # finds it here, to be said again from where it was heard.
            place = 1 + int(starts * (samples - 1)) if frame.interruptible else round(ends * samples)
            timeline.add(begins + place, piece)

    def _converted(self, frame: OutputAudioRawFrame) -> bytes:
        if frame.sample_rate == self._line.rate:
            return frame.audio
        if self._converter is None or self._converter.from_rate != frame.sample_rate:
            check_rate(frame.sample_rate, "audio_out_sample_rate")
            self._converter = RateConverter(frame.sample_rate, self._line.rate)
        return self._converter.process(frame.audio)

    async def _played(self, pcm: bytes, interruptible: bool) -> Playback | None:
        while not self._gone:
            try:
                return self._line.play(pcm, interruptible)
            except PlayQueueFull:
                if self._timeline is None or self._timeline.quiet:
                    raise
                self._ticked.clear()
                await self._ticked.wait()
            except OffhookError:
                self._gone = True
        return None

    def _cut_up(self, frame: OutputAudioRawFrame) -> list[tuple[float, float, OutputAudioRawFrame]]:
        """The frame in pieces, as pipecat's output passes it on; each with where in the frame it is, 0 to 1."""
        size = frame.sample_rate // 100 * 2 * self._params.audio_out_10ms_chunks
        total = len(frame.audio)
        if total <= size:
            return [(0.0, 1.0, frame)]
        pieces = []
        for at in range(0, total, size):
            piece = type(frame)(frame.audio[at : at + size], frame.sample_rate, 1)
            if isinstance(frame, TTSAudioRawFrame) and isinstance(piece, TTSAudioRawFrame):
                piece.context_id = frame.context_id
            piece.interruptible = frame.interruptible
            pieces.append((at / total, min(1.0, (at + size) / total), piece))
        return pieces

    async def _end_of_sound(self) -> None:
        """The voice has said all: what the converter holds is played, and no word waits for more sound."""
        timeline = self._timeline
        if timeline is None:
            return
        rest = self._converter.flush() if self._converter is not None else b""
        playback = await self._played(rest, True) if rest else None
        if playback is not None:
            timeline.sound(playback, len(rest) >> 1)
        self._voice_open = False
        timeline.pull_in()

    # ------------------------------------------------------------------ words

    def _spread(self, timeline: Timeline[Frame], frame: TTSTextFrame) -> None:
        """The words of a text whose sound has been put since the last one, each at its share of that sound."""
        begins, self._text_from = self._text_from, timeline.end
        if frame.raw_text and frame.raw_text != frame.text:
            timeline.add(timeline.end, frame)
            return
        for text, share in words(frame.text):
            word = TTSTextFrame(text if frame.includes_inter_frame_spaces else text.strip(), frame.text_type)
            word.context_id, word.segment_id = frame.context_id, frame.segment_id
            word.includes_inter_frame_spaces = frame.includes_inter_frame_spaces
            word.append_to_context, word.will_be_spoken = frame.append_to_context, frame.will_be_spoken
            word.interruptible = frame.interruptible
            timeline.add(begins + int(share * (timeline.end - begins)), word)

    def _add_timed(self, timeline: Timeline[Frame], frame: Frame) -> None:
        """A frame with a time stamp: a voice's words have theirs from its first sound on, by the pipeline's clock."""
        assert frame.pts is not None
        self._last_pts = max(self._last_pts, frame.pts)
        if self._anchor is None:
            heappush(self._clocked, (frame.pts, frame.id, frame))
            return
        began, place = self._anchor
        due = place + (frame.pts - began) * self._line.rate // 1_000_000_000
        timeline.add(max(timeline.heard, due) if self._voice_open else timeline.end, frame)

    # ------------------------------------------------------------------ heard

    async def _release(self) -> None:
        """Pass on what the caller has heard up to."""
        if self._timeline is None:
            return
        async with self._releasing:
            for frame in self._timeline.take():
                await self._pass_on(frame)
            while self._clocked and self._clocked[0][0] <= self.get_clock().get_time():
                await self.push_frame(heappop(self._clocked)[2])

    async def _pass_on(self, frame: Frame) -> None:
        if isinstance(frame, OutputAudioRawFrame):
            await self._spoke(frame)
        elif isinstance(frame, TTSStoppedFrame):
            if self._voice_spoke:
                await self._stopped()
        elif isinstance(frame, OutputTransportMessageFrame):
            await self.send_message(frame)
        elif isinstance(frame, OutputDTMFFrame):
            await self.write_dtmf(frame)
        elif isinstance(frame, FilterControlFrame) and self._params.audio_out_filter:
            await self._params.audio_out_filter.process_frame(frame)
        elif isinstance(frame, VolumeFrame):
            self._volume = frame.volume
        elif isinstance(frame, VolumeGainFrame):
            self._gain = frame.gain
        else:
            await self.write_transport_frame(frame)
        await self.push_frame(frame)

    async def _spoke(self, frame: OutputAudioRawFrame) -> None:
        assert self._timeline is not None
        heard, rate = self._timeline.heard, self._line.rate
        if isinstance(frame, TTSAudioRawFrame):
            self._voice_spoke = True
        elif not isinstance(frame, SpeechOutputAudioRawFrame):
            return
        elif is_silence(frame.audio):
            if self._bot_speaking and heard - self._spoke_at > SILENCE_S * rate:
                await self._stopped()
            return
        self._spoke_at = heard
        if not self._bot_speaking:
            self._bot_speaking = True
            self._told_at = heard - rate
            await self.broadcast_frame(BotStartedSpeakingFrame)
        if heard - self._told_at >= SPEAKING_EVERY_S * rate:
            self._told_at = heard
            await self.broadcast_frame(BotSpeakingFrame)

    async def _stopped(self) -> None:
        self._voice_spoke = False
        if self._bot_speaking:
            self._bot_speaking = False
            await self.broadcast_frame(BotStoppedSpeakingFrame)

    def _may_cut(self) -> bool:
        """Whether an interruption stops the sound: not while nothing waits but what no interruption may cut."""
        waiting = [frame for frame in self._waiting() if isinstance(frame, OutputAudioRawFrame)]
        return not waiting or any(frame.interruptible for frame in waiting)

    def _waiting(self) -> list[Frame]:
        return self._timeline.waiting if self._timeline is not None else []

    async def _interrupted(self) -> None:
        """Drop what was not heard, but for what no interruption may cut: that is said again, or goes on."""
        timeline = self._timeline
        assert timeline is not None
        if timeline.advance() and not self._gone and not self._may_cut():
            timeline.keep(lambda frame: not frame.interruptible)
            return
        dropped = timeline.cut()
        await self._release()
        if self._converter is not None:
            self._converter.reset()
        self._clocked = [due for due in self._clocked if not due[2].interruptible]
        self._voice_open, self._text_from = False, timeline.end
        kept = [(ahead, frame) for ahead, frame in dropped if not frame.interruptible]
        if not any(isinstance(frame, OutputAudioRawFrame) for _, frame in kept):
            await self._stopped()
        for ahead, frame in kept:
            if isinstance(frame, OutputAudioRawFrame):
                # `ahead`: how much of the stream's samples were left to the end of this piece.
                left = min(len(frame.audio), 2 * (ahead * frame.sample_rate // self._line.rate))
                frame.audio = frame.audio[len(frame.audio) - left :]
                await self._put(timeline, frame)
            else:
                timeline.add(timeline.end, frame)
        await self._release()
