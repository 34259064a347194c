"""The E-model: published values, and that every impairment only takes away."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offhook.audio.emodel import CODECS, mos, rate


def test_the_default_path_has_the_published_rating() -> None:
    """G.107 (2015) table 3: with all parameters at their defaults R = 93.2."""
    rating = rate("PCMU", 0, 0)
    assert rating.r == pytest.approx(93.2062, abs=0.0005)
    assert rating.mos == pytest.approx(4.41, abs=0.005)


@pytest.mark.parametrize(("r", "expected"), [(50, 2.58), (60, 3.10), (70, 3.60), (80, 4.03), (90, 4.34)])
def test_mos_of_a_rating(r: float, expected: float) -> None:
    """G.107 table B.1."""
    assert mos(r) == pytest.approx(expected, abs=0.01)


def test_mos_stays_on_its_scale() -> None:
    assert (mos(-20), mos(0), mos(1), mos(100), mos(120)) == (1.0, 1.0, 1.0, 4.5, 4.5)


@pytest.mark.parametrize(
    ("codec", "loss", "burst", "equipment"),
    [
        ("PCMU", 0, 1, 0),
        ("PCMU", 1, 1, 95 * 1 / (1 + 25.1)),
        ("PCMU", 5, 2, 95 * 5 / (2.5 + 25.1)),
        ("PCM", 1, 1, 95 * 1 / (1 + 4.3)),
        ("G722", 3, 1, 95 * 3 / (3 + 25.1)),
    ],
)
def test_what_loss_takes(codec: str, loss: float, burst: float, equipment: float) -> None:
    """Ie,eff = Ie + (95 - Ie) * Ppl / (Ppl / BurstR + Bpl), G.107 section 7.5."""
    rating = rate(codec, 0, loss, burst)
    assert rating.equipment == pytest.approx(equipment)
    assert rating.r == pytest.approx(rate(codec, 0, 0).r - equipment)


def test_delay_takes_little_up_to_150_ms_and_much_beyond() -> None:
    """The shape of G.107's figure for TELR 65 dB: about 4 at 150 ms, over 30 at 400 ms."""
    of = {ms: rate("PCMU", ms, 0).delay for ms in (0, 100, 150, 250, 400)}
    assert of[0] < 0.2
    assert 3 < of[150] < 5
    assert 12 < of[250] < 17
    assert 30 < of[400] < 33


def test_all_inputs_are_shown() -> None:
    inputs = rate("OPUS", 120.04, 1.5).inputs()
    assert inputs["r"] == pytest.approx(
        sum(
            float(str(inputs[key])) * sign for key, sign in (("ro", 1), ("is", -1), ("id", -1), ("ieEff", -1), ("a", 1))
        ),
        abs=0.2,
    )
    assert (inputs["oneWayDelayMs"], inputs["lossPercent"], inputs["bpl"]) == (120.0, 1.5, 25.1)
    assert "assumed" in str(inputs["codecSource"])


@given(st.sampled_from(sorted(CODECS)), st.floats(0, 2000), st.floats(0, 100), st.floats(1, 8))
def test_more_delay_or_loss_never_sounds_better(codec: str, delay: float, loss: float, burst: float) -> None:
    rating = rate(codec, delay, loss, burst)
    assert 1.0 <= rating.mos <= 4.5
    assert rate(codec, delay + 50, loss, burst).r <= rating.r + 1e-6
    assert rate(codec, delay, min(loss + 1, 100), burst).r <= rating.r + 1e-6
