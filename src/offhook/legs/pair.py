"""Two legs that are each other's endpoint: one call of the node rings another, and what one hears the other says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from offhook.audio.bridge import Member
from offhook.audio.pcm import Frame, silence
from offhook.legs.key_events import KeySender
from offhook.legs.leg import Answered, Dtmf, Ended, KeySent, LegEnd, LegEvent, Refused

DEFAULT_RATE = 16000
Event = Callable[[str, LegEvent], None]


class PairedLeg:
    """One of the two; its own port.

    Sound reaches the other side within a tick, or in the next one when that call's turn came before.
    """

    def __init__(self, leg_id: str, event: Event, refusal: Callable[[LegEnd], str]) -> None:
        """`event`: as legs report to their node. `refusal`: the outcome of a call that was not taken, from its end."""
        self.leg_id = leg_id
        self.rate: int | None = None
        self._event = event
        self._refusal = refusal
        self._other = self
        self._quiet: Frame = silence(DEFAULT_RATE)
        self._due: Frame | None = None
        self._calls = False
        self._up = False
        self._over = False
        self._keys = KeySender()

    def call(self, called: PairedLeg) -> None:
        """This leg calls another one: each is the other's endpoint from now on."""
        self._calls = True
        self._other, called._other = called, self

    @property
    def other_id(self) -> str:
        """The id of the other leg."""
        return self._other.leg_id

    @property
    def port(self) -> PairedLeg:
        """The leg is its own port."""
        return self

    def answer(self, rate: int) -> None:
        """The called side takes the call, which the calling one hears; `rate` is then that of both legs."""
        other = self._other
        if self._up or self._over:
            return
        for leg in (self, other):
            leg.rate, leg._quiet, leg._up = rate, silence(rate), True
        other._event(other.leg_id, Answered())

    def send_key(self, key: str) -> None:
        """See `Leg`: the other call is told of the key, and hears its tones instead of this one."""
        self._keys.on_sent = self._key_sent
        self._keys.press(key)

    def drop_keys(self) -> None:
        """See `Leg`."""
        self._keys.drop()

    def _key_sent(self, key: str) -> None:
        other = self._other
        other._event(other.leg_id, Dtmf(key, in_sound=True))
        self._event(self.leg_id, KeySent(key))

    def hang_up(self, end: LegEnd) -> None:
        """Leave: the other side hears a refusal when the call was not taken, and that we left otherwise."""
        other = self._other
        if self._over:
            return
        self._over = other._over = True
        refused = other._calls and not self._up
        other._event(other.leg_id, Refused(self._refusal(end)) if refused else Ended())

    def read(self) -> Frame | None:
        """What the other call has to say; never None, for a pause is not an absence."""
        frame, self._due = self._due, None
        return self._quiet if frame is None else frame

    def write(self, mix: Frame | None, heard: Sequence[Member]) -> None:
        """What the other call hears next. A frame is a view that ends with the tick, so it is copied."""
        if self._keys and self.rate is not None:
            mix = self._keys.sound(self.rate)
        self._other._due = None if mix is None else mix.copy()
