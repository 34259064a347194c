"""The sound of a live call, of a real node: the cut of a StopAudio is at one sample wherever it is looked at."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.console_leg import caller
from tests.live import (
    CONNECTIONS,
    LiveNode,
    TestApp,
    answer,
    call,
    dev_node,
    rest,
    signed_get,
    streaming_options,
    trace,
    until,
)

from offhook.audio.wav import read_wav
from offhook.service.call_sound import read_folder

pytestmark = pytest.mark.asyncio(loop_scope="module")

RATE, FRAME, RAMP = 16000, 320, 80
