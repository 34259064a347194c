"""Fixtures of the service tests."""

from __future__ import annotations

import pytest

from offhook.service import streaming


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tries, closer together."""
    monkeypatch.setattr(streaming, "FIRST_TRIES", (0.0, 0.01, 0.02))
    monkeypatch.setattr(streaming, "AGAIN_TRIES", (0.01, 0.02, 0.03))
