"""The E-model: how good a conversation sounds, from what is known of its path (ITU-T G.107, 06/2015).

R = Ro - Is - Id - Ie,eff + A. Ro and Is are those of the Recommendation's default values, for noise, loudness and
sidetone of the telephones at both ends are unknown here; Id is the part of the delay and of the echo at defaults,
Ie,eff that of the codec and of lost packets. The scale is that of narrow band also for wideband codecs, so 4.5 is the
best that any call can have; how a wideband call gains by its band (G.107.1) is not in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

# Default values: G.107 table 3.
_SLR, _RLR, _STMR = 8.0, 2.0, 15.0
_DS, _DR = 3.0, 3.0
_TELR, _WEPL = 65.0, 110.0
_QDU = 1.0
_NC, _PS, _PR, _NFOR = -70.0, 35.0, 35.0, -64.0
ADVANTAGE: Final = 0.0
"""A: callers expect a telephone's quality (G.107 table 2)."""


@dataclass(frozen=True, slots=True)
class CodecRow:
    """How a codec impairs: `ie` without loss, `bpl` how robust it is against it; `source` says where they are from."""

    ie: float
    bpl: float
    delay_ms: float
    """Of the algorithm: frame look-ahead, at both ends together."""
    source: str


CODECS: Final[dict[str, CodecRow]] = {
    "PCMU": CodecRow(0, 25.1, 0, "G.113 (2007) table I.4: G.711 with packet loss concealment of G.711 Appendix I"),
    "PCMA": CodecRow(0, 25.1, 0, "G.113 (2007) table I.4: G.711 with packet loss concealment of G.711 Appendix I"),
    "L16": CodecRow(0, 25.1, 0, "assumed as G.711: uncoded sound with concealment of the same kind"),
    "G722": CodecRow(0, 25.1, 3, "assumed as G.711: G.113 has no narrow-band row for G.722; delay of its filters 3 ms"),
    "OPUS": CodecRow(0, 25.1, 26.5, "assumed as G.711: G.113 has no row for Opus; look-ahead 6.5 ms and a frame of 20"),
    "PCM": CodecRow(
        0, 4.3, 0, "G.113 (2007) table I.4: G.711 without concealment, for sound that came over no network"
    ),
}


@dataclass(frozen=True, slots=True)
class Rating:
    """R and the MOS that follows from it, with what went into it."""

    r: float
    mos: float
    ro: float
    simultaneous: float
    """Is."""
    delay: float
    """Id."""
    equipment: float
    """Ie,eff."""
    codec: str
    delay_ms: float
    loss_percent: float
    burst_ratio: float

    def inputs(self) -> dict[str, object]:
        """For showing."""
        row = CODECS[self.codec]
        return {
            "r": round(self.r, 1),
            "ro": round(self.ro, 1),
            "is": round(self.simultaneous, 2),
            "id": round(self.delay, 2),
            "ieEff": round(self.equipment, 2),
            "a": ADVANTAGE,
            "codec": self.codec,
            "ie": row.ie,
            "bpl": row.bpl,
            "codecSource": row.source,
            "oneWayDelayMs": round(self.delay_ms, 1),
            "lossPercent": round(self.loss_percent, 3),
            "burstRatio": self.burst_ratio,
        }


def rate(codec: str, delay_ms: float, loss_percent: float, burst_ratio: float = 1.0) -> Rating:
    """Rate one direction. `delay_ms`: one way, mouth to ear; `loss_percent`: 0 to 100 of the packets.

    `burst_ratio`: 1 for loss at random. A codec that is not in `CODECS` raises KeyError.
    """
    row, loss = CODECS[codec], min(max(loss_percent, 0.0), 100.0)
    ro = _signal_to_noise()
    simultaneous = _simultaneous(ro, max(delay_ms, 0.0))
    delay = _delay(ro, max(delay_ms, 0.0))
    equipment = row.ie + (95 - row.ie) * loss / (loss / max(burst_ratio, 1e-6) + row.bpl) if loss else row.ie
    r = ro - simultaneous - delay - equipment + ADVANTAGE
    return Rating(r, mos(r), ro, simultaneous, delay, equipment, codec, delay_ms, loss, burst_ratio)


def mos(r: float) -> float:
    """The mean opinion score of a rating, 1 to 4.5 (G.107 Annex B)."""
    if r <= 0:
        return 1.0
    if r >= 100:
        return 4.5
    return max(1.0, 1 + 0.035 * r + r * (r - 60) * (100 - r) * 7e-6)


def _signal_to_noise() -> float:
    """Ro (G.107 §7.2)."""
    olr = _SLR + _RLR
    nos = _PS - _SLR - _DS - 100 + 0.004 * (_PS - olr - _DS - 14) ** 2
    pre = _PR + 10 * math.log10(1 + 10 ** ((10 - _listener_sidetone()) / 10))
    nor = _RLR - 121 + pre + 0.008 * (pre - 35) ** 2
    nfo = _NFOR + _RLR
    no = 10 * math.log10(sum(10 ** (level / 10) for level in (_NC, nos, nor, nfo)))
    return 15 - 1.5 * (_SLR + no)


def _listener_sidetone() -> float:
    return _STMR + _DR


def _simultaneous(ro: float, one_way: float) -> float:
    """Is = Iolr + Ist + Iq (§7.3)."""
    no = _noise(ro)
    xolr = _SLR + _RLR + 0.2 * (64 + no - _RLR)
    iolr = 20 * ((1 + (xolr / 8) ** 8) ** 0.125 - xolr / 8)
    stmro = -10 * math.log10(10 ** (-_STMR / 10) + math.exp(-one_way / 4) * 10 ** (-_TELR / 10))
    ist = (
        12 * (1 + ((stmro - 13) / 6) ** 8) ** 0.125
        - 28 * (1 + ((stmro + 1) / 19.4) ** 35) ** (1 / 35)
        - 13 * (1 + ((stmro - 3) / 33) ** 13) ** (1 / 13)
        + 29
    )
    q = 37 - 15 * math.log10(_QDU)
    g = 1.07 + 0.258 * q + 0.0602 * q * q
    y = (ro - 100) / 15 + 46 / 8.4 - g / 9
    z = 46 / 30 - g / 40
    iq = 15 * math.log10(1 + 10**y + 10**z)
    return float(iolr + ist + iq)


def _delay(ro: float, one_way: float) -> float:
    """Id = Idte + Idle + Idd (§7.4), with one-way delay T = Ta and Tr = 2 T."""
    rle = 10.5 * (_WEPL + 7) / math.pow(2 * one_way + 1, 0.25)
    terv = _TELR - 40 * math.log10((1 + one_way / 10) / (1 + one_way / 150)) + 6 * math.exp(-0.3 * one_way**2)
    roe = -1.5 * (_noise(ro) - _RLR)
    re = 80 + 2.5 * (terv - 14)
    idte = 0.0
    if one_way >= 1:
        idte = ((roe - re) / 2 + math.sqrt((roe - re) ** 2 / 4 + 100) - 1) * (1 - math.exp(-one_way))
    idle = (ro - rle) / 2 + math.sqrt((ro - rle) ** 2 / 4 + 169)
    idd = 0.0
    if one_way > 100:
        x = math.log2(one_way / 100)
        idd = 25 * ((1 + x**6) ** (1 / 6) - 3 * (1 + (x / 3) ** 6) ** (1 / 6) + 2)
    return idte + idle + idd


def _noise(ro: float) -> float:
    """No, the noise that a Ro stands for, in dBm0p."""
    return (15 - ro) / 1.5 - _SLR
